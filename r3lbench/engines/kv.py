"""Keys and values: of a batch while it runs, and of contexts kept for the next turn.

A running batch holds one buffer per layer in which a token's key stands at its own position, so rows of different
lengths need no left padding, and junk behind a row's end is masked until it is overwritten. Between turns every context
is kept on its own, found again by the hashes of its 16-token blocks, and dropped least recently used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

_BLOCK = 16


@dataclass(frozen=True, eq=False)
class Kept:
    """A context with its keys and values.

    Attributes:
        tokens: The context.
        layers: Per layer (keys, values), each [heads, len(tokens), head size].
    """

    tokens: tuple[int, ...]
    layers: list[tuple[Tensor, Tensor]]

    @property
    def bytes(self) -> int:
        """Memory held."""
        return sum(tensor.numel() * tensor.element_size() for pair in self.layers for tensor in pair)


class BatchCache(Cache):  # type: ignore[misc]
    """Keys and values of a running batch, in the shape that Hugging Face decoders ask for.

    Before each forward pass set ``rows`` (which rows of the batch run), ``prefixes`` (what these begin with),
    ``positions`` ([rows, T] position of every input token) and ``visible`` (how many positions the attention mask
    covers).

    Args:
        count: Rows.
        length: Positions per row.
    """

    def __init__(self, count: int, length: int) -> None:
        super().__init__(layers=[])
        self.count = count
        self.length = length
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.rows = slice(0, count)
        self.prefixes: Sequence[tuple[Kept, int] | None] = ()
        self.positions = torch.empty(0)
        self.visible = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Store the input tokens' keys and values ([rows, heads, T, size]) and return all visible ones."""
        if layer_idx >= len(self.keys):
            self.keys.append(self._buffer(key_states))
            self.values.append(self._buffer(value_states))
        keys, values = self.keys[layer_idx][self.rows], self.values[layer_idx][self.rows]
        for place, prefix in enumerate(self.prefixes):
            if prefix is not None:
                kept, count = prefix
                for buffer, whole in zip((keys, values), kept.layers[layer_idx], strict=True):
                    buffer[place, :, :count] = whole[:, :count]
        row = torch.arange(keys.shape[0], device=keys.device)[:, None]
        keys[row, :, self.positions] = key_states.transpose(1, 2)
        values[row, :, self.positions] = value_states.transpose(1, 2)
        return keys[:, :, : self.visible], values[:, :, : self.visible]

    def move(self, sources: Sequence[int], targets: Sequence[int], end: int) -> None:
        """Copy rows to where others stood, all at once; of each the first ``end`` positions."""
        for tensor in (*self.keys, *self.values):
            seen = tensor[:, :, :end]
            seen.index_copy_(0, self._index(targets), seen.index_select(0, self._index(sources)))

    def resize(self, count: int, length: int) -> None:
        """Have so many rows and positions; of what was there, what fits in."""
        rows, end = min(count, self.count), min(length, self.length)
        self.count, self.length = count, length
        for buffers in (self.keys, self.values):
            for layer, before in enumerate(buffers):
                buffers[layer] = self._buffer(before)
                buffers[layer][:rows, :, :end] = before[:rows, :, :end]

    def keep(self, row: int, tokens: tuple[int, ...]) -> Kept:
        """Copy a row's first ``len(tokens)`` positions out of the batch."""
        end = len(tokens)
        layers = [
            (keys[row, :, :end].clone(), values[row, :, :end].clone())
            for keys, values in zip(self.keys, self.values, strict=True)
        ]
        return Kept(tokens, layers)

    @property
    def bytes_per_position(self) -> int:
        """Memory that a token takes, in all layers; 0 before the first forward pass."""
        return sum(tensor[0, :, 0].nbytes for tensor in (*self.keys, *self.values))

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are always given explicitly, so no length is ever derived from the cache."""
        return 0

    def _buffer(self, like: Tensor) -> Tensor:
        return like.new_zeros(self.count, like.shape[1], self.length, like.shape[3])

    def _index(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(rows, device=self.keys[0].device)


class ContextStore:
    """Kept contexts, found by their longest common prefix with a new one.

    Prefixes shorter than a block are not found; longer ones are found to the token.

    Args:
        max_bytes: Least recently used contexts are dropped beyond this.

    Attributes:
        bytes: Held at present, at most ``max_bytes``.
        evicted: Contexts dropped for want of room so far.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        self._kept: OrderedDict[tuple[int, ...], Kept] = OrderedDict()
        self._holders: dict[int, dict[tuple[int, ...], None]] = {}
        self._missed: set[int] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, tokens: tuple[int, ...], limit: int) -> tuple[Kept, int] | None:
        """The kept context that shares the longest prefix with ``tokens``, and its length, at most ``limit``."""
        holders: dict[tuple[int, ...], None] = {}
        for block in _block_hashes(tokens):
            if block not in self._holders:
                break
            holders = self._holders[block]
        # Attempts at one task share their prompt's blocks; which of them goes on shows within the next block.
        found: tuple[int, ...] = ()
        shared = 0
        for held in holders:
            common = _common(tokens, held)
            if common > shared:
                found, shared = held, common
        shared = min(shared, limit)
        if shared <= 0:
            return None
        self._kept.move_to_end(found)
        return self._kept[found], shared

    def missing(self, tokens: tuple[int, ...], found: int) -> int:
        """How many more than the ``found`` first tokens would have been found had nothing been dropped; to a block."""
        if not self._missed:
            return 0
        known = takewhile(lambda block: block in self._holders or block in self._missed, _block_hashes(tokens))
        return max(0, _BLOCK * sum(1 for _ in known) - found)

    def put(self, kept: Kept, replaces: Kept | None = None) -> None:
        """Keep a context; ``replaces`` is one that it continues and that is no longer needed for itself."""
        if kept.tokens in self._kept:
            self._drop(kept.tokens)
        if replaces is not None and replaces.tokens in self._kept:
            self._drop(replaces.tokens)
        self._kept[kept.tokens] = kept
        self.bytes += kept.bytes
        for block in _block_hashes(kept.tokens):
            self._holders.setdefault(block, {})[kept.tokens] = None
        while self.bytes > self.max_bytes:
            oldest = next(iter(self._kept))
            self.evicted += 1
            self._missed.update(_block_hashes(oldest))
            self._drop(oldest)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()
        self._holders.clear()
        self._missed.clear()
        self.bytes = 0

    def _drop(self, tokens: tuple[int, ...]) -> None:
        self.bytes -= self._kept.pop(tokens).bytes
        for block in _block_hashes(tokens):
            del self._holders[block][tokens]
            if not self._holders[block]:
                del self._holders[block]


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Length of the longest common prefix."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:
        return shorter
    return next(index for index in range(shorter) if one[index] != other[index])


def _block_hashes(tokens: tuple[int, ...]) -> list[int]:
    """Chained hashes of the full blocks; equal prefixes have equal hashes."""
    hashes, chain = [], 0
    for start in range(0, len(tokens) - _BLOCK + 1, _BLOCK):
        chain = hash((chain, tokens[start : start + _BLOCK]))
        hashes.append(chain)
    return hashes
