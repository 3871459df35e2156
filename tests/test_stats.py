from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from benchmarks.intervals import (
    World,
    experiments,
)
from r3lbench.crossed import interval, mean_squares, spread
from r3lbench.stats import (
    CHANGE,
    LEVEL,
    UNIT,
    Estimate,
    area_under_curve,
    comparisons,
    comparisons_of_means,
    difference,
    estimate,
    holm,
    iqm,
    mean_of_means,
    normalised,
    probability_of_improvement,
)

T2, T9 = 4.302653, 2.262157
"""Quantiles of t at 97.5 % with 2 and 9 degrees of freedom."""


def tables(values: st.SearchStrategy[float], seeds: int = 4, tasks: int = 6) -> st.SearchStrategy[list[list[float]]]:
    return st.tuples(st.integers(1, seeds), st.integers(1, tasks)).flatmap(
        lambda shape: st.lists(
            st.lists(values, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        )
    )


SCORES = tables(st.integers(0, 8).map(lambda eighths: eighths / 8))
RESULTS = tables(st.sampled_from([0.0, 1.0]))


def ends(of: Estimate) -> tuple[float, float, float]:
    return of.value, of.low, of.high


# Means


def test_one_seed_is_an_ordinary_mean_of_tasks() -> None:
    of = estimate([[0, 0, 3]])
    assert ends(of) == pytest.approx((1, 1 - T2, 1 + T2), abs=1e-5)
    assert (of.seeds, of.tasks) == (1, 3)


def test_seeds_alone_differ() -> None:
    half = T2 / math.sqrt(3)
    assert ends(estimate([[1, 1], [2, 2], [3, 3]])) == pytest.approx((2, 2 - half, 2 + half), abs=1e-5)


def test_seeds_and_tasks_differ() -> None:
    # MS_seeds = 16, MS_tasks = 4, MS_rest = 0: variance 20 / 4. Raised by 2 √2 of itself, MS_seeds is 61.255, and the
    # degrees of freedom 65.255² / (61.255² + 4²) = 1.1300.
    of = estimate([[0, 2], [4, 6]])
    half = special.stdtrit(1.1300, 0.975) * math.sqrt(5)
    assert 9 < special.stdtrit(1.1300, 0.975) < 11
    assert ends(of) == pytest.approx((3, 3 - half, 3 + half), rel=1e-4)


def test_seeds_that_agree_by_luck_leave_some_doubt() -> None:
    # MS_seeds = MS_tasks = 0, MS_rest = 1: variance 0.02 / 4, one degree of freedom.
    half = 12.7062 * math.sqrt(0.02 / 4)
    assert ends(estimate([[0, 1], [1, 0]])) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-4)


def test_a_share_has_wilsons_interval_with_as_many_trials_as_its_variance_stands_for() -> None:
    # 3 of 10: the variance .3 * .7 / 9 is that of nine trials; (.3 + q / 2 ± √(q (.21 + q / 4))) / (1 + q), q = t² / 9.
    assert ends(estimate([[1] * 3 + [0] * 7], bounds=UNIT)) == pytest.approx((0.3, 0.08718, 0.65781), abs=1e-4)
    # No variance: ten trials, and the lower end is 1 / (1 + t² / 10).
    assert ends(estimate([[1] * 10], bounds=UNIT)) == pytest.approx((1, 1 / (1 + T9**2 / 10), 1), abs=1e-5)
    assert ends(estimate([[0] * 10] * 3, bounds=UNIT)) == pytest.approx((0, 0, 1 - 1 / (1 + T9**2 / 10)), abs=1e-5)


def test_a_ratio_is_of_sums_not_a_mean_of_ratios() -> None:
    # 1 of 1 and 0 of 3: 1 / 4. What is left of (1, 0) beside (1, 3) / 4 is ± 3 / 4, in units of 2 steps a task ± 3 / 8.
    of = estimate([[1, 0]], per=[[1, 3]])
    half = 12.7062 * 3 / 8
    assert ends(of) == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-4)


def test_clusters_are_what_was_drawn() -> None:
    # The mean is .6; clusters are off by -1.2 and +1.2 tasks, in units of 2.5 tasks a cluster by ± .48.
    half = 12.7062 * 0.48
    assert ends(estimate([[0, 0, 1, 1, 1]], clusters="aabbb")) == pytest.approx((0.6, 0.6 - half, 0.6 + half), abs=1e-4)


@given(SCORES)
def test_a_task_in_several_copies_says_no_more_if_they_are_one_cluster(table: list[list[float]]) -> None:
    once = estimate(table)
    thrice = estimate(np.repeat(table, 3, axis=1), clusters=np.repeat(range(len(table[0])), 3).tolist())
    assert ends(thrice) == pytest.approx(ends(once), abs=1e-9)


def test_a_single_seed_and_task_leaves_nothing_to_chance() -> None:
    assert ends(estimate([[0.5]])) == ends(estimate([[0.5]], bounds=UNIT)) == (0.5, 0.5, 0.5)
    assert ends(estimate([[1.0]], bounds=UNIT)) == (1, 1, 1)


@given(SCORES, st.randoms(use_true_random=False))
def test_neither_the_order_of_seeds_nor_that_of_tasks_matters(table: list[list[float]], random: object) -> None:
    shuffle = random.shuffle  # type: ignore[attr-defined]
    rows, columns = list(range(len(table))), list(range(len(table[0])))
    shuffle(rows)
    shuffle(columns)
    other = np.array(table)[rows][:, columns]
    for of in (lambda table: estimate(table, bounds=UNIT), iqm, lambda table: difference(table, 1 - np.array(table))):
        assert ends(of(other)) == pytest.approx(ends(of(table)), abs=1e-9)


@given(SCORES, st.floats(-2, 2), st.floats(0.1, 10))
def test_intervals_move_and_stretch_with_the_results(table: list[list[float]], shift: float, scale: float) -> None:
    for of in (estimate, iqm):
        moved = of(np.array(table) * scale + shift)
        assert ends(moved) == pytest.approx([end * scale + shift for end in ends(of(table))], abs=1e-6)


@given(SCORES)
def test_shares_stay_between_their_bounds_and_around_their_mean(table: list[list[float]]) -> None:
    for of in (estimate(table, bounds=UNIT), iqm(table, bounds=UNIT)):
        assert -1e-12 <= of.low <= of.value + 1e-12 and of.value - 1e-12 <= of.high <= 1 + 1e-12
    there, back = estimate(table, bounds=UNIT), estimate(1 - np.array(table), bounds=UNIT)
    assert ends(back) == pytest.approx((1 - there.value, 1 - there.high, 1 - there.low))


@given(SCORES, st.floats(0.5, 0.98))
def test_a_higher_level_is_a_wider_interval_around_the_same_value(table: list[list[float]], level: float) -> None:
    narrow, wide = estimate(table, level=level), estimate(table, level=level + 0.01)
    assert wide.low <= narrow.low <= narrow.high <= wide.high and wide.value == narrow.value


# Differences


@given(SCORES)
def test_a_method_does_not_differ_from_itself(table: list[list[float]]) -> None:
    of = difference(table, table)
    assert (*ends(of), of.p, of.separable) == (0, 0, 0, 1, False)


@given(SCORES)
def test_an_interval_leaves_out_nothing_exactly_where_p_is_small(table: list[list[float]]) -> None:
    of = difference(table, np.full(np.shape(table), 0.5))
    assert of.separable == (of.p < 1 - LEVEL)


@given(SCORES, st.floats(0, 1))
def test_differences_grow_with_what_is_added(table: list[list[float]], gain: float) -> None:
    other = np.random.default_rng(0).random(np.shape(table))
    before, after = difference(table, other), difference(np.array(table) + gain, other)
    assert ends(after) == pytest.approx([end + gain for end in ends(before)], abs=1e-9)


def test_pairing_removes_what_is_hard_for_both() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.random(64)
    theirs = np.stack([hardness + rng.normal(0, 0.02, 64) for _ in range(3)])
    ours = theirs + 0.05 + rng.normal(0, 0.02, theirs.shape)
    paired, alone = difference(ours, theirs), estimate(ours)
    assert paired.separable and paired.low < 0.05 < paired.high
    assert paired.high - paired.low < (alone.high - alone.low) / 5


def test_a_seed_that_fails_everywhere_widens_the_interval_however_many_tasks_there_are() -> None:
    broken = estimate(np.concatenate([np.full((2, 1000), 0.7), np.full((1, 1000), 0.1)]))
    assert broken.high - broken.low == pytest.approx(2 * T2 * 0.2, abs=1e-4)


def test_an_interval_is_cut_off_where_no_value_can_be() -> None:
    of = difference([[1.0, 1.0], [0.25, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    assert of.low < -1 and of.high > 1
    assert of.between(CHANGE) == replace(of, low=-1.0, high=1.0)
    assert of.between((-9, 0.75)) == replace(of, low=max(of.low, -9), high=0.75)
    (compared,) = comparisons([([[1.0], [0.0]], [[0.0], [0.0]])], [[0.0], [0.0]], [[[1.0], [0.0]]])
    assert compared.between(CHANGE) == replace(compared, low=-1.0, high=1.0)


@given(SCORES)
def test_a_difference_between_shares_stays_in_its_interval_when_that_is_cut_off(table: list[list[float]]) -> None:
    of = difference(table, np.random.default_rng(0).random(np.shape(table)))
    cut = of.between(CHANGE)
    assert -1 <= cut.low <= cut.value <= cut.high <= 1
    assert (cut.separable, cut.p) == (of.separable, of.p)


# The interquartile mean


def test_the_interquartile_mean_worked_by_hand() -> None:
    # Two of eight cells are cut at either end: 2, 3, 4, 5 are left.
    assert iqm([[0, 7, 2, 3], [5, 4, 6, 1]]).value == 3.5
    # One of five: 1, 2, 3 are left; moved into the middle the cells are 1, 1, 2, 3, 3, and their influence 5 / 3 of
    # their distance from 2: variance (4 / 4) / 5 * 25 / 9, four degrees of freedom.
    of = iqm([[0, 1, 2, 3, 100]])
    half = 2.776445 * math.sqrt(5) / 3
    assert ends(of) == pytest.approx((2, 2 - half, 2 + half), abs=1e-5)


@given(SCORES)
def test_the_interquartile_mean_is_the_trimmed_mean_of_all_cells(table: list[list[float]]) -> None:
    assert iqm(table).value == pytest.approx(stats.trim_mean(np.ravel(table), 0.25))


# Probability of improvement


def test_the_probability_of_improvement_worked_by_hand() -> None:
    # First task: 2 > 1, 2 > 0, 1 = 1, 1 > 0: 3.5 of 4. Second: 0 < 1 twice, 3 > 1 twice: 2 of 4.
    assert probability_of_improvement([[2, 0], [1, 3]], [[1, 1], [0, 1]]).value == (3.5 / 4 + 2 / 4) / 2


@given(RESULTS)
def test_for_results_that_are_0_or_1_it_is_the_difference_halved(table: list[list[float]]) -> None:
    ours = np.array(table)
    theirs = np.random.default_rng(0).integers(0, 2, ours.shape).astype(float)
    of, plain = probability_of_improvement(ours, theirs), difference(ours, theirs)
    assert of.value == pytest.approx(0.5 + plain.value / 2)
    halves = estimate((ours - theirs) / 2 + 0.5, bounds=UNIT)
    assert ends(of) == pytest.approx(ends(halves), abs=1e-9)


@given(SCORES)
def test_improvement_one_way_is_none_the_other(table: list[list[float]]) -> None:
    other = np.random.default_rng(0).integers(0, 9, np.shape(table)) / 8
    there, back = probability_of_improvement(table, other), probability_of_improvement(other, table)
    assert ends(there) == pytest.approx((1 - back.value, 1 - back.high, 1 - back.low))
    assert 0 <= there.value <= 1 and probability_of_improvement(table, table).value == pytest.approx(0.5)


# Learning curves and normalised scores


def test_the_area_under_a_curve_worked_by_hand() -> None:
    # Up to 2: half a unit of rising, one of rest, of two.
    assert area_under_curve([0, 1, 3], [0, 1, 1], 2) == pytest.approx(1.5 / 2)
    assert area_under_curve([0, 1, 3], [0, 1, 1], 0.5) == pytest.approx(0.25)
    assert area_under_curve([0, 4], [[0, 1, 0.5], [1, 0, 0.5]], 2) == pytest.approx([0.25, 0.75, 0.5])


@given(st.lists(st.floats(0, 1), min_size=3, max_size=8), st.floats(0.1, 1), st.integers(0, 100))
def test_where_a_curve_was_measured_does_not_change_its_area(heights: list[float], share: float, between: int) -> None:
    spent = np.arange(len(heights)) * 1000.0
    budget = share * spent[-1]
    area = area_under_curve(spent, heights, budget)
    assert min(heights) - 1e-12 <= area <= max(heights) + 1e-12
    extra = (between + 0.5) / 101 * spent[-1]
    more = np.sort(np.append(spent, extra)) if extra not in spent else spent
    assert area_under_curve(more, np.interp(more, spent, heights), budget) == pytest.approx(area)
    assert area_under_curve(spent, np.full(len(heights), 0.3), budget) == pytest.approx(0.3)


def test_normalised_scores_are_0_at_the_floor_and_1_at_the_ceiling() -> None:
    assert normalised([[0.2, 1.0], [0.6, 0.5]], [0.2, 0.0], [1.0, 0.5]) == pytest.approx(np.array([[0, 2], [0.5, 1]]))


# Over environments


@given(SCORES)
def test_one_environment_is_its_own_mean(table: list[list[float]]) -> None:
    assert ends(mean_of_means([table], bounds=UNIT)) == pytest.approx(ends(estimate(table, bounds=UNIT)), abs=1e-9)


def test_the_mean_over_environments_worked_by_hand() -> None:
    # By seed (0 + 2) / 2 and (2 + 2) / 2: variance .5. Tasks differ in the second environment only, by 1 about their
    # mean: variance 2, of two tasks and two environments 2 / 2 / 4, known from one difference. So (.5 + .5) / 2 in
    # all; .5 (1 + 2 √2) = 1.9142, and the degrees of freedom (1.9142 + .5)² / (1.9142² + .5²).
    of = mean_of_means([[[0], [2]], [[1, 3], [1, 3]]])
    half = special.stdtrit(1.48905, 0.975) * math.sqrt(0.5)
    assert ends(of) == pytest.approx((1.5, 1.5 - half, 1.5 + half), rel=1e-4)
    assert (of.seeds, of.tasks) == (2, 3)


@given(SCORES)
def test_an_environment_counts_once_however_many_tasks_it_has(table: list[list[float]]) -> None:
    other = np.random.default_rng(0).random((len(table), 30))
    assert mean_of_means([table, other]).value == pytest.approx((np.mean(table) + other.mean()) / 2)


def test_where_only_seeds_differ_an_environment_says_no_more_twice_than_once() -> None:
    reference, steady, wild = [[0.4], [0.5], [0.6]], [[0.6], [0.7], [0.8]], [[0.3], [0.5], [0.8]]
    once = comparisons([(steady, reference), (wild, reference)], reference, [steady, wild])
    twice = comparisons_of_means(
        [([of, of], [reference, reference]) for of in (steady, wild)],
        [reference] * 2,
        [[of] * 2 for of in (steady, wild)],
    )
    for one, two in zip(once, twice, strict=True):
        assert (*ends(two), two.corrected) == pytest.approx((*ends(one), one.corrected))
        assert ends(two.improvement) == pytest.approx(ends(one.improvement))


# Several comparisons


def test_holms_correction_worked_by_hand() -> None:
    # In order .005 * 4, .01 * 3, .03 * 2, and .04 * 1, which may not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]).tolist() == [1, 1] and holm([0.2]).tolist() == [0.2] and holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_corrected_p_is_no_smaller_and_keeps_the_order(p: list[float]) -> None:
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= 1).all() and corrected.min() == min(1, len(p) * min(p))
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_a_single_comparison_needs_no_correction() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = rng.random((3, 20)), rng.random((3, 20))
    (of,) = comparisons([(ours, theirs)], theirs, [ours])
    alone = difference(ours, theirs)
    assert (*ends(of), of.corrected) == (*ends(alone), alone.p)
    assert of.improvement == probability_of_improvement(ours, theirs)


def test_a_single_shared_seed_tells_no_methods_apart_and_counts_for_nothing() -> None:
    ours, other, theirs = np.ones((1, 50)), np.full((3, 50), 0.4), np.zeros((3, 50))
    one, three = comparisons([(ours, theirs[:1]), (other, theirs)], theirs, [ours, other])
    assert one.corrected is None and not one.separable
    assert three.corrected == 0 and three.separable


def test_several_comparisons_share_the_variance_between_seeds() -> None:
    """Worked by hand: on a constant task only seeds differ."""
    reference, steady, wild = [[0.4], [0.5], [0.6]], [[0.6], [0.7], [0.8]], [[0.3], [0.5], [0.7]]
    two, three = comparisons([(steady, reference), (wild, reference)], reference, [steady, wild])
    # The reference's variance between seeds is .01 with 2 degrees of freedom, that of the others, .01 and .04, on the
    # average .025 with 4; together .035 with .035² / (.01² / 2 + .025² / 4) = 5.9394. Of two p that of .2 is smaller.
    assert two.corrected == pytest.approx(2 * 2 * special.stdtr(5.9394, -0.2 / math.sqrt(0.035 / 3)), rel=1e-4)
    assert two.p == pytest.approx(0, abs=1e-9) and three.corrected == pytest.approx(three.p) == pytest.approx(1)
    assert not two.separable


def test_what_is_not_of_seeds_is_each_sides_own() -> None:
    """Worked by hand: a method whose seeds agree on the average and at no task."""
    reference, odd, plain = [[0.5, 0.5]] * 2, [[3.0, 4.0], [4.0, 3.0]], [[0.6, 0.6], [0.4, 0.4]]
    one, _ = comparisons([(odd, reference), (plain, reference)], reference, [odd, plain])
    # MS_rest is 1, by two tasks .5 a seed, a quarter for either side. Seeds add nothing to the reference; to the others
    # -.5 and .02 on the average, which is none. So .25 with 1 and .25 with 2 degrees of freedom: .5² / (.0625 * 1.5) =
    # 8/3. For t's degrees, .5 is raised by two standard errors: .5 (1 + 2 sqrt(3/4)) = 1.3660.
    freedom = 1.3660254**2 / (1.3660254**2 * 3 / 8 + 0.5**2)
    assert one.corrected == pytest.approx(2 * 2 * special.stdtr(freedom, -3 / math.sqrt(0.5 / 2)), rel=1e-6)


@given(st.permutations(range(4)))
def test_the_order_of_comparisons_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(1)
    tables = rng.random((5, 3, 12)) + np.arange(5)[:, None, None] / 10
    plain = comparisons([(ours, tables[0]) for ours in tables[1:]], tables[0], tables[1:])
    other = comparisons([(tables[1 + place], tables[0]) for place in order], tables[0], tables[:0:-1])
    for place, of in zip(order, other, strict=True):
        assert of.corrected == pytest.approx(plain[place].corrected)
        assert of.corrected is not None and of.corrected >= of.p


def test_many_tables_at_once_are_judged_as_each_by_itself() -> None:
    (block,) = experiments(np.random.default_rng(0), (World(0.9, 0.05),), 3, 40, 20)
    many = block[:, 0]
    low, high = interval(many.mean((1, 2)), spread(mean_squares(many)), LEVEL, UNIT, 40)
    alone = [estimate(table, bounds=UNIT) for table in many]
    assert low == pytest.approx([of.low for of in alone]) and high == pytest.approx([of.high for of in alone])


# Bad input


def test_bad_tables_are_refused() -> None:
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
    with pytest.raises(ValueError, match="level"):
        estimate([[1.0, 2.0]], level=95)
    with pytest.raises(ValueError, match="cannot be paired"):
        difference([[1.0]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="cannot be paired"):
        comparisons([([[1.0]], [[1.0, 2.0]])], [[1.0]], [])
    for tables in ([], [[[1.0]], [[1.0], [2.0]]]):
        with pytest.raises(ValueError, match="same seeds"):
            mean_of_means(tables)


def test_bad_curves_and_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="one value"):
        area_under_curve([0, 1], [0.5], 1)
    for spent in ([], [1, 2], [0, 1, 1]):
        with pytest.raises(ValueError, match="begins where nothing is spent"):
            area_under_curve(spent, [0.5] * len(spent), 1)
    for budget in (0, 2.5):
        with pytest.raises(ValueError, match="ends at 2"):
            area_under_curve([0, 2], [0.5, 0.5], budget)
    with pytest.raises(ValueError, match="above its floor"):
        normalised([0.5], [0.2, 0.2], [0.5, 0.2])
