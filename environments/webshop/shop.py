"""Opening a shop: from WebShop's files, or the generated catalogue when there are none.

A shop is opened once in a process, however many environments enter it: products, index and goals are immutable. Files
are looked for by WebShop's own names (full or ``_1000``), as ``.json``, ``.jsonl`` or gzipped. What is made of them is
kept on disk (``keeping``): the catalogue with its index (``store``), then its prices (``stock``), then the goals
(``stored_goals``), each from the one before and more settings.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from r3lbench.errors import BadData

from .catalogue import Catalogue, build_catalogue, texts
from .generated import generate
from .goals import ORDER_SEED, Goal
from .keeping import stamp_of
from .nouns import TitleNouns
from .protocols import SPLITS, GoalKind, Protocol
from .reading import read_mapping
from .stock import Stock, open_stock
from .store import Sources
from .stored_goals import open_goals

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


@dataclass(frozen=True, eq=False)
class Shop:
    """A catalogue and what shoppers are asked for, in the order that task indices refer to.

    Attributes:
        catalogue: Products, prices and search.
        goals: The goals.
        keys: Content hash of every goal.
        repeated: Positions of the goals that are there more than once.
        kind: Where the goals come from: ``"human"``, ``"synthetic"`` or ``"generated"``.
    """

    catalogue: Catalogue
    goals: Sequence[Goal]
    keys: Sequence[str]
    repeated: Sequence[int]
    kind: str


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
    sources = _sources(folder, num_products)
    stamps = tuple(number for file in sources.all_files for number in stamp_of(file))
    stock = _stock(sources, stamps, num_products, price_seed)
    return _shop(stock, goals or _kind(stock, protocol), order_seed)


@lru_cache(maxsize=16)
def splits_of(shop: Shop, protocol: Protocol) -> tuple[str, dict[str, Sequence[int]]]:
    """Name of the splitting rule, and the positions in ``shop.goals`` of each split's tasks.

    Upstream's synthetic goals hold a few repetitions; one that repeats a held-out goal is left out of the splits that
    come after it (test, dev, train).
    """
    rule, ranges = protocol.ranges(len(shop.goals))
    splits: dict[str, Sequence[int]] = {}
    held_out: set[str] = set()
    for name in reversed(SPLITS):
        repeated = {position: shop.keys[position] for position in shop.repeated if position in ranges[name]}
        left_out = {position for position, key in repeated.items() if key in held_out}
        # Numbers side by side: there may be millions.
        splits[name] = array("q", (position for position in ranges[name] if position not in left_out))
        held_out.update(repeated.values())
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
    goals = tuple(map(Goal.from_record, made.goals))
    keys = tuple(goal.key for goal in goals)
    times = Counter(keys)
    return Shop(catalogue, goals, keys, [at for at, key in enumerate(keys) if times[key] > 1], "generated")


@lru_cache(maxsize=4)
def _shop(stock: Stock, kind: GoalKind, order_seed: int | None) -> Shop:
    return Shop(stock.catalogue, *open_goals(stock, kind, order_seed), str(kind))


@lru_cache(maxsize=2)
def _stock(sources: Sources, stamps: tuple[int, ...], num_products: int | None, price_seed: int | None) -> Stock:
    """The stock of some files; of files that have changed, another one."""
    nouns = None
    if sources.nouns is not None:
        nouns = dict(read_mapping(sources.nouns, texts))
    return open_stock(sources, num_products, price_seed, TitleNouns(nouns))


def _sources(folder: str, num_products: int | None) -> Sources:
    """WebShop's files in a folder; small ones where they suffice."""
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise BadData(f"{root} is not a folder; {_HOW_TO_GET}")
    sizes = ("_1000", "") if num_products is not None and num_products <= SMALL else ("", "_1000")
    products = _find(root, "items_shuffle", sizes)
    instructions = _find(root, "items_ins_v2", sizes)
    if products is None or instructions is None:
        wanted = " or ".join(f"{'items_shuffle' if products is None else 'items_ins_v2'}{size}.json" for size in sizes)
        raise BadData(f"{root} holds no {wanted} (or .json.gz); {_HOW_TO_GET}")
    return Sources(products, instructions, _find(root, "items_human_ins", ("",)), _find(root, "title_nouns", ("",)))


def _find(folder: Path, stem: str, sizes: Sequence[str]) -> Path | None:
    names = [f"{stem}{size}{suffix}" for size in sizes for suffix in _SUFFIXES]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _kind(stock: Stock, protocol: Protocol) -> GoalKind:
    asked = stock.catalogue.store.human_goals
    if protocol.goals is None:
        return GoalKind.HUMAN if protocol.suffices(asked) else GoalKind.SYNTHETIC
    return protocol.goals if asked >= ENOUGH_HUMAN_GOALS else GoalKind.SYNTHETIC
