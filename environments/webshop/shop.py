"""Opening a shop: from WebShop's files, or the generated catalogue when there are none.

A shop is opened once in a process, however many environments enter it: products, index and goals are immutable. Files
are looked for by WebShop's own names (full or ``_1000``), as ``.json``, ``.jsonl`` or gzipped, and a product file of
any size is read entry by entry.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import IO, Any, TypeVar

from r3lbench.errors import BadData

from .catalogue import Catalogue, build_catalogue, texts
from .generated import generate
from .goals import ORDER_SEED, Goal, human_goals, shuffled, synthetic_goals
from .nouns import TitleNouns
from .protocols import SPLITS, GoalKind, Protocol

DATA_VARIABLE = "WEBSHOP_DATA_DIR"
GENERATED = "generated"
"""Value of ``data`` that asks for the generated catalogue even where ``WEBSHOP_DATA_DIR`` is set."""
SMALL = 1000
"""Products in the files whose names end in ``_1000``."""
ENOUGH_HUMAN_GOALS = 100
"""With fewer human goals than this, synthetic ones are used unless human ones are demanded."""

_SUFFIXES = (".json", ".json.gz", ".jsonl", ".jsonl.gz")
_HOW_TO_GET = (
    "get WebShop's files with ./setup.sh of https://github.com/princeton-nlp/WebShop and name their folder with data= "
    f"or {DATA_VARIABLE}, or use data={GENERATED!r}"
)
_CHUNK = 1 << 22
_DAMAGED = (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error)
"""What reading a text file, compressed or not, may raise when its bytes are not what they should be."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Shop:
    """A catalogue and what shoppers are asked for, in the order that task indices refer to.

    Attributes:
        catalogue: Products, prices and search.
        goals: The goals.
        kind: Where the goals come from: ``"human"``, ``"synthetic"`` or ``"generated"``.
    """

    catalogue: Catalogue
    goals: tuple[Goal, ...]
    kind: str

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Content hash of every goal."""
        return tuple(goal.key for goal in self.goals)


@dataclass(frozen=True, eq=False)
class _Stock:
    """A catalogue and the instructions written for it, from which goals of either kind can be made."""

    catalogue: Catalogue
    instructions: Mapping[str, Mapping[str, Any]]
    instructions_source: str
    human: Mapping[str, Sequence[Mapping[str, Any]]]
    human_source: str
    random_state: tuple[Any, ...]


def open_shop(
    data: str | None,
    protocol: Protocol,
    *,
    goals: GoalKind | None = None,
    num_products: int | None = None,
    catalogue_seed: int = 0,
    price_seed: int | None = 0,
    order_seed: int | None = ORDER_SEED,
) -> Shop:
    """Open a shop; the same arguments give the same object.

    Args:
        data: Folder with WebShop's files; None takes ``WEBSHOP_DATA_DIR``, and the generated catalogue where that is
            not set either.
        protocol: Says which kind of goals it wants.
        goals: Kind of goals, overriding the protocol's; the generated catalogue has one kind only.
        num_products: Use only the first so many entries of the product file.
        catalogue_seed: Seed of the generated catalogue.
        price_seed: Seed of the draws of prices and price limits; None draws anew in every process, as upstream does.
        order_seed: Seed of the goals' order; None shuffles anew in every process.

    Raises:
        BadData: A file is missing or not in WebShop's format.
    """
    folder = data or os.environ.get(DATA_VARIABLE) or GENERATED
    if folder == GENERATED:
        if num_products is not None or goals is not None:
            raise BadData(f"num_products and goals apply to WebShop's files, and no data is given; {_HOW_TO_GET}")
        return _generated(catalogue_seed)
    stock = _stock(str(Path(folder).expanduser().resolve()), num_products, price_seed)
    kind = goals or _kind(stock, protocol)
    return _shop(stock, kind, order_seed)


@lru_cache(maxsize=16)
def splits_of(shop: Shop, protocol: Protocol) -> tuple[str, dict[str, tuple[int, ...]]]:
    """Name of the splitting rule, and the positions in ``shop.goals`` of each split's tasks.

    Upstream's synthetic goals hold a few repetitions; one that repeats a held-out goal is left out of the splits that
    come after it (test, dev, train).
    """
    rule, ranges = protocol.ranges(len(shop.goals))
    splits: dict[str, tuple[int, ...]] = {}
    held_out: set[str] = set()
    for name in reversed(SPLITS):
        splits[name] = tuple(position for position in ranges[name] if shop.keys[position] not in held_out)
        held_out.update(shop.keys[position] for position in splits[name])
    return rule, splits


@cache
def _generated(seed: int) -> Shop:
    made = generate(seed)
    catalogue = build_catalogue(
        f"generated-{seed}",
        made.products,
        made.instructions,
        prices=made.prices,
        nouns=TitleNouns({title: tuple(nouns) for title, nouns in made.title_nouns.items()}),
        source="the generated catalogue",
    )
    return Shop(catalogue, tuple(map(Goal.from_record, made.goals)), "generated")


@lru_cache(maxsize=4)
def _shop(stock: _Stock, kind: GoalKind, order_seed: int | None) -> Shop:
    rng = random.Random()
    rng.setstate(stock.random_state)
    if kind is GoalKind.HUMAN:
        goals = human_goals(stock.catalogue, stock.human, rng, stock.human_source)
    else:
        goals = synthetic_goals(stock.catalogue, stock.instructions, rng, stock.instructions_source)
    if not goals:
        raise BadData(f"{stock.catalogue.name} has no {kind} goals; choose the other kind with goals=")
    return Shop(stock.catalogue, shuffled(goals, order_seed), str(kind))


@lru_cache(maxsize=2)
def _stock(folder: str, num_products: int | None, price_seed: int | None) -> _Stock:
    root = Path(folder)
    if not root.is_dir():
        raise BadData(f"{folder} is not a folder; {_HOW_TO_GET}")
    sizes = ("_1000", "") if num_products is not None and num_products <= SMALL else ("", "_1000")
    products = _find(root, "items_shuffle", sizes)
    instructions_file = _find(root, "items_ins_v2", sizes)
    instructions = _read_mapping(instructions_file, _record)
    human_file = _find(root, "items_human_ins", ("",), required=False)
    human = {} if human_file is None else _read_mapping(human_file, _list_of_records)
    nouns_file = _find(root, "title_nouns", ("",), required=False)
    nouns = None if nouns_file is None else _read_mapping(nouns_file, texts)
    rng = random.Random(price_seed)
    catalogue = build_catalogue(
        "webshop",
        read_records(products),
        instructions,
        num_products=num_products,
        rng=rng,
        nouns=TitleNouns(nouns),
        source=str(products),
    )
    return _Stock(
        replace(catalogue, name=f"webshop-{len(catalogue.products)}"),
        {asin: record for asin, record in instructions.items() if "instruction" in record},
        str(instructions_file),
        {asin: human[asin] for asin in catalogue.position if asin in human},
        str(human_file),
        rng.getstate(),
    )


def _kind(stock: _Stock, protocol: Protocol) -> GoalKind:
    written = sum(bool(goal.get("instruction_attributes")) for goals in stock.human.values() for goal in goals)
    if protocol.goals is None:
        return GoalKind.HUMAN if protocol.suffices(written) else GoalKind.SYNTHETIC
    return protocol.goals if written >= ENOUGH_HUMAN_GOALS else GoalKind.SYNTHETIC


def read_records(path: Path) -> Iterator[Any]:
    """Entries of a JSON list, or lines of a JSONL file, one by one.

    Raises:
        BadData: The file ends early or is not JSON.
    """
    decoder = json.JSONDecoder()
    with _open(path) as file:
        text, position, ended = "", 0, False
        while True:
            while position < len(text) and text[position] in " \t\r\n,[":
                position += 1
            try:
                if position == len(text) or text[position] == "]":
                    raise json.JSONDecodeError("no entry", text, position)
                entry, position = decoder.raw_decode(text, position)
            except json.JSONDecodeError as error:
                if ended:
                    if text[position:].strip(" \t\r\n]"):
                        raise BadData(f"{path} is damaged or not a JSON list of products: {error.msg}") from error
                    return
                try:
                    more = file.read(max(_CHUNK, len(text) - position))
                except _DAMAGED as damage:
                    raise BadData(f"{path} is damaged: {damage}") from damage
                ended = not more
                text, position = text[position:] + more, 0
            else:
                yield entry


def _read_mapping(path: Path, read: Callable[[Any], T]) -> dict[str, T]:
    """A JSON object whose values ``read`` checks, raising ``TypeError``."""
    try:
        with _open(path) as file:
            content = json.load(file)
    except json.JSONDecodeError as error:
        raise BadData(f"{path} is damaged: it is not JSON ({error})") from error
    except _DAMAGED as error:
        raise BadData(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise BadData(f"{path} should hold a JSON object by ASIN, not a {type(content).__name__}")
    mapping = {}
    for key, value in content.items():
        try:
            mapping[key] = read(value)
        except TypeError as error:
            raise BadData(f"{path}: the entry of {key!r} is not in WebShop's format ({error})") from error
    return mapping


def _record(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {str(value)[:60]}")
    return value


def _list_of_records(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise TypeError(f"a list was expected, not {str(value)[:60]}")
    return [_record(item) for item in value]


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _find(folder: Path, stem: str, sizes: Sequence[str], *, required: bool = True) -> Any:
    names = [f"{stem}{size}{suffix}" for size in sizes for suffix in _SUFFIXES]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None and required:
        wanted = " or ".join(f"{stem}{size}.json" for size in sizes)
        raise BadData(f"{folder} holds no {wanted} (or .json.gz); {_HOW_TO_GET}")
    return found
