"""A tree of contexts in one pass of the model: every token once, whoever reads it.

A decoder treats tokens on their own everywhere but in attention, and Hugging Face decoders take their attention from a
table in which functions can be registered. So the model is given the N tokens of a ``PrefixTree`` as one row, with
their depths as positions, and the function registered here lets them attend along the tree: the tree is cut into
blocks, runs of tokens together with what stands above them, and blocks of similar size are one call of PyTorch's
scaled-dot-product attention. Without a tree it is transformers' own function for that.

A context of its own is a causal block, computed as in a batch of plain rows, but without padding around it. A branch is
a block of its own tokens, which read the keys and values of the branch that it leaves. Gradients reach those through
the same indices. Checkpointed layers compute it all again, as they do with anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    """Tokens ``start`` to ``end`` of a tree, and above them [P] tokens that all of these or some of them read."""

    start: int
    end: int
    above: Indices

    @property
    def queries(self) -> int:
        """Number of tokens."""
        return self.end - self.start

    @property
    def keys(self) -> int:
        """Number of tokens that they may read."""
        return len(self.above) + self.queries


def blocks_of(tree: PrefixTree) -> list[Block]:
    """Cut a tree into blocks, every token in one.

    A context that shares nothing with those before it is a block. Branches that leave them share one while that is
    little more work than one for each: many short replies to a long prompt then read one copy of it.
    """
    blocks: list[Block] = []
    start, work = 0, 0
    for branch in tree.branches:
        own, pairs = branch.own, branch.own * len(branch.path)
        last = blocks[-1] if blocks else None
        if last is not None and last.above.size and branch.fork:
            merged = Block(last.start, start + own, last.above)
            if merged.queries * merged.keys <= _SLACK * (work + pairs):
                blocks[-1], work, start = merged, work + pairs, start + own
                continue
        blocks.append(Block(start, start + own, branch.path[: branch.fork]))
        work, start = pairs, start + own
    return blocks


def batches_of(blocks: Sequence[Block]) -> list[list[Block]]:
    """Sort blocks into batches that lose little by padding; causal ones are by themselves."""
    batches: list[list[Block]] = []
    ordered = sorted(blocks, key=lambda block: (block.queries, block.keys, block.start))
    for kind in (
        [block for block in ordered if not block.above.size],
        [block for block in ordered if block.above.size],
    ):
        batch: list[Block] = []
        for block in kind:
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
        blocks: They.
        device: Where to keep indices and masks.

    Attributes:
        shape: (B, Q, K).
        queries: [B * Q] their indices in the tree; a block's last one is repeated.
        keys: [B * K] likewise.
    """

    def __init__(self, tree: PrefixTree, blocks: Sequence[Block], device: torch.device) -> None:
        rows, widest = len(blocks), max(block.queries for block in blocks)
        self.shape = rows, widest, max(block.keys for block in blocks)
        queries, keys = (np.empty((rows, width), dtype=np.int64) for width in self.shape[1:])
        # Padding is as deep as no token is: what reads only what is not deeper does not see it.
        depth = np.full(keys.shape, len(tree.tokens), dtype=np.int64)
        for row, block in enumerate(blocks):
            own = np.arange(block.start, block.end)
            queries[row] = np.pad(own, (0, widest - len(own)), mode="edge")
            keys[row] = np.pad(np.concatenate([block.above, own]), (0, self.shape[2] - block.keys), mode="edge")
            depth[row, : block.keys] = tree.depth[keys[row, : block.keys]]
        self.queries = torch.as_tensor(queries.ravel(), device=device)
        self.keys = torch.as_tensor(keys.ravel(), device=device)
        self._causal = not any(block.above.size for block in blocks)
        self._reader = torch.as_tensor(np.stack([queries, tree.depth[queries]]), device=device)[:, :, None, :, None]
        self._read = torch.as_tensor(np.stack([keys, tree.end[keys], depth]), device=device)[:, :, None, None, :]
        self._masks: dict[int | None, Tensor | None] = {}

    def mask(self, window: int | None) -> Tensor | None:
        """Which keys a query reads, [B, 1, Q, K]; None where it is all up to its own.

        Args:
            window: How many tokens a query reads, itself included; None for all.
        """
        if window not in self._masks:
            self._masks[window] = self._mask(window)
        return self._masks[window]

    def _mask(self, window: int | None) -> Tensor | None:
        narrow = window is not None and window < self.shape[2]
        if self._causal and not narrow:
            return None
        (query, query_depth), (key, key_end, key_depth) = self._reader, self._read
        mask: Tensor = (key <= query) & (query < key_end) & (key_depth <= query_depth)
        return mask & (query_depth - key_depth < window) if narrow else mask


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
            rows, width, _ = call.shape
            for row, block in enumerate(blocks):
                places[block.start : block.end] = answers + row * width + np.arange(block.queries)
            answers += rows * width
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
        answers.append(sdpa_attention_forward(module, *batch, call.mask(sliding_window), **options)[0].flatten(0, 1))
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
