"""Tokens drawn from logits: heat, then the k likeliest, then the nucleus of those; by each request's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from r3lbench.engines.engine import Sampling


def draw(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> tuple[Tensor, Tensor]:
    """One token per row by inversion of its distribution, and its log-probability.

    Args:
        logits: [B, vocabulary].
        samplings: How to draw, B of them.
        uniforms: B numbers in [0, 1), each from its request's own stream.
    """
    logits = logits.double() if logits.dtype == torch.float64 else logits.float()
    heat = torch.tensor([sampling.temperature for sampling in samplings], device=logits.device, dtype=logits.dtype)
    scaled = logits / torch.where(heat > 0, heat, torch.ones_like(heat))[:, None]
    if any(sampling.top_k or sampling.top_p < 1 for sampling in samplings):
        scaled = _truncate(scaled, samplings)
    logprobs = torch.log_softmax(scaled, dim=-1)
    mass = logprobs.double().exp().cumsum(-1)
    targets = torch.tensor(uniforms, device=mass.device, dtype=mass.dtype)[:, None] * mass[:, -1:]
    drawn = torch.searchsorted(mass, targets, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
    chosen = torch.where(heat > 0, drawn, logits.argmax(-1))
    return chosen, logprobs.gather(1, chosen[:, None]).squeeze(1)


def _truncate(scaled: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Set logits outside each row's top-k, and then outside the top-p of what is left, to minus infinity."""
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    top_k = torch.tensor([sampling.top_k or scaled.shape[1] for sampling in samplings], device=scaled.device)
    top_p = torch.tensor([sampling.top_p for sampling in samplings], device=scaled.device, dtype=scaled.dtype)
    rank = torch.arange(scaled.shape[1], device=scaled.device)
    dropped = rank >= top_k[:, None]
    probabilities = ordered.masked_fill(dropped, float("-inf")).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    # A row that keeps everything loses nothing to rounding beside one that does not.
    beyond = (before >= top_p[:, None]) & (top_p < 1)[:, None] & (rank > 0)
    return scaled.masked_fill(torch.zeros_like(dropped).scatter(1, order, dropped | beyond), float("-inf"))
