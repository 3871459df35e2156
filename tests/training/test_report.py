from __future__ import annotations

import pytest

from r3lbench.baselines.r3l import R3L
from r3lbench.rollout.group import Group
from r3lbench.tokens import Term
from r3lbench.training.report import explored
from tests.stage import Drifting, Ledger, encode, play, report, stage

PRAISE = report(None, outcome="success", plan=None)
REPLIES = {
    "a0": ["0.5", "0.5 end"],
    "a0?0": [PRAISE],
    "a1": ["oops", "0.2", "0.2 end"],
    "a1?0": [report(1)],
    "a1.r0": ["1 end"],
    "a2": ["0 end"],
    "a2?0": ["no report"],
    "a3": ["0.4 end"],
    "a3?0": [report(0)],
    "a3.r0": ["0.1", "0.1", "0 end"],
}


def group_of(method: R3L, replies: dict[str, list[str]]) -> tuple[Group, list[Term]]:
    at = stage(replies, make_env=Ledger)
    group = at.group()
    play(method.explore(group))
    return group, method.credit(group)


def test_an_update_is_summed_up_in_rates_and_means() -> None:
    group, terms = group_of(R3L(group_size=8), REPLIES)
    summary = explored([group], [terms])
    returns = [1.0, 0.4, 0.0, 0.4, 1.0, 0.2]
    assert [attempt.ret for attempt in [*group.bases, *group.retries]] == pytest.approx(returns)
    # Mean .5: advantages 3, -.1, -.5, -.1, 3, -.3, and a weight of 1 for two reports and a guided retry.
    weights = [3.0, -0.1, -0.5, -0.1, 3.0, -0.3, 1.0, 1.0, 1.0]
    expected = {
        "groups": 1,
        "attempts": 4,
        "success": 1 / 4,
        "score": (1.0 + 0.4 + 0.0 + 0.4) / 4,
        "return": (1.0 + 0.4 + 0.0 + 0.4) / 4,
        "steps": (2 + 3 + 1 + 1) / 4,
        "invalid": 1 / 7,
        "no_signal": 0,
        "reflections": 4,
        "reflection_valid": 3 / 4,
        "retries": 2,
        "retry_rate": 2 / 4,
        "retry_success": 1 / 2,
        "retry_return": (1.0 + 0.2) / 2,
        "retry_improved": 1 / 2,
        "pivot": (1 + 0) / 2,
        "pivot_share": (1 / 3 + 0 / 1) / 2,
        "diverged": 0,
        "advantage_mean": sum(weights) / 9,
        "advantage_abs": sum(abs(weight) for weight in weights) / 9,
        "advantage_std": (sum(weight**2 for weight in weights) / 9 - (sum(weights) / 9) ** 2) ** 0.5,
        "advantage_min": -0.5,
        "advantage_max": 3.0,
        "advantage_positive": 5 / 9,
    }
    assert summary.pop("pivots") == {"0": 1, "1": 1}
    # Every reply has an end token; the first turn of a1 is masked.
    trained = {
        "base": ["0.5", "0.5 end", "0.2", "0.2 end", "0 end", "0.4 end"],
        "distilled": ["1 end", "0.1", "0.1", "0 end"],
        "guided": ["1 end"],
        "reflection": [PRAISE, report(1)],
    }
    assert summary.pop("trained") == {
        label: sum(len(encode(reply)) + 1 for reply in replies) for label, replies in trained.items()
    }
    assert summary == pytest.approx(expected)


def test_where_there_is_nothing_to_average_there_is_no_number() -> None:
    group, terms = group_of(R3L(group_size=2, reflection="none"), {"a0": ["0 end"], "a1": ["0 end"]})
    summary = explored([group], [terms])
    assert summary["no_signal"] == 1
    assert (summary["reflections"], summary["retries"], summary["retry_rate"]) == (0, 0, 0)
    for name in ("reflection_valid", "retry_success", "retry_return", "retry_improved", "pivot", "diverged"):
        assert summary[name] is None
    nothing = explored([], [])
    assert (nothing.pop("pivots"), nothing.pop("trained")) == ({}, {})
    assert set(nothing.values()) == {0.0, None}


def test_groups_are_averaged_as_groups_and_attempts_as_attempts() -> None:
    first = group_of(R3L(group_size=2, reflection="none"), {"a0": ["1 end"], "a1": ["0 end"]})
    second = group_of(R3L(group_size=4, reflection="none"), {f"a{number}": ["0 end"] for number in range(4)})
    summary = explored([first[0], second[0]], [first[1], second[1]])
    assert (summary["groups"], summary["attempts"]) == (2, 6)
    assert summary["success"] == pytest.approx(1 / 6)
    assert summary["no_signal"] == 1 / 2


def test_terms_without_tokens_count_nowhere() -> None:
    group, terms = group_of(R3L(group_size=8), REPLIES)
    empty = terms[0].sample.term(100.0, from_turn=99)
    assert explored([group], [[*terms, empty]]) == explored([group], [terms])


def test_retries_that_lost_their_state_are_counted() -> None:
    at = stage(
        {"a0": ["go east"], "a0?0": [report(2)], "a1": ["go east"], "a1?0": [report(0)]},
        make_env=lambda: Drifting(rooms=3, max_steps=4),
    )
    group, method = at.group(), R3L(group_size=4)
    play(method.explore(group))
    terms = method.credit(group)
    summary = explored([group], [terms])
    assert summary["diverged"] == 1 / 2
    assert summary["pivot"] == 0
    # Nothing is masked where nothing is shared.
    assert [len(term.turns) for term in terms] == [4, 4, 4, 4]
