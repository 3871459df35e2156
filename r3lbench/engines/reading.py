"""Forward passes over what is new of each context, beside the keys and values of what was read before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from r3lbench.engines.engine import Work
from r3lbench.engines.kv import BatchCache, Kept
from r3lbench.errors import R3LBenchError
from r3lbench.policies.decoder import Decoder

Found = tuple[Kept, int] | None
"""What a context begins with: a kept one, and how many of its tokens; None for nothing."""


class Reader:
    """A model that reads turn by turn.

    Args:
        model: A decoder-only causal language model.
        context_limit: Most tokens of context and reply together.
        prefill_tokens: Most tokens (padding included) of one prefill pass.
        work: Where forward passes are counted.

    Raises:
        R3LBenchError: The model cannot be run so, or gives other logits than in one pass.
    """

    def __init__(self, model: Any, *, context_limit: int, prefill_tokens: int, work: Work) -> None:
        self.decoder = Decoder(model)
        self.context_limit = context_limit
        self.prefill_tokens = prefill_tokens
        self.work = Work()
        self._window, self._layered = _attention_window(model, context_limit)
        self.bytes_per_position = self._check()
        """Memory that a token's keys and values take."""
        self.work = work

    def read(
        self, cache: BatchCache, first: int, contexts: Sequence[tuple[int, ...]], found: Sequence[Found]
    ) -> Tensor:
        """Run what is new of every context and return the logits after its last token, [contexts, vocabulary].

        Args:
            cache: Of the batch.
            first: Row of the first context; the others follow.
            contexts: Whole contexts; those with fewer new tokens first, so that little padding is needed.
            found: What each of them begins with.
        """
        starts = [0 if prefix is None else prefix[1] for prefix in found]
        new = [tokens[start:] for tokens, start in zip(contexts, starts, strict=True)]
        # One position more than can be used: padding of a prefill pass is written there.
        device, scratch = self.decoder.device, cache.length - 1
        logits = []
        begin = 0
        while begin < len(new):
            end = begin + 1
            while end < len(new) and (end + 1 - begin) * len(new[end]) <= self.prefill_tokens:
                end += 1
            width = len(new[end - 1])
            input_ids = torch.zeros(end - begin, width, dtype=torch.long)
            positions = torch.full((end - begin, width), scratch, dtype=torch.long)
            for row, index in enumerate(range(begin, end)):
                count = len(new[index])
                input_ids[row, :count] = torch.tensor(new[index])
                positions[row, :count] = torch.arange(starts[index], starts[index] + count)
            visible = max(len(contexts[index]) for index in range(begin, end))
            last = torch.tensor([len(new[index]) - 1 for index in range(begin, end)], device=device)
            cache.rows, cache.prefixes = slice(first + begin, first + end), found[begin:end]
            logits.append(self._forward(cache, input_ids.to(device), positions.to(device), visible, last))
            self.work.prefilled += sum(len(new[index]) for index in range(begin, end))
            begin = end
        return torch.cat(logits)

    def go_on(self, cache: BatchCache, tokens: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """Run one more token of each row and return the logits after it, [rows, vocabulary].

        Args:
            cache: Of the batch.
            tokens: Each row's last one.
            lengths: Tokens of each row, this one included.
        """
        device = self.decoder.device
        cache.rows, cache.prefixes = slice(0, len(tokens)), ()
        ends = torch.tensor(lengths, device=device)
        input_ids = torch.tensor(tokens, device=device)[:, None]
        return self._forward(cache, input_ids, ends[:, None] - 1, max(lengths), torch.zeros_like(ends))

    def _forward(self, cache: BatchCache, input_ids: Tensor, positions: Tensor, visible: int, last: Tensor) -> Tensor:
        cache.positions, cache.visible = positions, visible
        self.work.forwards += 1
        return self.decoder.logits(
            input_ids,
            torch.arange(len(input_ids), device=positions.device),
            last,
            attention_mask=self._mask(positions, visible),
            # Padding stands at the scratch position; a model with a table of positions must still find one there.
            position_ids=positions.clamp(max=self.context_limit - 1),
            past_key_values=cache,
            use_cache=True,
        )

    def _mask(self, positions: Tensor, visible: int) -> Tensor | dict[str, Tensor]:
        """What each input token attends to, as added to attention scores: [rows, 1, T, visible]."""
        keys, queries = torch.arange(visible, device=positions.device), positions[:, None, :, None]
        hidden = keys > queries
        if self._window is None:
            return self._additive(hidden)
        windowed = self._additive(hidden | (keys <= queries - self._window))
        if not self._layered:
            return windowed
        return {"full_attention": self._additive(hidden), "sliding_attention": windowed}

    def _additive(self, hidden: Tensor) -> Tensor:
        mask = torch.zeros(hidden.shape, dtype=self.decoder.dtype, device=hidden.device)
        return mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)

    def _check(self) -> int:
        """Compare with the model's own forward pass, so that an unsuitable architecture is refused at once.

        Returns:
            Bytes of a token's keys and values.
        """
        name = type(self.decoder.model).__name__
        length = max(6, (self._window or 0) + 3)
        cache = BatchCache(1, length + 2)
        try:
            gap = self._gap(cache, length)
        except Exception as error:
            # A model that keeps its past in another way may fail anywhere inside itself.
            raise R3LBenchError(f"{name} cannot be run turn by turn on kept keys and values: {error!r}") from error
        if not gap <= (1e-3 if self.decoder.dtype in (torch.float32, torch.float64) else 0.2):
            raise R3LBenchError(f"{name} does not give the same logits turn by turn (they differ by {gap:.2g})")
        return cache.bytes_per_position

    @torch.no_grad()
    def _gap(self, cache: BatchCache, length: int) -> float:
        """Largest difference between logits in two turns and in one pass of the model itself."""
        size, device = int(self.decoder.model.config.vocab_size), self.decoder.device
        tokens = tuple((7 * i + 3) % size for i in range(length))
        first = self.read(cache, 0, [tokens[:-2]], [None])
        turns = torch.cat([first, self.read(cache, 0, [tokens], [(cache.keep(0, tokens[:-2]), length - 2)])])
        columns = torch.tensor([length - 3, length - 1], device=device)
        whole = self.decoder.logits(
            torch.tensor([tokens], device=device), torch.zeros_like(columns), columns, use_cache=False
        )
        return float((turns - whole).abs().max())


def _attention_window(model: Any, context_limit: int) -> tuple[int | None, bool]:
    """How far back the model's layers look (None: at everything), and whether only those called sliding do.

    Raises:
        R3LBenchError: Some layers look at the past in a way that is not modelled here.
    """
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or ())
    odd = sorted(layers - {"full_attention", "sliding_attention"})
    odd += [key for key in ("attention_chunk_size", "attention_window", "window_size") if getattr(config, key, None)]
    if odd:
        raise R3LBenchError(f"{type(model).__name__} reads its context in a way this engine does not: {', '.join(odd)}")
    window = getattr(config, "sliding_window", None)
    if window is None or window >= context_limit or (layers and "sliding_attention" not in layers):
        return None, False
    return int(window), bool(layers)
