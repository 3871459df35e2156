"""GRPO: Group Relative Policy Optimization (arXiv 2402.03300)."""

from __future__ import annotations

import statistics
from typing import ClassVar, Literal

from pydantic import Field

from r3lbench.baseline import Ablations, Aggregation, Baseline, PolicyLoss
from r3lbench.registry import register_baseline
from r3lbench.rollout.group import Group
from r3lbench.tokens import OldLogprobs, Term


@register_baseline("grpo")
class GRPO(Baseline):
    """N independent attempts; advantage is the z-score of the return within the group.

    A_i = (R_i - mean R) / (std R + 1e-6), with the unbiased std, on every token that the model wrote in attempt i; a
    group of one has mean 0 and std 1. Loss: -mean of min(rho A, clip(rho, 1 - eps, 1 + eps) A) + kl * KL(pi || pi_ref),
    rho the token ratio to the policy at the start of the update.

    The paper averages within sequences first; its widely used implementations average over tokens, which is the default
    here. Source of the defaults: the GRPO arm of arXiv 2601.03715.
    """

    ablations: ClassVar[Ablations] = {
        "w/o std": {"normalise": False},
        "w/o kl": {"kl": 0.0},
    }

    normalise: bool = True
    """Divide advantages by the group's standard deviation."""
    clip: tuple[float, float] = (0.2, 0.2)
    """The ratio is clipped to [1 - low, 1 + high]."""
    kl: float = Field(0.01, ge=0)
    """Weight of the KL divergence to the starting policy (k3 estimator)."""
    aggregate: Aggregation = "token-mean"
    """How token losses are averaged."""
    old: Literal["recomputed", "behaviour"] = "recomputed"
    """Source of the ratio's denominator."""

    @property
    def loss(self) -> PolicyLoss:
        """The clipped surrogate."""
        return PolicyLoss(ratio="token", clip=self.clip, kl=self.kl, aggregate=self.aggregate)

    async def explore(self, group: Group) -> None:
        """N attempts, nothing else."""
        await group.attempt(self.group_size)

    def credit(self, group: Group) -> list[Term]:
        """The z-score, on every turn."""
        advantages = z_scores([attempt.ret for attempt in group.attempts], normalise=self.normalise)
        old = OldLogprobs(self.old)
        return [
            group.sample(attempt).term(advantage, old=old, label="base")
            for attempt, advantage in zip(group.attempts, advantages, strict=True)
        ]


def z_scores(returns: list[float], *, normalise: bool) -> list[float]:
    """Group-relative advantages; [R] for a group of one."""
    if len(returns) == 1:
        return list(returns)
    mean = statistics.mean(returns)
    scale = statistics.stdev(returns) + 1e-6 if normalise else 1.0
    return [(value - mean) / scale for value in returns]
