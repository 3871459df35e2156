"""How small a difference a comparison can find, and how many seeds it takes: to be asked before seeds are spent.

Planning follows the verdict of ``stats.comparisons`` step by step. For given variances of the paired differences
between seeds, between tasks and of the rest, the mean squares between seeds that an experiment may happen to see follow
scaled chi-square distributions; each decides how far from 0 the difference must be, and the normal distribution how
often it is. The average over both mean squares, the difference's own and that of all methods, is the power. The mean
squares of tasks and of the rest have degrees of freedom enough to be taken at their expectations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from r3lbench.crossed import Array, MeanSquares, degrees, mean_squares, spread

ALPHA = 0.05
POWER = 0.8
_GRID = (np.arange(100) + 0.5) / 100
"""Probabilities at which a distribution is looked at."""
_MOST_SEEDS = 100


@dataclass(frozen=True)
class Components:
    """Variances of the paired differences between two methods, from whatever was drawn by chance.

    Attributes:
        seed: Between seeds, over all tasks.
        task: Between tasks, over all seeds: how much it depends on the task which method is ahead.
        rest: Of a single seed on a single task, beside these.
    """

    seed: float
    task: float
    rest: float


@dataclass(frozen=True)
class Sensitivity:
    """What a panel can tell apart.

    Attributes:
        difference: The smallest true difference that is found with the probability ``POWER``; None where not even the
            greatest possible one is.
        seeds: Number of seeds of each method.
        tasks: Number of tasks.
        comparisons: Number of methods compared with the reference.
    """

    difference: float | None
    seeds: int
    tasks: int
    comparisons: int


def components(differences: Sequence[ArrayLike]) -> Components:
    """The variances that some pilot experiments show, on the average.

    Args:
        differences: Tables of paired differences, each of shape (seeds, tasks), at least two of both.

    Raises:
        ValueError: There is no table, or one has a single seed or task: which of the variances it shows is not known.
    """
    shapes = [np.shape(table) for table in differences]
    if not shapes or any(len(shape) != 2 or min(shape) < 2 for shape in shapes):
        raise ValueError(f"tables of two or more seeds and tasks are needed; got shapes {shapes}")
    found = [mean_squares(table) for table in differences]
    seed = [(of.seeds - of.rest) / tasks for of, (_, tasks) in zip(found, shapes, strict=True)]
    task = [(of.tasks - of.rest) / seeds for of, (seeds, _) in zip(found, shapes, strict=True)]
    rest = [of.rest for of in found]
    return Components(*(max(float(np.mean(each)), 0.0) for each in (seed, task, rest)))


def power(
    difference: float, of: Components, seeds: int, tasks: int, *, comparisons: int = 1, alpha: float = ALPHA
) -> float:
    """The probability that a true difference is found to be one, whatever its sign.

    Args:
        difference: The true one.
        of: Variances of paired differences.
        seeds: Of each method, at least 2.
        tasks: At least 2.
        comparisons: Number of methods compared with the reference. The difference is looked at as the first in Holm's
            order, which has to pass ``alpha`` / ``comparisons``.
        alpha: Probability of finding one where there is none.

    Raises:
        ValueError: A number is outside its range.
    """
    limits, error = _limits(of, seeds, tasks, comparisons, alpha)
    return _found(difference, limits, error)


def minimal_detectable_difference(
    of: Components, seeds: int, tasks: int, *, comparisons: int = 1, alpha: float = ALPHA, target: float = POWER
) -> float:
    """The smallest true difference that is found with the probability ``target``; the rest as in ``power``."""
    limits, error = _limits(of, seeds, tasks, comparisons, alpha)
    low, high = 0.0, error
    # Without any variance every difference is found.
    while error > 0 and _found(high, limits, error) < target:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _found(middle, limits, error) >= target else (middle, high)
    return high


def sensitivity(pairs: Sequence[tuple[ArrayLike, ArrayLike]], *, most: float = math.inf) -> Sensitivity | None:
    """What comparisons like these can tell apart; None where they show no variance, or each has one seed or task.

    Args:
        pairs: As in ``stats.comparisons``; those with a single seed do not count, of the others the fewest seeds do.
        most: The greatest possible difference.
    """
    differences = [np.subtract(*map(np.asarray, pair)) for pair in pairs]
    repeated = [table for table in differences if min(table.shape) > 1]
    if not repeated:
        return None
    seeds, tasks = min(len(table) for table in repeated), repeated[0].shape[1]
    found = minimal_detectable_difference(components(repeated), seeds, tasks, comparisons=len(repeated))
    return Sensitivity(found if found <= most else None, seeds, tasks, len(repeated)) if found else None


def seeds_needed(
    difference: float, of: Components, tasks: int, *, comparisons: int = 1, alpha: float = ALPHA, target: float = POWER
) -> int:
    """The fewest seeds with which a true difference is found with the probability ``target``; the rest as in ``power``.

    Raises:
        ValueError: A number is outside its range, or no number of seeds up to 100 is enough.
    """
    for seeds in range(2, _MOST_SEEDS + 1):
        if power(difference, of, seeds, tasks, comparisons=comparisons, alpha=alpha) >= target:
            return seeds
    raise ValueError(
        f"{_MOST_SEEDS} seeds on {tasks} tasks do not find a difference of {difference:g} with probability {target:g}: "
        "it takes more tasks, or a larger difference"
    )


def _found(difference: float, limits: Array, error: float) -> float:
    """How often a difference that is estimated with this standard error is beyond the limits."""
    if error == 0:
        return float(difference != 0)
    beyond = special.ndtr((difference - limits) / error) + special.ndtr((-difference - limits) / error)
    return float(beyond.mean())


def _limits(of: Components, seeds: int, tasks: int, comparisons: int, alpha: float) -> tuple[Array, float]:
    """How far from 0 the estimate must be, at quantiles of the mean squares between seeds; its true standard error."""
    if min(seeds, tasks) < 2 or comparisons < 1 or not 0 < alpha < 1:
        raise ValueError("planning needs at least 2 seeds, 2 tasks and 1 comparison, and an alpha between 0 and 1")
    freedom = degrees(seeds, tasks)
    limits = _limit(of, seeds, tasks, freedom, alpha)
    if comparisons > 1:
        # Of two equal variances, one from the reference's seeds and one from those of all others (Satterthwaite).
        together = (4 * comparisons / (comparisons + 1) * freedom[0], *freedom[1:])
        limits = np.maximum(limits[:, None], _limit(of, seeds, tasks, together, alpha / comparisons, least=of.rest))
    return limits, math.sqrt(of.seed / seeds + of.task / tasks + of.rest / (seeds * tasks))


def _limit(
    of: Components, seeds: int, tasks: int, freedom: tuple[float, float, float], alpha: float, least: float = 0.0
) -> Array:
    """The same for a single test, shape (100,); the mean square between seeds is taken for ``least`` where below."""
    between = (of.rest + tasks * of.seed) * special.gammaincinv(freedom[0] / 2, _GRID) * 2 / freedom[0]
    between = np.maximum(between, least)
    squares = MeanSquares(
        between,
        np.full_like(between, of.rest + seeds * of.task),
        np.full_like(between, of.rest),
        freedom,
        seeds * tasks,
    )
    known = spread(squares)
    limit: Array = special.stdtrit(known.freedom, 1 - alpha / 2) * np.sqrt(known.variance)
    return limit
