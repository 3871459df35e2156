"""What a table of results comes to, with intervals, differences and verdicts.

A table has one row a training seed and one column a task, the same tasks for every seed; its numbers are 0 or 1 (solved
or not) or scores. Every statistic here is the mean of a table, of the results themselves or of their influence on the
statistic (``iqm``, ``probability_of_improvement``, ratios), so that one account of uncertainty serves all:
``r3lbench.crossed``, two crossed random factors and Student's t. scipy is needed for the quantiles of t with broken
degrees of freedom. ``docs/statistics.md`` says what the numbers mean, and how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from r3lbench.crossed import Array, interval, satterthwaite, spread, together, two_sided

LEVEL = 0.95
UNIT = (0.0, 1.0)
"""Bounds of shares, scores and probabilities."""
CHANGE = (-1.0, 1.0)
"""Bounds of differences between these."""


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: Of the table itself.
        low: Lower end of the interval.
        high: Upper end.
        seeds: Number of seeds. With one seed the interval speaks of the choice of tasks only.
        tasks: Number of tasks.
        p: Probability of a value at least as far from 0 if the truth were 0; of use for differences.
    """

    value: float
    low: float
    high: float
    seeds: int
    tasks: int
    p: float

    @property
    def separable(self) -> bool:
        """Whether the interval of a difference leaves out 0."""
        return self.low > 0 or self.high < 0

    def between(self, bounds: tuple[float, float]) -> Self:
        """The same, its interval cut off at the least and the greatest value that there can be."""
        return replace(self, low=max(self.low, bounds[0]), high=min(self.high, bounds[1]))


@dataclass(frozen=True)
class Comparison(Estimate):
    """The difference of a method to the reference, as one of several.

    Attributes:
        corrected: p, corrected for the number of comparisons; the interval stands by itself. None with a single shared
            seed, which says nothing of others.
        improvement: The probability of improvement.
    """

    corrected: float | None
    improvement: Estimate

    @property
    def separable(self) -> bool:
        """Whether the methods differ, by the corrected p; their interval then leaves out 0, too."""
        return self.corrected is not None and self.corrected < 1 - LEVEL


def estimate(
    values: ArrayLike,
    *,
    per: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    bounds: tuple[float, float] | None = None,
    level: float = LEVEL,
) -> Estimate:
    """The mean over seeds and tasks, or a ratio of two means.

    Args:
        values: Shape (seeds, tasks): what every seed came to on every task, repeated episodes averaged.
        per: Denominators of the same shape, all positive: the estimate is then sum(values) / sum(per), e.g. invalid
            actions per step. None: 1 each, the mean.
        clusters: For every task the name of the cluster it belongs to, where tasks were not chosen one by one; the
            clusters are then what chance has drawn. None: each its own.
        bounds: The least and the greatest possible value, which the interval respects: ``UNIT`` for success and scores.
        level: Probability with which the interval is to hold the truth.

    Raises:
        ValueError: The table is empty or not rectangular, holds a number that is not finite, shapes do not match, or
            the level is none.
    """
    above = _table(values)
    below = np.ones_like(above) if per is None else _table(per)
    if below.shape != above.shape or (below <= 0).any():
        raise ValueError(f"denominators of shape {above.shape}, all positive, are needed; got shape {below.shape}")
    ratio = above.sum() / below.sum()
    return _estimated(ratio + (above - ratio * below) / below.mean(), clusters, bounds, level)


def difference(
    ours: ArrayLike, theirs: ArrayLike, *, clusters: Sequence[Hashable] | None = None, level: float = LEVEL
) -> Estimate:
    """The mean of ``ours - theirs``, paired by seed and task: what is hard for both drops out.

    Args:
        ours: Shape (seeds, tasks).
        theirs: The same seeds and tasks in the same order.
        clusters: As in ``estimate``.
        level: As in ``estimate``.

    Raises:
        ValueError: The shapes differ; otherwise as ``estimate``.
    """
    left, right = _paired(ours, theirs)
    return _estimated(left - right, clusters, None, level)


def iqm(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    bounds: tuple[float, float] | None = None,
    level: float = LEVEL,
) -> Estimate:
    """The interquartile mean of all cells: the mean without the lowest and the highest quarter.

    As in rliable (Agarwal et al. 2021, arXiv 2108.13264): of n cells ⌊n/4⌋ at either end do not count. The interval is
    that of the cells' influence on it, iqm + 2 (w - mean(w)), where w is a cell moved into the middle half (Tukey and
    McLaughlin 1963). It is for graded scores: of results that are 0 or 1 it shows hardly more than on which side of a
    quarter and three quarters the mean lies.

    Args:
        values: As in ``estimate``.
        clusters: As in ``estimate``.
        bounds: As in ``estimate``.
        level: As in ``estimate``.

    Raises:
        ValueError: As ``estimate``.
    """
    table = _table(values)
    ordered = np.sort(table, axis=None)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    moved = np.clip(table, middle[0], middle[-1])
    return _estimated(middle.mean() + (moved - moved.mean()) * table.size / len(middle), clusters, bounds, level)


def probability_of_improvement(
    ours: ArrayLike, theirs: ArrayLike, *, clusters: Sequence[Hashable] | None = None, level: float = LEVEL
) -> Estimate:
    """How probably a run of ours beats a run of theirs on a task, ties counted half (Agarwal et al. 2021, section 4.3).

    The mean over tasks of the share of pairs of seeds with x > y, plus half of that with x = y: between 0 and 1, and
    0.5 where neither is better. For results that are 0 or 1 it is 0.5 + difference / 2. The interval is that of a
    seed's mean influence as one of ours and as one of theirs (Hájek's projection).

    Args:
        ours: Shape (seeds, tasks).
        theirs: The same seeds and tasks in the same order.
        clusters: As in ``estimate``.
        level: As in ``estimate``.

    Raises:
        ValueError: As ``difference``.
    """
    return _estimated(_wins(*_paired(ours, theirs)), clusters, UNIT, level)


def mean_of_means(
    tables: Sequence[ArrayLike], *, bounds: tuple[float, float] | None = None, level: float = LEVEL
) -> Estimate:
    """The mean over environments of their means; every environment counts the same, however many tasks it has.

    Args:
        tables: One an environment, of shape (seeds, its tasks): the same seeds in the same order.
        bounds: As in ``estimate``.
        level: As in ``estimate``.

    Raises:
        ValueError: There is no table, or their seeds are not as many; otherwise as ``estimate``.
    """
    return _summed(_same_seeds(tables), bounds, level)


def area_under_curve(spent: ArrayLike, values: ArrayLike, budget: float) -> Array:
    """The mean height of a run's learning curve up to a budget, by trapezoids; a constant curve gives its value.

    Runs are compared at the same budget; where a run was evaluated does not matter, as the curve is interpolated
    linearly between its points, and cut at the budget. One row of areas by task for every seed makes a table for
    ``estimate`` and ``difference``.

    Args:
        spent: Shape (points,), rising from 0: what had been spent when the run was evaluated.
        values: Shape (points, ...): results then, e.g. one column a task.
        budget: Positive, in the units of ``spent``.

    Returns:
        Shape (...).

    Raises:
        ValueError: Shapes do not match, ``spent`` does not rise from 0, or ends before the budget.
    """
    at, height = np.asarray(spent, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if at.ndim != 1 or height.shape[:1] != at.shape:
        raise ValueError(f"one value, or row of values, a point is needed; got shapes {at.shape} and {height.shape}")
    if not len(at) or at[0] != 0 or (np.diff(at) <= 0).any():
        raise ValueError("a curve begins where nothing is spent, and every later point at more than the one before")
    if not 0 < budget <= at[-1]:
        raise ValueError(f"the curve ends at {at[-1]:g}: compare at a budget above 0 that every run has reached")
    last = int(np.searchsorted(at, budget))
    share = (budget - at[last - 1]) / (at[last] - at[last - 1])
    end = height[last - 1] + share * (height[last] - height[last - 1])
    curve, widths = np.concatenate([height[:last], end[None]]), np.diff(np.append(at[:last], budget))
    area: Array = np.tensordot(widths, (curve[1:] + curve[:-1]) / 2, axes=1) / budget
    return area


def normalised(values: ArrayLike, floor: ArrayLike, ceiling: ArrayLike) -> Array:
    """(x - floor) / (ceiling - floor): 0 for random play, 1 for the expert, so that environments can be averaged.

    Args:
        values: Any shape.
        floor: What random play comes to: a number, or one a task.
        ceiling: What the expert comes to, above the floor.

    Raises:
        ValueError: A ceiling is not above its floor.
    """
    low, high = np.asarray(floor, dtype=np.float64), np.asarray(ceiling, dtype=np.float64)
    if not (high > low).all():
        raise ValueError("a ceiling is not above its floor: there is nothing to normalise by")
    shares: Array = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return shares


def holm(p: ArrayLike) -> Array:
    """p-values corrected for their number, so that they are wrongly small together as rarely as one alone (Holm 1979).

    The i-th smallest of k is multiplied by k - i + 1, and none is below a smaller one's. Holm's, because every line of
    a table is read as a claim of its own, and because it holds whatever the comparisons have in common, here the
    reference; Benjamini and Hochberg's would promise only that of the methods called different few are not.

    Args:
        p: Shape (k,).

    Returns:
        Shape (k,), at most 1, in the order given.
    """
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
    return corrected


def comparisons(
    pairs: Sequence[tuple[ArrayLike, ArrayLike]], reference: ArrayLike, others: Sequence[ArrayLike]
) -> list[Comparison]:
    """Several methods against one reference, with p-values that allow for their number.

    A difference of three seeds has little to say about its own variance, and nothing in the far tail of t that a
    correction looks at: with six comparisons it would find nothing. So the corrected p-values take the variance between
    seeds from all other methods together, in the manner of Dunnett's test (1955, doi 10.1080/01621459.1955.10501294),
    and that of the reference, which is part of every difference, from the reference alone; Holm's correction follows. A
    method that is less stable than the others would profit from them: therefore a corrected p is never below the
    difference's own, which does not share. A single comparison has its own.

    Args:
        pairs: Of every method the table of the seeds it shares with the reference, and the reference's of the same.
        reference: All results of the reference; the same tasks.
        others: All results of every method, without the reference.

    Raises:
        ValueError: As ``difference``.
    """
    return comparisons_of_means([([ours], [theirs]) for ours, theirs in pairs], [reference], [[of] for of in others])


def comparisons_of_means(
    pairs: Sequence[tuple[Sequence[ArrayLike], Sequence[ArrayLike]]],
    reference: Sequence[ArrayLike],
    others: Sequence[Sequence[ArrayLike]],
) -> list[Comparison]:
    """As ``comparisons``, of means over environments: one table an environment in place of each table."""
    paired = [tuple(zip(*map(_paired, *pair), strict=True)) for pair in pairs]
    differences = [_same_seeds(np.subtract(*sides) for sides in zip(*pair, strict=True)) for pair in paired]
    found = [_summed(tables, None, LEVEL) for tables in differences]
    repeated = [position for position, of in enumerate(found) if of.seeds > 1]
    p = [found[position].p for position in repeated]
    if len(repeated) > 1:
        sides = _between_seeds([reference]), _between_seeds(others)
        p = np.maximum(p, holm([_p_sharing(differences[position], sides) for position in repeated])).tolist()
    corrected = dict(zip(repeated, p, strict=True))
    improvements = [_summed([_wins(*sides) for sides in zip(*pair, strict=True)], UNIT, LEVEL) for pair in paired]
    return [
        Comparison(**vars(of), corrected=corrected.get(position), improvement=improvement)
        for position, (of, improvement) in enumerate(zip(found, improvements, strict=True))
    ]


def _between_seeds(results: Sequence[Sequence[ArrayLike]]) -> tuple[float, float]:
    """The variance that seeds add to their means, and its degrees of freedom, over all methods."""
    known = [together(tables) for tables in map(_same_seeds, results) if len(tables[0]) > 1]
    freedom = sum(squares.freedom[0] for squares in known)
    added = sum(squares.freedom[0] * float(squares.seeds - squares.rest) for squares in known)
    return max(added / freedom, 0.0), freedom


def _p_sharing(differences: Sequence[Array], sides: Sequence[tuple[float, float]]) -> float:
    """The p-value of a mean difference to which the seeds of the two sides add so much, known so well."""
    own = together(differences)
    parts = np.array([float(own.rest) / 2 + added for added, _ in sides])
    freedom = satterthwaite(parts, np.array([freedom for _, freedom in sides]))
    sharing = replace(own, seeds=np.asarray(parts.sum()), freedom=(freedom, *own.freedom[1:]))
    return float(two_sided(_mean(differences), spread(sharing)))


def _wins(ours: Array, theirs: Array) -> Array:
    """The influence of every seed, as one of ours and as one of theirs, on the probability of improvement by task."""
    wins = (np.sign(ours[:, None] - theirs[None, :]) + 1) / 2
    influence: Array = wins.mean(1) + wins.mean(0) - wins.mean((0, 1))
    return influence


def _estimated(
    table: Array, clusters: Sequence[Hashable] | None, bounds: tuple[float, float] | None, level: float
) -> Estimate:
    """The mean of a table with its interval."""
    mean = table.mean()
    drawn = table if clusters is None else _by_cluster(table - mean, clusters) + mean
    return replace(_summed([drawn], bounds, level), tasks=table.shape[1])


def _summed(tables: Sequence[Array], bounds: tuple[float, float] | None, level: float) -> Estimate:
    """The mean of the means of tables of the same seeds, with its interval."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1; got {level}")
    seeds, tasks = len(tables[0]), sum(table.shape[1] for table in tables)
    mean, of = _mean(tables), spread(together(tables))
    units = tasks if tasks > 1 else seeds
    low, high = (mean, mean) if seeds * tasks == 1 else interval(mean, of, level, bounds, units)
    return Estimate(float(mean), float(low), float(high), seeds, tasks, float(two_sided(mean, of)))


def _mean(tables: Sequence[Array]) -> Array:
    mean: Array = np.mean([table.mean() for table in tables])
    return mean


def _same_seeds(tables: Iterable[ArrayLike]) -> list[Array]:
    checked = [_table(table) for table in tables]
    if len({len(table) for table in checked}) != 1:
        raise ValueError(f"tables of the same seeds are needed; got {[len(table) for table in checked]} seeds")
    return checked


def _table(values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"a table has shape (seeds, tasks), at least one of each; got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("a table holds a number that is not finite")
    return table


def _paired(ours: ArrayLike, theirs: ArrayLike) -> tuple[Array, Array]:
    left, right = _table(ours), _table(theirs)
    if left.shape != right.shape:
        raise ValueError(f"tables of different shapes cannot be paired: {left.shape} and {right.shape}")
    return left, right


def _by_cluster(centred: Array, names: Sequence[Hashable]) -> Array:
    """One column a cluster, of the sums of its tasks in units of the mean cluster's size."""
    if len(names) != centred.shape[1]:
        raise ValueError(f"{len(names)} cluster names for {centred.shape[1]} tasks")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    member = np.zeros((len(names), len(numbers)))
    member[np.arange(len(names)), [numbers[name] for name in names]] = 1.0
    sums: Array = centred @ member * (len(numbers) / len(names))
    return sums
