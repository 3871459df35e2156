"""A tree of contexts in one pass of the model: every token once, whoever reads it.

A decoder treats tokens on their own everywhere but in attention, and Hugging Face decoders take their attention from a
table in which functions can be registered. So the model is given the N tokens of a ``PrefixTree`` as one row, with
their depths as positions, and the function registered here lets them attend along the tree: the tree is cut into
blocks, runs of tokens together with what stands above them, and blocks of similar size are one call of PyTorch's
scaled-dot-product attention. Without a tree it is transformers' own function for that.

A context that is mostly its own is a causal block, computed as in a batch of plain rows, but without padding around
it. A branch that leaves another late is a block of its own tokens, which read the keys and values of the one that it
leaves. Gradients reach those through the same indices. Checkpointed layers compute it all again, as anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from r3lbench.errors import R3LBenchError
from r3lbench.policies.decoder import Decoder
from r3lbench.training.prefixes import Context, Indices, PrefixTree

_NAME = "r3lbench_prefixes"
_SLACK = 1.25
"""Blocks are merged, and padded to one size, as long as that multiplies the work of their attention by no more."""
_CALL = 1 << 15
"""Pairs of query and key that may be wasted to save a call."""


@dataclass(frozen=True)
class Block:
    """Tokens that attend together.

    Attributes:
        start: Index of the first.
        end: Index behind the last.
        above: [P] tokens above them that all of these or some of them read.
        causal: All of them are one context, in which the tokens above attend once more and for nothing: that is less
            work than to pair all queries with all keys, half of which they may not read.
    """

    start: int
    end: int
    above: Indices
    causal: bool

    @property
    def own(self) -> int:
        """Number of tokens."""
        return self.end - self.start

    @property
    def keys(self) -> int:
        """Number of tokens that are read."""
        return len(self.above) + self.own

    @property
    def queries(self) -> int:
        """Number of tokens that read."""
        return self.keys if self.causal else self.own


def blocks_of(tree: PrefixTree) -> list[Block]:
    """Cut a tree into blocks, every token in one.

    A context that is mostly new is a block. Branches that leave others late share a block while that is little more
    work than one for each: many short replies to a long prompt then read one copy of it.
    """
    blocks: list[Block] = []
    start, pairs = 0, 0
    for branch in tree.branches:
        end, causal = start + branch.own, branch.fork < branch.own
        work = branch.own * len(branch.path)
        if not causal and blocks and not blocks[-1].causal:
            merged = replace(blocks[-1], end=end)
            if merged.own * merged.keys <= _SLACK * (pairs + work):
                blocks[-1], start, pairs = merged, end, pairs + work
                continue
        blocks.append(Block(start, end, branch.path[: branch.fork], causal))
        start, pairs = end, work
    return blocks


def batches_of(blocks: Sequence[Block]) -> list[list[Block]]:
    """Sort blocks into batches that lose little by padding; causal ones are by themselves."""
    batches: list[list[Block]] = []
    for causal in (True, False):
        batch: list[Block] = []
        kind = (block for block in blocks if block.causal == causal)
        for block in sorted(kind, key=lambda block: (block.queries, block.keys, block.start)):
            wider = [*batch, block]
            padded = len(wider) * max(one.queries for one in wider) * max(one.keys for one in wider)
            if padded > _SLACK * sum(one.queries * one.keys for one in wider) + _CALL:
                batches.append(batch)
                wider = [block]
            batch = wider
        batches += [batch] if batch else []
    return batches


class Call:
    """One call of attention: B blocks, padded to Q queries and K keys.

    Args:
        tree: Whose blocks.
        blocks: They; all causal, or none.
        device: Where to keep indices and masks.

    Attributes:
        shape: (B, Q, K).
        queries: [B * Q] their indices in the tree; the last one of a block is repeated.
        keys: [B * K] likewise.
        own: Of each block where its tokens stand among the queries.
    """

    def __init__(self, tree: PrefixTree, blocks: Sequence[Block], device: torch.device) -> None:
        self.shape = len(blocks), max(block.queries for block in blocks), max(block.keys for block in blocks)
        _, width, length = self.shape
        self.own = [
            row * width + np.arange(block.queries - block.own, block.queries) for row, block in enumerate(blocks)
        ]
        read = [np.concatenate([block.above, np.arange(block.start, block.end)]) for block in blocks]
        keys = _padded(read, length)
        queries = _padded([row[-block.queries :] for row, block in zip(read, blocks, strict=True)], width)
        self.queries, self.keys = (torch.as_tensor(index.ravel(), device=device) for index in (queries, keys))
        self._causal = blocks[0].causal
        # Padding stands behind all tokens, so that none reads it.
        behind = np.arange(length) >= np.array([block.keys for block in blocks])[:, None]
        self._key = torch.as_tensor(np.where(behind, len(tree.tokens), keys), device=device)[:, None]
        self._key_end, self._key_depth = (
            torch.as_tensor(of[keys], device=device)[:, None] for of in (tree.end, tree.depth)
        )
        self._query = torch.as_tensor(queries, device=device)[:, :, None]
        self._query_depth = torch.as_tensor(tree.depth[queries], device=device)[:, :, None]
        self._masks: dict[tuple[int | None, torch.dtype], Tensor | None] = {}

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """What is added to attention scores, [B, 1, Q, K]; None where a query reads all keys up to its own.

        Args:
            window: How many tokens a query reads, itself included; None for all.
            dtype: That of the scores.
        """
        if (window, dtype) not in self._masks:
            self._masks[window, dtype] = self._mask(window, dtype)
        return self._masks[window, dtype]

    def _mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        if window is not None and window >= self.shape[2]:
            window = None
        if self._causal and window is None:
            return None
        hidden = (self._key > self._query) | (self._query >= self._key_end)
        if window is not None:
            hidden |= self._query_depth - self._key_depth >= window
        mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
        return mask.masked_fill_(hidden, -torch.inf)[:, None]


def _padded(rows: Sequence[Indices], width: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.stack([row[np.minimum(np.arange(width), len(row) - 1)] for row in rows])


class TreeAttention:
    """How the tokens of a tree attend; holds the masks of a pass.

    Args:
        tree: The tokens.
        device: Where they run.

    Attributes:
        calls: Whose answers, one behind the other, hold the answer to every token.
        places: [N] where.
    """

    def __init__(self, tree: PrefixTree, device: torch.device) -> None:
        places = np.empty(len(tree.tokens), dtype=np.int64)
        self.calls: list[Call] = []
        answers = 0
        for blocks in batches_of(blocks_of(tree)):
            call = Call(tree, blocks, device)
            for block, own in zip(blocks, call.own, strict=True):
                places[block.start : block.end] = answers + own
            answers += len(call.queries)
            self.calls.append(call)
        self.places = torch.as_tensor(places, device=device)


def inputs_of(tree: PrefixTree, device: torch.device) -> dict[str, Any]:
    """What a model that ``share_prefixes`` has prepared is given beside a tree's tokens ([1, N])."""
    return {
        "position_ids": torch.as_tensor(tree.depth, device=device)[None],
        # A mask that is there already: the model makes none of its own.
        "attention_mask": torch.empty(1, 1, 0, 0, device=device),
        "prefixes": TreeAttention(tree, device),
    }


class _Take(torch.autograd.Function):
    """``states[index]``; the gradients of what is taken more than once are added up in float32 at least."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(states)
        return states.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        wide = torch.promote_types(gradient.dtype, torch.float32)
        total = gradient.new_zeros(ctx.rows, *gradient.shape[1:], dtype=wide)
        return total.index_add_(0, index, gradient.to(wide)).to(gradient.dtype), None


def _take(states: Tensor, index: Tensor) -> Tensor:
    taken: Tensor = _Take.apply(states, index)  # type: ignore[no-untyped-call]
    return taken


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    prefixes: TreeAttention | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: states are [batch, heads, tokens, size], the result [batch, tokens, ...]."""
    if prefixes is None:
        answer: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return answer
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    answers = []
    for call in prefixes.calls:
        rows, _, _ = call.shape
        batch = [
            _take(states, index).view(rows, -1, *states.shape[1:]).transpose(1, 2)
            for states, index in ((query, call.queries), (key, call.keys), (value, call.keys))
        ]
        answers.append(
            sdpa_attention_forward(module, *batch, call.mask(sliding_window, query.dtype), **options)[0].flatten(0, 1)
        )
    return _take(torch.cat(answers), prefixes.places)[None], None


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)


def share_prefixes(model: Any) -> None:
    """Have a model take trees; with anything else it goes on as before.

    Raises:
        R3LBenchError: It cannot; nothing has been changed.
    """
    name, config = type(model).__name__, model.config
    before = getattr(config, "_attn_implementation", None)
    if before not in ("sdpa", _NAME):
        raise R3LBenchError(f"{name} does not compute attention by PyTorch's sdpa, but by {before or 'its own means'}")
    text = config.get_text_config()
    odd = sorted(set(getattr(text, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
    odd += ["attention_chunk_size"] if getattr(text, "attention_chunk_size", None) else []
    if odd:
        raise R3LBenchError(f"{name} reads its context in a way that trees are not made for: {', '.join(odd)}")
    config._attn_implementation = _NAME
    try:
        gap = _gap(Decoder(model), getattr(text, "sliding_window", None) or 0)
    except Exception as error:
        config._attn_implementation = before
        # A model that is made in another way may fail anywhere inside itself.
        raise R3LBenchError(f"{name} does not take a tree of contexts: {error!r}") from error
    if not gap <= (1e-3 if Decoder(model).dtype in (torch.float32, torch.float64) else 0.2):
        config._attn_implementation = before
        raise R3LBenchError(f"{name} does not give the same logits for a tree of contexts (they differ by {gap:.2g})")


@torch.no_grad()
def _gap(decoder: Decoder, window: int) -> float:
    """Largest difference between logits of a small tree and of its contexts in a pass each."""
    size = int(decoder.model.config.get_text_config().vocab_size)
    trunk: Context = tuple((7 * place + 3) % size for place in range(window + 6))
    left, right = ((token + 1) % size for token in trunk[-2:])
    contexts = [trunk, (*trunk[:-2], left, left), (*trunk[:-2], left, right, left), trunk[3:7]]
    tree = PrefixTree.of(contexts)
    columns = torch.as_tensor(np.array([path[-1] for path in tree.paths]), device=decoder.device)
    tokens = torch.as_tensor(tree.tokens, device=decoder.device)[None]
    together = decoder.logits(
        tokens, torch.zeros_like(columns), columns, use_cache=False, **inputs_of(tree, decoder.device)
    )
    gap = 0.0
    for context, logits in zip(contexts, together, strict=True):
        alone = torch.tensor([context], device=decoder.device)
        last = torch.tensor([len(context) - 1], device=decoder.device)
        wanted = decoder.logits(alone, torch.zeros_like(last), last, use_cache=False)
        gap = max(gap, float((logits - wanted[0]).abs().max()))
    return gap
