"""Requests for models with random weights, and what their replies should be."""

from __future__ import annotations

from typing import Any

import numpy as np

from r3lbench.engines.engine import Completion, Request, Sampling
from r3lbench.engines.transformers import TransformersEngine
from tests.random_models import VOCABULARY, full_pass

END = 0


def engine_of(model: Any, **options: Any) -> TransformersEngine:
    return TransformersEngine(model, context_limit=512, **options)


def words(count: int, seed: int) -> tuple[int, ...]:
    """Some tokens, none of them the end."""
    return tuple(np.random.default_rng(seed).integers(1, VOCABULARY, count).tolist())


def ask(context: tuple[int, ...], seed: int = 0, **sampling: Any) -> Request:
    return Request(context, Sampling(**{"max_tokens": 5, **sampling}), seed, "act", f"{seed}")


def gap_to_full_pass(model: Any, request: Request, reply: Completion) -> float:
    """Largest difference between a reply's log-probabilities and those of a plain forward pass."""
    full = full_pass(model, (*request.token_ids, *reply.token_ids))
    begin = len(request.token_ids) - 1
    expected = [float(full[begin + i, token]) for i, token in enumerate(reply.token_ids)]
    return max(abs(mine - theirs) for mine, theirs in zip(reply.logprobs, expected, strict=True))
