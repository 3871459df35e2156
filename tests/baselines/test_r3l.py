from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.baseline import PolicyLoss
from r3lbench.baselines.r3l import PRESETS, R3L
from r3lbench.registry import BASELINES
from r3lbench.rollout.group import Group
from r3lbench.tokens import Kind, OldLogprobs, Term
from tests.stage import Ledger, Stage, play, read, report, stage
from tests.toy import Toy

RETURNS = st.lists(st.sampled_from([-1.0, -0.1, 0.0, 0.2, 0.5, 0.9, 1.0]), min_size=1, max_size=8)
FAILS, SOLVES = ["0", "0", "0.1", "0", "0 end"], ["0.2", "0.4", "0.3 end"]
"""A base of five turns that returns .1; what a retry does from step 2 on, to return .9; see ``SOLVED``."""
SOLVED = ["0.2", "0.4", "0.4 end"]
"""From step 2 on, to return 1."""

# Worked by hand: returns, and the advantages of the presets with alpha = 3.
# [1,0,0,0]: mean .25; s = .75, -.25; std .5, so that s / std = 1.5, -.5.
# [.5,.2,-.1,-.1]: mean .125; s = .375, .075, -.225, -.225; 3 s = 1.125, .225; std = sqrt(.2475 / 3) = .2872281, so that
# s / std = 1.305582, .261116, -.783349, -.783349; 3 * .261116 = .783349; the group's best gets alpha.
# [1,1,0,0]: mean .5; std = sqrt(4 * .25 / 3) = .5773503; s / std = +-.866025.
GOLDEN: dict[tuple[float, ...], dict[str, list[float]]] = {
    (1.0, 0.0, 0.0, 0.0): {
        "author": [3.0, -0.25, -0.25, -0.25],
        "released": [1.0, -0.25, -0.25, -0.25],
        "paper": [3.0, -0.5, -0.5, -0.5],
    },
    (0.0, 0.0, 0.0, 0.0): {preset: [0.0] * 4 for preset in PRESETS},
    (1.0, 1.0, 1.0, 1.0): {
        "author": [3.0, 3.0, 3.0, 3.0],
        "released": [1.0, 1.0, 1.0, 1.0],
        "paper": [3.0, 3.0, 3.0, 3.0],
    },
    (0.5, 0.2, -0.1, -0.1): {
        "author": [1.125, 0.225, -0.225, -0.225],
        "released": [1.125, 0.225, -0.225, -0.225],
        "paper": [3.0, 0.783349, -0.783349, -0.783349],
    },
    (1.0, 1.0, 0.0, 0.0): {
        "author": [3.0, 3.0, -0.5, -0.5],
        "released": [1.0, 1.0, -0.5, -0.5],
        "paper": [3.0, 3.0, -0.866025, -0.866025],
    },
    (0.0,): {preset: [0.0] for preset in PRESETS},
    (1.0,): {"author": [3.0], "released": [1.0], "paper": [3.0]},
}


def explored(method: R3L, replies: Mapping[str, Sequence[str]], **settings: Any) -> tuple[Stage, Group, list[Term]]:
    """A group, and what the method credits."""
    at = stage(replies, make_env=settings.pop("make_env", Ledger), **settings)
    group = at.group()
    play(method.explore(group))
    return at, group, method.credit(group)


def by_label(terms: Sequence[Term]) -> dict[str, list[Term]]:
    labels = dict.fromkeys(term.label for term in terms)
    return {label: [term for term in terms if term.label == label] for label in labels}


def one_retry(retry: Sequence[str] = SOLVED, k: int = 2, **switches: Any) -> tuple[Stage, Group, dict[str, list[Term]]]:
    """Two bases of which the second is retried from step ``k``."""
    praise = report(None, outcome="success", plan=None)
    replies = {"a0": ["1 end"], "a0?0": [praise], "a1": FAILS, "a1?0": [report(k)], "a1.r0": retry}
    at, group, terms = explored(R3L(group_size=4, **switches), replies)
    return at, group, by_label(terms)


# Advantages


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("returns", GOLDEN)
def test_advantages_are_amplified_deviations_in_every_reading(returns: tuple[float, ...], preset: Any) -> None:
    assert R3L(preset=preset).advantages(list(returns)) == pytest.approx(GOLDEN[returns][preset], abs=1e-6)


@pytest.mark.parametrize(
    ("returns", "advantages"),
    [
        ([1.0, 0.0, 0.0, 0.0], [0.75, -0.25, -0.25, -0.25]),
        ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
        ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
        ([0.5, 0.2, -0.1, -0.1], [0.375, 0.075, -0.225, -0.225]),
    ],
)
def test_without_amplification_they_are_those_of_opmd(returns: list[float], advantages: list[float]) -> None:
    for preset in ("author", "released"):
        method = R3L(positive_amplification=None, preset=preset)
        assert method.advantages(returns) == pytest.approx(advantages, abs=1e-12)


@settings(deadline=None)
@given(RETURNS, st.sampled_from(sorted(PRESETS)), st.sampled_from([1.0, 2.0, 3.0, 7.0]))
def test_only_what_is_solved_or_above_the_mean_is_amplified(returns: list[float], preset: Any, alpha: float) -> None:
    plain = R3L(preset=preset, positive_amplification=None).advantages(returns)
    amplified = R3L(preset=preset, positive_amplification=alpha).advantages(returns)
    for value, before, after in zip(returns, plain, amplified, strict=True):
        if preset == "paper" and min(returns) < max(returns):
            best = value == max(returns)
        else:
            best = value >= 1
        if best:
            assert after == (1.0 if preset == "released" else alpha)
        else:
            assert after == (before if before < 0 else alpha * before)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_group_that_failed_altogether_teaches_nothing(preset: Any) -> None:
    _, _, terms = explored(R3L(group_size=4, preset=preset, meta_tasks=False), {f"a{n}": ["0 end"] for n in range(2)})
    assert [term.weight for term in terms] == [0.0, 0.0]


def test_a_group_that_succeeded_altogether_can_be_left_out() -> None:
    solved = {f"a{number}": ["1 end"] for number in range(4)}
    _, _, terms = explored(R3L(group_size=4, reflection="none"), solved)
    assert [term.weight for term in terms] == [3.0] * 4
    _, _, terms = explored(R3L(group_size=4, reflection="none", solved_groups=False), solved)
    assert terms == []


# What is sampled


def test_half_of_the_group_are_attempts_and_all_are_reflected_on() -> None:
    at, group, _ = one_retry()
    assert [attempt.key.rpartition("/")[2] for attempt in group.attempts] == ["a0", "a1", "a1.r0"]
    assert [of.key.rpartition("/")[2] for of, _ in group.reflections] == ["a0", "a1"]
    assert group.retries[0].pivot == 2 and group.retries[0].base is group.bases[1]
    # Reflections share a wave though the attempts end at different times.
    assert [request.purpose for wave in at.waves for request in wave[:1]] == ["attempt"] * 5 + ["reflect"] + [
        "retry"
    ] * 3


@pytest.mark.parametrize(
    "answer",
    ["", "no idea", report(9), report(None), report(1, outcome="lost"), report(None, outcome="success", plan=None)],
)
def test_without_a_valid_report_that_asks_for_it_there_is_no_retry(answer: str) -> None:
    _, group, terms = explored(R3L(group_size=2), {"a0": FAILS, "a0?0": [answer]})
    assert len(group.bases) == 1 and group.retries == []
    assert [(term.label, term.turns) for term in terms] == [("base", group.sample(group.bases[0]).turns)]


def test_what_was_solved_needlessly_slowly_is_retried_too() -> None:
    replies = {"a0": ["0", "0", "1 end"], "a0?0": [report(0, outcome="success_but_inefficient")], "a0.r0": ["1 end"]}
    _, group, terms = explored(R3L(group_size=2), replies)
    assert group.retries[0].steps == 1
    assert sorted(by_label(terms)) == ["base", "distilled", "guided", "reflection"]


@pytest.mark.parametrize(("preset", "temperature"), [("author", 0.7), ("released", 1.0), ("paper", 0.7)])
def test_reflections_have_a_temperature_of_their_own(preset: str, temperature: float) -> None:
    at, _, _ = one_retry(preset=preset)
    assert {request.sampling.temperature for request in at.requests("a1?0")} == {temperature}
    assert {request.sampling.temperature for who in ("a1", "a1.r0") for request in at.requests(who)} == {1.0}
    at, _, _ = one_retry(preset=preset, reflection_temperature=0.25)
    assert {request.sampling.temperature for request in at.requests("a1?0")} == {0.25}


def test_a_retry_can_always_begin_at_the_start() -> None:
    _, group, terms = one_retry(["1 end"], k=2, restart="start")
    assert group.retries[0].pivot == 0 and "PLAN" in group.retries[0].guidance
    assert terms["base"][1].turns == group.sample(group.bases[1]).turns


def test_without_reflection_all_are_first_attempts() -> None:
    at, group, terms = explored(R3L(group_size=4, reflection="none"), {"a0": ["1 end"]})
    assert len(group.bases) == 4 and group.retries == [] and group.reflections == []
    assert [term.label for term in terms] == ["base"] * 4
    assert {request.purpose for wave in at.waves for request in wave} == {"attempt"}


# What is credited


def test_what_base_and_retry_share_is_credited_in_neither() -> None:
    _, group, terms = one_retry()
    base, retry = group.bases[1], group.retries[0]
    assert (base.steps, retry.steps, retry.pivot) == (5, 5, 2)
    assert terms["base"][1].turns == tuple(turn.node for turn in base.turns[2:5])
    assert terms["distilled"][0].turns == group.distill(retry).turns[2:5]
    assert terms["base"][1].sample.turns == tuple(turn.node for turn in base.turns)
    # The other base has no retry, and nothing to share.
    assert terms["base"][0].turns == tuple(turn.node for turn in group.bases[0].turns)


def test_bases_and_distilled_retries_are_one_group() -> None:
    _, group, terms = one_retry(SOLVES)
    # Returns 1, .1 and .9: mean 2/3; s = 1/3, -17/30, 7/30; the first is solved, the third is amplified to 3 * 7/30.
    assert [attempt.ret for attempt in group.attempts] == pytest.approx([1.0, 0.1, 0.9])
    assert [term.weight for term in [*terms["base"], *terms["distilled"]]] == pytest.approx([3.0, -17 / 30, 0.7])
    for term in [*terms["base"], *terms["distilled"]]:
        assert (term.kind, term.old) == (Kind.POLICY, OldLogprobs.NONE)


def test_distilled_terms_hold_no_guidance_and_guided_terms_hold_it() -> None:
    _, group, terms = one_retry()
    (distilled,), (guided,) = terms["distilled"], terms["guided"]
    assert not any("PLAN" in read(group, turn) for turn in distilled.sample.turns)
    assert all("PLAN" in read(group, turn) for turn in guided.turns)
    assert distilled.sample.sampled_in[2:] == guided.turns == group.sample(group.retries[0]).turns[2:]


def test_a_retry_that_solved_the_task_is_imitated_with_its_reflection() -> None:
    _, group, terms = one_retry(meta_weight=0.5)
    assert [term.label for term in terms["reflection"]] == ["reflection"] * 2  # one praises, one helped
    assert [term.sample for term in terms["reflection"]] == [reflection.sample for _, reflection in group.reflections]
    for term in [*terms["reflection"], *terms["guided"]]:
        assert (term.kind, term.weight, term.old) == (Kind.LIKELIHOOD, 0.5, OldLogprobs.NONE)


@pytest.mark.parametrize(("preset", "imitated"), [("author", 0), ("released", 0), ("paper", 1)])
def test_a_retry_that_only_improved_is_imitated_in_the_paper_s_reading_alone(preset: str, imitated: int) -> None:
    _, _, terms = one_retry(SOLVES, preset=preset)
    assert len(terms.get("guided", [])) == imitated
    assert len(terms["reflection"]) == 1 + imitated  # one praises its base, rightly


@pytest.mark.parametrize("retry", [["0", "0.1 end"], ["0 end"]])
def test_a_retry_that_did_not_help_is_imitated_nowhere(retry: list[str]) -> None:
    for preset in PRESETS:
        _, _, terms = one_retry(retry, k=0, preset=preset)
        assert "guided" not in terms and len(terms["reflection"]) == 1


@pytest.mark.parametrize(
    ("retry", "imitated"), [(["1 end"], True), (["0", "1 end"], True), (["0", "0", "1 end"], False)]
)
def test_what_was_solved_before_must_be_solved_in_fewer_steps(retry: list[str], imitated: bool) -> None:
    replies = {"a0": ["0", "0", "1 end"], "a0?0": [report(0, outcome="success_but_inefficient")], "a0.r0": retry}
    _, _, terms = explored(R3L(group_size=2), replies)
    assert sorted(by_label(terms)) == sorted(["base", "distilled"] + ["guided", "reflection"] * imitated)


def test_a_report_of_success_on_a_failure_is_not_imitated() -> None:
    replies = {"a0": FAILS, "a0?0": [report(None, outcome="success", plan=None)]}
    _, _, terms = explored(R3L(group_size=2), replies)
    assert [term.label for term in terms] == ["base"]


def test_an_oracle_s_reports_are_nobody_s_tokens() -> None:
    replies = {"a0": ["take key", "sing", "go west"], "a0.r0": ["go east", "go east", "open door"]}
    _, group, terms = explored(
        R3L(group_size=2, reflection="oracle"), replies, make_env=lambda: Toy(rooms=3, max_steps=6)
    )
    assert group.retries[0].pivot == 1 and group.retries[0].success
    assert sorted(by_label(terms)) == ["base", "distilled", "guided"]


# The identity


def opmd(group: Group) -> list[Term]:
    """The plain policy gradient with the group's mean as baseline: no ratio, no clip, no std, every turn."""
    members = [(attempt, group.sample(attempt)) for attempt in group.bases]
    members += [(attempt, group.distill(attempt)) for attempt in group.retries]
    mean = statistics.mean(attempt.ret for attempt, _ in members)
    return [sample.term(attempt.ret - mean, kind=Kind.POLICY, old=OldLogprobs.NONE) for attempt, sample in members]


def essence(terms: Sequence[Term]) -> list[tuple[Any, ...]]:
    """What training sees of terms."""
    return [(term.turns, term.sample.turns, term.sample.sampled_in, term.weight, term.kind, term.old) for term in terms]


EARN = st.integers(-50, 100).map(lambda hundredths: str(hundredths / 100))
PLAYS = st.lists(EARN, min_size=1, max_size=4).map(lambda rewards: [*rewards[:-1], f"{rewards[-1]} end"])
OFF: dict[str, Any] = {"positive_amplification": None, "pivotal_credit": False, "meta_tasks": False}


@settings(deadline=None)
@given(st.lists(PLAYS, min_size=1, max_size=6))
def test_with_every_switch_off_it_is_the_plain_policy_gradient(plays: list[list[str]]) -> None:
    method = R3L(**OFF, reflection="none", group_size=len(plays))
    _, group, terms = explored(method, {f"a{number}": play for number, play in enumerate(plays)})
    assert essence(terms) == essence(opmd(group))
    assert len(terms) == len(plays)
    assert method.loss == PolicyLoss(ratio=None, clip=None, kl=0.0, aggregate="token-mean")


@settings(deadline=None)
@given(st.lists(st.tuples(PLAYS, PLAYS, st.integers(0, 5)), min_size=1, max_size=4))
def test_with_retries_and_all_credit_off_these_are_members_like_any_other(
    plays: list[tuple[list[str], list[str], int]],
) -> None:
    replies: dict[str, Sequence[str]] = {}
    for number, (base, retry, k) in enumerate(plays):
        # Some pivots lie beyond the episode: those bases have no retry.
        replies |= {f"a{number}": base, f"a{number}?0": [report(k)], f"a{number}.r0": retry}
    _, group, terms = explored(R3L(**OFF, group_size=2 * len(plays)), replies)
    assert essence(terms) == essence(opmd(group))
    assert len(group.retries) == sum(k < len(base) for base, _, k in plays)


@settings(deadline=None)
@given(PLAYS, PLAYS, st.integers(0, 3))
def test_each_switch_changes_only_what_it_names(base: list[str], retry: list[str], k: int) -> None:
    replies = {"a0": base, "a0?0": [report(k)], "a0.r0": retry}
    group = explored(R3L(group_size=2), replies)[1]
    plain = R3L(**OFF).credit(group)
    amplified = R3L(**{**OFF, "positive_amplification": 3.0}).credit(group)
    masked = R3L(**{**OFF, "pivotal_credit": True}).credit(group)
    imitating = R3L(**{**OFF, "meta_tasks": True}).credit(group)
    assert [term.turns for term in amplified] == [term.turns for term in plain]
    assert [term.weight for term in masked] == [term.weight for term in plain]
    pivot = group.retries[0].pivot if group.retries else 0
    assert [term.turns for term in masked] == [term.turns[pivot:] for term in plain]
    assert essence(imitating[: len(plain)]) == essence(plain)
    assert all(term.kind is Kind.LIKELIHOOD for term in imitating[len(plain) :])


# Settings


def test_each_reading_has_its_own_aggregate() -> None:
    assert [R3L(preset=preset).loss.aggregate for preset in ("author", "released", "paper")] == [
        "token-mean",
        "token-mean",
        "seq-mean-token-mean",
    ]


@pytest.mark.parametrize(
    "wrong", [{"positive_amplification": 0.0}, {"preset": "mine"}, {"group_size": 0}, {"alpha": 3}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        R3L(**wrong)


def test_it_is_registered_under_its_name() -> None:
    assert BASELINES.load("r3l") is R3L
