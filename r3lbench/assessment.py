"""How well reflections find the decisive step, and how well credit ranks with the true advantages of steps.

Pure arithmetic on what a run recorded and what `valuing` found out; the definitions, with their reasons, stand in
docs/credit.md. Intervals are over tasks: what was tried on one task stays together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from r3lbench.stats import CHANGE, LEVEL, UNIT, estimate
from r3lbench.traces import RecordedGroup
from r3lbench.valuing import Values

TOLERANCE = 1e-9
"""Values, advantages and credits that differ by less are the same."""
RESAMPLES = 1_000
"""Of the pooled correlation, whose ranks are found anew in each."""


@dataclass(frozen=True)
class Pivot:
    """A reflection's step against the decisive one, in an attempt that fell short of what could be had.

    Attributes:
        step: The step that the reflection names, k.
        decisive: The step with the largest loss, the earliest among equals, k*.
        open: For every step, whether all that could be had at the start could still be had before it.
    """

    step: int
    decisive: int
    open: tuple[bool, ...]

    def measures(self, step: int) -> dict[str, float]:
        """By name of the measure what a reflection would be worth that names ``step``."""
        return {
            "exact": float(step == self.decisive),
            "within_one": float(abs(step - self.decisive) <= 1),
            "in_time": float(self.open[step]),
            "offset": float(step - self.decisive),
        }

    def by_chance(self) -> dict[str, float]:
        """Their means over all steps: the expectation of a step drawn uniformly."""
        drawn = [self.measures(step) for step in range(len(self.open))]
        return {name: math.fsum(one[name] for one in drawn) / len(drawn) for name in PIVOT_MEASURES}


SHARES = ("exact", "within_one", "in_time")
PIVOT_MEASURES = (*SHARES, "offset")
CREDIT_MEASURES = ("pooled", "in_groups", "in_attempts", "sign", "decisive", "innocent")


@dataclass(frozen=True)
class Judged:
    """A group, judged by the values of its states.

    Attributes:
        task: What intervals are clustered by.
        credit: What the method gave each step, by the state that it led to; the root's is 0.
        advantage: V(after) - V(before) likewise; None where a value is missing.
        attempts: The steps of every attempt, as states that they led to.
        failed: Whether each attempt lost something of what could be had; None where a value is missing.
        decisive: The steps that lost most, one for each failed attempt.
        pivots: The reflections that name a step of a failed attempt.
        reflections: Reflections on failed attempts.
        invalid: Those among them that are not valid.
        without_step: Those among them that are valid and name no step.
    """

    task: str
    credit: tuple[float, ...]
    advantage: tuple[float | None, ...]
    attempts: tuple[tuple[int, ...], ...]
    failed: tuple[bool | None, ...]
    decisive: frozenset[int]
    pivots: tuple[Pivot, ...]
    reflections: int
    invalid: int
    without_step: int

    def scored(self, steps: Iterable[int]) -> list[tuple[float, float]]:
        """(credit, advantage) of the steps whose advantage is known."""
        pairs = ((self.credit[step], self.advantage[step]) for step in steps)
        return [(credit, advantage) for credit, advantage in pairs if advantage is not None]


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval.

    Attributes:
        value: None where it is not defined.
        low: Lower end; equal to ``value`` where there is one task only.
        high: Upper end.
        count: Of how many things it is a mean, or between how many a correlation.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int

    def to_json(self) -> dict[str, Any]:
        """As recorded, to six digits."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if end is None else round(end, 6) for name, end in ends.items()} | {"count": self.count}


@dataclass(frozen=True)
class Assessment:
    """What some groups come to.

    Attributes:
        counts: Groups, attempts, failed attempts, steps, and what became of the reflections on failed attempts.
        pivots: By name (``PIVOT_MEASURES``); ``offset`` in steps, the others shares.
        chance: The same for a step drawn uniformly from the same attempts.
        lift: By how much reflections differ from that, paired.
        credit: By name (``CREDIT_MEASURES``): three rank correlations, three shares.
    """

    counts: dict[str, int]
    pivots: dict[str, Measure]
    chance: dict[str, float | None]
    lift: dict[str, Measure]
    credit: dict[str, Measure]

    def to_json(self) -> dict[str, Any]:
        """As recorded."""
        return {
            "counts": self.counts,
            "pivots": {name: of.to_json() for name, of in self.pivots.items()},
            "chance": {name: None if value is None else round(value, 6) for name, value in self.chance.items()},
            "lift": {name: of.to_json() for name, of in self.lift.items()},
            "credit": {name: of.to_json() for name, of in self.credit.items()},
        }


def judge(group: RecordedGroup, values: Values) -> Judged:
    """Hold what a group's method said and gave against the values of its states."""
    paths = {attempt.key: group.path(attempt.leaf) for attempt in group.attempts}
    parents = [state.parent for state in group.states]
    advantage = tuple(
        None if parent is None else _difference(values[state], values[parent]) for state, parent in enumerate(parents)
    )
    failed = {key: _fell_short(values, path) for key, path in paths.items()}
    decisive = {key: _decisive(advantage, path) for key, path in paths.items() if failed[key]}
    looked_back = [one for one in group.reflections if failed[one.of]]
    return Judged(
        task=group.task,
        credit=_credit(group, paths),
        advantage=advantage,
        attempts=tuple(path[1:] for path in paths.values()),
        failed=tuple(failed.values()),
        decisive=frozenset(paths[key][step + 1] for key, step in decisive.items()),
        pivots=tuple(
            Pivot(one.pivot, decisive[one.of], _open(values, paths[one.of]))
            for one in looked_back
            if one.valid and one.pivot is not None
        ),
        reflections=len(looked_back),
        invalid=sum(not one.valid for one in looked_back),
        without_step=sum(one.valid and one.pivot is None for one in looked_back),
    )


def _credit(group: RecordedGroup, paths: dict[str, tuple[int, ...]]) -> tuple[float, ...]:
    """The sum of the weights of all terms that train a step's turn, itself or a copy; masked and unused ones have 0."""
    led_to = {
        node: state
        for attempt in group.attempts
        for (_, node), state in zip(attempt.turns, paths[attempt.key][1:], strict=True)
    }
    weights: dict[int, list[float]] = defaultdict(list)
    for term in group.terms:
        for node in term.sampled_in:
            if node in led_to:
                weights[led_to[node]].append(term.weight)
    return tuple(math.fsum(weights[state.id]) for state in group.states)


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before


def _fell_short(values: Values, path: Sequence[int]) -> bool | None:
    """Whether an attempt came to less than its start was worth; None where a value on its way is missing."""
    if any(values[state] is None for state in path):
        return None
    change = _difference(values[path[-1]], values[path[0]])
    return change is not None and change < -TOLERANCE


def _decisive(advantage: Sequence[float | None], path: Sequence[int]) -> int:
    """The step with the largest loss; rounded, so that the earliest among equals is found."""
    gains = [round(advantage[state] or 0.0, 9) for state in path[1:]]
    return gains.index(min(gains))


def _open(values: Values, path: Sequence[int]) -> tuple[bool, ...]:
    start = values[path[0]] or 0.0
    return tuple((values[state] or 0.0) >= start - TOLERANCE for state in path[:-1])


# From groups to numbers


def assess(groups: Iterable[Judged]) -> Assessment:
    """Sum up; the order of the groups does not matter."""
    groups = list(groups)
    pivots = [(group.task, pivot) for group in groups for pivot in group.pivots]
    named = [(task, pivot.measures(pivot.step)) for task, pivot in pivots]
    drawn = [pivot.by_chance() for _, pivot in pivots]
    return Assessment(
        counts={
            "groups": len(groups),
            "attempts": sum(len(group.attempts) for group in groups),
            "failed": sum(failed is True for group in groups for failed in group.failed),
            "unvalued": sum(failed is None for group in groups for failed in group.failed),
            "steps": sum(len(group.credit) - 1 for group in groups),
            "reflections": sum(group.reflections for group in groups),
            "invalid": sum(group.invalid for group in groups),
            "without_step": sum(group.without_step for group in groups),
            "pivots": len(pivots),
        },
        pivots={
            name: _mean(((task, of[name]) for task, of in named), UNIT if name in SHARES else None)
            for name in PIVOT_MEASURES
        },
        chance={name: math.fsum(of[name] for of in drawn) / len(drawn) if drawn else None for name in PIVOT_MEASURES},
        lift={
            name: _mean(
                ((task, of[name] - by[name]) for (task, of), by in zip(named, drawn, strict=True)),
                CHANGE if name in SHARES else None,
            )
            for name in PIVOT_MEASURES
        },
        credit=_credit_measures(groups),
    )


def _credit_measures(groups: Sequence[Judged]) -> dict[str, Measure]:
    in_groups, in_attempts, signs, decisive, innocent = [], [], [], [], []
    pooled: list[tuple[str, float, float]] = []
    for group in groups:
        task = group.task
        steps = group.scored(range(1, len(group.credit)))
        pooled += [(task, credit, advantage) for credit, advantage in steps]
        in_groups.append((task, spearman(steps)))
        in_attempts += [(task, spearman(group.scored(path))) for path in group.attempts]
        signs += [
            (task, float(credit * advantage > 0 and abs(credit) > TOLERANCE))
            for credit, advantage in steps
            if abs(advantage) > TOLERANCE
        ]
        decisive += [(task, float(group.credit[step] < -TOLERANCE)) for step in sorted(group.decisive)]
        # A step that a retry shares with its base is one step.
        of_failures = {
            step for path, failed in zip(group.attempts, group.failed, strict=True) if failed for step in path
        }
        innocent += [
            (task, float(group.credit[step] < -TOLERANCE))
            for step in sorted(of_failures)
            if (group.advantage[step] or 0.0) >= -TOLERANCE
        ]
    return {
        "pooled": _correlation(pooled),
        "in_groups": _mean(in_groups, CHANGE),
        "in_attempts": _mean(in_attempts, CHANGE),
        "sign": _mean(signs, UNIT),
        "decisive": _mean(decisive, UNIT),
        "innocent": _mean(innocent, UNIT),
    }


def _mean(values: Iterable[tuple[str, float | None]], bounds: tuple[float, float] | None = None) -> Measure:
    """The mean of what is defined, with its interval over tasks, which stays between the bounds."""
    by_task: dict[str, list[float]] = defaultdict(list)
    for task, value in values:
        if value is not None:
            by_task[task].append(value)
    if not by_task:
        return Measure(None, None, None, 0)
    tasks = sorted(by_task)
    sums, counts = ([[of(by_task[task]) for task in tasks]] for of in (math.fsum, len))
    of = estimate(sums, per=counts, bounds=bounds)
    return Measure(of.value, of.low, of.high, sum(map(len, by_task.values())))


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Rank correlation, ties averaged; None where one side is constant."""
    if len(pairs) < 2:
        return None
    return _ranked(*zip(*pairs, strict=True))(np.ones(len(pairs)))


def _correlation(steps: Sequence[tuple[str, float, float]]) -> Measure:
    """The rank correlation between all steps, with its interval over tasks."""
    if len(steps) < 2:
        return Measure(None, None, None, len(steps))
    names, credits, advantages = zip(*steps, strict=True)
    weighted = _ranked(credits, advantages)
    value = weighted(np.ones(len(steps)))
    if value is None:
        return Measure(None, None, None, len(steps))
    tasks, of = np.unique(names, return_inverse=True)
    if len(tasks) == 1:
        return Measure(value, value, value, len(steps))
    # Of n tasks n - 1 are drawn, so that few tasks are not too sure. A draw in which one side is constant says nothing.
    draws = np.random.default_rng(0).multinomial(len(tasks) - 1, np.full(len(tasks), 1 / len(tasks)), size=RESAMPLES)
    found = [one for draw in draws if (one := weighted(draw[of].astype(np.float64))) is not None]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if found else (value, value)
    return Measure(value, float(low), float(high), len(steps))


def _ranked(left: Sequence[float], right: Sequence[float]) -> Callable[[NDArray[np.float64]], float | None]:
    """The rank correlation as a function of how often each pair counts."""
    sides = [np.unique(np.round(side, 9), return_inverse=True)[1] for side in (left, right)]

    def of(weights: NDArray[np.float64]) -> float | None:
        centred = []
        for places in sides:
            counts = np.bincount(places, weights)
            # A value's mean rank is the number of those below it and half the number of its equals; the mean of all
            # is half of them. These are multiples of 1/2, so that all sums are exact, and no order matters.
            centred.append((np.cumsum(counts) - counts / 2)[places] - weights.sum() / 2)
        squares = [(weights * side**2).sum() for side in centred]
        if min(squares) <= 0:
            return None
        return float((weights * centred[0] * centred[1]).sum() / math.sqrt(squares[0] * squares[1]))

    return of
