"""Behaviour cloning over token sequences: the loop that makes the shipped tiny policies.

A sequence is token ids with a loss weight for each token: 1 where the policy should learn to write, a little (0.1) on
what it only reads, because predicting the page teaches the copying heads, and 0 on what it must not learn (a
demonstrated mistake). The loss of a batch is the weighted mean cross-entropy. The budget is a number of steps, so that
equal seeds give equal weights; CPU seconds are only reported.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from r3lbench.plugin import Plugin


@dataclass(frozen=True)
class WeightedSequence:
    """Token ids and, for each, the weight of the loss of predicting it (the first token's weight has no effect)."""

    token_ids: tuple[int, ...]
    loss_weights: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on."""
        if len(self.token_ids) != len(self.loss_weights) or len(self.token_ids) < 2:
            raise ValueError(
                "a sequence needs two tokens or more and as many weights; "
                f"got {len(self.token_ids)} and {len(self.loss_weights)}."
            )


class ImitationConfig(Plugin):
    """Budget and optimiser: AdamW whose learning rate rises linearly, then falls linearly to the end."""

    steps: int = Field(1000, ge=0)
    """Optimiser steps."""
    batch_tokens: int = Field(2500, ge=1)
    """Padded tokens of a batch; a longer sequence makes a batch of its own."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of AdamW's learning rate."""
    final_learning_rate: float = Field(0.05, ge=0)
    """Last learning rate, as a part of the peak."""
    warm_up_steps: int = Field(40, ge=0)
    """Steps of the linear rise."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay, on matrices only."""
    clip_norm: float = Field(1.0, gt=0)
    """Bound on the gradient's norm."""


@dataclass(frozen=True)
class ImitationReport:
    """What the loop did."""

    losses: tuple[float, ...]
    """Weighted mean cross-entropy of each step's batch, in nats."""
    tokens: int
    """Tokens passed through the model, padding included."""
    cpu_seconds: float
    """Processor time of this process."""


def batches(lengths: Sequence[int], *, batch_tokens: int, seed: int) -> Iterator[list[int]]:
    """Yield lists of sequence indices for ever, each epoch in a new order.

    Sequences of like length share a batch: an epoch is shuffled, sorted by length in chunks of a few batches, and cut
    so that a batch's padded size stays within ``batch_tokens``.
    """
    if not lengths:
        raise ValueError("there is no sequence to imitate.")
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    chunk = max(1, 16 * batch_tokens * len(lengths) // max(1, sum(lengths)))
    while True:
        rng.shuffle(order)
        epoch: list[list[int]] = []
        for start in range(0, len(order), chunk):
            batch: list[int] = []
            for index in sorted(order[start : start + chunk], key=lambda index: lengths[index]):
                if batch and (len(batch) + 1) * lengths[index] > batch_tokens:
                    epoch.append(batch)
                    batch = []
                batch.append(index)
            epoch.append(batch)
        rng.shuffle(epoch)
        yield from epoch


def pad(sequences: Sequence[WeightedSequence], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Stack sequences, padded on the right with weight 0: two tensors of shape ``[batch, longest]``."""
    longest = max(len(sequence.token_ids) for sequence in sequences)
    token_ids = torch.full((len(sequences), longest), pad_token_id)
    loss_weights = torch.zeros(len(sequences), longest)
    for row, sequence in enumerate(sequences):
        token_ids[row, : len(sequence.token_ids)] = torch.tensor(sequence.token_ids)
        loss_weights[row, : len(sequence.loss_weights)] = torch.tensor(sequence.loss_weights)
    return token_ids, loss_weights


def imitation_loss(model: PreTrainedModel, token_ids: Tensor, loss_weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy of a right-padded batch, in nats."""
    targets, weights = token_ids[:, 1:], loss_weights[:, 1:]
    # Causal attention never looks right, so right-padding needs no mask, and without one PyTorch takes its fast kernel.
    hidden = model.base_model(input_ids=token_ids[:, :-1], use_cache=False).last_hidden_state
    chosen = weights > 0  # the output layer, half of the cost of a tiny model, skips the rest
    logits = model.get_output_embeddings()(hidden[chosen])
    losses = functional.cross_entropy(logits.float(), targets[chosen], reduction="none")
    return (losses * weights[chosen]).sum() / weights.sum().clamp_min(1e-9)


def imitate(
    model: PreTrainedModel,
    sequences: Sequence[WeightedSequence],
    config: ImitationConfig | None = None,
    *,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> ImitationReport:
    """Train ``model`` in place on ``sequences``.

    Args:
        model: A causal language model whose configuration names a padding token.
        sequences: What to imitate.
        config: Budget and optimiser.
        seed: Of the order of the sequences.
        on_step: Called after each step with its number (from 1) and loss, for logs and evaluations.
    """
    config = config or ImitationConfig()
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.98),
    )
    order = batches([len(sequence.token_ids) for sequence in sequences], batch_tokens=config.batch_tokens, seed=seed)
    losses: list[float] = []
    tokens = 0
    started = time.process_time()
    model.train()
    for step in range(1, config.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        token_ids, loss_weights = pad([sequences[index] for index in next(order)], model.config.pad_token_id or 0)
        loss = imitation_loss(model, token_ids, loss_weights)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimiser.step()
        losses.append(loss.item())
        tokens += token_ids.numel()
        if on_step is not None:
            on_step(step, losses[-1])
    model.eval()
    return ImitationReport(losses=tuple(losses), tokens=tokens, cpu_seconds=time.process_time() - started)


def _schedule(step: int, config: ImitationConfig) -> float:
    """Return the learning rate of a step (from 1), as a part of its peak."""
    if step <= config.warm_up_steps:
        return step / config.warm_up_steps
    rest = (step - config.warm_up_steps) / max(1, config.steps - config.warm_up_steps)
    return 1.0 - (1.0 - config.final_learning_rate) * rest
