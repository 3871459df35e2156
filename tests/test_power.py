from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from benchmarks.intervals import World, experiments, found, variances
from r3lbench.power import (
    ALPHA,
    Components,
    Sensitivity,
    components,
    minimal_detectable_difference,
    power,
    seeds_needed,
    sensitivity,
)
from tests.conftest import ROOT

COMPONENTS = st.builds(Components, st.floats(0, 0.01), st.floats(0, 0.1), st.floats(0.01, 0.5))


def test_components_worked_by_hand() -> None:
    # MS_seeds = 16, MS_tasks = 4 and MS_rest = 0 on two seeds and two tasks; the other table is as flat as can be.
    assert components([[[0, 2], [4, 6]]]) == Components(seed=8, task=2, rest=0)
    assert components([[[0, 2], [4, 6]], [[1, 1], [1, 1]]]) == Components(seed=4, task=1, rest=0)
    # MS_rest = 1 alone: a variance is not negative.
    assert components([[[0, 1], [1, 0]]]) == Components(seed=0, task=0, rest=1)


def test_components_are_those_that_differences_were_drawn_with() -> None:
    rng = np.random.default_rng(0)
    shape = (200, 6, 50)
    tables = rng.normal(0, 0.2, (200, 6, 1)) + rng.normal(0, 0.3, (200, 1, 50)) + rng.normal(0, 0.5, shape)
    of = components(list(tables))
    assert (of.seed, of.task, of.rest) == pytest.approx((0.04, 0.09, 0.25), rel=0.08)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_where_only_seeds_differ_power_is_that_of_students_t(seeds: int) -> None:
    quantile = special.stdtrit(seeds - 1, 1 - ALPHA / 2)
    for effect in (1.0, 1.5, 2.0):
        textbook = 1 - special.nctdtr(seeds - 1, effect * math.sqrt(seeds), quantile)
        assert power(effect, Components(seed=1, task=0, rest=0), seeds, 100) == pytest.approx(textbook, abs=2e-3)


def test_with_many_seeds_power_is_that_of_the_normal_distribution() -> None:
    of = Components(seed=0.001, task=0.01, rest=0.2)
    error = math.sqrt(0.001 / 400 + 0.01 / 200 + 0.2 / 80_000)
    assert minimal_detectable_difference(of, 400, 200) == pytest.approx((1.960 + 0.842) * error, rel=0.02)
    # Of six comparisons the first has to pass a sixth of 5 %.
    found = minimal_detectable_difference(of, 400, 200, comparisons=6)
    assert found == pytest.approx((2.638 + 0.842) * error, rel=0.02)


@given(COMPONENTS, st.integers(2, 12), st.integers(2, 300), st.integers(1, 8), st.floats(0.55, 0.95))
def test_the_smallest_difference_is_found_exactly_as_often_as_asked(
    of: Components, seeds: int, tasks: int, others: int, target: float
) -> None:
    least = minimal_detectable_difference(of, seeds, tasks, comparisons=others, target=target)
    assert power(least, of, seeds, tasks, comparisons=others) == pytest.approx(target, abs=1e-4)
    assert power(-least, of, seeds, tasks, comparisons=others) == pytest.approx(target, abs=1e-4)
    assert power(1.1 * least, of, seeds, tasks, comparisons=others) > target


@given(COMPONENTS, st.integers(3, 12), st.integers(2, 300))
def test_nothing_is_found_more_often_than_by_mistake_where_there_is_nothing(
    of: Components, seeds: int, tasks: int
) -> None:
    assert power(0.0, of, seeds, tasks) <= 0.07
    assert power(0.0, of, seeds, tasks, comparisons=6) <= power(0.0, of, seeds, tasks)


def test_seeds_needed_are_the_fewest_that_are_enough() -> None:
    of = Components(seed=2 * 0.03**2, task=0.01, rest=0.3)
    seeds = seeds_needed(0.08, of, 200, comparisons=6)
    assert power(0.08, of, seeds, 200, comparisons=6) >= 0.8 > power(0.08, of, seeds - 1, 200, comparisons=6)
    assert seeds_needed(10.0, of, 200) == 2
    # Differences between tasks alone leave a standard error of .01 however many seeds there are.
    with pytest.raises(ValueError, match="more tasks"):
        seeds_needed(0.02, Components(seed=0, task=0.01, rest=0.1), 100)


@pytest.mark.parametrize(("seeds", "others"), [(3, 1), (5, 1), (5, 6)])
def test_planned_differences_are_found_as_often_as_planned(seeds: int, others: int) -> None:
    world, number = World(0.5, 0.03), 250
    least = minimal_detectable_difference(variances(world), seeds, 128, comparisons=others)
    worlds = (world, world.better_by(least), *(world,) * (others - 1))
    share, _ = found(worlds, seeds, 128, number)
    assert abs(share - 0.8) <= 2.6 * math.sqrt(0.8 * 0.2 / number) + 0.03


def test_sensitivity_is_of_the_comparisons_that_have_seeds() -> None:
    (block,) = experiments(np.random.default_rng(0), (World(0.5, 0.03),) * 3, 4, 60, 1)
    reference, first, second = block[0]
    pairs = [(first, reference), (second[:3], reference[:3]), (second[:1], reference[:1])]
    found = sensitivity(pairs)
    of = components([first - reference, (second - reference)[:3]])
    least = minimal_detectable_difference(of, 3, 60, comparisons=2)
    assert found == sensitivity(pairs, most=least) == Sensitivity(least, 3, 60, 2)
    assert sensitivity(pairs, most=0.999 * least) == Sensitivity(None, 3, 60, 2)
    assert sensitivity(pairs[2:]) is sensitivity([]) is sensitivity([(first, first)]) is None


def test_bad_plans_are_refused() -> None:
    of = Components(0.1, 0.1, 0.1)
    for seeds, tasks, others, alpha in ((1, 10, 1, 0.05), (3, 1, 1, 0.05), (3, 10, 0, 0.05), (3, 10, 1, 5)):
        with pytest.raises(ValueError, match="planning needs"):
            power(0.1, of, seeds, tasks, comparisons=others, alpha=alpha)
    for tables in ([], [[[1.0, 2.0]]], [[[1.0], [2.0]]]):
        with pytest.raises(ValueError, match="two or more seeds and tasks"):
            components(tables)


def test_the_documented_plan_is_what_the_recorded_runs_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- example: planning -->\n```python\n(.*?)```", page, re.DOTALL)
    assert found
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(compile(found[1], "statistics.md:planning", "exec"), names)
    assert f"`least` is {names['least']:.3f} in score and `seeds` is {names['seeds']}." in page
