"""How sure a mean is: bootstrap intervals over seeds and tasks, and paired differences.

A panel of results is a table: one row a seed, one column a task, the same tasks for every seed. Two things are drawn by
chance, the training seeds and the tasks, and a mean has to be uncertain about both. They are crossed: a hard task is
hard for every seed. Drawing tasks anew for every drawn seed would treat that as luck which evens out, and intervals
would come out too short. So each margin is resampled by itself (the seeds' means, and the tasks' means), and the two
deviations add up; tasks that belong together (a cluster) are drawn together. Of n units n - 1 are drawn with
replacement, which makes the variance of a mean unbiased for few units (Rao and Wu 1988, doi 10.2307/2288945).
``tests/test_stats.py`` measures how often the intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
LEVEL = 0.95
_BLOCK = 1_000
"""Resamples drawn and multiplied at a time, which bounds the memory that a large panel takes."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        value: The mean of the panel itself.
        low: Lower end of the interval; equal to ``value`` where nothing was drawn by chance (one seed, one task).
        high: Upper end.
        seeds: Number of seeds. With one seed the interval speaks of the choice of tasks only.
        tasks: Number of tasks.
    """

    value: float
    low: float
    high: float
    seeds: int
    tasks: int

    @property
    def separable(self) -> bool:
        """Whether the interval of a difference leaves out 0."""
        return self.low > 0 or self.high < 0


def estimate(
    values: ArrayLike,
    *,
    per: ArrayLike | None = None,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean over seeds and tasks with a percentile bootstrap interval.

    Args:
        values: Shape (seeds, tasks): what every seed came to on every task, repeated episodes averaged.
        per: Denominators of the same shape, all positive: the estimate is then sum(values) / sum(per), e.g. invalid
            actions per step. None: 1 each, the mean.
        clusters: For every task the name of the cluster it belongs to; None: each its own.
        level: Probability with which the interval is to hold the truth.
        resamples: Number of bootstrap samples.
        seed: Of the resampling: same input, same interval.

    Raises:
        ValueError: The panel is empty or not rectangular, holds a number that is not finite, or shapes do not match.
    """
    above = _panel(values)
    below = np.ones_like(above) if per is None else _panel(per)
    if below.shape != above.shape or (below <= 0).any():
        raise ValueError(f"denominators of shape {above.shape}, all positive, are needed; got shape {below.shape}")
    value = float(above.sum() / below.sum())
    of = _clusters(above.shape[1], clusters)
    by_task = _resampled(_sums(of, above.sum(0)), _sums(of, below.sum(0)), resamples, (seed, 0))
    by_seed = _resampled(above.sum(1), below.sum(1), resamples, (seed, 1))
    low, high = np.quantile(by_task + by_seed - value, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), *above.shape)


def difference(
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean of ``ours - theirs``, paired by seed and task: what is hard for both drops out.

    Args:
        ours: Shape (seeds, tasks).
        theirs: The same seeds and tasks in the same order.
        clusters: As in ``estimate``.
        level: As in ``estimate``.
        resamples: As in ``estimate``.
        seed: As in ``estimate``.

    Raises:
        ValueError: The shapes differ; otherwise as ``estimate``.
    """
    left, right = _panel(ours), _panel(theirs)
    if left.shape != right.shape:
        raise ValueError(f"panels of different shapes cannot be paired: {left.shape} and {right.shape}")
    return estimate(left - right, clusters=clusters, level=level, resamples=resamples, seed=seed)


def _panel(values: ArrayLike) -> NDArray[np.float64]:
    panel = np.asarray(values, dtype=np.float64)
    if panel.ndim != 2 or panel.size == 0:
        raise ValueError(f"a panel has shape (seeds, tasks), at least one of each; got shape {panel.shape}")
    if not np.isfinite(panel).all():
        raise ValueError("a panel holds a number that is not finite")
    return panel


def _clusters(tasks: int, names: Sequence[Hashable] | None) -> NDArray[np.int64]:
    """The cluster of every task, numbered from 0."""
    if names is None:
        return np.arange(tasks)
    if len(names) != tasks:
        raise ValueError(f"{len(names)} cluster names for {tasks} tasks")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])


def _sums(of: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(of, values).astype(np.float64)


def _resampled(
    above: NDArray[np.float64], below: NDArray[np.float64], resamples: int, stream: tuple[int, int]
) -> NDArray[np.float64]:
    """The ratio of sums in each of so many resamples of the units; constant for a single unit."""
    units = len(above)
    if units == 1:
        return np.full(resamples, above[0] / below[0])
    return np.concatenate([(block @ above) / (block @ below) for block in _drawn(units, resamples, stream)])


@lru_cache(maxsize=16)
def _drawn(units: int, resamples: int, stream: tuple[int, int]) -> tuple[NDArray[np.uint16], ...]:
    """How often each unit was drawn, in blocks of shape (resamples, units); the same for every estimate of a size."""
    rng = np.random.default_rng(stream)
    sizes = [min(_BLOCK, resamples - start) for start in range(0, resamples, _BLOCK)]
    shares = np.full(units, 1 / units)
    return tuple(rng.multinomial(units - 1, shares, size=size).astype(np.uint16) for size in sizes)
