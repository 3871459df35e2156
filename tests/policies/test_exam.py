"""The examination pairs each guided retry with an unguided one, and counts what came of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from r3lbench.policies.exam import Examined, examine, marks
from tests.stage import EXPERT, Stage, play, report, stage

FAILED = ("sing", "take key", "go west", "wait", "wait", "wait")
REST = EXPERT[1:]


def examined(at: Stage) -> Examined:
    with at.rollout.envs.borrow() as env:
        task = env.resolve("train/0")
    (one,) = play(examine(at.rollout, [task]))
    return one


def failed_and_mended() -> Examined:
    """A failure whose report names step 2; the guided retry from there succeeds, the unguided one does not."""
    # The environment's pivot is step 0, the first impossible action; both retries from there fail.
    return examined(stage({"a0": FAILED, "a0?0": [report(2)], "a0.r0": REST}, style="compact"))


def test_a_failure_is_retried_in_pairs_from_both_pivots() -> None:
    one = failed_and_mended()
    assert one.reflection.pivot == 2 and one.diagnosis.pivot == 0
    assert one.guided is not None and one.taught is not None
    assert [attempt.pivot for attempt in (*one.guided, *one.taught)] == [2, 2, 0, 0]
    assert [bool(attempt.guidance) for attempt in (*one.guided, *one.taught)] == [True, False, True, False]
    assert [attempt.success for attempt in (*one.guided, *one.taught)] == [True, False, False, False]


def test_a_report_that_cannot_be_read_leads_to_no_retry_of_its_own() -> None:
    one = examined(stage({"a0": FAILED, "a0?0": ["no report"]}, style="compact"))
    assert one.guided is None and one.taught is not None
    assert marks([one])["valid"] == 0


def test_a_flawless_attempt_is_no_failure() -> None:
    one = examined(stage({"a0": EXPERT, "a0?0": [report(None, outcome="success", plan=None)]}, style="compact"))
    assert one.guided is None and one.taught is None
    assert marks([one]) == {
        "attempts": 1,
        "failures": 0,
        "valid_of_all": 1.0,
        "outcome_right_of_all": 1.0,
        "guided_pairs": 0,
        "taught_pairs": 0,
    }


def test_marks_count_shares_of_the_failures() -> None:
    mended = failed_and_mended()
    exact = replace(mended, diagnosis=replace(mended.diagnosis, pivot=2))
    near = replace(mended, diagnosis=replace(mended.diagnosis, pivot=1), guided=None)
    counted = marks([mended, exact, near])
    assert counted["failures"] == 3
    assert counted["valid"] == 1
    assert counted["pivot_exact"] == pytest.approx(1 / 3, abs=1e-3)
    assert counted["pivot_within_one"] == pytest.approx(2 / 3, abs=1e-3)
    assert counted["guided_pairs"] == 2
    assert (counted["guided_success"], counted["guided_success_without_guidance"]) == (1, 0)
    assert (counted["taught_success"], counted["taught_success_without_guidance"]) == (0, 0)
