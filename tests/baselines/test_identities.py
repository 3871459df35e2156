"""Methods without what sets them apart are each other: the same terms, loss and update, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from r3lbench.baseline import Baseline
from r3lbench.baselines.critique_grpo import CritiqueGRPO
from r3lbench.baselines.dapo import DAPO
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.gigpo import GiGPO
from r3lbench.baselines.grpo import GRPO
from r3lbench.baselines.gspo import GSPO
from r3lbench.baselines.herl import HeRL
from r3lbench.baselines.opmd import OPMD
from r3lbench.baselines.r3l import R3L
from r3lbench.baselines.raft import RAFTPlusPlus
from r3lbench.baselines.reflect_grpo import ReflectGRPO
from r3lbench.rubric import Rubric
from r3lbench.tokens import Kind, OldLogprobs, Term
from r3lbench.training.learner import Learner, Optimiser
from tests.baselines.attempts import MIXED, credited, facts, paying
from tests.stage import TOKENIZER, Ledger
from tests.table_model import Table


class Update(NamedTuple):
    """What an update of two passes reported, and where it led."""

    loss: float
    gradient: float
    weights: Tensor


def updated(terms: Sequence[Term], method: Baseline) -> Update:
    """An update of the table on terms, with ratios that leave 1 in its second pass."""
    model = Table(len(TOKENIZER))
    report = Learner(model, Optimiser(lr=0.1, epochs=2), method.loss).step(terms)
    return Update(report["loss"], report["grad_norm"], model.table.detach())


def assert_same(terms: Sequence[Term], method: Baseline, others: Sequence[Term], other: Baseline) -> None:
    assert facts(terms) == facts(others)
    one, two = updated(terms, method), updated(others, other)
    assert (one.loss, one.gradient) == (two.loss, two.gradient)
    assert torch.equal(one.weights, two.weights)


# 1 / (1 + tau) = 1 as tau goes to 0, and the advantages do not depend on tau.
MIRROR: dict[str, Any] = {"tau": 1e-300}
BARE: dict[str, Any] = {"positive_amplification": None, "pivotal_credit": False, "meta_tasks": False}
ERLS: dict[str, Any] = {"clip": (0.2, 0.28), "kl": 0.001, "aggregate": "seq-mean-token-sum"}
PAIRS: dict[str, tuple[Baseline, Baseline]] = {
    "r3l, without its parts: opmd": (R3L(**BARE, reflection="none"), OPMD(**MIRROR)),
    "erl, where nothing is tried again: grpo": (ERL(success=-9.0, dual_clip=None), GRPO(**ERLS)),
    "herl, without hindsight: grpo": (HeRL(hindsight=False, dual_clip=None), GRPO(kl=0.0)),
    "herl, where the best is good enough: grpo": (HeRL(success=-9.0, dual_clip=None), GRPO(kl=0.0)),
    "dapo, without its changes: grpo": (
        DAPO(clip=(0.2, 0.2), kl=0.01, overlong_penalty=0.0, dynamic_sampling=False),
        GRPO(),
    ),
    "reflect_grpo, where nothing fails: grpo": (ReflectGRPO(success=-9.0), GRPO()),
    "critique_grpo, where nothing fails: grpo": (CritiqueGRPO(success=-9.0, normalise=True), GRPO(kl=0.0)),
    "critique_grpo, where nothing fails: grpo without std": (
        CritiqueGRPO(success=-9.0, kl=0.01),
        GRPO(normalise=False),
    ),
}
GROUPS: dict[str, dict[str, list[str]]] = {
    "mixed": MIXED,
    "one succeeds": paying([0.5, 0.5], 0, [0, 0, 0], 0),
    "penalised": paying([0.25, 0.25], 0.2, -0.1, [0, -0.1]),
    "all fail": paying(0, [0, 0], 0, 0),
    "all succeed": paying(1, [0.5, 0.5], 1, 1),
}


def sized(method: Baseline, attempts: int) -> Baseline:
    """The method with so many first attempts."""
    halves = isinstance(method, ReflectGRPO)
    return method.model_copy(update={"group_size": attempts * (2 if halves else 1)})


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("pair", PAIRS)
def test_a_method_without_what_sets_it_apart_is_another(pair: str, name: str) -> None:
    method, other = (sized(one, 4) for one in PAIRS[pair])
    _, group, terms = credited(method, GROUPS[name])
    assert group.retries == [] and len(group.bases) == 4
    assert_same(terms, method, other.credit(group), other)


@pytest.mark.parametrize("name", GROUPS)
def test_a_lone_attempt_is_nobody_s_group(name: str) -> None:
    for method, other in PAIRS.values():
        if not isinstance(method, R3L):  # of a lone attempt its baseline is the return itself
            _, group, terms = credited(sized(method, 1), GROUPS[name])
            assert_same(terms, method, other.credit(group), other)


class Content(Ledger):
    """A ledger of which nothing is wanted."""

    def rubrics(self) -> tuple[Rubric, ...]:
        return (Rubric("keep a ledger", True),)


@pytest.mark.parametrize("name", GROUPS)
def test_herl_with_no_unmet_rubric_is_grpo(name: str) -> None:
    method, grpo = HeRL(group_size=4, success=9.0, dual_clip=None), GRPO(kl=0.0)
    _, group, terms = credited(method, GROUPS[name], make_env=Content)
    assert group.reflections and group.retries == []
    assert_same(terms, method, grpo.credit(group), grpo)


@pytest.mark.parametrize("name", GROUPS)
def test_with_retries_r3l_without_its_parts_is_opmd_on_all_attempts(name: str) -> None:
    method, opmd = R3L(**BARE, group_size=8), OPMD(**MIRROR)
    _, group, terms = credited(method, MIXED | GROUPS[name])
    assert group.retries
    advantages = opmd.advantages([attempt.ret for attempt in (*group.bases, *group.retries)])
    samples = [*map(group.sample, group.bases), *map(group.distill, group.retries)]
    others = [sample.term(weight) for sample, weight in zip(samples, advantages, strict=True)]
    assert_same(terms, method, others, opmd)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("name", GROUPS)
def test_gigpo_without_the_step_s_advantage_is_grpo_over_steps(name: str, normalise: bool) -> None:
    method, grpo = GiGPO(group_size=4, omega=0.0, normalise=normalise), GRPO(normalise=normalise)
    _, group, terms = credited(method, GROUPS[name])
    whole = grpo.credit(group)
    steps = [Term(one.sample, (turn,), one.weight, one.kind, one.old) for one in whole for turn in one.turns]
    assert_same(terms, method, steps, grpo)
    # The mean over tokens does not see where a term ends, but the sums are taken in another order.
    split, together = updated(terms, method), updated(whole, grpo)
    assert split.loss == pytest.approx(together.loss, rel=1e-6, abs=1e-12)
    assert torch.allclose(split.weights, together.weights, rtol=1e-5)


@pytest.mark.parametrize("name", GROUPS)
def test_gspo_on_a_single_step_from_where_it_stands_is_grpo(name: str) -> None:
    # There all ratios are 1, and the gradient of their geometric mean is the mean of the tokens' own.
    gspo, grpo = GSPO(group_size=4), GRPO(aggregate="seq-mean-token-mean")
    _, group, terms = credited(gspo, GROUPS[name])
    assert facts(terms) == facts(grpo.credit(group))
    weights = []
    for method in (gspo, grpo):
        model = Table(len(TOKENIZER))
        Learner(model, Optimiser(lr=0.1), method.loss).step(terms)
        weights.append(model.table.detach())
    assert torch.allclose(*weights, rtol=1e-12)


def test_raft_pp_is_grpo_s_loss_with_an_advantage_of_one() -> None:
    method, grpo = RAFTPlusPlus(group_size=4), GRPO(kl=0.0)
    _, group, terms = credited(method, GROUPS["all succeed"])
    others = [group.sample(attempt).term(1.0, old=OldLogprobs.RECOMPUTED) for attempt in group.attempts]
    assert_same(terms, method, others, grpo)


def test_a_likelihood_is_a_policy_gradient_of_its_weight() -> None:
    # How R3L's released code words its imitation: as an advantage of 1 in the same mean over tokens.
    method = R3L(group_size=8)
    _, _, terms = credited(method, MIXED)
    imitated = [term for term in terms if term.kind is Kind.LIKELIHOOD]
    assert {term.label for term in imitated} == {"reflection", "guided"}
    policy = [Term(term.sample, term.turns, term.weight, Kind.POLICY, term.old) for term in terms]
    one, two = updated(terms, method), updated(policy, method)
    assert one.loss == two.loss and torch.equal(one.weights, two.weights)


def test_what_is_compared_can_differ() -> None:
    grpo = GRPO(group_size=4)
    _, group, terms = credited(grpo, MIXED)
    for other in (GRPO(clip=(0.01, 0.01)), GRPO(kl=0.5), GRPO(normalise=False), GRPO(aggregate="seq-mean-token-sum")):
        one, two = updated(terms, grpo), updated(other.credit(group), other)
        assert one.loss != two.loss and not torch.equal(one.weights, two.weights)
