"""Pivots and credit against what was worked out by hand, and laws."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.assessment import Assessment, Judged, Pivot, assess, judge, spearman
from r3lbench.baselines.r3l import R3L
from r3lbench.recording import group_json
from r3lbench.registry import BASELINES
from r3lbench.rollout.pool import EnvPool
from r3lbench.traces import RecordedGroup
from r3lbench.valuing import BestValues, Value
from tests.baselines.attempts import METHODS, credited
from tests.corridor import DAWDLE, PRAISE, by_grpo, by_r3l, corridor, tried


def exactly(group: RecordedGroup) -> Judged:
    return judge(group, BestValues(EnvPool(corridor), Value.EXACT)(group))


def steps_of(group: RecordedGroup, judged: Judged, attempt: str) -> list[float]:
    """The credit of every step of an attempt."""
    leaf = next(one.leaf for one in group.attempts if one.key.endswith(attempt))
    return [judged.credit[state] for state in group.path(leaf)[1:]]


def numbers(of: Assessment) -> dict[str, float | None]:
    return {name: measure.value for name, measure in (of.pivots | of.credit).items()}


# The worked example


def test_grpo_gives_every_step_of_an_attempt_the_same() -> None:
    group = by_grpo()
    judged = exactly(group)
    # mean .75, unbiased std .3535534
    assert steps_of(group, judged, "a0") == pytest.approx([-math.sqrt(0.5)] * 6, abs=1e-5)
    assert steps_of(group, judged, "a1") == pytest.approx([math.sqrt(0.5)] * 4, abs=1e-5)
    found = assess([judged])
    # Ten steps. Credit: six of rank 3.5, four of 8.5. Advantage: one of rank 1, nine of rank 6.
    # 10 / sqrt(60 * 22.5); inside an attempt nothing varies.
    assert numbers(found) == {
        **dict.fromkeys(("exact", "within_one", "in_time", "offset", "in_attempts")),
        **{name: pytest.approx(10 / math.sqrt(60 * 22.5)) for name in ("pooled", "in_groups")},
        **{"sign": 1.0, "decisive": 1.0, "innocent": 1.0},
    }
    assert found.counts == {
        **{"groups": 1, "attempts": 2, "failed": 1, "unvalued": 0, "steps": 10},
        **{"reflections": 0, "invalid": 0, "without_step": 0, "pivots": 0},
    }


def test_r3l_gives_nothing_before_the_pivot() -> None:
    group = by_r3l()
    judged = exactly(group)
    # Returns .5, 1 and 1 of mean 5/6: -1/3, and alpha = 3 for what solved it. The guided retry is imitated as well.
    assert steps_of(group, judged, "a0") == pytest.approx([0, *[-1 / 3] * 5])
    assert steps_of(group, judged, "a1") == pytest.approx([3.0] * 4)
    assert steps_of(group, judged, "a0.r0") == pytest.approx([0, *[3.0 + 1.0] * 5])
    found = assess([judged])
    # Fifteen steps, the shared one counted once: 37.5 / sqrt(255 * 52.5). In the failed attempt 1.5 / 7.5; in the
    # others nothing was lost, so there is nothing to rank.
    assert numbers(found) == {
        **{"exact": 1.0, "within_one": 1.0, "in_time": 1.0, "offset": 0.0},
        **{name: pytest.approx(37.5 / math.sqrt(255 * 52.5)) for name in ("pooled", "in_groups")},
        **{"in_attempts": pytest.approx(0.2), "sign": 1.0, "decisive": 1.0, "innocent": pytest.approx(4 / 5)},
    }
    assert found.chance == pytest.approx({"exact": 1 / 6, "within_one": 3 / 6, "in_time": 2 / 6, "offset": 1.5})
    assert {name: of.value for name, of in found.lift.items()} == pytest.approx(
        {"exact": 5 / 6, "within_one": 3 / 6, "in_time": 4 / 6, "offset": -1.5}
    )
    assert found.counts["steps"] == 15 and found.credit["in_attempts"].count == 1


def test_a_late_pivot_leaves_the_mistake_unblamed() -> None:
    # A retry from step 3 (room 2, three steps left) can no longer open the door.
    found = assess([exactly(by_r3l(3))])
    assert found.counts["failed"] == 2 and found.counts["pivots"] == 1
    # The mistake of both attempts is one step, and it is masked in both.
    assert found.credit["decisive"].value == 0.0 and found.credit["decisive"].count == 1
    assert [found.pivots[name].value for name in ("exact", "within_one", "in_time", "offset")] == [0.0, 0.0, 0.0, 2.0]


def test_without_the_mask_a_shared_step_gets_what_both_attempts_give_it() -> None:
    group = by_r3l(pivotal_credit=False)
    assert steps_of(group, exactly(group), "a0") == pytest.approx([3 - 1 / 3, *[-1 / 3] * 5])


def test_a_step_without_a_term_has_no_credit() -> None:
    group = by_grpo()
    bare = group.model_copy(update={"terms": group.terms[:1]})
    judged = exactly(bare)
    assert steps_of(bare, judged, "a1") == [0.0] * 4
    assert assess([exactly(group.model_copy(update={"terms": ()}))]).credit["pooled"].value is None


@pytest.mark.parametrize("name", METHODS)
def test_the_credit_of_any_method_is_the_weight_of_its_terms(name: str) -> None:
    group, terms = credited(BASELINES.load(name)())[1:]
    told = RecordedGroup.model_validate_json(json.dumps(group_json(group, terms)))
    judged = judge(told, [0.0] * len(told.states))
    played = {turn.node for attempt in group.attempts for turn in attempt.turns}
    given = [
        term.weight
        for term in terms
        for turn, origin in zip(term.sample.turns, term.sample.sampled_in, strict=True)
        if turn in term.turns and origin in played
    ]
    assert math.fsum(judged.credit) == pytest.approx(math.fsum(given), abs=1e-9)
    assert len(told.terms) == len(terms) and judged.credit[0] == 0.0


def test_the_lift_of_a_share_stays_in_its_range() -> None:
    # One step that is decisive, and one that is not: lifts of 1/2 and -1/2 in two tasks, where t is 12.7.
    judged = judged_with([1.0, 0.0], [-1.0, 0.0])
    first, second = (Pivot(step, 0, (True, False)) for step in (0, 1))
    found = assess([replace(judged, pivots=(first,)), replace(judged, pivots=(second,), task="train/1")]).lift
    for name in ("exact", "within_one", "in_time"):
        low, value, high = found[name].low, found[name].value, found[name].high
        assert low is not None and value is not None and high is not None and -1 <= low <= value <= high <= 1
    assert found["exact"].low is not None and -1 < found["exact"].low < -0.9


def test_of_equal_losses_the_earliest_is_decisive() -> None:
    group = by_r3l(2)
    values: list[float | None] = [1.0] * len(group.states)
    path = group.path(group.attempts[0].leaf)
    # Three losses of .1, of which the last is the largest to a computer.
    for state, value in zip(path, (1.0, 1.0, 0.9, 0.8, 0.7, 0.7, 0.7), strict=True):
        values[state] = value
    (pivot,) = judge(group, values).pivots
    assert (pivot.step, pivot.decisive) == (2, 1)
    assert pivot.measures(2) == {"exact": 0.0, "within_one": 1.0, "in_time": 0.0, "offset": 1.0}


def test_what_rounding_leaves_is_no_credit() -> None:
    found = assess([judged_with([-1e-17, -1e-17], [-1.0, 0.0])]).credit
    assert [found[name].value for name in ("sign", "decisive", "innocent")] == [0.0, 0.0, 0.0]


def test_reflections_that_name_no_step_are_counted_apart() -> None:
    replies = {"a0": DAWDLE, "a0?0": ["no report"], "a1": DAWDLE, "a1?0": [PRAISE]}
    found = assess([exactly(tried(R3L(group_size=4), replies)[2])])
    counts = found.counts
    assert (counts["reflections"], counts["invalid"], counts["without_step"], counts["pivots"]) == (2, 1, 1, 0)
    assert found.pivots["exact"].value is None and found.chance["exact"] is None


def test_an_attempt_with_an_unknown_value_is_left_out() -> None:
    group = by_r3l()
    values: list[float | None] = list(BestValues(EnvPool(corridor), Value.EXACT)(group))
    values[group.path(group.attempts[0].leaf)[4]] = None
    found = assess([judge(group, values)])
    assert found.counts["unvalued"] == 1 and found.counts["failed"] == 0 and found.counts["pivots"] == 0
    # The decisive step leads to a state that is known.
    assert found.credit["sign"].count == 1


# Laws

ADVANTAGES = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25]), min_size=2, max_size=12)


def judged_with(credit: Sequence[float], advantage: Sequence[float], task: str = "train/0") -> Judged:
    """One attempt with these steps, not worked out from a record."""
    return Judged(
        task=task,
        credit=(0.0, *credit),
        advantage=(None, *advantage),
        attempts=(tuple(range(1, len(credit) + 1)),),
        failed=(sum(advantage) < 0,),
        decisive=frozenset([1 + advantage.index(min(advantage))] if sum(advantage) < 0 else []),
        pivots=(),
        reflections=0,
        invalid=0,
        without_step=0,
    )


@settings(deadline=None)
@given(ADVANTAGES, st.floats(0.01, 100))
def test_credit_in_proportion_to_the_advantage_is_right_in_everything(advantage: list[float], scale: float) -> None:
    found = assess([judged_with([scale * one for one in advantage], advantage)]).credit
    varied = len(set(advantage)) > 1
    for name in ("pooled", "in_groups", "in_attempts"):
        assert found[name].value == (pytest.approx(1.0) if varied else None)
    assert found["sign"].value == (1.0 if any(advantage) else None)
    assert found["decisive"].value == (1.0 if sum(advantage) < 0 else None)
    assert found["innocent"].value in (0.0, None)


@settings(deadline=None)
@given(ADVANTAGES, st.floats(-3, 3))
def test_constant_credit_ranks_nothing(advantage: list[float], credit: float) -> None:
    found = assess([judged_with([credit] * len(advantage), advantage)]).credit
    assert {found[name].value for name in ("pooled", "in_groups", "in_attempts")} == {None}
    json.dumps({name: of.to_json() for name, of in found.items()}, allow_nan=False)


GROUPS = st.lists(
    st.lists(st.tuples(st.floats(-3, 3), st.sampled_from([-1.0, 0.0, 0.5])), min_size=1, max_size=5),
    min_size=2,
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(GROUPS, st.randoms(use_true_random=False))
def test_the_order_of_groups_changes_nothing(steps: list[list[tuple[float, float]]], random: Any) -> None:
    groups = [judged_with(*zip(*of, strict=True), task=f"train/{place % 3}") for place, of in enumerate(steps)]
    shuffled = random.sample(groups, len(groups))
    found = assess(groups)
    assert found == assess(shuffled)
    for measure in found.credit.values():
        if measure.value is not None and measure.low is not None and measure.high is not None:
            assert measure.low <= measure.high


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30))
def test_only_ranks_count(pairs: list[tuple[int, int]]) -> None:
    plain = spearman([(float(left), float(right)) for left, right in pairs])
    bent = spearman([(math.exp(left), float(right**3)) for left, right in pairs])
    flipped = spearman([(-float(left), float(right)) for left, right in pairs])
    constant = min(len(set(side)) for side in zip(*pairs, strict=True)) == 1
    assert (plain is None) == constant
    if plain is not None:
        assert -1 - 1e-9 <= plain <= 1 + 1e-9
        assert bent == pytest.approx(plain, abs=1e-9) and flipped == pytest.approx(-plain, abs=1e-9)


def test_rank_correlations_worked_by_hand() -> None:
    # Without ties 1 - 6 sum d^2 / (n (n^2 - 1)): d = 1, 1, 1, 1, 0, so 1 - 24 / 120.
    assert spearman([(1, 2), (2, 1), (3, 4), (4, 3), (5, 5)]) == pytest.approx(0.8)
    # Ranks 1.5, 1.5, 3 against 1, 2, 3: 1.5 / sqrt(1.5 * 2).
    assert spearman([(0, 1), (0, 2), (7, 3)]) == pytest.approx(math.sqrt(0.75))
    assert spearman([(1, 1), (2, 0)]) == -1.0
    assert spearman([(1, 1)]) is None and spearman([]) is None


def test_intervals_are_those_of_tasks_drawn_anew() -> None:
    """Groups of one task stay together: doubling the visits to each task makes nothing more certain."""
    rng = np.random.default_rng(0)
    once = [judged_with([1.0, float(rng.normal())], [-1.0, 0.5], f"train/{task}") for task in range(20)]
    twice = once + [judged_with(of.credit[1:], [-1.0, 0.5], of.task) for of in once]
    for name in ("pooled", "sign"):
        single, double = assess(once).credit[name], assess(twice).credit[name]
        assert double.count == 2 * single.count and double.value == pytest.approx(single.value)
        assert (double.low, double.high) == pytest.approx((single.low, single.high))
        assert single.low is not None and single.high is not None and single.low < single.high
