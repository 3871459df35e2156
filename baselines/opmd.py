"""OPMD: Online Policy Mirror Descent, as in Trinity-RFT (arXiv 2505.17826)."""

from __future__ import annotations

import math
import statistics
from typing import Literal

from pydantic import Field

from r3lbench.baseline import Baseline, PolicyLoss
from r3lbench.registry import register_baseline
from r3lbench.rollout.group import Group
from r3lbench.tokens import Term


@register_baseline("opmd")
class OPMD(Baseline):
    """N attempts; the advantage is the distance from the group's baseline, in a plain policy gradient.

    A_i = R_i - b with b = mean R, or b = tau (log sum exp(R / tau) - log N); 0 for a group of one. Loss: -mean over
    tokens of A logprob / (1 + tau): no ratio, no clip, no KL, no division by the standard deviation.
    """

    baseline: Literal["mean", "logsumexp"] = "mean"
    """b; the second is the soft maximum of mirror descent."""
    tau: float = Field(1.0, gt=0)
    """Temperature of mirror descent; it scales the loss by 1 / (1 + tau)."""

    @property
    def loss(self) -> PolicyLoss:
        """Plain policy gradient."""
        return PolicyLoss(ratio=None, clip=None)

    async def explore(self, group: Group) -> None:
        """N attempts, nothing else."""
        await group.attempt(self.group_size)

    def credit(self, group: Group) -> list[Term]:
        """The scaled advantage, on every turn."""
        advantages = self.advantages([attempt.ret for attempt in group.attempts])
        return [
            group.sample(attempt).term(advantage / (1 + self.tau), label="base")
            for attempt, advantage in zip(group.attempts, advantages, strict=True)
        ]

    def advantages(self, returns: list[float]) -> list[float]:
        """R - b of each member; R itself for a group of one."""
        if len(returns) == 1:
            return list(returns)
        if self.baseline == "mean":
            b = statistics.mean(returns)
        else:
            # Shifted by the maximum, so that no power overflows.
            top = max(returns)
            total = math.fsum(math.exp((value - top) / self.tau) for value in returns)
            b = top + self.tau * (math.log(total) - math.log(len(returns)))
        return [value - b for value in returns]
