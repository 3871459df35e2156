"""Losses of single tokens, by hand: value and derivative with respect to the token's log-probability."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch

from r3lbench.baseline import PolicyLoss
from r3lbench.tokens import Kind, OldLogprobs
from r3lbench.training.losses import TokenLosses, kl_estimate, token_losses
from r3lbench.training.packing import KINDS, OLD, MicroBatch

CLIP = (0.2, 0.28)


class Token(NamedTuple):
    """A trained token: its probability now and when it was sampled, its weight, how it enters, and from where."""

    now: float
    then: float = 1.0
    weight: float = 1.0
    kind: Kind = Kind.POLICY
    old: OldLogprobs = OldLogprobs.BEHAVIOUR
    term: int = 0
    moved: bool = False


def losses_of(tokens: list[Token], loss: PolicyLoss, **options: Any) -> tuple[TokenLosses, list[float]]:
    """Losses of the tokens, and their derivatives."""
    count = len(tokens)
    index = torch.arange(count)
    batch = MicroBatch(
        input_ids=torch.zeros(count, 2, dtype=torch.long),
        tree=None,
        rows=index,
        columns=torch.zeros_like(index),
        source=index,
        targets=torch.zeros_like(index),
        term=torch.tensor([token.term for token in tokens]),
        advantage=torch.tensor([token.weight for token in tokens]),
        share=torch.full((count,), 1 / count),
        kind=torch.tensor([KINDS.index(token.kind) for token in tokens]),
        old=torch.tensor([OLD.index(token.old) for token in tokens]),
        behaviour=torch.tensor([math.log(token.then) for token in tokens], dtype=torch.float64),
        moved=torch.tensor([token.moved for token in tokens]),
    )
    logprobs = torch.tensor([math.log(token.now) for token in tokens], dtype=torch.float64, requires_grad=True)
    result = token_losses(batch, logprobs, loss, **options)
    (slopes,) = torch.autograd.grad(result.loss.sum(), logprobs)
    return result, slopes.tolist()


def one(token: Token, loss: PolicyLoss, **options: Any) -> tuple[float, float, bool]:
    """(loss, derivative, clipped) of a single token."""
    result, slopes = losses_of([token], loss, **options)
    return result.loss.item(), slopes[0], bool(result.clipped)


@pytest.mark.parametrize(
    ("ratio", "weight", "loss", "slope", "clipped"),
    [
        (1.0, 2.0, -2.0, -2.0, False),
        (1.1, 2.0, -2.2, -2.2, False),
        (1.5, 2.0, -2.56, 0.0, True),  # above 1 + 0.28, and it would go on up
        (0.5, 2.0, -1.0, -1.0, False),  # below 1 - 0.2, but it is to come back
        (0.5, -1.0, 0.8, 0.0, True),  # below, and it would go on down
        (1.5, -1.0, 1.5, 1.5, False),  # above, but it is to come back
        (0.9, -3.0, 2.7, 2.7, False),
        (1.5, 0.0, 0.0, 0.0, False),
    ],
)
def test_the_clipped_ratio_on_both_sides(ratio: float, weight: float, loss: float, slope: float, clipped: bool) -> None:
    token = Token(now=0.4 * ratio, then=0.4, weight=weight)
    got = one(token, PolicyLoss(ratio="token", clip=CLIP))
    assert got == (pytest.approx(loss), pytest.approx(slope), clipped)


@pytest.mark.parametrize(
    ("ratio", "weight", "loss", "slope", "clipped"),
    [
        (2.0, -1.0, 2.0, 2.0, False),
        (5.0, -1.0, 3.0, 0.0, True),  # the bound: c = 3
        (5.0, -2.0, 6.0, 0.0, True),
        (5.0, 1.0, -1.28, 0.0, True),  # positive advantages have their own bound
        (0.5, -1.0, 0.8, 0.0, True),
    ],
)
def test_the_dual_clip_bounds_negative_advantages(
    ratio: float, weight: float, loss: float, slope: float, clipped: bool
) -> None:
    token = Token(now=0.1 * ratio, then=0.1, weight=weight)
    got = one(token, PolicyLoss(ratio="token", clip=CLIP, dual_clip=3.0))
    assert got == (pytest.approx(loss), pytest.approx(slope), clipped)


def test_without_a_clip_the_ratio_is_free() -> None:
    assert one(Token(now=0.9, then=0.1, weight=2.0), PolicyLoss(clip=None)) == (
        pytest.approx(-18),
        pytest.approx(-18),
        False,
    )


@pytest.mark.parametrize("old", list(OldLogprobs))
def test_without_a_ratio_the_loss_is_minus_weight_times_logprob(old: OldLogprobs) -> None:
    token = Token(now=0.25, then=0.9, weight=1.5, old=old)
    got = one(token, PolicyLoss(ratio=None, clip=None))
    assert got == (pytest.approx(-1.5 * math.log(0.25)), pytest.approx(-1.5), False)


def test_a_recomputed_ratio_is_to_the_policy_at_the_start_of_the_update() -> None:
    token = Token(now=0.3, then=0.9, weight=2.0, old=OldLogprobs.RECOMPUTED)
    assert one(token, PolicyLoss(clip=CLIP)) == (pytest.approx(-2.0), pytest.approx(-2.0), False)
    start = torch.tensor([math.log(0.2)], dtype=torch.float64)
    assert one(token, PolicyLoss(clip=CLIP), start=start) == (pytest.approx(-2.56), 0.0, True)


def test_a_ratio_beyond_all_bounds_stays_finite() -> None:
    result, slopes = losses_of([Token(now=1.0, then=1e-300)], PolicyLoss(clip=None))
    assert result.loss.item() == pytest.approx(-math.exp(20))
    assert slopes == [0.0]


def test_the_sequence_ratio_is_the_geometric_mean_over_the_terms_tokens() -> None:
    # Term 0: ratios 4, 1, 2, so s = 2; term 1: ratios 1/4 and 1, so s = 1/2.
    tokens = [
        Token(0.8, 0.2, 1.0, term=0),
        Token(0.1, 0.4, -1.0, term=1),
        Token(0.5, 0.5, 1.0, term=0),
        Token(0.6, 0.3, 1.0, term=0),
        Token(0.7, 0.7, -1.0, term=1),
    ]
    result, slopes = losses_of(tokens, PolicyLoss(ratio="sequence", clip=None))
    assert result.ratio.tolist() == pytest.approx([2, 0.5, 2, 2, 0.5])
    assert result.loss.tolist() == pytest.approx([-2, 0.5, -2, -2, 0.5])
    # Each token's derivative is that of the sequence's objective s A, once the mean over tokens is taken:
    # d s / d logprob_t = s / |y|.
    assert slopes == pytest.approx([-2, 0.5, -2, -2, 0.5])


@pytest.mark.parametrize(("weight", "loss", "clipped"), [(1.0, -1.5, True), (-1.0, 2.0, False)])
def test_the_sequence_ratio_is_clipped_as_a_whole(weight: float, loss: float, clipped: bool) -> None:
    tokens = [Token(0.8, 0.2, weight), Token(0.3, 0.3, weight)]
    result, slopes = losses_of(tokens, PolicyLoss(ratio="sequence", clip=(0.5, 0.5)))
    assert result.loss.tolist() == pytest.approx([loss, loss])
    assert slopes == pytest.approx([0.0 if clipped else 2.0] * 2)
    assert result.clipped.tolist() == [clipped] * 2


@pytest.mark.parametrize("ratio", ["token", "sequence", None])
def test_imitation_knows_no_ratio(ratio: Any) -> None:
    token = Token(now=0.25, then=0.9, weight=0.5, kind=Kind.LIKELIHOOD)
    got = one(token, PolicyLoss(ratio=ratio, clip=(0.1, 0.1)))
    assert got == (pytest.approx(-0.5 * math.log(0.25)), pytest.approx(-0.5), False)


def test_shaping_at_the_start_is_a_half_for_gamma_one() -> None:
    token = Token(now=0.3, weight=2.0, kind=Kind.SHAPED, old=OldLogprobs.RECOMPUTED)
    # f(1) = 1/2, f'(w) w = gamma w / (w + gamma)^2 = 1/4.
    assert one(token, PolicyLoss(gamma=1.0)) == (pytest.approx(-1.0), pytest.approx(-0.5), False)
    assert one(token, PolicyLoss(gamma=0.1))[0] == pytest.approx(-2 / 1.1)


def test_shaping_by_a_ratio() -> None:
    token = Token(now=0.6, then=0.2, weight=2.0, kind=Kind.SHAPED)
    # w = 3: f = 3/4, f' w = 3/16.
    assert one(token, PolicyLoss(gamma=1.0)) == (pytest.approx(-1.5), pytest.approx(-0.375), False)


def test_shaping_without_a_ratio_is_pi_over_pi_plus_gamma() -> None:
    token = Token(now=0.25, then=0.9, weight=1.0, kind=Kind.SHAPED, old=OldLogprobs.NONE)
    got = one(token, PolicyLoss(gamma=0.1))
    assert got == (pytest.approx(-0.25 / 0.35), pytest.approx(-0.1 * 0.25 / 0.35**2), False)


@pytest.mark.parametrize(
    ("estimator", "value", "slope"),
    [("k1", math.log(2), 1.0), ("k2", math.log(2) ** 2 / 2, math.log(2)), ("k3", 0.5 + math.log(2) - 1, 0.5)],
)
def test_divergence_estimators(estimator: Any, value: float, slope: float) -> None:
    # pi = 1/2, reference = 1/4, so d = -ln 2.
    reference = torch.tensor([math.log(0.25)], dtype=torch.float64)
    loss = PolicyLoss(ratio=None, clip=None, kl=0.1, kl_estimator=estimator)
    result, slopes = losses_of([Token(now=0.5, weight=3.0)], loss, reference=reference)
    assert float(result.kl) == pytest.approx(value)
    assert result.loss.item() == pytest.approx(3 * math.log(2) + 0.1 * value)
    assert slopes == pytest.approx([-3 + 0.1 * slope])


@pytest.mark.parametrize("kind", [Kind.LIKELIHOOD, Kind.SHAPED])
def test_penalties_are_for_policy_terms(kind: Kind) -> None:
    reference, entropy = torch.tensor([-5.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    token = Token(now=0.5, kind=kind)
    plain = one(token, PolicyLoss())
    assert one(token, PolicyLoss(kl=0.1, entropy=0.1), reference=reference, entropy=entropy) == plain


def test_k1_and_k3_estimate_the_same_divergence() -> None:
    pi, reference = torch.tensor([0.5, 0.3, 0.2]).double(), torch.tensor([0.2, 0.2, 0.6]).double()
    exact = float((pi * (pi / reference).log()).sum())
    for estimator in ("k1", "k3"):
        assert float((pi * kl_estimate((reference / pi).log(), estimator)).sum()) == pytest.approx(exact)


def test_the_entropy_bonus_is_subtracted() -> None:
    entropy = torch.tensor([1.5], dtype=torch.float64)
    got = one(Token(now=0.5, weight=0.0), PolicyLoss(entropy=0.2), entropy=entropy)
    assert got[0] == pytest.approx(-0.3)


def test_kinds_do_not_disturb_each_other_in_a_batch() -> None:
    loss = PolicyLoss(ratio="sequence", clip=(0.3, 0.3), gamma=0.5)
    tokens = [
        Token(0.8, 0.4, 1.5, Kind.POLICY, OldLogprobs.BEHAVIOUR, 0),
        Token(0.2, 0.9, 1.0, Kind.LIKELIHOOD, OldLogprobs.NONE, 1),
        Token(0.3, 0.1, -2.0, Kind.SHAPED, OldLogprobs.BEHAVIOUR, 2),
        Token(0.4, 0.1, 2.0, Kind.SHAPED, OldLogprobs.NONE, 3),
    ]
    together, slopes = losses_of(tokens, loss)
    for index, token in enumerate(tokens):
        value, slope, clipped = one(token, loss)
        assert (together.loss[index].item(), slopes[index], bool(together.clipped[index])) == (
            pytest.approx(value),
            pytest.approx(slope),
            clipped,
        )


# Another engine sampled: start is the trainer's probability then, `then` the engine's.

START = torch.tensor([math.log(0.2)], dtype=torch.float64)
FREE = PolicyLoss(clip=None)


@pytest.mark.parametrize(
    ("token", "spec", "loss", "slope"),
    [
        # rho = 0.3 / 0.2 = 1.5 to the trainer, importance 0.2 / 0.1 = 2, cut at 1.75: 1.5 * 2 * 1.75.
        (Token(0.3, 0.1, 2.0), FREE, -5.25, -5.25),
        (Token(0.3, 0.1, 2.0), PolicyLoss(clip=CLIP), -1.28 * 2 * 1.75, 0.0),
        # Importance 0.2 / 0.4 = 1/2: only what is too large is cut.
        (Token(0.3, 0.4, 2.0), FREE, -1.5, -1.5),
        (Token(0.3, 0.4, -1.0), FREE, 0.75, 0.75),
        (Token(0.25, 0.4, 1.5), PolicyLoss(ratio=None, clip=None), -0.75 * math.log(0.25), -0.75),
        # Imitation is of tokens, whoever wrote them; shaping has the trainer's ratio, w = 0.3 / 0.2, and no importance.
        (Token(0.25, 0.4, 1.5, kind=Kind.LIKELIHOOD), FREE, -1.5 * math.log(0.25), -1.5),
        (Token(0.3, 0.1, 1.0, kind=Kind.SHAPED), FREE, -1.5 / 2.5, -1.5 / 2.5**2),
        # Drawn in another context: the ratio to what drew it stays, rho = 0.4 / 0.1.
        (Token(0.4, 0.1, 1.0, moved=True), FREE, -4.0, -4.0),
    ],
)
def test_importance_weights_correct_what_another_engine_sampled(
    token: Token, spec: PolicyLoss, loss: float, slope: float
) -> None:
    result, slopes = losses_of([token], spec, start=START, importance_cap=1.75)
    assert (result.loss.item(), slopes[0]) == (pytest.approx(loss), pytest.approx(slope))
    assert result.gap.item() == pytest.approx(0.0 if token.moved else math.log(0.2 / token.then))


def test_without_a_cap_ratios_are_to_what_the_engine_said_and_the_gap_is_still_measured() -> None:
    result, _ = losses_of([Token(0.3, 0.1, 2.0)], FREE, start=START)
    assert (result.loss.item(), result.gap.item()) == (pytest.approx(-6.0), pytest.approx(math.log(2)))


def test_where_both_agree_importance_weights_change_nothing() -> None:
    tokens = [Token(0.2 * scale, 0.2, weight) for scale in (0.5, 1.0, 1.5) for weight in (-1.0, 2.0)]
    start = START.expand(len(tokens))
    plain, corrected = (
        losses_of(tokens, PolicyLoss(clip=CLIP), start=start, importance_cap=cap) for cap in (None, 2.0)
    )
    assert torch.equal(plain[0].loss, corrected[0].loss) and plain[1] == corrected[1]
