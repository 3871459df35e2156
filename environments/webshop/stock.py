"""A stored catalogue with one price for each product, drawn by a seed."""

from __future__ import annotations

import json
import math
import random
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from r3lbench.files import to_json

from .catalogue import Catalogue, hash_of
from .columns import Column, LookedUp
from .index import SearchIndex
from .keeping import kept
from .nouns import TitleNouns
from .store import KEPT, Sources, Store, open_store

_PRICES, _FACTS = "prices", "facts.json"
_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredCatalogue(Catalogue):
    """A catalogue whose products lie on disk.

    Attributes:
        store: Where they lie.
        content: The catalogue's hash.
    """

    store: Store
    content: str

    @cached_property
    def index(self) -> SearchIndex:
        """Search over the products' indexed texts; hits are positions in ``products``."""
        return self.store.index

    @cached_property
    def position(self) -> Mapping[str, int]:
        """ASIN to position."""
        return self.store.position

    @cached_property
    def hash(self) -> str:
        """As of any catalogue with these products."""
        return self.content


@dataclass(frozen=True, eq=False)
class Stock:
    """A catalogue from which goals of either kind can be made.

    Attributes:
        catalogue: Products and prices.
        sources: The files that they are from.
        made_from: What all of it was made from.
        keep: Whether what is made from it will be wanted again.
        random_state: Of the generator that has drawn the prices and goes on with the goals.
    """

    catalogue: StoredCatalogue
    sources: Sources
    made_from: Mapping[str, Any]
    keep: bool
    random_state: tuple[Any, ...]


def open_stock(sources: Sources, num_products: int | None, price_seed: int | None, nouns: TitleNouns) -> Stock:
    """Open the catalogue of some files.

    Args:
        sources: The files.
        num_products: Look only at this many entries of the product file.
        price_seed: Seed of the prices where ranges are shown; None draws others each time.
        nouns: Rule for title nouns.

    Raises:
        BadData: A file is not in WebShop's format, or there is no room for the catalogue.
    """
    store = open_store(sources, num_products)
    made_from = {**store.made_from, "price_seed": price_seed, "title_nouns": nouns.name}
    keep = price_seed is not None

    def take(folder: Path) -> Stock:
        facts = json.loads((folder / _FACTS).read_bytes())
        version, state, following = facts["random_state"]
        catalogue = StoredCatalogue(
            name=f"webshop-{len(store.products)}",
            products=store.products,
            prices=LookedUp(len(store.products), Column(folder / _PRICES, "<f8").__getitem__, KEPT),
            nouns=nouns,
            store=store,
            content=facts["hash"],
        )
        return Stock(catalogue, sources, made_from, keep, (version, tuple(state), following))

    return kept("prices", made_from, partial(_make, store, price_seed, nouns), take, keep=keep)


def _make(store: Store, seed: int | None, nouns: TitleNouns, folder: Path) -> None:
    rng = random.Random(seed)
    # As upstream's ``generate_product_prices``, in the same order as ``catalogue.draw_prices``.
    prices = array("d", (low if math.isnan(high) else rng.uniform(low, high) for low, high in _ranges(store)))
    np.array(prices, "<f8").tofile(folder / _PRICES)
    facts = {"hash": hash_of(nouns, store.lines, prices), "random_state": rng.getstate()}
    (folder / _FACTS).write_bytes(to_json(facts))


def _ranges(store: Store) -> Iterator[tuple[float, float]]:
    for start in range(0, len(store.products), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(store.products))
        yield from map(tuple, store.price_ranges.read(2 * start, 2 * stop).reshape(-1, 2).tolist())
