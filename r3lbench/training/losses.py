"""Per-token losses. All are to be minimised; all log-probabilities are in nats.

Notation: rho = pi / pi_old, A the term's weight. Formulas: PPO's clipped surrogate (arXiv 1707.06347) as in GRPO
(2402.03300), its sequence form (GSPO, 2507.18071), the shaping w / (w + gamma) (HeRL, 2603.20046; Critique-GRPO,
2506.03106), the KL estimators k1, k2, k3 (http://joschu.net/blog/kl-approx.html), and truncated importance sampling
min(pi_trainer / pi_engine, C) where another program than the trainer sampled (https://fengyao.notion.site/off-policy-rl).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r3lbench.baseline import PolicyLoss
from r3lbench.tokens import Kind, OldLogprobs
from r3lbench.training.packing import KINDS, OLD, MicroBatch

_MOST_LOG_RATIO = 20.0
_POLICY, _SHAPED, _LIKELIHOOD = (KINDS.index(kind) for kind in (Kind.POLICY, Kind.SHAPED, Kind.LIKELIHOOD))


@dataclass(frozen=True)
class TokenLosses:
    """Losses and what is reported of them, each [N].

    Attributes:
        loss: To be weighted by ``MicroBatch.share`` and summed.
        ratio: rho (1 where there is none).
        clipped: Whether the clip cut the gradient off.
        kl: Estimated KL to the starting policy at policy tokens, 0 at others; None when that policy is not given.
        gap: Log-probability under the weights at the start of the update minus the one recorded at sampling; 0 at
            tokens drawn in another context.
    """

    loss: Tensor
    ratio: Tensor
    clipped: Tensor
    kl: Tensor | None
    gap: Tensor


def token_losses(
    batch: MicroBatch,
    logprobs: Tensor,
    loss: PolicyLoss,
    *,
    start: Tensor | None = None,
    reference: Tensor | None = None,
    entropy: Tensor | None = None,
    importance_cap: float | None = None,
) -> TokenLosses:
    """The loss of every trained token.

    Args:
        batch: The tokens.
        logprobs: [N] under the present weights, with gradient.
        loss: The method's specification.
        start: [N] under the weights at the start of the update; None when those are the present ones.
        reference: [N] under the run's starting policy; needed for ``loss.kl``.
        entropy: [N] entropy of the distribution at each token, with gradient; needed for ``loss.entropy``.
        importance_cap: C >= 1: another program sampled, and truncated importance weights stand before the surrogate of
            policy tokens, while ratios are to the trainer's own log-probabilities. None: no correction. Tokens drawn
            in another context than they are trained in are never corrected: there the two differ by intent.
    """
    start = logprobs.detach() if start is None else start
    behaviour = batch.old == OLD.index(OldLogprobs.BEHAVIOUR)
    gap = (start - batch.behaviour.to(start.dtype)) * ~batch.moved
    if importance_cap is not None:
        behaviour = behaviour & batch.moved
    old = torch.where(behaviour, batch.behaviour.to(logprobs.dtype), start)
    log_ratio = (logprobs - old).clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO)
    policy, shaped = batch.kind == _POLICY, batch.kind == _SHAPED

    surrogate, ratio, clipped = _surrogate(batch, logprobs, log_ratio, loss)
    if importance_cap is not None:
        surrogate = surrogate * gap.exp().clamp(max=importance_cap)
    no_ratio = batch.old == OLD.index(OldLogprobs.NONE)
    weight = torch.where(no_ratio, logprobs.exp(), log_ratio.exp())
    shaping = -batch.advantage * weight / (weight + loss.gamma)
    likelihood = -batch.advantage * logprobs
    total = torch.where(policy, surrogate, torch.where(shaped, shaping, likelihood))

    divergence = None
    if reference is not None:
        estimated = kl_estimate(reference - logprobs, loss.kl_estimator)
        divergence = torch.where(policy, estimated, torch.zeros_like(estimated))
        total = total + loss.kl * divergence if loss.kl else total
    if loss.entropy and entropy is not None:
        total = total - loss.entropy * torch.where(policy, entropy, torch.zeros_like(entropy))
    return TokenLosses(
        total,
        torch.where(policy, ratio, torch.ones_like(ratio)).detach(),
        clipped & policy,
        None if divergence is None else divergence.detach(),
        gap,
    )


def kl_estimate(difference: Tensor, estimator: str) -> Tensor:
    """Estimates of KL(pi || pi_ref) from d = logprob_ref - logprob: k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1."""
    if estimator == "k1":
        return -difference
    if estimator == "k2":
        return 0.5 * difference.square()
    bounded = difference.clamp(-_MOST_LOG_RATIO, _MOST_LOG_RATIO)
    return bounded.exp() - bounded - 1


def _surrogate(
    batch: MicroBatch, logprobs: Tensor, log_ratio: Tensor, loss: PolicyLoss
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, ratio, clipped) of policy terms."""
    advantage = batch.advantage.to(logprobs.dtype)
    if loss.ratio is None:
        ones = torch.ones_like(logprobs)
        return -advantage * logprobs, ones, torch.zeros_like(ones, dtype=torch.bool)
    if loss.ratio == "sequence":
        # s * pi / sg[pi]: the value is the sequence's ratio, the gradient reaches the token's own log-probability.
        count = torch.zeros(int(batch.term.max()) + 1, dtype=logprobs.dtype, device=logprobs.device)
        total = count.index_add(0, batch.term, log_ratio.detach())
        count = count.index_add(0, batch.term, torch.ones_like(log_ratio))
        mean = (total / count.clamp(min=1))[batch.term]
        log_ratio = mean + logprobs - logprobs.detach()
    ratio = log_ratio.exp()
    gain = ratio * advantage
    clipped = torch.zeros_like(ratio, dtype=torch.bool)
    if loss.clip is not None:
        low, high = loss.clip
        bounded = ratio.clamp(1 - low, 1 + high) * advantage
        clipped = bounded < gain
        gain = torch.minimum(gain, bounded)
    if loss.dual_clip is not None:
        floor = loss.dual_clip * advantage
        clipped = clipped | ((advantage < 0) & (gain < floor))
        gain = torch.where(advantage < 0, torch.maximum(gain, floor), gain)
    return -gain, ratio, clipped.detach()
