"""Where time goes: phases within phases.

Whoever does something worth telling apart says so, ``with phase("forward"):``, and whoever measures at the moment is
told; where nobody does, it costs next to nothing. A block must not wait for other coroutines, so that phases lie within
each other or apart. Nothing depends on what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import NamedTuple

Path = tuple[str, ...]
"""A phase, from the outermost one that it lies in: ``("explore", "attempt", "decode")``."""


class Seconds(NamedTuple):
    """Seconds of the wall clock, and of this process on any CPU; those of worker processes are not among the latter."""

    wall: float = 0.0
    cpu: float = 0.0

    def plus(self, other: Seconds, times: float = 1.0) -> Seconds:
        """The sum, the other one multiplied."""
        return Seconds(self.wall + times * other.wall, self.cpu + times * other.cpu)


def now() -> Seconds:
    """The present time; only differences mean something."""
    return Seconds(time.perf_counter(), time.process_time())


Told = dict[str, tuple[float, float]]
"""Wall and CPU seconds by phase as recorded: paths with dots, microseconds the last digit."""


class Phases:
    """Adds up seconds by phase.

    Time counts for a phase and for all that it lies in. A phase directly within itself is no other one.

    Args:
        clock: Tells the time.

    Attributes:
        spent: By path; phases that are still open are not in it yet.
    """

    def __init__(self, clock: Callable[[], Seconds] = now) -> None:
        self.spent: dict[Path, Seconds] = {}
        self._clock = clock
        self._within: Path = ()
        self._at_last_lap: dict[Path, Seconds] = {}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Be told of all phases of the block."""
        token = _MEASURING.set(self)
        try:
            yield
        finally:
            _MEASURING.reset(token)

    @contextmanager
    def phase(self, *names: str) -> Iterator[None]:
        """See ``phase``."""
        outer = self._within
        inner = self._within = self._below(names)
        began = self._clock()
        try:
            yield
        finally:
            self._within = outer
            self._add(inner, self._clock().plus(began, -1))

    @contextmanager
    def side_by_side(self) -> Iterator[Callable[[Path, float], None]]:
        """See ``side_by_side``."""
        took: list[tuple[Path, float]] = []
        began = self._clock()
        try:
            yield lambda path, seconds: took.append((path, seconds))
        finally:
            whole, total = self._clock().plus(began, -1), sum(seconds for _, seconds in took)
            for path, seconds in took if total else ():
                self._add(self._below(path), Seconds().plus(whole, seconds / total))

    def lap(self) -> dict[Path, Seconds]:
        """What was spent since the last lap, by path."""
        before, self._at_last_lap = self._at_last_lap, dict(self.spent)
        lately = {path: spent.plus(before.get(path, Seconds()), -1) for path, spent in self.spent.items()}
        return {path: spent for path, spent in lately.items() if spent != Seconds()}

    def add(self, earlier: Mapping[Path, Seconds]) -> None:
        """Count what was spent in an earlier part of the run, which is no part of the next lap."""
        self.spent, self._at_last_lap = (total([earlier, of]) for of in (self.spent, self._at_last_lap))

    def _below(self, names: Path) -> Path:
        return (*self._within, *(names[1:] if names[:1] == self._within[-1:] else names))

    def _add(self, path: Path, spent: Seconds) -> None:
        """Count for a phase, and for those around it that are not open: they count when they end."""
        for depth in range(len(self._within) + 1, len(path) + 1):
            self.spent[path[:depth]] = self.spent.get(path[:depth], Seconds()).plus(spent)


def to_json(spent: Mapping[Path, Seconds]) -> Told:
    """As recorded."""
    return {".".join(path): (round(spent[path].wall, 6), round(spent[path].cpu, 6)) for path in sorted(spent)}


def from_json(told: Mapping[str, tuple[float, float]]) -> dict[Path, Seconds]:
    """What was recorded so."""
    return {tuple(name.split(".")): Seconds(*seconds) for name, seconds in told.items()}


class Span(NamedTuple):
    """A phase as part of the whole.

    Attributes:
        path: The phase.
        begin: Share of the whole at which it begins where all that it lies in do.
        share: Of the whole, in [0, 1].
        spent: Seconds.
    """

    path: Path
    begin: float
    share: float
    spent: Seconds


def spans(spent: Mapping[Path, Seconds]) -> Iterator[Span]:
    """All phases, each before those within it and the longest first; what is left of one is called ``other``."""
    whole = sum(of.wall for path, of in spent.items() if len(path) == 1)

    def within(outer: Path, begin: float) -> Iterator[Span]:
        inner = sorted((path for path in spent if path[:-1] == outer), key=lambda path: (-spent[path].wall, path))
        left = spent.get(outer, Seconds())
        for path in inner:
            yield Span(path, begin / whole, spent[path].wall / whole, spent[path])
            yield from within(path, begin)
            begin += spent[path].wall
            left = left.plus(spent[path], -1)
        if outer and inner:
            yield Span((*outer, "other"), begin / whole, left.wall / whole, left)

    return within((), 0.0)


def total(parts: Iterable[Mapping[Path, Seconds]]) -> dict[Path, Seconds]:
    """The sum by phase."""
    summed: dict[Path, Seconds] = {}
    for part in parts:
        for path, spent in part.items():
            summed[path] = summed.get(path, Seconds()).plus(spent)
    return summed


_MEASURING: ContextVar[Phases | None] = ContextVar("r3lbench_phases", default=None)


@contextmanager
def phase(*names: str) -> Iterator[None]:
    """Count the block's time for a phase within the present one; several names are phases within each other."""
    with nullcontext() if (measuring := _MEASURING.get()) is None else measuring.phase(*names):
        yield


@contextmanager
def side_by_side() -> Iterator[Callable[[Path, float], None]]:
    """Divide the block's time among phases that take place in it at once, in proportion to the time of each.

    The result is told the path of each, below the present phase, and its own seconds; it may be called in any thread.
    """
    with (
        nullcontext(lambda path, seconds: None)
        if (measuring := _MEASURING.get()) is None
        else (measuring.side_by_side()) as tell
    ):
        yield tell
