from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.baseline import PolicyLoss
from r3lbench.baselines.grpo import GRPO, z_scores
from r3lbench.registry import BASELINES
from r3lbench.tokens import Kind, OldLogprobs
from tests.stage import Ledger, play, stage

RETURNS = st.lists(st.integers(-100, 100).map(lambda hundredths: hundredths / 100), min_size=2, max_size=8)

# Worked by hand. The std is the unbiased one; 1e-6 is added to it.
Z_SCORES = [
    # mean .25, deviations .75 and three times -.25, std = sqrt((.5625 + 3 * .0625) / 3) = .5
    ([1.0, 0.0, 0.0, 0.0], [1.5, -0.5, -0.5, -0.5]),
    ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
    # mean .125, deviations .375, .075, -.225, -.225, sum of squares .2475, std = sqrt(.0825) = .2872281
    ([0.5, 0.2, -0.1, -0.1], [1.305582, 0.261116, -0.783349, -0.783349]),
    # mean 0, std = sqrt(2) = 1.4142136
    ([1.0, -1.0], [0.707107, -0.707107]),
    # A group of one is compared with nothing: mean 0, std 1.
    ([0.7], [0.7]),
]
CENTRED = [
    ([1.0, 0.0, 0.0, 0.0], [0.75, -0.25, -0.25, -0.25]),
    ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),
    ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
    ([0.5, 0.2, -0.1, -0.1], [0.375, 0.075, -0.225, -0.225]),
]


@pytest.mark.parametrize(("returns", "advantages"), Z_SCORES)
def test_advantages_are_z_scores_of_the_group(returns: list[float], advantages: list[float]) -> None:
    assert z_scores(returns, normalise=True) == pytest.approx(advantages, abs=1e-5)


@pytest.mark.parametrize(("returns", "advantages"), CENTRED)
def test_without_normalising_they_are_deviations_from_the_mean(returns: list[float], advantages: list[float]) -> None:
    assert z_scores(returns, normalise=False) == pytest.approx(advantages, abs=1e-12)


@settings(deadline=None)
@given(RETURNS, st.booleans())
def test_advantages_sum_to_nothing_and_keep_the_order_of_returns(returns: list[float], normalise: bool) -> None:
    advantages = z_scores(returns, normalise=normalise)
    assert math.fsum(advantages) == pytest.approx(0, abs=1e-6)
    for place, value in enumerate(returns):
        for other, smaller in enumerate(returns):
            assert value <= smaller or advantages[place] > advantages[other]


@settings(deadline=None)
@given(RETURNS, st.integers(-5, 5), st.integers(1, 9))
def test_z_scores_do_not_depend_on_where_returns_begin_or_on_their_unit(
    returns: list[float], shift: int, scale: int
) -> None:
    moved = z_scores([scale * value + shift for value in returns], normalise=True)
    assert moved == pytest.approx(z_scores(returns, normalise=True), abs=1e-3)


@pytest.mark.parametrize("old", ["recomputed", "behaviour"])
def test_every_turn_of_every_attempt_is_credited_with_its_z_score(old: str) -> None:
    # Returns 1, 0, 0, 0, after one to three turns.
    replies = {"a0": ["0.5", "0.5 end"], "a1": ["0", "0", "0 end"], "a2": ["0 end"], "a3": ["-0.5", "0.5 end"]}
    at = stage(replies, make_env=Ledger)
    group, method = at.group(), GRPO(group_size=4, old=old)
    play(method.explore(group))
    terms = method.credit(group)
    assert [attempt.ret for attempt in group.attempts] == [1.0, 0.0, 0.0, 0.0]
    assert [term.weight for term in terms] == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-5)
    for attempt, term in zip(group.attempts, terms, strict=True):
        assert term.turns == term.sample.sampled_in == tuple(turn.node for turn in attempt.turns)
        assert (term.kind, term.old, term.label) == (Kind.POLICY, OldLogprobs(old), "base")
    assert group.reflections == [] and group.retries == []
    assert {request.purpose for wave in at.waves for request in wave} == {"attempt"}


def test_a_group_of_one_is_credited_with_its_return() -> None:
    at = stage({"a0": ["0.7 end"]}, make_env=Ledger)
    group, method = at.group(), GRPO(group_size=1)
    play(method.explore(group))
    assert [term.weight for term in method.credit(group)] == [0.7]


def test_the_loss_is_the_clipped_surrogate_with_a_divergence() -> None:
    assert GRPO().loss == PolicyLoss(ratio="token", clip=(0.2, 0.2), kl=0.01, kl_estimator="k3", aggregate="token-mean")
    other = GRPO(clip=(0.2, 0.28), kl=0.001, aggregate="seq-mean-token-sum").loss
    assert (other.clip, other.kl, other.aggregate) == ((0.2, 0.28), 0.001, "seq-mean-token-sum")


def test_it_is_registered_under_its_name_with_eight_attempts() -> None:
    assert BASELINES.load("grpo") is GRPO
    assert GRPO().group_size == 8
