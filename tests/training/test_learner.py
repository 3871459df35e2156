"""The update against the plain formula, finite differences, and itself under other cuts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from r3lbench.baseline import Aggregation, PolicyLoss
from r3lbench.tokens import Kind, OldLogprobs, Term
from r3lbench.training.learner import Learner, Optimiser
from tests.conversations import Conversations
from tests.random_models import exact_model, full_pass, random_model

PLAIN = PolicyLoss(ratio=None, clip=None)
LOSSES = {
    "policy gradient": PLAIN,
    "clipped ratio": PolicyLoss(ratio="token", clip=(0.2, 0.28), dual_clip=3.0),
    "sequence ratio": PolicyLoss(ratio="sequence", clip=(0.5, 0.5), aggregate="seq-mean-token-mean"),
    "divergence": PolicyLoss(ratio=None, clip=None, kl=0.5, aggregate="seq-mean-token-sum"),
    "entropy": PolicyLoss(ratio=None, clip=None, entropy=0.3),
    "everything": PolicyLoss(clip=(0.3, 0.3), kl=0.1, kl_estimator="k2", entropy=0.1, gamma=0.5),
}


def some_terms(seed: int = 0) -> list[Term]:
    """Conversations of every form, in every kind of loss."""
    made = Conversations(seed)
    grown, rebuilt, other = (
        made.growing([(4, 3), (3, 2), (5, 4)]),
        made.rebuilt([(3, 2), (6, 3)]),
        made.growing([(7, 5)]),
    )
    copied = made.copied(grown, from_turn=1, told=2)
    return [
        grown.term(1.5, old=OldLogprobs.BEHAVIOUR),
        rebuilt.term(-0.5, old=OldLogprobs.BEHAVIOUR),
        other.term(0.0, old=OldLogprobs.BEHAVIOUR),
        copied.term(-2.0, from_turn=1, old=OldLogprobs.BEHAVIOUR),
        copied.term(1.0, from_turn=2, kind=Kind.SHAPED, old=OldLogprobs.BEHAVIOUR),
        rebuilt.term(0.5, kind=Kind.SHAPED),
        other.term(0.7, kind=Kind.LIKELIHOOD),
        other.term(9.0, from_turn=1),
    ]


def plausible(terms: list[Term], model: Any) -> list[Term]:
    """The same terms, their tokens sampled with probabilities near the model's, so that not every ratio is clipped."""
    generator = torch.Generator().manual_seed(0)
    forest = terms[0].sample.forest
    for number, node in enumerate(forest.nodes):
        if node.segment.sampled:
            logprobs = token_logprobs(model, terms[0], number).detach()
            noisy = logprobs + 0.3 * torch.randn(len(logprobs), generator=generator)
            segment = copy.copy(node.segment)
            object.__setattr__(segment, "logprobs", tuple(noisy.tolist()))
            object.__setattr__(node, "segment", segment)
    return terms


def token_logprobs(model: Any, term: Term, turn: int) -> Tensor:
    """Log-probabilities of a turn's tokens, with gradient."""
    tokens = term.sample.forest.token_ids(turn)
    count = len(term.sample.forest.nodes[turn].segment.token_ids)
    logprobs = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].log_softmax(-1)
    wanted: Tensor = logprobs[-count - 1 : -1]
    return wanted.gather(1, torch.tensor(tokens[-count:])[:, None])[:, 0]


def formula(model: Any, terms: list[Term], loss: PolicyLoss, *, reference: Any = None, start: Any = None) -> Tensor:
    """The loss written out, one term and one turn at a time."""
    total = torch.zeros((), dtype=torch.float64)
    counts = [term.tokens for term in terms]
    filled = sum(count > 0 for count in counts)
    for term, count in zip(terms, counts, strict=True):
        if not count:
            continue
        origins = dict(zip(term.sample.turns, term.sample.sampled_in, strict=True))
        now = torch.cat([token_logprobs(model, term, turn) for turn in term.turns])
        recorded = [p for turn in term.turns for p in term.sample.forest.nodes[origins[turn]].segment.logprobs]
        old = torch.tensor(recorded, dtype=torch.float64)
        if term.old is OldLogprobs.RECOMPUTED:
            old = torch.cat([token_logprobs(start or model, term, turn) for turn in term.turns]).detach()
        ratio = (now - old).exp()
        if term.kind is Kind.LIKELIHOOD:
            losses = -term.weight * now
        elif term.kind is Kind.SHAPED:
            w = now.exp() if term.old is OldLogprobs.NONE else ratio
            losses = -term.weight * w / (w + loss.gamma)
        else:
            if loss.ratio == "sequence":
                ratio = (now - old).mean().exp() * torch.ones_like(now)
            gain = term.weight * (now if loss.ratio is None else ratio)
            if loss.clip is not None:
                gain = torch.minimum(gain, term.weight * ratio.clamp(1 - loss.clip[0], 1 + loss.clip[1]))
            if loss.dual_clip is not None and term.weight < 0:
                gain = gain.clamp(min=loss.dual_clip * term.weight)
            losses = -gain
            if loss.kl:
                d = torch.cat([token_logprobs(reference, term, turn) for turn in term.turns]).detach() - now
                losses = losses + loss.kl * {"k1": -d, "k2": d**2 / 2, "k3": d.exp() - d - 1}[loss.kl_estimator]
            if loss.entropy:
                losses = losses - loss.entropy * entropies(model, term)
        share = {
            "token-mean": 1 / sum(counts),
            "seq-mean-token-mean": 1 / (filled * count),
            "seq-mean-token-sum": 1 / filled,
        }[loss.aggregate]
        total = total + losses.sum() * share
    return total


def entropies(model: Any, term: Term) -> Tensor:
    parts = []
    for turn in term.turns:
        tokens = term.sample.forest.token_ids(turn)
        count = len(term.sample.forest.nodes[turn].segment.token_ids)
        logprobs = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].log_softmax(-1)[-count - 1 : -1]
        parts.append(-(logprobs.exp() * logprobs).sum(-1))
    return torch.cat(parts)


def flat(model: Any) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def gradient(model: Any) -> Tensor:
    """All gradients; zero where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])


def learner_of(model: Any, loss: PolicyLoss, **settings: Any) -> Learner:
    # The gradient is inspected after the step, so it must not be scaled down.
    return Learner(model, Optimiser(**{"clip_norm": 1e9, **settings}), loss)


def stepped(
    terms: list[Term], loss: PolicyLoss, make: Callable[[], Any] = random_model, **settings: Any
) -> tuple[dict[str, float], Tensor, Any]:
    """(report, gradient, model) of one update from the random model."""
    model = make()
    report = learner_of(model, loss, **settings).step(terms)
    return report, gradient(model), model


@pytest.fixture(scope="module")
def terms() -> list[Term]:
    return plausible(some_terms(), random_model())


@pytest.mark.parametrize("name", LOSSES)
def test_an_update_follows_the_formula(name: str, terms: list[Term]) -> None:
    loss, model = LOSSES[name], random_model()
    # One step away from the reference, so that the divergence has a gradient.
    learner = learner_of(model, loss, lr=1e-3)
    learner.step([terms[6]])
    expected = formula(model, terms, loss, reference=random_model())
    grads = torch.autograd.grad(expected, list(model.parameters()), allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(model.parameters(), grads, strict=True)]
    wanted = torch.cat([part.flatten() for part in parts])
    report = learner.step(terms)
    assert report["loss"] == pytest.approx(expected.item(), rel=1e-6)
    assert float((gradient(model) - wanted).norm() / wanted.norm()) < 1e-6
    assert report["grad_norm"] == pytest.approx(float(wanted.norm()), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_the_loss_by_finite_differences(name: str, terms: list[Term]) -> None:
    # Llamas normalise in float32 whatever their weights; GPT-2 keeps to float64, so that small differences show.
    model = random_model("gpt2")
    learner = learner_of(model, LOSSES[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double())
    weights = flat(model)

    def at(position: Tensor) -> float:
        """The loss there; the step that follows is undone by the next call."""
        torch.nn.utils.vector_to_parameters(position.clone(), model.parameters())
        return learner.step(terms)["loss"]

    at(weights)
    slope = gradient(model)
    for seed in range(3):
        direction = torch.randn(len(weights), generator=torch.Generator().manual_seed(seed)).double()
        direction /= direction.norm()
        reach = 1e-6
        measured = (at(weights + reach * direction) - at(weights - reach * direction)) / (2 * reach)
        assert measured == pytest.approx(float(slope @ direction), rel=1e-5, abs=1e-8)


shapes = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3)


@settings(max_examples=15, deadline=None)
@given(
    shapes=st.lists(st.tuples(shapes, st.booleans(), st.sampled_from([1.0, -0.5, 2.0])), min_size=1, max_size=5),
    budget=st.integers(1, 80),
    name=st.sampled_from(list(LOSSES)),
)
def test_an_update_is_the_same_however_its_rows_are_cut(shapes: Any, budget: int, name: str) -> None:
    made = Conversations()
    drawn = [
        (made.rebuilt(shape) if apart else made.growing(shape)).term(weight, old=OldLogprobs.RECOMPUTED)
        for shape, apart, weight in shapes
    ]
    whole, one, _ = stepped(drawn, LOSSES[name], exact_model, micro_batch_tokens=100_000)
    cut, other, _ = stepped(drawn, LOSSES[name], exact_model, micro_batch_tokens=budget)
    assert float((one - other).norm()) <= 1e-9 * float(one.norm())
    for key in whole.keys() - {"model_tokens", "model_tokens_unshared"}:
        assert cut[key] == pytest.approx(whole[key], rel=1e-9, abs=1e-12)


def test_masked_tokens_receive_no_gradient() -> None:
    made = Conversations()
    sample = made.growing([(4, 3), (3, 2), (5, 4)])
    model = random_model()
    head = torch.cat([token_logprobs(model, sample.term(1.0), turn) for turn in sample.turns[1:]])
    wanted = torch.autograd.grad(-head.mean(), model.lm_head.weight)[0]
    _, _, learned = stepped([sample.term(1.0, from_turn=1)], PLAIN)
    assert torch.allclose(learned.lm_head.weight.grad, wanted, rtol=1e-6, atol=1e-12)
    # The prompt of a later turn comes after everything that is trained: its tokens do not even run.
    only_first = Term(sample, sample.turns[:1], 1.0)
    _, _, learned = stepped([only_first], PLAIN)
    nodes = made.forest.nodes
    early = {token for node in made.forest.path(sample.turns[0]) for token in node.segment.token_ids}
    late = {token for node in nodes for token in node.segment.token_ids} - early
    assert late and not learned.model.embed_tokens.weight.grad[sorted(late)].any()


def test_terms_of_zero_weight_count_in_the_aggregate() -> None:
    made = Conversations()
    loud, mute = made.growing([(3, 4)]), made.growing([(3, 12)])
    for aggregate, share in (("token-mean", 4 / 16), ("seq-mean-token-mean", 1 / 2), ("seq-mean-token-sum", 1 / 2)):
        loss = PolicyLoss(ratio=None, clip=None, aggregate=aggregate)  # type: ignore[arg-type]
        alone, one, _ = stepped([loud.term(1.0)], loss)
        beside, other, _ = stepped([loud.term(1.0), mute.term(0.0)], loss)
        assert torch.allclose(other, share * one, rtol=1e-6, atol=1e-12)
        assert beside["loss"] == pytest.approx(share * alone["loss"])


def test_aggregations_by_hand() -> None:
    """Terms of 2 and 4 tokens (in two rows), of weights 1 and -1, and one without tokens."""
    made = Conversations()
    one, two = made.growing([(3, 2)]), made.rebuilt([(2, 1), (3, 3)])
    model = random_model()
    first, second = (
        sum(token_logprobs(model, sample.term(1.0), turn).sum().item() for turn in sample.turns)
        for sample in (one, two)
    )
    expected: dict[Aggregation, float] = {
        "token-mean": (-first + second) / 6,
        "seq-mean-token-mean": (-first / 2 + second / 4) / 2,
        "seq-mean-token-sum": (-first + second) / 2,
    }
    for aggregate, value in expected.items():
        drawn = [one.term(1.0), two.term(-1.0), one.term(5.0, from_turn=1)]
        report, _, _ = stepped(drawn, PolicyLoss(ratio=None, clip=None, aggregate=aggregate))
        assert report["loss"] == pytest.approx(value, rel=1e-6)


def by_hand(
    model: Any, parts: list[list[Term]], loss: PolicyLoss, *, epochs: int, lr: float
) -> tuple[Any, list[float]]:
    """Several steps of plain AdamW on the formula, ratios to the weights at the start."""
    start, optimizer = copy.deepcopy(model), torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    values = []
    for _ in range(epochs):
        for part in parts:
            optimizer.zero_grad()
            value = formula(model, part, loss, start=start, reference=start)
            value.backward()
            optimizer.step()
            values.append(value.item())
    return model, values


@pytest.mark.parametrize(("epochs", "minibatches"), [(1, 1), (3, 1), (1, 2), (2, 3)])
def test_every_step_of_an_update_compares_with_the_policy_at_its_start(epochs: int, minibatches: int) -> None:
    made = Conversations(3)
    drawn = [
        made.growing([(3, 2 + i % 3), (2, 3)]).term((-1) ** i * (1.0 + i / 7), old=OldLogprobs.RECOMPUTED)
        for i in range(7)
    ]
    loss = PolicyLoss(ratio="token", clip=(0.2, 0.28), kl=0.05)
    parts = [drawn[part::minibatches] for part in range(minibatches)]
    expected, values = by_hand(random_model(), parts, loss, epochs=epochs, lr=1e-3)
    report, _, model = stepped(drawn, loss, epochs=epochs, minibatches=minibatches, lr=1e-3)
    moved = float((flat(expected) - flat(random_model())).norm())
    assert float((flat(model) - flat(expected)).norm()) < 1e-6 * moved
    assert report["steps"] == epochs * minibatches
    assert report["loss"] == pytest.approx(math.fsum(values) / len(values), rel=1e-5)
    if epochs * minibatches > 1:
        assert report["ratio"] != pytest.approx(1.0, abs=1e-6)
    else:
        assert report["ratio"] == 1.0


def test_the_divergence_is_reported_without_being_a_part_of_the_loss() -> None:
    made = Conversations()
    drawn = [made.growing([(3, 4)]).term(1.0)]
    loss = PolicyLoss(ratio=None, clip=None)
    measuring, not_measuring = learner_of(random_model(), loss), learner_of(random_model(), loss, measure_kl=False)
    for _ in range(2):
        told, untold = measuring.step(drawn), not_measuring.step(drawn)
    assert told.pop("kl_to_start") > 0
    assert untold.pop("kl_to_start") is None
    assert told == untold


def test_the_divergence_is_to_the_policy_that_the_learner_was_made_with() -> None:
    made = Conversations()
    drawn = [made.growing([(3, 4)]).term(1.0)]
    model = random_model()
    learner = learner_of(model, PolicyLoss(ratio=None, clip=None, kl=0.1), lr=1e-2)
    assert learner.step(drawn)["kl_to_start"] == 0.0
    first = learner.step(drawn)["kl_to_start"]
    assert learner.step(drawn)["kl_to_start"] > first > 0
    assert all(parameter.grad is None for parameter in learner._reference.model.parameters())  # type: ignore[union-attr]


def test_an_update_without_signal_changes_no_weight() -> None:
    sample = Conversations().growing([(3, 4)])
    for drawn in ([], [sample.term(0.0)], [sample.term(1.0, from_turn=1)]):
        report, _, model = stepped(drawn, PLAIN)
        assert report["steps"] == report["trained_tokens"] == report["model_tokens"] == report["loss"] == 0
        assert report["model_tokens_unshared"] == 0
        assert torch.equal(flat(model), flat(random_model()))


def test_long_gradients_are_cut_to_the_clip_norm(terms: list[Term]) -> None:
    free, one, _ = stepped(terms, PLAIN)
    held, other, _ = stepped(terms, PLAIN, clip_norm=0.01)
    assert free["grad_norm"] == held["grad_norm"] == pytest.approx(float(one.norm()))
    assert float(other.norm()) == pytest.approx(0.01, rel=1e-3)
    assert torch.allclose(other / other.norm(), one / one.norm())


def test_the_report_counts_tokens_and_measures_the_gap_to_sampling() -> None:
    made = Conversations()
    sample = made.growing([(4, 3), (3, 2)])
    copied = made.copied(sample, from_turn=1, told=5)
    report, _, model = stepped([sample.term(1.0), copied.term(1.0), sample.term(0.0)], PLAIN, lr=1e-12)
    assert report["trained_tokens"] == 10
    # The copy's first turn is its original's, and nobody reads the last token of either.
    assert report["model_tokens"] == (4 + 3) + (3 + 1) + (5 + 1)
    assert report["model_tokens_unshared"] == 2 * (4 + 3 + 5 + 2)
    moved = copied.turns[1]
    recorded = torch.tensor(made.forest.nodes[moved].segment.logprobs)
    now = token_logprobs(model, copied.term(1.0), moved)
    assert report["off_policy_gap"] == pytest.approx((recorded - now).mean().item(), rel=1e-5)
    entropy = torch.cat([entropies(model, sample.term(1.0)), entropies(model, copied.term(1.0))]).mean()
    assert report["entropy"] == pytest.approx(entropy.item(), rel=1e-6)


def test_an_update_can_be_repeated_to_the_byte(terms: list[Term]) -> None:
    results = []
    for _ in range(2):
        model = random_model(dtype=torch.float32)
        learner = learner_of(model, LOSSES["everything"], micro_batch_tokens=40)
        results.append(([learner.step(terms) for _ in range(2)], flat(model)))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_reduced_precision_computes_in_bfloat16_and_keeps_float32_weights(terms: list[Term]) -> None:
    reports = {}
    models: dict[str, Any] = {}
    for autocast in ("none", "bfloat16"):
        models[autocast] = random_model(dtype=torch.float32)
        reports[autocast] = learner_of(models[autocast], PLAIN, autocast=autocast).step(terms)
    assert {parameter.dtype for parameter in models["bfloat16"].parameters()} == {torch.float32}
    assert reports["bfloat16"]["loss"] == pytest.approx(reports["none"]["loss"], rel=0.1)
    assert reports["bfloat16"]["loss"] != reports["none"]["loss"]


def test_only_trainable_weights_move(terms: list[Term]) -> None:
    model = random_model()
    frozen = model.model.layers[0].mlp.up_proj.weight.requires_grad_(False)
    before = frozen.clone()
    learner_of(model, PLAIN, weight_decay=0.5).step(terms)
    assert torch.equal(frozen, before)
    assert not torch.equal(model.lm_head.weight, random_model().lm_head.weight)


def test_logits_are_those_of_the_model_itself_where_its_head_does_more() -> None:
    # Gemma caps its logits: the short way through the decoder would miss that.
    made = Conversations()
    sample = made.growing([(4, 3)])
    model = random_model("gemma3 with a window", dtype=torch.float64)
    model.config.final_logit_softcapping = 2.0
    report = learner_of(model, PLAIN, lr=1e-12).step([sample.term(1.0)])
    tokens = tuple(made.forest.token_ids(sample.turns[0]))
    expected = [-float(full_pass(model, tokens)[i - 1, tokens[i]]) for i in (4, 5, 6)]
    assert report["loss"] == pytest.approx(sum(expected) / 3, rel=1e-6)
