"""Weights in reduced precision learn through float32 copies of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from r3lbench.training import checkpoint
from r3lbench.training.precision import MasterWeights


def layer(dtype: torch.dtype) -> nn.Linear:
    made = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]]))
    return made.to(dtype)


def train(model: nn.Linear, masters: MasterWeights, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """Steps on the sum of outputs, in two micro-batches each."""
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        for part in ([[1.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]]):
            model(torch.tensor(part, dtype=model.weight.dtype)).sum().backward()
        optimizer.step()
        masters.write_back()


def adam(masters: MasterWeights, lr: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(masters.tensors, lr=lr, weight_decay=0.0)


def test_float32_weights_are_their_own_copies() -> None:
    model = layer(torch.float32)
    assert MasterWeights(model.parameters()).tensors[0] is model.weight


def test_small_steps_are_not_lost_in_rounding() -> None:
    # Steps of 1e-4 are below what bfloat16 can tell apart from 1: half a unit in the last place is 2e-3.
    reduced, full = layer(torch.bfloat16), layer(torch.float32)
    for model in (reduced, full):
        masters = MasterWeights(model.parameters())
        train(model, masters, adam(masters, 1e-4), 100)
    assert torch.equal(reduced.weight, full.weight.to(torch.bfloat16))
    assert reduced.weight[0, 0] < 1
    lost = layer(torch.bfloat16)
    optimizer = torch.optim.AdamW(lost.parameters(), lr=1e-4, weight_decay=0.0)
    for _ in range(100):
        optimizer.zero_grad()
        lost(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
        optimizer.step()
    assert lost.weight[0, 0] == 1


def test_gradients_are_summed_in_float32_and_held_once() -> None:
    model = layer(torch.bfloat16)
    masters = MasterWeights(model.parameters())
    for value in (256.0, 1.0):
        model(torch.full((1, 3), value, dtype=torch.bfloat16)).sum().backward()
        assert model.weight.grad is None
    # 257 is no bfloat16 number.
    assert masters.tensors[0].grad is not None and (masters.tensors[0].grad == 257).all()


def test_a_checkpoint_keeps_the_copies(tmp_path: Path) -> None:
    ends = []
    for broken_off in (False, True):
        model = layer(torch.bfloat16)
        masters = MasterWeights(model.parameters())
        optimizer = adam(masters, 1e-3)
        train(model, masters, optimizer, 5)
        if broken_off:
            saved = checkpoint.save(tmp_path, 5, model, optimizer, {})
            model = layer(torch.bfloat16)
            masters = MasterWeights(model.parameters())
            optimizer = adam(masters, 1e-3)
            checkpoint.load(saved, model, optimizer)
            loaded = layer(torch.bfloat16)
            checkpoint.load_weights(saved, loaded)
            assert torch.equal(loaded.weight, model.weight)
        train(model, masters, optimizer, 5)
        ends.append((model.weight.detach(), masters.tensors[0].detach()))
    assert torch.equal(ends[0][0], ends[1][0]) and torch.equal(ends[0][1], ends[1][1])
    assert not torch.equal(ends[0][1], ends[0][0].float())
