"""ERL: Experiential Reinforcement Learning (arXiv 2602.13949)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from r3lbench.baseline import Ablations, Aggregation, Baseline, PolicyLoss
from r3lbench.registry import register_baseline
from r3lbench.rollout.group import Attempt, Group, Placement
from r3lbench.tokens import Kind, OldLogprobs, Sample, Term

from .grpo import z_scores


@register_baseline("erl")
class ERL(Baseline):
    """Try, write down the rules, try again by them, and learn to do without them.

    1. n first attempts y1, under the initial prompt and nothing else. Gate: those with r1 < success go on.
    2. Reflection: from the attempt's record, the statistics of the group's attempts and the memory m the policy writes
       rules, a system prompt in place of the initial one; where it writes none, m stands.
    3. One second attempt y2 from the start under those rules, without the record. Both are worth r2.
    4. Advantages are z-scores within three groups: first attempts, reflections, second attempts (r for a lone one);
       loss: the clipped surrogate with dual clip and KL.
    5. Internalisation: y2 with the initial prompt in place of the rules, where r2 > 0: its likelihood with weight r2,
       or (``clipped``) the surrogate with A = r2.
    6. Memory: the rules of a second attempt with r2 >= success replace m at the update's end. It feeds reflections
       only, never a first attempt or an evaluation.

    Where paper and released code disagree (a gate in one algorithm box only, a memory threshold that cannot be met, a
    reflection counted twice) this follows whichever can work; group_size counts first attempts.
    """

    ablations: ClassVar[Ablations] = {
        "w/o memory": {"memory": False},
        "w/o reflection": {"reflection": "none"},
        "w/o gate": {"gate": False},
        "w/o internalisation": {"internalisation": "none"},
        "clipped": {"internalisation": "clipped"},
    }

    group_size: int = Field(4, ge=1)
    """n: first attempts per task."""
    success: float = 1.0
    """Return from which an attempt counts as solved."""
    gate: bool = True
    """Reflect on failures only (False: on every attempt)."""
    reflection: Literal["self", "none"] = "self"
    """Who writes the rules; `none`: the record itself is put before the second attempt (`w/o reflection`)."""
    memory: bool = True
    """Keep the rules that worked for later reflections (False: `w/o memory`)."""
    memory_scope: Literal["run", "task-type"] = "run"
    """One memory for the run, or one for every type of task that the environment names."""
    internalisation: Literal["nll", "clipped", "none"] = "nll"
    """How second attempts are learned without their rules."""
    internalisation_weight: float = Field(1.0, ge=0)
    """Factor of that term."""
    reflection_temperature: float = Field(0.5, ge=0)
    """Of the rules."""
    clip: tuple[float, float] = (0.2, 0.28)
    """The ratio is clipped to [1 - low, 1 + high]."""
    dual_clip: float | None = Field(3.0, gt=1)
    """Bound of the surrogate for negative advantages."""
    kl: float = Field(0.001, ge=0)
    """Weight of the KL divergence to the starting policy."""
    aggregate: Aggregation = "seq-mean-token-sum"
    """How token losses are averaged."""
    _memories: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def reflectors(self) -> tuple[str, ...]:
        """The one that writes the rules, or the bare record."""
        return ("rulebook",) if self.reflection == "self" else ("record",)

    @property
    def loss(self) -> PolicyLoss:
        """The clipped surrogate with a divergence."""
        return PolicyLoss(clip=self.clip, dual_clip=self.dual_clip, kl=self.kl, aggregate=self.aggregate)

    async def explore(self, group: Group) -> None:
        """First attempts, rules, second attempts."""
        firsts = await group.attempt(self.group_size)
        mean = sum(first.ret for first in firsts) / len(firsts)
        solved = sum(first.ret >= self.success for first in firsts)
        statistics = f"Of {len(firsts)} attempts at this task {solved} solved it; their mean reward is {mean:.2f}."
        notes = {"memory": self._memory(group), "statistics": statistics}
        going_on = [first for first in firsts if first.turns and (not self.gate or first.ret < self.success)]
        await group.gather(self._again(group, first, notes) for first in going_on)

    async def _again(self, group: Group, first: Attempt, notes: dict[str, str]) -> None:
        rules = await group.reflect(first, *self.reflectors, temperature=self.reflection_temperature, notes=notes)
        replaced = self.reflection == "self"
        guidance = rules.guidance or (self._memory(group) if replaced else "")
        await group.retry(first, at=0, guidance=guidance, placement=Placement.SYSTEM if replaced else Placement.PIVOT)

    def credit(self, group: Group) -> list[Term]:
        """Three groups, each with its own z-scores, and internalisation."""
        seconds = {second.base: second for second in group.retries}
        rules = [(seconds[first].ret, said.sample) for first, said in group.reflections if said.sample is not None]
        terms = [
            *_scored("first", [(first.ret, group.sample(first)) for first in group.bases]),
            *_scored("rules", rules),
            *_scored("second", [(second.ret, group.sample(second)) for second in group.retries]),
        ]
        for second in group.retries:
            if self.internalisation != "none" and second.ret > 0:
                weight = self.internalisation_weight * second.ret
                kind = Kind.LIKELIHOOD if self.internalisation == "nll" else Kind.POLICY
                old = OldLogprobs.NONE if kind is Kind.LIKELIHOOD else OldLogprobs.RECOMPUTED
                terms.append(group.distill(second).term(weight, kind=kind, old=old, label="internalised"))
        return terms

    def _memory(self, group: Group) -> str:
        return self._memories.get(self._scope(group), "")

    def _scope(self, group: Group) -> str:
        return group.tree.task_type if self.memory_scope == "task-type" else ""

    def end_update(self, groups: Sequence[Group]) -> None:
        """Keep the rules that solved a task, the last ones in task order."""
        for group in groups:
            for second in sorted(group.retries, key=lambda retry: retry.key):
                if self.memory and self.reflection == "self" and second.guidance and second.ret >= self.success:
                    self._memories[self._scope(group)] = second.guidance

    def state_dict(self) -> dict[str, Any]:
        """The memories, by type of task."""
        return {"memories": dict(sorted(self._memories.items()))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the memories."""
        self._memories = {str(scope): str(memory) for scope, memory in state["memories"].items()}


def _scored(label: str, members: Sequence[tuple[float, Sample]]) -> list[Term]:
    """The z-score of each member's worth, on every turn."""
    advantages = z_scores([worth for worth, _ in members], normalise=True) if members else []
    old = OldLogprobs.RECOMPUTED
    return [sample.term(of, old=old, label=label) for (_, sample), of in zip(members, advantages, strict=True)]
