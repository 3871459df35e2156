"""How uncertain the mean of a table is of which rows and columns were both drawn by chance.

A table of results has a row for every training seed and a column for every task, the same tasks for every seed. The
factors are crossed: a seed that learned badly is bad at every task, and a hard task is hard for every seed. With y_st =
mean + seed_s + task_t + rest_st, each effect drawn by itself with a variance of its own, the mean of S x T cells has

    variance = Var(seed) / S + Var(task) / T + Var(rest) / (S T),

which the mean squares of the two-way layout estimate without bias (Cornfield and Tukey 1956, doi
10.1214/aoms/1177728067; Searle, Casella and McCulloch 1992, "Variance Components", ch. 4):

    (MS_seeds + MS_tasks - MS_rest) / (S T).

No resampling scheme gets this variance right for every table (McCullagh 2000, doi 10.2307/3318577; Owen 2007, doi
10.1214/07-AOAS122), and resampling the runs of a task by itself, as is usual, forgets that a seed is one draw and not
one a task. With three seeds even a correct variance comes with two degrees of freedom, which no percentile of resamples
knows. So intervals use Student's t, its degrees of freedom by Satterthwaite (1946, doi 10.2307/3002019). Two things are
ours, and kept because the simulation in ``benchmarks/intervals.py`` asks for them:

- MS_tasks - MS_rest counts as 0 where it is negative, so that the variance is never below what the seeds show, and
  MS_seeds is at least 0.02 MS_rest: the means of a few seeds can agree exactly by luck.
- Where few seeds happen to agree, their mean square is too small and Satterthwaite's degrees of freedom too many, both
  at once. The degrees of freedom are therefore those of a table whose MS_seeds is larger by two of its standard errors.

Everything is computed for any number of tables at once: leading axes are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
_LEAST = 0.02
"""MS_seeds is at least this part of MS_rest."""
_RAISED = 2.0
"""Standard errors of MS_seeds by which it is raised for the degrees of freedom."""


@dataclass(frozen=True)
class MeanSquares:
    """The mean squares of two-way tables, and the degrees of freedom that each is estimated with.

    Attributes:
        seeds: MS_seeds, shape (...); its expectation is T Var(seed) + Var(rest). 0 for a single seed.
        tasks: MS_tasks, S Var(task) + Var(rest). 0 for a single task.
        rest: MS_rest, Var(rest). 0 for a single seed or task.
        freedom: Degrees of freedom of the three, at least 1 each.
        cells: S T.
    """

    seeds: Array
    tasks: Array
    rest: Array
    freedom: tuple[float, float, float]
    cells: int


@dataclass(frozen=True)
class Spread:
    """The variance of means, and how well it is known.

    Attributes:
        variance: Of the mean, shape (...).
        freedom: Degrees of freedom of its estimate, at least 1.
    """

    variance: Array
    freedom: Array


def degrees(seeds: int, tasks: int) -> tuple[float, float, float]:
    """Degrees of freedom of the mean squares of seeds, tasks and the rest; at least 1, where the square is 0 anyway."""
    of_seeds, of_tasks = max(seeds - 1, 1), max(tasks - 1, 1)
    return float(of_seeds), float(of_tasks), float(of_seeds * of_tasks)


def mean_squares(tables: ArrayLike) -> MeanSquares:
    """The mean squares of tables of shape (..., seeds, tasks)."""
    table = np.asarray(tables, dtype=np.float64)
    seeds, tasks = table.shape[-2:]
    grand = table.mean((-2, -1), keepdims=True)
    rows, columns = table.mean(-1, keepdims=True) - grand, table.mean(-2, keepdims=True) - grand
    rest = table - grand - rows - columns
    freedom = degrees(seeds, tasks)
    return MeanSquares(
        tasks * (rows**2).sum((-2, -1)) / freedom[0],
        seeds * (columns**2).sum((-2, -1)) / freedom[1],
        (rest**2).sum((-2, -1)) / freedom[2] if min(seeds, tasks) > 1 else np.zeros(table.shape[:-2]),
        freedom,
        seeds * tasks,
    )


def together(tables: Sequence[Array]) -> MeanSquares:
    """The mean squares of the mean of several tables' means, e.g. of environments: the same seeds, other tasks.

    Seeds are paired: what counts is how far their means over all tables differ, whatever a good seed here says of the
    same seed there. Tasks belong to a table each, and their variances add up. In units of one cell a seed, so that
    those of a single table are ``mean_squares`` by the number of its tasks.

    Args:
        tables: Each of shape (seeds, tasks); as many seeds in all.
    """
    seeds = len(tables[0])
    each = [mean_squares(table) for table in tables]
    scales = np.array([1 / (table.shape[1] * len(tables) ** 2) for table in tables])
    parts = [np.array([of.tasks for of in each]) * scales, np.array([of.rest for of in each]) * scales]
    degrees_of = [np.array([of.freedom[place] for of in each]) for place in (1, 2)]
    of_tasks, of_rest = (satterthwaite(part, known) for part, known in zip(parts, degrees_of, strict=True))
    means = np.mean([table.mean(1) for table in tables], axis=0)
    return MeanSquares(
        np.asarray(means.var(ddof=1) if seeds > 1 else 0.0),
        np.asarray(parts[0].sum()),
        np.asarray(parts[1].sum()),
        (each[0].freedom[0], of_tasks, of_rest),
        seeds,
    )


def satterthwaite(variances: Array, freedom: Array) -> float:
    """Degrees of freedom of the sum of independent variances that are known with such ones, shape (k,) each."""
    uncertain = (variances**2 / freedom).sum()
    return float(variances.sum() ** 2 / uncertain if uncertain > 0 else freedom.sum())


def spread(squares: MeanSquares) -> Spread:
    """Variance and degrees of freedom of the mean, as the module says."""
    of_seeds, of_tasks, of_rest = squares.freedom
    seeds = np.maximum(squares.seeds, _LEAST * squares.rest)
    tasks = np.maximum(squares.tasks - squares.rest, 0.0)
    raised = (1 + _RAISED * np.sqrt(2 / of_seeds)) * seeds
    uncertain = raised**2 / of_seeds + squares.tasks**2 / of_tasks + squares.rest**2 / of_rest
    constant = np.full_like(uncertain, max(of_seeds, of_tasks))
    freedom = np.divide((raised + tasks) ** 2, uncertain, out=constant, where=uncertain > 0)
    return Spread((seeds + tasks) / squares.cells, np.maximum(freedom, min(of_seeds, of_tasks)))


def interval(
    mean: Array, of: Spread, level: float, bounds: tuple[float, float] | None = None, units: int = 1
) -> tuple[Array, Array]:
    """Lower and upper end of the interval around a mean.

    Without bounds mean ± t √variance. Between bounds Wilson's interval (1927, doi 10.2307/2276774) with the quantile of
    t for that of the normal distribution and, for the number of trials, that of as many independent 0/1 trials as have
    the same variance (Dean and Pagano 2015, doi 10.1093/jssam/smv024): it stays inside the bounds, and leans inwards
    near them.

    Args:
        mean: Shape (...).
        of: The spread of each.
        level: Probability with which the interval is to hold the truth.
        bounds: The least and the greatest possible value; None where there are none.
        units: Number of trials where the mean is at a bound, and no variance is seen.
    """
    t = special.stdtrit(of.freedom, (1 + level) / 2)
    if bounds is None:
        half = t * np.sqrt(of.variance)
        return mean - half, mean + half
    low, width = bounds[0], bounds[1] - bounds[0]
    share = np.clip((mean - low) / width, 0.0, 1.0)
    full = share * (1 - share)
    inverse = np.divide(of.variance / width**2, full, out=np.full_like(full, 1 / units), where=full > 0)
    shrunk = t**2 * inverse
    centre = low + width * (share + shrunk / 2) / (1 + shrunk)
    half = width * np.sqrt(shrunk * (full + shrunk / 4)) / (1 + shrunk)
    return centre - half, centre + half


def two_sided(mean: Array, of: Spread) -> Array:
    """The probability of a mean at least as far from 0 as this one where the truth is 0."""
    error = np.sqrt(of.variance)
    t = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    p: Array = 2 * special.stdtr(of.freedom, -t)
    return p
