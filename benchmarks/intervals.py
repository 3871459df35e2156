"""How often the intervals hold the truth, and the verdicts are right: ``python benchmarks/intervals.py``.

Results are drawn as in item response theory: tasks have difficulties, runs have abilities, and run s solves task t with
the probability logistic(difficulty_t + ability_s). At the mean ability the probabilities of the tasks follow a beta
distribution; abilities are normal, so wide that the runs' means differ by a given standard deviation. What is printed
is in docs/statistics.md. The numbers are the same on every machine with the same versions of numpy and scipy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from scipy import special

from r3lbench.crossed import Array, interval, mean_squares, spread
from r3lbench.power import Components, components, minimal_detectable_difference
from r3lbench.stats import LEVEL, UNIT, comparisons, iqm, probability_of_improvement

SEEDS, TASKS = (3, 5, 10), (64, 128, 500)
MEANS, DEVIATIONS = (0.1, 0.5, 0.9), (0.0, 0.02, 0.05)
CONCENTRATION = 2.0
"""Of the beta distribution; the mean 0.5 makes it uniform."""
RESAMPLES = 1000
_CELLS = 2_000_000
"""Results drawn at a time, which bounds the memory."""


@dataclass(frozen=True)
class World:
    """What runs and tasks are drawn from.

    Attributes:
        mean: Probability of success, over tasks at the mean ability.
        deviation: Standard deviation of the runs' means between seeds.
        gain: Of ability.
        taste: Standard deviation of what makes a task easier for one method than for another.
    """

    mean: float
    deviation: float
    gain: float = 0.0
    taste: float = 0.0

    @cached_property
    def scale(self) -> float:
        """Standard deviation of ability."""
        if not self.deviation:
            return 0.0
        return _solved(lambda scale: _moments(self.mean, scale, 0.0, 0.0)[1] - self.deviation, 5.0)

    @cached_property
    def truth(self) -> float:
        """The probability of success, over tasks and runs."""
        return _moments(self.mean, self.scale, self.gain, self.taste)[0]

    def better_by(self, difference: float) -> World:
        """The same with a gain that raises the truth so much."""
        goal = self.truth + difference
        gain = _solved(lambda gain: replace(self, gain=gain).truth - goal, 10.0)
        return replace(self, gain=gain)


@cache
def _moments(mean: float, scale: float, gain: float, taste: float) -> tuple[float, float]:
    """Mean of the probability of success, and standard deviation of a run's mean."""
    difficulty = special.logit(special.betaincinv(*_shape(mean), (np.arange(500) + 0.5) / 500))
    at, weight = np.polynomial.hermite_e.hermegauss(15)
    weight = weight / weight.sum()
    means = np.array([(special.expit(difficulty[:, None] + gain + scale * x + taste * at) @ weight).mean() for x in at])
    return float(means @ weight), float(np.sqrt(max(means**2 @ weight - (means @ weight) ** 2, 0.0)))


def _shape(mean: float) -> tuple[float, float]:
    return mean * CONCENTRATION, (1 - mean) * CONCENTRATION


def _solved(of: Callable[[float], float], high: float) -> float:
    """Where a rising function is 0, between 0 and ``high``."""
    low = 0.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if of(middle) < 0 else (low, middle)
    return low


def experiments(
    rng: np.random.Generator,
    worlds: tuple[World, ...],
    seeds: int,
    tasks: int,
    number: int,
    *,
    graded: float | None = None,
) -> Iterator[Array]:
    """So many experiments in blocks of shape (experiments, methods, seeds, tasks); methods share tasks.

    Args:
        rng: Where chance comes from.
        worlds: One a method; difficulties are drawn from the first.
        seeds: Of each method.
        tasks: Of each experiment.
        number: Of experiments.
        graded: Concentration of scores between 0 and 1, which are beta with the probability as their mean; None for
            results that are 0 or 1.
    """
    shape = (len(worlds), seeds, tasks)
    block = max(1, _CELLS // int(np.prod(shape)))
    scale, gain, taste = (
        np.array([getattr(world, name) for world in worlds])[:, None, None] for name in ("scale", "gain", "taste")
    )
    for start in range(0, number, block):
        size = min(block, number - start)
        chance = rng.beta(*_shape(worlds[0].mean), (size, 1, 1, tasks))
        # A chance that rounds to 0 or 1 has no logit.
        logit = special.logit(np.clip(chance, 1e-12, 1 - 1e-12)) + gain
        if taste.any():
            logit = logit + taste * rng.standard_normal((size, len(worlds), 1, tasks))
        logit = logit + scale * rng.standard_normal((size, len(worlds), seeds, 1))
        chance = special.expit(logit)
        if graded is None:
            yield (rng.random((size, *shape)) < chance).astype(np.float64)
        else:
            yield rng.beta(graded * chance, graded * (1 - chance), (size, *shape))


def coverage(world: World, seeds: int, tasks: int, number: int) -> float:
    """How often the interval of a mean holds the truth."""
    rng = np.random.default_rng((seeds, tasks))
    held = 0
    for block in experiments(rng, (world,), seeds, tasks, number):
        tables = block[:, 0]
        low, high = interval(tables.mean((1, 2)), spread(mean_squares(tables)), LEVEL, UNIT, tasks)
        held += int(((low <= world.truth) & (world.truth <= high)).sum())
    return held / number


def coverage_of_difference(world: World, seeds: int, tasks: int, number: int) -> float:
    """How often the interval of a paired difference holds the truth, which is 0."""
    rng = np.random.default_rng((seeds, tasks))
    held = 0
    for block in experiments(rng, (world, world), seeds, tasks, number):
        tables = block[:, 0] - block[:, 1]
        low, high = interval(tables.mean((1, 2)), spread(mean_squares(tables)), LEVEL)
        held += int(((low <= 0) & (high >= 0)).sum())
    return held / number


def found(worlds: tuple[World, ...], seeds: int, tasks: int, number: int) -> tuple[float, float]:
    """How often the second method is separable from the first, the reference; and how often any is."""
    rng = np.random.default_rng((seeds, tasks))
    second = some = 0
    for block in experiments(rng, worlds, seeds, tasks, number):
        for tables in block:
            pairs = [(ours, tables[0]) for ours in tables[1:]]
            verdicts = [of.separable for of in comparisons(pairs, tables[0], tables[1:])]
            second, some = second + verdicts[0], some + any(verdicts)
    return second / number, some / number


# What is printed


def means(number: int) -> None:
    """How often the intervals of means hold the truth."""
    header = [f"{mean:g}, {deviation:g}" for mean in MEANS for deviation in DEVIATIONS]
    for title, of in (("mean", coverage), ("difference", coverage_of_difference)):
        rows = []
        for seeds in SEEDS:
            for tasks in TASKS:
                worlds = [World(mean, deviation) for mean in MEANS for deviation in DEVIATIONS]
                rows.append([f"{seeds} × {tasks}", *(percent(of(world, seeds, tasks, number)) for world in worlds)])
        show(f"Coverage of the {title} by success, deviation of seeds", ["seeds × tasks", *header], rows)


def others(number: int) -> None:
    """How often other intervals hold the truth, on 128 tasks with mean 0.5."""
    rows = []
    for seeds in SEEDS:
        for deviation in (*DEVIATIONS, 0.1):
            world, rng = World(0.5, deviation), np.random.default_rng(seeds)
            tables = [block[:, 0] for block in experiments(rng, (world,), seeds, 128, number)]
            ends = [
                [other(rng, table) for other in (by_task, both_ways, seeds_only)] for table in np.concatenate(tables)
            ]
            held = [(low <= world.truth) & (world.truth <= high) for low, high in np.moveaxis(np.array(ends), 0, -1)]
            rows.append(
                [
                    f"{seeds}, {deviation:g}",
                    percent(coverage(world, seeds, 128, number)),
                    *map(percent, map(np.mean, held)),
                ]
            )
    columns = ["seeds, deviation", "here", "bootstrap of runs by task", "bootstrap of both", "t over seeds"]
    show("Coverage of the mean by other intervals, 128 tasks, success 0.5", columns, rows)


def by_task(rng: np.random.Generator, table: Array) -> tuple[float, float]:
    """The runs of every task resampled by themselves, as rliable does; a sum of resampled 0 and 1 is binomial."""
    drawn = rng.binomial(len(table), table.mean(0), (RESAMPLES, table.shape[1])).mean(1) / len(table)
    return ends(drawn)


def both_ways(rng: np.random.Generator, table: Array) -> tuple[float, float]:
    """Seeds and tasks resampled, each for the whole table: the pigeonhole bootstrap."""
    rows, columns = (rng.multinomial(size, np.full(size, 1 / size), RESAMPLES) for size in table.shape)
    return ends(((rows @ table) * columns).sum(1) / table.size)


def seeds_only(rng: np.random.Generator, table: Array) -> tuple[float, float]:
    """Student's t on the means of the seeds."""
    means = table.mean(1)
    half = special.stdtrit(len(means) - 1, (1 + LEVEL) / 2) * means.std(ddof=1) / np.sqrt(len(means))
    return means.mean() - half, means.mean() + half


def ends(drawn: Array) -> tuple[float, float]:
    """The percentiles of resamples."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def graded(number: int) -> None:
    """How often the intervals of other statistics hold the truth, for graded scores of methods that do not differ."""
    rows = []
    for seeds in SEEDS:
        for mean in MEANS:
            world = World(mean, 0.02)
            (many,) = experiments(np.random.default_rng(0), (world,), 1000, 2000, 1, graded=8.0)
            truth = iqm(many[0, 0]).value
            middle = even = 0
            for block in experiments(np.random.default_rng(seeds), (world, world), seeds, 128, number, graded=8.0):
                for ours, theirs in block:
                    of, improvement = iqm(ours, bounds=UNIT), probability_of_improvement(ours, theirs)
                    middle += of.low <= truth <= of.high
                    even += improvement.low <= 0.5 <= improvement.high
            rows.append([f"{seeds}, {mean:g}", percent(middle / number), percent(even / number)])
    columns = ["seeds, mean", "interquartile mean", "probability of improvement"]
    show("Coverage for graded scores, 128 tasks, deviation 0.02", columns, rows)


def verdicts(number: int) -> None:
    """How often methods that do not differ are called separable, six of them and a reference."""
    steady = {f"deviation {deviation:g}": (World(0.5, deviation),) * 7 for deviation in DEVIATIONS}
    unlike = {
        "0.02, a method 0.1": (*(World(0.5, 0.02),) * 6, World(0.5, 0.1)),
        "0.02, the reference 0.1": (World(0.5, 0.1), *(World(0.5, 0.02),) * 6),
    }
    rows = [
        [
            f"{seeds} × {tasks}",
            *(percent(found(worlds, seeds, tasks, number)[1]) for worlds in (steady | unlike).values()),
        ]
        for seeds in (2, *SEEDS)
        for tasks in (128, 500)
    ]
    show("Any of six methods called separable, where none differs", ["seeds × tasks", *steady, *unlike], rows)


def planned(number: int) -> None:
    """How often a difference is found that is planned to be with a probability of 80 %."""
    rows = []
    for seeds in SEEDS:
        for tasks in (128, 500):
            row = [f"{seeds} × {tasks}"]
            for others in (1, 6):
                world = World(0.5, 0.03)
                least = minimal_detectable_difference(variances(world), seeds, tasks, comparisons=others)
                worlds = (world, world.better_by(least), *(world,) * (others - 1))
                row += [f"{least:.3f}", percent(found(worlds, seeds, tasks, number)[0])]
            rows.append(row)
    columns = ["seeds × tasks", "1 comparison: difference", "found", "6 comparisons: difference", "found"]
    show("Found where planned with 80 %, success 0.5, deviation 0.03", columns, rows)


@cache
def variances(world: World) -> Components:
    """The variances of differences between methods that do not differ, from many experiments."""
    blocks = experiments(np.random.default_rng(0), (world, world), 10, 500, 200)
    return components([ours - theirs for block in blocks for ours, theirs in block])


def resolution() -> None:
    """The smallest differences that are found with a probability of 80 %."""
    rows = []
    for seeds in (2, *SEEDS, 20):
        row = [str(seeds)]
        for deviation in (0.0, 0.03):
            of = variances(World(0.5, deviation))
            row += [
                f"{minimal_detectable_difference(of, seeds, tasks, comparisons=others):.3f}"
                for tasks in (128, 500)
                for others in (1, 6)
            ]
        rows.append(row)
    columns = [f"{d:g}, {tasks}, {others}" for d in (0.0, 0.03) for tasks in (128, 500) for others in (1, 6)]
    show(
        "Smallest difference found with 80 %, success 0.5, by deviation, tasks, comparisons", ["seeds", *columns], rows
    )


def percent(share: float) -> str:
    """Without the sign."""
    return f"{100 * share:.1f}"


def show(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (columns, *rows)]
    print(f"\n{title}\n\n{lines[0]}\n{'|--' + '|--:' * lines[0].count(' | ')}|", *lines[1:], sep="\n", flush=True)


def main() -> None:
    """Simulate and print; the number of experiments may be given."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    print(f"{number} experiments a cell, a quarter of them where each is judged by itself; all numbers in %")
    means(number)
    others(number // 4)
    graded(number // 4)
    verdicts(number // 4)
    planned(number // 4)
    resolution()


if __name__ == "__main__":
    main()
