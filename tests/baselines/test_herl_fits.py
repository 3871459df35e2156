"""A third kind of method in the same contracts: HeRL, cut down to what it asks of them (arXiv 2603.20046).

The unmet rubrics are the hindsight; revisions of the best attempts are whole new episodes; one of them takes a random
place in the group, with a shaped loss whose ratio is to the policy that had the hindsight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch

from r3lbench.agent import Sees
from r3lbench.baseline import Baseline, PolicyLoss
from r3lbench.baselines.grpo import z_scores
from r3lbench.reflection import Case, Question, Reflection, Reflector
from r3lbench.rollout.group import Attempt, Group, Placement
from r3lbench.tokens import Kind, OldLogprobs, Term
from r3lbench.training.losses import token_losses
from r3lbench.training.packing import pack
from tests.stage import EXPERT, Ledger, Stage, play, read, stage
from tests.toy import Toy


class Hindsight(Reflector):
    """Tells what was met and what was not; no model writes it."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.RUBRICS})
    speaks: ClassVar[bool] = False

    def question(self, case: Case) -> Question:
        raise NotImplementedError

    def read(self, text: str, case: Case) -> Reflection:
        raise NotImplementedError

    def judge(self, case: Case) -> Reflection:
        met = [rubric.name for rubric in case.rubrics if rubric.satisfied]
        unmet = [rubric.name for rubric in case.rubrics if not rubric.satisfied]
        draft = "; ".join(turn.text for turn in case.turns)
        return Reflection("", valid=True, guidance=f"Draft: {draft}\nMet: {met}\nUnmet: {unmet}\nDo better.")


class HeRL(Baseline):
    """Let the best attempts be revised in hindsight, and mix one revision into the group."""

    group_size: int = 8
    bonus: float = 0.05
    most: int = 16
    success: float = 1.0
    gamma: float = 1.0

    @property
    def loss(self) -> PolicyLoss:
        return PolicyLoss(dual_clip=3.0, gamma=self.gamma)

    async def explore(self, group: Group) -> None:
        drafts = await group.attempt(self.group_size)
        best = max(draft.ret for draft in drafts)
        if best < self.success:
            tied = [draft for draft in drafts if best - draft.ret < 1e-6]
            tied.sort(key=lambda draft: -sum(rubric.satisfied for rubric in draft.trajectory.rubrics))
            await group.gather(self._revise(group, draft) for draft in tied[: self.most])

    async def _revise(self, group: Group, draft: Attempt) -> None:
        hindsight = await group.reflect(draft, "hindsight")
        await group.retry(draft, at=0, guidance=hindsight.guidance, placement=Placement.SYSTEM, temperature=0.3)

    def credit(self, group: Group) -> list[Term]:
        revised = {revision.base: revision for revision in group.retries}
        returns = [self.rewarded(draft.ret, revised.get(draft)) for draft in group.bases]
        members = list(group.bases)
        if revised:
            best = max(group.bases, key=lambda draft: draft.ret)
            injected = max(group.retries, key=lambda revision: revision.ret)
            slot = int(group.rng("slot").integers(len(members)))
            members[slot] = injected if injected.ret >= best.ret else best
            returns[slot] = members[slot].ret
        terms = []
        for member, advantage in zip(members, z_scores(returns, normalise=True), strict=True):
            if member.base is None:
                terms.append(group.sample(member).term(advantage, old=OldLogprobs.RECOMPUTED, label="draft"))
            else:
                sample = group.distill(member)
                terms.append(sample.term(advantage, kind=Kind.SHAPED, old=OldLogprobs.BEHAVIOUR, label="revised"))
        return terms

    def rewarded(self, value: float, revision: Attempt | None) -> float:
        return value if revision is None else value + self.bonus * (revision.ret - value)


def explored(
    replies: Mapping[str, Sequence[str]], key: str = "u1/train/0", make_env: Any = Ledger, size: int = 4
) -> tuple[Stage, Group]:
    at = stage(replies, make_env=make_env, reflectors={"hindsight": Hindsight()})
    group = at.group(key)
    play(HeRL(group_size=size).explore(group))
    return at, group


BETTER: dict[str, Sequence[str]] = {
    "a0": ["0.1 end"],
    "a1": ["0.2", "0.2 end"],
    "a2": ["0 end"],
    "a3": ["0.4 end"],
    "a1.r0": ["0.9 end"],
    "a3.r0": ["0.3 end"],
}
"""Two drafts are tied at .4; one revision earns .9, the other .3."""


def test_those_tied_at_the_top_of_a_group_without_success_are_revised_coolly() -> None:
    at, group = explored(BETTER)
    assert [revision.key.rpartition("/")[2] for revision in group.retries] == ["a1.r0", "a3.r0"]
    assert {request.sampling.temperature for request in at.requests("a1.r0")} == {0.3}
    assert {request.sampling.temperature for request in at.requests("a1")} == {1.0}
    assert not any(request.purpose == "reflect" for wave in at.waves for request in wave)


def test_a_group_with_a_success_is_left_as_it_is() -> None:
    _, group = explored({**BETTER, "a2": ["1 end"]})
    assert group.retries == [] and group.reflections == []
    terms = HeRL().credit(group)
    assert [term.weight for term in terms] == z_scores([0.1, 0.4, 1.0, 0.4], normalise=True)
    assert {term.label for term in terms} == {"draft"}


def test_a_revision_reads_its_draft_and_the_rubrics() -> None:
    replies = {"a0": ["take key", *["sing"] * 5], "a0.r0": EXPERT}
    at, group = explored(replies, make_env=lambda: Toy(rooms=3, max_steps=6), size=1)
    (revision,) = group.retries
    told = read(group, revision.turns[0].prompt_node)
    assert told.startswith("<|system|>Draft: take key; sing; sing; sing; sing; sing\n")
    assert "Met: ['hold the key']\nUnmet: ['open the door']" in told
    assert revision.success
    assert "Draft" not in read(group, group.distill(revision).turns[-1])
    assert at.meter.counts["retry"]["env_steps"] == 4


def test_a_draft_earns_a_share_of_what_its_revision_gained() -> None:
    _, group = explored(BETTER)
    better, worse = group.retries
    # .4 + .05 * (.9 - .4) = .425, and .4 + .05 * (.3 - .4) = .395: the bonus has a sign.
    assert HeRL().rewarded(0.4, better) == pytest.approx(0.425)
    assert HeRL().rewarded(0.4, worse) == pytest.approx(0.395)
    assert HeRL().rewarded(0.4, None) == 0.4


def test_the_better_revision_takes_a_random_place_in_the_group() -> None:
    slots = set()
    for update in range(1, 12):
        _, group = explored(BETTER, key=f"u{update}/train/0")
        terms = HeRL().credit(group)
        (slot,) = [place for place, term in enumerate(terms) if term.label == "revised"]
        slots.add(slot)
        returns = [0.1, 0.425, 0.0, 0.395]
        returns[slot] = 0.9
        assert len(terms) == 4
        assert [term.weight for term in terms] == pytest.approx(z_scores(returns, normalise=True))
        # The place is the group's own chance: asked again, it is the same.
        assert [term.weight for term in HeRL().credit(group)] == [term.weight for term in terms]
    assert slots == {0, 1, 2, 3}


def test_where_no_revision_is_as_good_the_best_draft_stands_twice_or_stays() -> None:
    _, group = explored({**BETTER, "a1.r0": ["0 end"]})
    terms = HeRL().credit(group)
    assert {term.label for term in terms} == {"draft"} and len(terms) == 4
    best = group.sample(group.bases[1]).turns
    slot = int(group.rng("slot").integers(4))
    assert terms[slot].turns == best


def test_revised_tokens_are_shaped_by_the_ratio_to_the_policy_that_had_the_hindsight() -> None:
    _, group = explored(BETTER)
    method = HeRL()
    terms = method.credit(group)
    (revised,) = [term for term in terms if term.label == "revised"]
    assert (revised.kind, revised.old) == (Kind.SHAPED, OldLogprobs.BEHAVIOUR)
    assert "Draft" not in read(group, revised.turns[-1])
    assert all("Draft" in read(group, origin) for origin in revised.sample.sampled_in)

    (batch,) = pack(terms, method.loss, budget=10_000, device=torch.device("cpu"))
    shaped = batch.term == terms.index(revised)
    assert shaped.any() and bool(batch.moved[shaped].all()) and not bool(batch.moved[~shaped].any())
    assert torch.equal(batch.behaviour[shaped], torch.full((int(shaped.sum()),), -0.5))
    # As likely without hindsight as with it: w = 1, f(1) = 1 / (1 + 1) = .5. Half as likely: f(.5) = 1 / 3.
    for ratio, factor in ((1.0, 0.5), (0.5, 1 / 3)):
        losses = token_losses(batch, batch.behaviour + torch.log(torch.tensor(ratio)), method.loss).loss
        assert losses[shaped].tolist() == pytest.approx([-factor * revised.weight] * int(shaped.sum()))
