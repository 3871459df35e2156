"""A catalogue on disk is the catalogue in memory, with its goals, and holds nothing."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.webshop_data import write_files
from r3lbench.environments.webshop import WebShop, columns, keeping, reading, store
from r3lbench.environments.webshop.analysis import analyze
from r3lbench.environments.webshop.catalogue import build_catalogue
from r3lbench.environments.webshop.goals import Goal, human_wishes, shuffled, synthetic_wishes, weight_of
from r3lbench.environments.webshop.keeping import CACHE, FORMAT, MANIFEST, cache_folder
from r3lbench.environments.webshop.nouns import TitleNouns
from r3lbench.environments.webshop.protocols import PROTOCOLS, GoalKind
from r3lbench.environments.webshop.shop import open_shop, splits_of
from r3lbench.environments.webshop.store import Sources, open_store
from r3lbench.errors import BadData
from r3lbench.rollout.workers import EnvSource, Worker

from .small import HUMAN, INSTRUCTIONS, record, records

WORDS = st.sampled_from(["red", "Tea", "oak ", "café", "日本", "\ud800", "", 'wide 28"', "a/b"])
ASINS = st.sampled_from([f"B{number:04d}" for number in range(8)] + ["nan", "B" * 11, "é", "\ud800"])
OPTIONS = st.dictionaries(WORDS, st.none() | st.lists(WORDS.map(lambda text: {"value": text}), max_size=3), max_size=2)
PRICES = st.sampled_from(["", "$10.00", "$5.00 to $9.00", "$5.00 to $5.00", "$980.00", "$985.50 to $1,200.00"])
RECORDS = st.builds(
    record,
    ASINS,
    WORDS,
    full_description=WORDS,
    small_description=st.lists(WORDS, max_size=2) | WORDS,
    pricing=PRICES,
    customization_options=OPTIONS | st.just(""),
    query=WORDS,
)
ABOUT = st.fixed_dictionaries(
    {"attributes": st.lists(WORDS, max_size=3)},
    optional={"instruction": st.none() | WORDS, "instruction_attributes": st.lists(WORDS, max_size=2)},
)
ASKED = st.lists(
    st.fixed_dictionaries(
        {
            "instruction": WORDS,
            "instruction_attributes": st.lists(WORDS, max_size=2),
            "instruction_options": st.lists(WORDS, max_size=2),
        }
    ),
    max_size=2,
)


def write(folder: Path, files: dict[str, Any]) -> str:
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return str(folder)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(RECORDS, min_size=1, max_size=10),
    st.dictionaries(ASINS, ABOUT, max_size=8),
    st.dictionaries(ASINS, ASKED, max_size=6),
    st.sampled_from(list(GoalKind)),
    st.sampled_from([None, 1, 4]),
    st.integers(0, 3),
)
def test_what_is_on_disk_is_what_would_be_in_memory(
    items: list[dict[str, Any]],
    instructions: dict[str, Any],
    human: dict[str, Any],
    kind: GoalKind,
    num_products: int | None,
    seed: int,
) -> None:
    rng, nouns = random.Random(seed), TitleNouns()
    files = {"items_shuffle.json": items, "items_ins_v2.json": instructions, "items_human_ins.json": human}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, f"{folder}/cache")
        # So few that there are several runs.
        patch.setattr(store, "POSTINGS", 5)
        options: dict[str, Any] = {"goals": kind, "num_products": num_products, "price_seed": seed, "order_seed": seed}
        data = write(Path(folder), files)
        try:
            held = build_catalogue("held", items, instructions, num_products=num_products, rng=rng, nouns=nouns)
        except BadData as error:
            with pytest.raises(BadData, match=re.escape(str(error).partition(": ")[2])):
                open_shop(data, PROTOCOLS["default"], **options)
            return
        goals = made_in_memory(held, kind, human, instructions, rng, seed)
        if not goals:
            with pytest.raises(BadData, match=f"no {kind} goals"):
                open_shop(data, PROTOCOLS["default"], **options)
            return
        for _ in ("made", "found"):
            shop = open_shop(data, PROTOCOLS["default"], **options)
            stored = shop.catalogue
            assert tuple(stored.products) == held.products
            assert tuple(stored.prices) == held.prices
            assert stored.hash == held.hash
            assert dict(stored.position) == held.position
            for query in ("red", "oak tea tea", "café 28", "cotton", held.products[0].indexed_text):
                assert stored.index.search(query, 50) == held.index.search(query, 50)
            assert tuple(shop.goals) == tuple(goals)
            assert tuple(shop.keys) == tuple(goal.key for goal in goals)
            times = Counter(shop.keys)
            assert list(shop.repeated) == [at for at, key in enumerate(shop.keys) if times[key] > 1]


def made_in_memory(
    held: Any, kind: GoalKind, human: dict[str, Any], instructions: dict[str, Any], rng: random.Random, seed: int
) -> list[Goal]:
    """The goals, as lists."""
    if kind is GoalKind.HUMAN:
        about: Iterator[tuple[int, Any]] = ((at, human.get(each.asin, [])) for at, each in enumerate(held.products))
        wishes = list(human_wishes(held, about, rng, ""))
    else:
        about = ((at, instructions.get(each.asin, {})) for at, each in enumerate(held.products))
        wishes = list(synthetic_wishes(held, about, rng, ""))
    goals = [wish.goal(number, held.products[wish.position]) for wish in wishes for number in range(len(wish))]
    if kind is GoalKind.SYNTHETIC:
        frequency = Counter(name for goal in goals for name in goal.attributes)
        weights = [weight_of(wish, frequency) for wish in wishes for _ in range(len(wish))]
        goals = [replace(goal, weight=weight) for goal, weight in zip(goals, weights, strict=True)]
    return [goals[number] for number in shuffled(len(goals), seed)]


def test_the_format_has_a_number_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    files = {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS, "items_human_ins.json": HUMAN}
    data = write(tmp_path, files | {"title_nouns.json": {}})
    for kind in GoalKind:
        open_shop(data, PROTOCOLS["default"], goals=kind)
    content = hashlib.sha256()
    for folder in sorted((tmp_path / "cache" / "webshop").glob("*-*")):
        content.update(json.dumps(json.loads((folder / MANIFEST).read_bytes())["files"]).encode())
    # Where what is kept changes, so does the number, and then this line.
    assert (FORMAT, content.hexdigest()[:16]) == (2, "10a54a001b93b229")


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    data = write(tmp_path, {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS})
    before = open_shop(data, PROTOCOLS["default"])
    write(tmp_path, {"items_shuffle.json": [*records(), record("B9", "tea")]})
    after = open_shop(data, PROTOCOLS["default"])
    assert (len(before.catalogue.products), len(after.catalogue.products)) == (3, 4)
    assert before.catalogue.products[0].title == "Red Summer Dress"


def test_files_that_change_while_they_are_read_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path, {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS})
    original = reading.read_records

    def read(path: Path) -> Iterator[Any]:
        yield from original(path)
        write(tmp_path, {"items_shuffle.json": [*records(), record("B9", "tea")]})

    monkeypatch.setattr("r3lbench.environments.webshop.store.read_records", read)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    with pytest.raises(BadData, match="changed while they were read"):
        open_shop(data, PROTOCOLS["default"])
    assert not list((tmp_path / "cache" / "webshop").glob("*catalogue*"))


def test_a_repeated_goal_counts_once_between_splits_and_not_within(tmp_path: Path) -> None:
    product = record("B1", "tea", customization_options={"size": [{"value": "one"}] * 40})
    attributes = {"B1": {"attributes": ["x"], "instruction": "tea", "instruction_attributes": ["x"]}}
    shop = open_shop(
        write(tmp_path, {"items_shuffle.json": [product], "items_ins_v2.json": attributes}), PROTOCOLS["default"]
    )
    assert list(shop.repeated) == list(range(40))
    _, splits = splits_of(shop, PROTOCOLS["default"])
    assert {name: len(positions) for name, positions in splits.items()} == {"test": 4, "dev": 0, "train": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Files in WebShop's format with 1,200 products, 500 of them with human instructions."""
    folder = tmp_path_factory.mktemp("data")
    write_files(folder, 1200)
    return str(folder)


def test_files_of_any_size_are_official_ones_and_the_same_for_a_seed(data: str, tmp_path: Path) -> None:
    write_files(tmp_path, 700, compress=True)
    shop, fewer = open_shop(data, PROTOCOLS["default"]), open_shop(str(tmp_path), PROTOCOLS["default"])
    assert (len(shop.catalogue.products), len(fewer.catalogue.products)) == (1200, 700)
    assert shop.catalogue.products[:700] == tuple(fewer.catalogue.products)
    assert len(open_shop(data, PROTOCOLS["default"], goals=GoalKind.HUMAN).goals) > 500


def test_a_larger_catalogue_takes_no_more_memory_to_make(
    data: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reading, "CHUNK", 1 << 14)
    monkeypatch.setattr(store, "POSTINGS", 5000)
    monkeypatch.setattr(keeping, "_CHUNK", 1 << 14)
    monkeypatch.setattr(columns, "_AT_ONCE", 16)
    # Remembers words.
    for one in open_shop(data, PROTOCOLS["default"]).catalogue.products:
        analyze(one.indexed_text)
    root = Path(data)
    sources = Sources(root / "items_shuffle.json", root / "items_ins_v2.json", root / "items_human_ins.json", None)
    peaks = dict.fromkeys((200, 800), math.inf)
    # The least of two: threads that other tests have left behind take memory, too.
    for products, again in product(peaks, range(2)):
        monkeypatch.setenv(CACHE, str(tmp_path / f"{products}-{again}"))
        gc.collect()
        tracemalloc.start()
        open_store(sources, products)
        peaks[products] = min(peaks[products], tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[800] < 1.5 * peaks[200] < 1_500_000, peaks


def test_worker_processes_share_what_they_map(data: str) -> None:
    WebShop(data=data)
    workers = [Worker(EnvSource("r3lbench.environments.webshop:WebShop", {"data": data})) for _ in range(2)]
    try:
        mapped = [worker.insist(lambda worker=worker: mappings(worker), "looking") for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    assert mapped[0] == mapped[1]
    index = {"terms.data", "terms.bounds", "starts", "documents", "saturations", "ranks"}
    assert {Path(path).name for _, _, path in mapped[0]} == index
    assert {access for access, _, _ in mapped[0]} == {"r--s"}


def mappings(worker: Worker) -> set[tuple[str, str, str]]:
    """Access, inode and file of what a process has mapped of the cache."""
    worker.exchange({"verb": "facts", "instance": 0}, 60.0)
    lines = (line.split(maxsplit=5) for line in Path(f"/proc/{worker.pid}/maps").read_text().splitlines())
    folder = str(cache_folder())
    return {(line[1], line[4], line[5]) for line in lines if len(line) == 6 and line[5].startswith(folder)}


SESSIONS = """if True:
    import random, sys
    from pathlib import Path
    from r3lbench.environments.webshop import WebShop

    def megabytes():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(size) / 1024 for name, size, _ in map(str.split, lines)}
        return {"rss": sizes["Rss:"], "pss": sizes["Pss:"]}

    def play(count):
        rng = random.Random(0)
        sessions = [WebShop(data=sys.argv[1]) for _ in range(count)]
        panel = sessions[0].panel("train")
        for index, session in enumerate(sessions):
            session.reset(options={"task": panel[index % len(panel)].id})
            for _ in range(6):
                if not session.done:
                    session.step(rng.choice(session.admissible_actions()))
        return sessions

    kept = play(1)
    one = megabytes()
    kept += play(256)
    many = megabytes()
    print(*(many[name] - one[name] for name in one))
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").is_file(), reason="memory is read from /proc")
def test_256_sessions_need_little_more_memory_than_one(data: str) -> None:
    WebShop(data=data)
    ran = subprocess.run([sys.executable, "-c", SESSIONS, data], stdout=subprocess.PIPE, text=True, check=True)
    more = [float(number) for number in ran.stdout.split()]
    assert max(more) < 30, more
