"""Experiments of which the truth is known: how often intervals hold it, and how often equal methods are told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.intervals import (
    DEVIATIONS,
    MEANS,
    World,
    coverage,
    coverage_of_difference,
    experiments,
    found,
)
from r3lbench.stats import mean_of_means

NUMBER = 2500
TOLERANCE = 2.6 * math.sqrt(0.95 * 0.05 / NUMBER)
"""2.6 standard errors of a share of 95 % in so many experiments, 1.1 %: what luck may add to the range asked for."""
PANELS = [(3, 64), (3, 128), (3, 500), (5, 128), (10, 64)]
"""Seeds and tasks; ``benchmarks/intervals.py`` simulates more of them, longer."""


@pytest.mark.parametrize(("seeds", "tasks"), PANELS)
def test_intervals_hold_the_truth_as_often_as_they_claim(seeds: int, tasks: int) -> None:
    held = {(mean, sd): coverage(World(mean, sd), seeds, tasks, NUMBER) for mean in MEANS for sd in DEVIATIONS}
    assert {world: share for world, share in held.items() if not 0.93 - TOLERANCE <= share <= 0.97 + TOLERANCE} == {}
    assert 0.94 < np.mean(list(held.values())) < 0.97


@pytest.mark.parametrize(("seeds", "tasks"), PANELS)
def test_intervals_of_differences_hold_the_truth_as_often_as_they_claim(seeds: int, tasks: int) -> None:
    worlds = [World(0.5, 0.0), World(0.5, 0.05), World(0.9, 0.02), World(0.5, 0.02, taste=1.0)]
    held = {world: coverage_of_difference(world, seeds, tasks, NUMBER) for world in worlds}
    assert {world: share for world, share in held.items() if not 0.93 - TOLERANCE <= share <= 0.97 + TOLERANCE} == {}


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_over_environments_hold_the_truth_as_often_as_they_claim(seeds: int) -> None:
    worlds = {(World(0.5, 0.05), 128), (World(0.9, 0.02), 64), (World(0.1, 0.02), 200)}
    rng, number = np.random.default_rng(seeds), 800
    environments = [
        np.concatenate([block[:, 0] for block in experiments(rng, (world,), seeds, tasks, number)])
        for world, tasks in sorted(worlds, key=lambda one: one[1])
    ]
    truth = np.mean([world.truth for world, _ in worlds])
    held = [of.low <= truth <= of.high for of in map(mean_of_means, zip(*environments, strict=True))]
    assert 0.93 - 0.02 <= np.mean(held) <= 0.97 + 0.02


def test_one_seed_speaks_of_the_choice_of_tasks_only() -> None:
    assert 0.93 - TOLERANCE <= coverage(World(0.5, 0.0), 1, 128, NUMBER) <= 0.97 + TOLERANCE
    assert coverage(World(0.5, 0.05), 1, 500, NUMBER) < 0.8


@pytest.mark.parametrize(
    ("seeds", "reference", "others"), [(3, 0.0, 0.0), (3, 0.05, 0.05), (5, 0.02, 0.02), (5, 0.1, 0.02)]
)
def test_methods_that_do_not_differ_are_rarely_called_separable(seeds: int, reference: float, others: float) -> None:
    number = 400
    _, some = found((World(0.5, reference), *(World(0.5, others),) * 6), seeds, 128, number)
    assert some <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / number)
