"""The gradient of every loss is that of its formula.

Formulas are written out here in plain arithmetic, one token at a time, and differentiated by central differences in
float64; beside them stands what `Learner` computed with `pack` and `token_losses`. The model is a table of 16 numbers,
so small that every derivative is measured. An update begins beside the reference and takes two steps, so that neither
divergences are 0 nor ratios 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from r3lbench.baseline import Baseline, PolicyLoss
from r3lbench.baselines.critique_grpo import CritiqueGRPO
from r3lbench.baselines.dapo import DAPO
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.gigpo import GiGPO
from r3lbench.baselines.grpo import GRPO
from r3lbench.baselines.gspo import GSPO
from r3lbench.baselines.herl import HeRL
from r3lbench.baselines.opmd import OPMD
from r3lbench.baselines.r3l import PRESETS, R3L
from r3lbench.baselines.reflect_grpo import ReflectGRPO
from r3lbench.registry import BASELINES
from r3lbench.tokens import Kind, OldLogprobs, Sample, Segment, Term, TokenForest
from r3lbench.training.learner import Learner, Optimiser
from tests.baselines.attempts import FAILED, METHODS, MIXED, credited
from tests.stage import TOKENIZER
from tests.table_model import SIDE, Array, Table

REACH = 1e-5

# The formulas


@dataclass(frozen=True)
class Trained:
    """A term as its formula sees it: what was read before each trained token, the tokens, and how they were sampled."""

    term: Term
    features: Array
    tokens: list[int]
    recorded: list[float]

    @classmethod
    def of(cls, term: Term, model: Table) -> Trained:
        forest = term.sample.forest
        origins = dict(zip(term.sample.turns, term.sample.sampled_in, strict=True))
        features, tokens, recorded = [np.zeros((0, SIDE))], [], []
        for turn in term.turns:
            said = forest.nodes[turn].segment.token_ids
            features.append(model.before(forest.token_ids(turn), len(said)))
            tokens += said
            recorded += forest.nodes[origins[turn]].segment.logprobs
        return cls(term, np.concatenate(features), tokens, recorded)


class Formula:
    """The loss of some terms as a function of the table, for ratios to ``start`` and divergences from ``reference``.

    Attributes:
        branches: How often which side of a clip was taken, with the sign of the advantage.
    """

    def __init__(self, model: Table, terms: Sequence[Term], loss: PolicyLoss, start: Array, reference: Array) -> None:
        self.writes, self.loss = model.writes, loss
        self.parts = [part for part in (Trained.of(term, model) for term in terms) if part.tokens]
        self.started = [self.logprobs(start, part)[0] for part in self.parts]
        self.referred = [self.logprobs(reference, part)[0] for part in self.parts]
        self.branches: Counter[str] = Counter()

    def logprobs(self, table: Array, part: Trained) -> tuple[list[float], list[float]]:
        """Log-probability of every token, and the entropy of the distribution that it was drawn from."""
        logits = part.features @ table @ self.writes
        logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        entropy = -(np.exp(logprobs) * logprobs).sum(1)
        return logprobs[np.arange(len(part.tokens)), part.tokens].tolist(), entropy.tolist()

    def __call__(self, table: Array) -> float:
        tokens = sum(len(part.tokens) for part in self.parts)
        total = 0.0
        for part, started, referred in zip(self.parts, self.started, self.referred, strict=True):
            share = {
                "token-mean": 1 / tokens,
                "seq-mean-token-mean": 1 / (len(self.parts) * len(part.tokens)),
                "seq-mean-token-sum": 1 / len(self.parts),
            }[self.loss.aggregate]
            now, entropies = self.logprobs(table, part)
            old = part.recorded if part.term.old is OldLogprobs.BEHAVIOUR else started
            sequence = math.exp((sum(now) - sum(old)) / len(now))
            total += share * sum(
                self.token(part.term, p, q, r, h, sequence)
                for p, q, r, h in zip(now, old, referred, entropies, strict=True)
            )
        return total

    def token(self, term: Term, now: float, old: float, reference: float, entropy: float, sequence: float) -> float:
        """The loss of one token; ``sequence`` is the ratio of all of its term's."""
        weight, loss = term.weight, self.loss
        if term.kind is Kind.LIKELIHOOD:
            return -weight * now
        if term.kind is Kind.SHAPED:
            w = math.exp(now) if term.old is OldLogprobs.NONE else math.exp(now - old)
            return -weight * w / (w + loss.gamma)
        if loss.ratio is None:
            value = -weight * now
        else:
            value = self.clipped(weight, math.exp(now - old) if loss.ratio == "token" else sequence)
        d = reference - now
        value += loss.kl * {"k1": -d, "k2": d * d / 2, "k3": math.exp(d) - d - 1}[loss.kl_estimator]
        return value - loss.entropy * entropy

    def clipped(self, weight: float, ratio: float) -> float:
        """PPO's surrogate, as its four cases."""
        low, high = self.loss.clip or (math.inf, math.inf)
        sign = "+" if weight > 0 else "-" if weight < 0 else "0"
        if weight > 0 and ratio > 1 + high:
            branch, ratio = "cut above", 1 + high
        elif weight < 0 and ratio < 1 - low:
            branch, ratio = "cut below", 1 - low
        elif weight < 0 and self.loss.dual_clip is not None and ratio > self.loss.dual_clip:
            branch, ratio = "bounded", self.loss.dual_clip
        else:
            branch = "above" if ratio > 1 + high else "below" if ratio < 1 - low else "inside"
        self.branches[f"{sign} {branch}"] += 1
        return -weight * ratio

    def gradient(self, table: Array) -> Array:
        """Central differences in every number of the table."""
        slopes = np.zeros_like(table)
        for place in np.ndindex(table.shape):
            step = np.zeros_like(table)
            step[place] = REACH
            slopes[place] = (self(table + step) - self(table - step)) / (2 * REACH)
        return slopes


@dataclass(frozen=True)
class Step:
    """An optimiser step: the table before it, the gradient, and the formula whose gradient that should be."""

    table: Array
    gradient: Array
    formula: Formula


def update(terms: Sequence[Term], loss: PolicyLoss, *, vocabulary: int, minibatches: int = 1) -> Iterator[Step]:
    """The steps of one update on terms."""
    model = Table(vocabulary)
    settings = Optimiser(lr=0.2, clip_norm=1e9, epochs=2, minibatches=minibatches)
    learner = Learner(model, settings, loss)
    reference = model.table.detach().numpy().copy()
    with torch.no_grad():
        model.table += 0.1 * torch.tensor(np.random.default_rng(1).normal(size=(SIDE, SIDE)))
    start = model.table.detach().numpy().copy()
    taken: list[tuple[Array, Array]] = []

    def note(*_: Any) -> None:
        assert model.table.grad is not None
        taken.append((model.table.detach().numpy().copy(), model.table.grad.numpy().copy()))

    learner.optimizer.register_step_pre_hook(note)
    learner.step(terms)
    for number, (table, gradient) in enumerate(taken):
        part = list(terms)[number % minibatches :: minibatches]
        yield Step(table, gradient, Formula(model, part, loss, start, reference))


def error(step: Step) -> float:
    """Relative to the length of the gradient."""
    measured = step.formula.gradient(step.table)
    return float(np.linalg.norm(step.gradient - measured) / np.linalg.norm(measured))


# Single losses, on conversations of every form

VOCABULARY = 23
PLAIN = PolicyLoss(ratio=None, clip=None)
RATIO = PolicyLoss(ratio="token", clip=None)
LOSSES = {
    "policy gradient": PLAIN,
    "ratio": RATIO,
    "clipped ratio": replace(RATIO, clip=(0.2, 0.28)),
    "clipped ratio, dual clip": replace(RATIO, clip=(0.2, 0.28), dual_clip=1.5),
    "sequence ratio": replace(RATIO, ratio="sequence"),
    "clipped sequence ratio": replace(RATIO, ratio="sequence", clip=(0.05, 0.05)),
    "clipped sequence ratio, dual clip": replace(RATIO, ratio="sequence", clip=(0.05, 0.05), dual_clip=1.1),
    "k1": replace(PLAIN, kl=0.5, kl_estimator="k1"),
    "k2": replace(PLAIN, kl=0.5, kl_estimator="k2"),
    "k3": replace(PLAIN, kl=0.5, kl_estimator="k3"),
    "entropy": replace(PLAIN, entropy=0.5),
    "shaping, strong": replace(PLAIN, gamma=0.1),
    "everything": PolicyLoss(clip=(0.2, 0.28), dual_clip=2.0, kl=0.3, kl_estimator="k2", entropy=0.2, gamma=0.5),
}


def conversations() -> list[Term]:
    """Conversations that grow, are rebuilt and are copied, in every kind of loss, with weights of both signs."""
    rng, forest, model = np.random.default_rng(2), TokenForest(), Table(VOCABULARY)
    table = model.table.detach().numpy()

    def says(prompt: int, length: int) -> int:
        """A reply whose recorded log-probabilities are near the model's, so that ratios lie on all sides of 1."""
        tokens = rng.integers(VOCABULARY, size=length).tolist()
        features = model.before([*forest.token_ids(prompt), *tokens], length)
        logits = features @ table @ model.writes
        logprobs = (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[np.arange(length), tokens]
        noisy = np.minimum(logprobs + 0.4 * rng.normal(size=length), -1e-3)
        # What can be told in float32, in which recorded numbers are kept.
        return forest.add(prompt, Segment("assistant", tuple(tokens), True, tuple(np.float32(noisy).tolist())))

    def hears(node: int | None, length: int) -> int:
        return forest.add(node, Segment("prompt", tuple(rng.integers(VOCABULARY, size=length).tolist())))

    def sample(*lengths: tuple[int, int], rebuilt: bool = False) -> Sample:
        turns: list[int] = []
        for told, said in lengths:
            turns.append(says(hears(None if rebuilt or not turns else turns[-1], told), said))
        return Sample(forest, tuple(turns), tuple(turns))

    def copied(of: Sample) -> Sample:
        node = None
        turns = []
        for origin in of.turns:
            node = forest.add(hears(node, 2), forest.nodes[origin].segment)
            turns.append(node)
        return Sample(forest, tuple(turns), of.turns)

    grown, rebuilt, other = sample((4, 3), (3, 2), (5, 4)), sample((3, 2), (6, 3), rebuilt=True), sample((7, 5))
    behaviour, recomputed, none = OldLogprobs.BEHAVIOUR, OldLogprobs.RECOMPUTED, OldLogprobs.NONE
    return [
        *(of.term(weight, old=behaviour) for of in (grown, rebuilt, copied(grown)) for weight in (1.5, -0.5)),
        *(of.term(weight, old=recomputed) for of in (grown, other) for weight in (0.75, -2.0)),
        grown.term(1.25, from_turn=1, old=recomputed),
        rebuilt.term(0.0, old=recomputed),
        grown.term(4.0, from_turn=3),
        *(copied(other).term(weight, kind=Kind.SHAPED, old=behaviour) for weight in (1.0, -0.5)),
        *(rebuilt.term(weight, kind=Kind.SHAPED, old=recomputed) for weight in (0.5, -1.0)),
        *(other.term(weight, kind=Kind.SHAPED, old=none) for weight in (2.0, -0.25)),
        copied(rebuilt).term(0.75, kind=Kind.LIKELIHOOD),
    ]


TERMS = conversations()


@pytest.mark.parametrize("aggregate", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_loss_is_that_of_its_formula(name: str, aggregate: Any) -> None:
    for step in update(TERMS, replace(LOSSES[name], aggregate=aggregate), vocabulary=VOCABULARY):
        assert error(step) < 1e-6


@pytest.mark.parametrize("minibatches", [2, 3])
def test_every_part_of_an_update_is_normalised_on_its_own_and_compared_with_the_start(minibatches: int) -> None:
    for step in update(TERMS, LOSSES["everything"], vocabulary=VOCABULARY, minibatches=minibatches):
        assert error(step) < 1e-6


@pytest.mark.parametrize("name", [name for name in LOSSES if "clip" in name])
def test_the_conversations_lie_on_every_side_of_every_clip(name: str) -> None:
    branches: Counter[str] = Counter()
    for step in update(TERMS, LOSSES[name], vocabulary=VOCABULARY):
        step.formula(step.table)
        branches += step.formula.branches
    expected = {"+ below", "+ inside", "+ cut above", "- cut below", "- inside"}
    assert set(branches) >= expected | {"- bounded" if "dual" in name else "- above"}


# Methods, on groups of attempts

SETTINGS: dict[str, tuple[Baseline, dict[str, list[str]]]] = {
    **{name: (BASELINES.load(name)(group_size=4), MIXED) for name in METHODS},
    **{f"{name}, nothing solved": (BASELINES.load(name)(group_size=4), FAILED) for name in METHODS},
    **{f"r3l, {preset}": (R3L(group_size=8, preset=preset), MIXED) for preset in PRESETS},  # type: ignore[arg-type]
    "r3l, from the start": (R3L(group_size=8, restart="start", pivotal_credit=False), MIXED),
    "grpo, behaviour": (GRPO(group_size=4, old="behaviour"), MIXED),
    "dapo, overlong": (DAPO(group_size=4, overlong_limit=20, overlong_buffer=10), MIXED),
    "gspo, no divergence": (GSPO(group_size=4, kl=0.0), MIXED),
    "opmd, soft": (OPMD(group_size=4, baseline="logsumexp", tau=0.5), MIXED),
    "reflect_grpo, reflections": (ReflectGRPO(group_size=8, train_reflections=True), MIXED),
    "critique_grpo, with std": (CritiqueGRPO(group_size=4, normalise=True), MIXED),
    "erl, clipped": (ERL(internalisation="clipped"), MIXED),
    "erl, dual clip": (ERL(dual_clip=1.01), MIXED),
    "herl, guided": (HeRL(group_size=4, train_with_guidance=True, gamma=0.1), FAILED),
    "herl, surrogate": (HeRL(group_size=4, shaping=False, kl=0.001), FAILED),
    "gigpo, no std": (GiGPO(group_size=4, normalise=False, omega=0.5), MIXED),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_gradient_of_a_method_is_that_of_its_formula(name: str) -> None:
    method, replies = SETTINGS[name]
    _, _, terms = credited(method, replies, style="compact")
    steps = list(update(terms, method.loss, vocabulary=len(TOKENIZER)))
    assert len(steps) == 2
    for step in steps:
        assert error(step) < 1e-6
