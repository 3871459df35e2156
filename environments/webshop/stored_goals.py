"""The goals of a catalogue on disk, which may be millions: made once, and each made again when it is asked for.

Goals that differ in their options alone are kept as one wish. Beside the wishes lie the goals in order, each as its
wish and its number there, and their keys.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r3lbench.errors import BadData

from .catalogue import Catalogue
from .columns import Column, LookedUp, Texts, TextWriter
from .goals import Goal, Wish, human_wishes, shuffled, synthetic_wishes, weight_of
from .keeping import kept
from .protocols import GoalKind
from .stock import Stock
from .store import KEPT, written

_WISHES, _WEIGHTS, _ORDER, _KEYS, _REPEATED = "wishes", "weights", "order", "keys", "repeated"
_KEY = "V32"
_AT_ONCE = 1 << 16


class StoredGoals(NamedTuple):
    """Goals in the order that task indices refer to.

    Attributes:
        goals: The goals.
        keys: Content hash of each.
        repeated: Positions of those whose key another one has, too, in ascending order.
    """

    goals: Sequence[Goal]
    keys: Sequence[str]
    repeated: Sequence[int]


def open_goals(stock: Stock, kind: GoalKind, order_seed: int | None) -> StoredGoals:
    """The goals of a catalogue; they are made first where this has not been done yet.

    Args:
        stock: Catalogue and instructions.
        kind: Which goals.
        order_seed: Seed of their order; None shuffles anew each time.

    Raises:
        BadData: An instruction is malformed, there are no goals of this kind, or there is no room for them.
    """
    made_from = {**stock.made_from, "goals": kind.value, "order_seed": order_seed}
    make, take = partial(_make, stock, kind, order_seed), partial(_open, stock.catalogue)
    return kept("goals", made_from, make, take, keep=stock.keep and order_seed is not None)


def _open(catalogue: Catalogue, folder: Path) -> StoredGoals:
    wishes, weights = Texts(folder / _WISHES), Column(folder / _WEIGHTS, "<f8")
    order, keys = Column(folder / _ORDER, "<i4"), Column(folder / _KEYS, _KEY)

    def goal(position: int) -> Goal:
        place, number = order.read(2 * position, 2 * position + 2).tolist()
        wish = Wish.from_line(wishes[place], weights[place])
        return wish.goal(number, catalogue.products[wish.position])

    repeated = Column(folder / _REPEATED, "<i8")
    return StoredGoals(
        LookedUp(len(keys), goal, KEPT),
        LookedUp(len(keys), lambda position: keys[position].hex(), KEPT),
        repeated.read(0, len(repeated)).tolist(),
    )


def _make(stock: Stock, kind: GoalKind, order_seed: int | None, folder: Path) -> None:
    """Fill a folder with what ``_open`` opens."""
    starts, weights = array("q", [0]), array("d")
    frequency: Counter[str] = Counter()
    with TextWriter(folder / _WISHES) as writer:
        for wish in _drawn(stock, kind):
            # None where a group of options has no values.
            if goals := len(wish):
                writer.append(wish.line)
                starts.append(starts[-1] + goals)
                for name in wish.attributes:
                    frequency[name] += goals
    if len(starts) == 1:
        raise BadData(f"{stock.catalogue.name} has no {kind} goals; choose the other kind with goals=")
    unordered = folder / "unordered"
    with unordered.open("wb") as keys:
        for line in Texts(folder / _WISHES):
            wish = Wish.from_line(line)
            if kind is GoalKind.SYNTHETIC:
                wish = replace(wish, weight=weight_of(wish, frequency))
            weights.append(wish.weight)
            product = stock.catalogue.products[wish.position]
            for number in range(len(wish)):
                keys.write(bytes.fromhex(wish.goal(number, product).key))
    np.array(weights, "<f8").tofile(folder / _WEIGHTS)
    _write_in_order(np.array(shuffled(starts[-1], order_seed)), np.array(starts), unordered, folder)
    unordered.unlink()


def _drawn(stock: Stock, kind: GoalKind) -> Iterator[Wish]:
    """The wishes, in file order of the products."""
    rng = random.Random()
    rng.setstate(stock.random_state)
    store, sources = stock.catalogue.store, stock.sources
    if kind is GoalKind.HUMAN:
        return human_wishes(stock.catalogue, written(store.human), rng, str(sources.human))
    return synthetic_wishes(stock.catalogue, written(store.instructions), rng, str(sources.instructions))


def _write_in_order(order: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], unordered: Path, folder: Path) -> None:
    """Write goals and keys in order, and the positions of the keys that are there more than once.

    Args:
        order: Numbers of the goals.
        starts: Number of the first goal of each wish, and after the last one how many goals there are.
        unordered: A file with the keys by number.
        folder: Where to write.
    """
    unordered_keys: npt.NDArray[Any] = np.memmap(unordered, _KEY, mode="r")
    beginnings = np.empty(len(order), np.uint64)
    with (folder / _ORDER).open("wb") as goals, (folder / _KEYS).open("wb") as keys:
        for first in range(0, len(order), _AT_ONCE):
            numbers = order[first : first + _AT_ONCE]
            wishes = np.searchsorted(starts, numbers, side="right") - 1
            goals.write(np.column_stack((wishes, numbers - starts[wishes])).astype("<i4").tobytes())
            some = unordered_keys[numbers]
            keys.write(some.tobytes())
            beginnings[first : first + len(some)] = some.view(np.uint64).reshape(len(some), -1)[:, 0]
    ascending = np.argsort(beginnings)
    equal = np.flatnonzero(np.diff(beginnings[ascending]) == 0)
    repeated = np.unique(np.concatenate((ascending[equal], ascending[equal + 1])))
    repeated.astype("<i8").tofile(folder / _REPEATED)
