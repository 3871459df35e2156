"""Training weights that are held in reduced precision.

A step of AdamW is often smaller than what bfloat16 can tell apart: added to the weights themselves it would be lost in
rounding. So such weights have float32 copies that learn (mixed-precision training, arXiv 1710.03740): gradients are
summed up in float32, the optimiser steps on the copies, and the weights are the copies, rounded.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_REDUCED = (torch.bfloat16, torch.float16)


class MasterWeights:
    """What an optimiser works on.

    Args:
        parameters: The trainable ones.

    Attributes:
        tensors: In the same order, the parameters themselves, or their float32 copies.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        self.tensors: list[Tensor] = []
        self._pairs: list[tuple[Tensor, Tensor]] = []
        for parameter in parameters:
            if parameter.dtype not in _REDUCED:
                self.tensors.append(parameter)
                continue
            master = parameter.detach().float().requires_grad_()
            parameter.register_post_accumulate_grad_hook(_into(master))  # type: ignore[no-untyped-call]
            self.tensors.append(master)
            self._pairs.append((parameter, master))

    @torch.no_grad()
    def write_back(self) -> None:
        """Round the copies into the weights, after a step."""
        for parameter, master in self._pairs:
            parameter.copy_(master)


def _into(master: Tensor) -> object:
    def move(parameter: Tensor) -> None:
        """Add a gradient to the copy's as soon as there is one, so that it is never held twice."""
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return move
