"""Tensors on disk, each in one safetensors file, or with its rows divided among several.

Several processes that hold parts of a model write files of their own, side by side. Whoever reads them needs none of
those processes, and takes the rows it wants from the files that have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from r3lbench.training.sharding import is_spread, own, own_rows


class Parts:
    """Reads them, one at a time.

    Args:
        files: In the order of the rows that they hold.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._holders: dict[str, list[Any]] = {}
        for file in files:
            opened = safe_open(file, "pt")
            for name in opened.keys():  # type: ignore[no-untyped-call]  # noqa: SIM118 - it is no mapping
                self._holders.setdefault(name, []).append(opened)

    @property
    def names(self) -> list[str]:
        """Of all tensors, sorted."""
        return sorted(self._holders)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of the whole tensor."""
        first, *others = (tuple(file.get_slice(name).get_shape()) for file in self._holders[name])
        return (sum(shape[0] for shape in (first, *others)), *first[1:]) if others else first

    def whole(self, name: str) -> Tensor:
        """All of a tensor."""
        first, *others = (file.get_tensor(name) for file in self._holders[name])
        return torch.cat([first, *others]) if others else first

    def copy_into(self, tensor: Tensor, name: str) -> None:
        """Give a tensor its values; of one that is spread, this process reads the rows that it holds."""
        if not is_spread(tensor):
            tensor.copy_(self.whole(name))
        elif (part := own(tensor)).numel():
            part.copy_(self._rows(name, own_rows(tensor)))

    def read_like(self, other: Tensor, name: str) -> Tensor:
        """A tensor that is spread as another one is; whole if it is of another shape."""
        if not is_spread(other) or self.shape(name) != tuple(other.shape):
            return self.whole(name)
        tensor = torch.empty_like(other)
        self.copy_into(tensor, name)
        return tensor

    def _rows(self, name: str, wanted: slice) -> Tensor:
        found, begin = [], 0
        for piece in (file.get_slice(name) for file in self._holders[name]):
            end = begin + piece.get_shape()[0]
            low, high = max(wanted.start, begin), min(wanted.stop, end)
            if low < high:
                found.append(piece[low - begin : high - begin])
            begin = end
        return torch.cat(found)
