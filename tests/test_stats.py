from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.stats import Estimate, difference, estimate

PANELS = st.tuples(st.integers(1, 4), st.integers(1, 6)).flatmap(
    lambda shape: st.lists(
        st.lists(st.floats(0, 1, allow_subnormal=False), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


def test_one_seed_and_three_tasks_worked_by_hand() -> None:
    # Two of {0, 0, 3} are drawn with replacement: their mean is 0, 1.5 or 3 with probabilities 4/9, 4/9 and 1/9.
    assert estimate([[0, 0, 3]], level=0.95) == Estimate(1.0, 0.0, 3.0, seeds=1, tasks=3)
    assert estimate([[0, 0, 3]], level=0.70) == Estimate(1.0, 0.0, 1.5, seeds=1, tasks=3)


def test_two_seeds_and_two_tasks_worked_by_hand() -> None:
    # Margins: tasks 2 and 4, seeds 1 and 5, mean 3. One of each is drawn: 2 + 1, 2 + 5, 4 + 1 or 4 + 5, less 3.
    assert estimate([[0, 2], [4, 6]]) == Estimate(3.0, 0.0, 6.0, seeds=2, tasks=2)


def test_a_ratio_is_of_sums_not_a_mean_of_ratios() -> None:
    # 1 of 1 and 0 of 3 are 1 of 4; one task is drawn of the two.
    assert estimate([[1, 0]], per=[[1, 3]]) == Estimate(0.25, 0.0, 1.0, seeds=1, tasks=2)


def test_clusters_are_drawn_as_a_whole() -> None:
    # Two clusters with means 0 and 1: one of them is drawn.
    assert estimate([[0, 0, 1, 1, 1]], clusters="aabbb") == Estimate(0.6, 0.0, 1.0, seeds=1, tasks=5)


def test_a_single_seed_and_task_leaves_nothing_to_chance() -> None:
    assert estimate([[0.5]]) == Estimate(0.5, 0.5, 0.5, seeds=1, tasks=1)


@given(PANELS)
def test_the_interval_lies_around_the_mean_and_inside_what_two_margins_can_reach(panel: list[list[float]]) -> None:
    found = estimate(panel, resamples=200)
    assert found.value == pytest.approx(np.mean(panel))
    assert found.low - 1e-9 <= found.high
    assert found.low >= -1 - 1e-9 and found.high <= 2 + 1e-9


@given(PANELS)
def test_repeating_the_call_gives_the_same_interval(panel: list[list[float]]) -> None:
    assert estimate(panel, resamples=100, seed=3) == estimate(panel, resamples=100, seed=3)


@given(PANELS)
def test_a_method_does_not_differ_from_itself(panel: list[list[float]]) -> None:
    found = difference(panel, panel, resamples=100)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert not found.separable


def test_pairing_removes_what_is_hard_for_both() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.random(64)
    theirs = np.stack([hardness + rng.normal(0, 0.02, 64) for _ in range(3)])
    ours = theirs + 0.05 + rng.normal(0, 0.02, theirs.shape)
    paired = difference(ours, theirs)
    assert paired.separable and paired.low < 0.05 < paired.high
    alone = estimate(ours)
    assert paired.high - paired.low < (alone.high - alone.low) / 5


def test_a_seed_that_fails_everywhere_widens_the_interval_however_many_tasks_there_are() -> None:
    steady = estimate(np.full((3, 1000), 0.5))
    broken = estimate(np.concatenate([np.full((2, 1000), 0.7), np.full((1, 1000), 0.1)]))
    assert steady.low == pytest.approx(steady.high)
    assert broken.high - broken.low > 0.4


def test_bad_panels_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        estimate([])
    with pytest.raises(ValueError, match="shape"):
        estimate([1.0, 2.0])
    with pytest.raises(ValueError, match="not finite"):
        estimate([[1.0, float("nan")]])
    with pytest.raises(ValueError, match="all positive"):
        estimate([[1.0]], per=[[0.0]])
    with pytest.raises(ValueError, match="cluster names"):
        estimate([[1.0, 2.0]], clusters="a")
    with pytest.raises(ValueError, match="cannot be paired"):
        difference([[1.0]], [[1.0, 2.0]])


def successes(rng: np.random.Generator, seeds: int, tasks: int, spread: float, shift: float = 0.0) -> np.ndarray:
    """Solved or not, at task difficulties of every kind; seeds differ in skill by a standard deviation of ``spread``.

    ``shift`` moves the mean of 0.5.
    """
    difficulty = rng.permutation(rng.beta(1, 1, tasks)) * 0.7 + 0.15
    return draw(rng, difficulty, seeds, spread, shift)


def draw(rng: np.random.Generator, difficulty: np.ndarray, seeds: int, spread: float, shift: float) -> np.ndarray:
    skill = rng.normal(0, spread, (seeds, 1))
    taste = rng.normal(0, 0.05, (seeds, len(difficulty)))
    chance = np.clip(difficulty + skill + taste + shift, 0, 1)
    return (rng.random(chance.shape) < chance).astype(float)


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.03), (5, 0.03), (5, 0.06), (10, 0.03)])
def test_intervals_hold_the_truth_about_as_often_as_they_claim(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(400):
        found = estimate(successes(rng, seeds, 128, spread), resamples=500)
        held += found.low <= 0.5 <= found.high
    assert 0.925 <= held / 400 <= 0.99


@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.03), (5, 0.03), (10, 0.03)])
def test_differences_hold_the_truth_about_as_often_as_they_claim(seeds: int, spread: float) -> None:
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(400):
        difficulty = rng.beta(1, 1, 128) * 0.5 + 0.2
        ours, theirs = draw(rng, difficulty, seeds, spread, 0.1), draw(rng, difficulty, seeds, spread, 0.0)
        found = difference(ours, theirs, resamples=500)
        held += found.low <= 0.1 <= found.high
    assert 0.925 <= held / 400 <= 0.99
