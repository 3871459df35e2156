"""A policy in parts: every process holds a share of weights, gradients and moments (FSDP2; ZeRO, arXiv 1910.02054).

Layers are gathered one after the other as a pass reaches them, and what stands outside of them for a whole pass. A pass
goes through body and head of the model by themselves, so it is carried out as a method of the model that PyTorch knows.
All processes make the same passes, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from r3lbench.training.ranks import Ranks

T = TypeVar("T")
_PASS = "r3lbench_pass"


def spread(model: Any, ranks: Ranks, dtype: torch.dtype) -> None:
    """Leave to this process its share of a model's weights.

    Args:
        model: The same in every process; it is changed in place.
        ranks: The processes.
        dtype: What to compute in; gradients are summed in float32.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.count,))
    precision = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    for module in (*layers, model):
        fully_shard(module, mesh=mesh, mp_policy=precision)
        # The loss is normalised over the terms of all processes, so gradients are summed and not averaged.
        module.set_gradient_divide_factor(1.0)
        # Gloo knows no other.
        module.set_force_sum_reduction_for_comms(True)
    setattr(model, _PASS, MethodType(lambda _, work: work(), model))
    register_fsdp_forward_method(model, _PASS)


def through(model: Any, work: Callable[[], T]) -> T:
    """Carry out a pass through a model, which may be spread."""
    done: T = getattr(model, _PASS)(work) if hasattr(model, _PASS) else work()
    return done


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, gathered if it is spread; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def is_spread(tensor: Tensor) -> bool:
    """Whether this process holds some rows of a tensor only."""
    return isinstance(tensor, DTensor)


def own(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor: some of its rows if it is spread, else all; shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def own_rows(tensor: Tensor) -> slice:
    """Which rows of a spread tensor those are: equally many for each process, for the last ones fewer or none."""
    assert isinstance(tensor, DTensor)
    each = -(-tensor.shape[0] // tensor.device_mesh.size())
    begin = min(tensor.shape[0], each * tensor.device_mesh.get_local_rank())
    return slice(begin, begin + tensor.to_local().shape[0])


@torch.no_grad()
def gather_into(model: Any, spread_model: Any) -> None:
    """Copy the weights of a spread model into a whole one, a tensor at a time."""
    for parameter, part in zip(model.parameters(), spread_model.parameters(), strict=True):
        parameter.copy_(whole(part))
