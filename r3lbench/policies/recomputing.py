"""Gradient checkpointing (arXiv 1604.06174): keep a layer's input, and compute the layer again for its gradient.

transformers checkpoints layers of a model in training mode only, which would also switch dropout on. Training here is
without dropout, as acting is: so the layers alone are told that they train, and none of what they consist of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from r3lbench.errors import R3LBenchError


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """A forward pass in the block keeps the inputs of layers only.

    Raises:
        R3LBenchError: The model's layers cannot be computed again.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers or not model.supports_gradient_checkpointing:
        raise R3LBenchError(f"--memory.gradient-checkpointing: {type(model).__name__} does not support it")
    if not model.is_gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
