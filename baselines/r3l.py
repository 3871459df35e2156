"""R3L: Reflect-then-Retry Reinforcement Learning (arXiv 2601.03715)."""

from __future__ import annotations

import statistics
from functools import partial
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from r3lbench.baseline import Ablations, Aggregation, Baseline, PolicyLoss
from r3lbench.registry import register_baseline
from r3lbench.rollout.group import Attempt, Group
from r3lbench.tokens import Kind, Sample, Term


class Preset(NamedTuple):
    """Where the paper, its released code and the authors' later clarification differ."""

    best: Literal["alpha", "one", "group-max"]  # advantage of a solved attempt; of the group's best
    normalise: bool  # divide by the group's standard deviation
    aggregate: Aggregation
    kept: Literal["solved", "improved"]  # which retries are imitated together with their reflections
    temperature: float  # of reflections


PRESETS = {
    "author": Preset("alpha", False, "token-mean", "solved", 0.7),
    "released": Preset("one", False, "token-mean", "solved", 1.0),
    "paper": Preset("group-max", True, "seq-mean-token-mean", "improved", 0.7),
}


@register_baseline("r3l")
class R3L(Baseline):
    """Reflect, then retry from the failure step; credit only what diverged; amplify what worked.

    1. N/2 attempts. On each the policy writes a report: verdict, plan, step k at which to try again.
    2. A valid report that is no plain success starts a retry from the restored state before step k, guided by it.
    3. Group G = attempts and retries with the guidance removed. With s = R - mean_G R the advantage is alpha if R >= 1,
       alpha * s if s >= 0, s otherwise (preset ``author``; ``released``: 1 if R >= 1; ``paper``: s / std, and alpha for
       the group's best). The first k turns of both attempt and retry are masked: they are the same.
    4. Loss: -mean over tokens of A * logprob, no ratio, no clip, no KL, plus the likelihood of the reports and guided
       retries that solved the task (``paper``: that improved on their base).
    """

    ablations: ClassVar[Ablations] = {
        "w/o positive": {"positive_amplification": None},
        "w/o credit": {"pivotal_credit": False},
        "w/o reflect": {"reflection": "none"},
        "w/o meta": {"meta_tasks": False},
        "w/o praise": {"praise": False},
        "from the start": {"restart": "start"},
    }

    preset: Literal["author", "released", "paper"] = "author"
    """Whose reading of the method to follow where its sources differ."""
    positive_amplification: float | None = Field(3.0, gt=0)
    """alpha; None for the plain advantage R - mean (the ablation `w/o positive`)."""
    pivotal_credit: bool = True
    """Mask the turns that attempt and retry share (False: the ablation `w/o credit`)."""
    restart: Literal["pivot", "start"] = "pivot"
    """Where a retry begins."""
    reflection: Literal["self", "oracle", "none"] = "self"
    """Who reflects; `none`: N plain attempts (the ablation `w/o reflect`)."""
    meta_tasks: bool = True
    """Also learn to reflect and to follow guidance, by imitation of what worked."""
    meta_weight: float = Field(1.0, ge=0)
    """Weight of the imitation terms."""
    praise: bool = True
    """Imitate correct verdicts of success as well; they need no retry, and can crowd out the reports that do."""
    solved_groups: bool = True
    """Learn from groups in which everything was solved (the amplified advantage there is alpha, not 0)."""
    success: float = 1.0
    """Return from which an attempt counts as solved."""
    reflection_temperature: float | None = None
    """Of the reports; the preset's if None."""

    @property
    def reflectors(self) -> tuple[str, ...]:
        """The one that writes the reports."""
        return () if self.reflection == "none" else ("report" if self.reflection == "self" else self.reflection,)

    @property
    def loss(self) -> PolicyLoss:
        """Plain policy gradient."""
        return PolicyLoss(ratio=None, clip=None, aggregate=PRESETS[self.preset].aggregate)

    async def explore(self, group: Group) -> None:
        """Attempts, then for each a reflection and perhaps a retry."""
        reflects = self.reflection != "none"
        bases = await group.attempt(max(1, self.group_size // 2) if reflects else self.group_size)
        await group.gather(self._improve(group, base) for base in bases if reflects)

    async def _improve(self, group: Group, base: Attempt) -> None:
        chosen = self.reflection_temperature
        temperature = PRESETS[self.preset].temperature if chosen is None else chosen
        report = await group.reflect(base, *self.reflectors, temperature=temperature)
        if report.asks_for_retry and report.pivot is not None:
            at = report.pivot if self.restart == "pivot" else 0
            await group.retry(base, at=at, guidance=report.guidance)

    def credit(self, group: Group) -> list[Term]:
        """Joint group, amplified, masked below the pivot; plus imitation."""
        attempts = [*group.bases, *group.retries]
        advantages = self.advantages([attempt.ret for attempt in attempts])
        if not self.solved_groups and all(attempt.ret >= self.success for attempt in attempts):
            return []
        retries = group.retries if self.pivotal_credit else []  # both of a pair are masked at the same step
        masked = {one: retry.pivot for retry in retries for one in (retry.base, retry)}
        terms = []
        for attempt, advantage in zip(attempts, advantages, strict=True):
            sample = group.sample(attempt) if attempt.base is None else group.distill(attempt)
            label = "base" if attempt.base is None else "distilled"
            terms.append(sample.term(advantage, from_turn=masked.get(attempt, 0), label=label))
        return terms + (self._imitation(group) if self.meta_tasks and self.reflection != "none" else [])

    def advantages(self, returns: list[float]) -> list[float]:
        """The advantage of each member of a group from all returns; see the class for the formula."""
        preset, alpha = PRESETS[self.preset], self.positive_amplification
        mean = statistics.mean(returns)
        deviation = statistics.stdev(returns) if len(returns) > 1 else 0.0
        scale = deviation if preset.normalise and deviation > 0 else 1.0
        best = max(returns) if preset.best == "group-max" and deviation > 0 else self.success
        centred = [(value - mean) / scale for value in returns]
        if alpha is None:
            return centred
        top = 1.0 if preset.best == "one" else alpha
        pairs = zip(returns, centred, strict=True)
        return [top if value >= best else alpha * s if s >= 0 else s for value, s in pairs]

    def _imitation(self, group: Group) -> list[Term]:
        """Reports and guided retries that worked, and correct verdicts of success."""
        like = partial(Sample.term, weight=self.meta_weight, kind=Kind.LIKELIHOOD)
        retries = {retry.base: retry for retry in group.retries}
        terms = []
        for base, report in group.reflections:
            retry = retries.get(base)
            praised = self.praise and report.outcome == "success" and base.ret >= self.success
            worked = retry is not None and self._worked(base, retry)
            if (worked or praised) and report.sample is not None:
                terms.append(like(report.sample, label="reflection"))
            if worked and retry is not None:
                terms.append(like(group.sample(retry), from_turn=retry.pivot, label="guided"))
        return terms

    def _worked(self, base: Attempt, retry: Attempt) -> bool:
        if PRESETS[self.preset].kept == "improved":
            return retry.ret > base.ret
        return retry.ret >= self.success and (retry.ret > base.ret or retry.steps < base.steps)
