"""Whatever is computed again or in parts to hold less: the update is the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from r3lbench.baseline import PolicyLoss
from r3lbench.policies.adapters import attach
from r3lbench.scaling import LoraConfig, MemoryConfig
from r3lbench.tokens import Term
from r3lbench.training.learner import Learner, Optimiser
from tests.conversations import Conversations
from tests.random_models import CONFIGS, random_model

LOSS = PolicyLoss(clip=(0.3, 0.3), kl=0.1, kl_estimator="k2", entropy=0.1, gamma=0.5)
WAYS = {
    "checkpointed": MemoryConfig(gradient_checkpointing=True),
    "chunked": MemoryConfig(logprob_chunk=3),
    "both": MemoryConfig(gradient_checkpointing=True, logprob_chunk=1),
}


def some_terms() -> list[Term]:
    made = Conversations()
    grown, other = made.growing([(4, 3), (3, 2)]), made.growing([(7, 5)])
    copied = made.copied(grown, from_turn=1, told=2)
    return [grown.term(1.5), other.term(-0.5), copied.term(0.7, from_turn=1)]


def learner_of(model: Any, memory: MemoryConfig | None = None) -> Learner:
    return Learner(model, Optimiser(lr=1e-2), LOSS, memory=memory)


def same(plain: Any, lean: Any, way: MemoryConfig) -> None:
    """Reports and gradients; AdamW makes steps of one size even of gradients that are nothing but rounding."""
    expected, found = learner_of(plain).step(some_terms()), learner_of(lean, way).step(some_terms())
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    for weight, other in zip(plain.parameters(), lean.parameters(), strict=True):
        assert (weight.grad is None) == (other.grad is None)
        assert weight.grad is None or torch.allclose(weight.grad, other.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3 with a window"])
def test_the_update_is_the_same(name: str, way: str) -> None:
    # GPT-2 has dropout, which no forward pass may switch on; Gemma's logits are not those of its head alone.
    plain, lean = random_model(name), random_model(name)
    if name.startswith("gemma3"):
        plain.config.final_logit_softcapping = lean.config.final_logit_softcapping = 2.0
    same(plain, lean, WAYS[way])
    assert not any(module.training for module in lean.modules())


def test_layers_are_computed_a_second_time() -> None:
    counts = {}
    for checkpointed in (False, True):
        model = random_model()
        learner = learner_of(model, MemoryConfig(gradient_checkpointing=checkpointed))
        calls: list[int] = []
        for layer in model.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                # Before it, because the second time ends as soon as everything that was not kept is there again.
                layer.mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        learner.step(some_terms())
        counts[checkpointed] = len(calls)
    assert counts[True] == 2 * counts[False] > 0


def test_logits_exist_for_a_chunk_at_a_time() -> None:
    widths: dict[int, int] = {}
    for chunk in (0, 3):
        model = random_model()
        learner = learner_of(model, MemoryConfig(logprob_chunk=chunk))
        rows: list[int] = []
        model.lm_head.register_forward_hook(lambda *seen, rows=rows: rows.append(seen[2].shape[0]))
        learner.step(some_terms())
        widths[chunk] = max(rows)
    assert widths[3] == 3 < widths[0]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_adapters_learn_and_the_starting_policy_is_the_model_without_them(name: str) -> None:
    pytest.importorskip("peft")
    model = random_model(name)
    attach(model, LoraConfig(rank=4), 0)
    before = {key: parameter.clone() for key, parameter in model.named_parameters()}
    twin = copy.deepcopy(model)
    learner = Learner(model, Optimiser(lr=1e-2), LOSS)
    first, second = (learner.step(some_terms()) for _ in range(2))
    changed = {key for key, parameter in model.named_parameters() if not torch.equal(parameter, before[key])}
    assert changed and all("lora_" in key for key in changed)
    assert first["kl_to_start"] == 0 < second["kl_to_start"]
    # The same as with a copy of the model beside it.
    other = Learner(twin, Optimiser(lr=1e-2), LOSS)
    other._reference = type(other.decoder)(random_model(name))
    assert [other.step(some_terms()) for _ in range(2)] == [first, second]


def test_adapters_and_all_ways_to_hold_less_go_together() -> None:
    pytest.importorskip("peft")
    models = [random_model() for _ in range(2)]
    for model in models:
        attach(model, LoraConfig(rank=4), 0)
    same(*models, WAYS["both"])


def test_a_model_in_bfloat16_learns_through_its_copies() -> None:
    model = random_model(dtype=torch.bfloat16)
    learner = Learner(model, Optimiser(lr=1e-4), LOSS)
    start = [weight.detach().clone() for weight in learner.parameters]
    for _ in range(3):
        learner.step(some_terms())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    for weight, master, begun in zip(model.parameters(), learner.parameters, start, strict=True):
        assert master.dtype == torch.float32 and not torch.equal(master, begun)
        assert torch.equal(weight, master.to(torch.bfloat16))


def test_every_architecture_can_be_checkpointed() -> None:
    for name in CONFIGS:
        assert learner_of(random_model(name), WAYS["checkpointed"]).step(some_terms())["steps"] == 1
