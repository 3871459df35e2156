"""Several processes, one run: each explores its own tasks and holds the whole policy; gradients are summed.

accelerate starts the processes' common group (gloo on CPUs, NCCL on GPUs) and carries tensors between them. What is
told of groups, scores and costs travels as JSON. Groups are never split, so nothing is exchanged while a policy plays.
By itself a process is the only rank, and all of this does nothing.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from r3lbench.errors import MissingExtra

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: This process, from 0; the first one leads: it alone writes and prints.
        count: How many there are.
        device: Where tensors are that travel.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @classmethod
    def join(cls, device: str) -> Ranks:
        """The processes that a launcher (torchrun, accelerate launch) started together; one where none did.

        Args:
            device: As of ``choose_device``; of several GPUs each process takes its own.

        Raises:
            MissingExtra: accelerate is not installed.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(device=device)
        state = _accelerate().PartialState(cpu=torch.device(device).type == "cpu")
        return cls(state.process_index, state.num_processes, str(state.device))

    @property
    def leads(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def own(self, items: Sequence[T]) -> list[T]:
        """This process's share of some items; ``merge`` puts all shares together."""
        return list(items[self.rank :: self.count])

    def merge(self, shares: Sequence[Sequence[T]]) -> list[T]:
        """All items, in their order, from the shares of all ranks."""
        merged: list[T] = []
        for place in range(max(map(len, shares), default=0)):
            merged += [share[place] for share in shares if place < len(share)]
        return merged

    def gather(self, value: Any) -> list[Any]:
        """JSON values of all ranks, in their order; every rank is given them."""
        if self.count == 1:
            return [value]
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        gather = _accelerate().utils.gather
        sizes = gather(torch.tensor([data.numel()], device=self.device)).tolist()
        padded = torch.zeros(1, max(sizes), dtype=torch.uint8, device=self.device)
        padded[0, : data.numel()] = data
        return [json.loads(bytes(row[:size].tolist())) for row, size in zip(gather(padded).cpu(), sizes, strict=True)]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every rank the sum of all ranks' gradients; the same bits on each."""
        if self.count == 1:
            return
        reduce = _accelerate().utils.reduce
        for parameter in parameters:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = reduce(gradient, reduction="sum")

    def leave(self) -> None:
        """End the common group, once every process has come so far."""
        if self.count > 1:
            state = _accelerate().PartialState()
            state.wait_for_everyone()
            state.destroy_process_group()


def _accelerate() -> Any:
    try:
        return importlib.import_module("accelerate")
    except ImportError as error:
        raise MissingExtra("several processes need accelerate: pip install 'r3lbench[accelerate]'") from error
