"""In-process sampling from a Hugging Face model that shares its weights with the trainer.

The k-th turn of a conversation costs its new tokens: contexts are kept with their keys and values, a retry continues
from the prefix it shares with its base, and prompts that several requests of a wave have in common run once. What is
sampled for a request depends on its seed and context; which requests ran beside it changes logits by rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r3lbench.engines.engine import Completion, Engine, Request, Stop
from r3lbench.engines.kv import BatchCache, ContextStore, Kept
from r3lbench.errors import R3LBenchError
from r3lbench.phases import phase
from r3lbench.policies.decoder import Decoder

MAX_ROWS = 128
CACHE_BYTES = 2 << 30


@dataclass
class _Row:
    """A request while it is answered."""

    request: Request
    context: int  # index of its context among the batch's distinct ones
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


class TransformersEngine(Engine):
    """Batched, cached sampling.

    Args:
        model: A decoder-only causal language model.
        context_limit: Most tokens of context and reply together.
        max_rows: Requests that run as one batch.
        prefill_tokens: Most tokens (padding included) of one prefill pass.
        cache_bytes: Memory for kept contexts.
    """

    def __init__(
        self,
        model: Any,
        *,
        context_limit: int,
        max_rows: int = MAX_ROWS,
        prefill_tokens: int = 8192,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        super().__init__()
        self.decoder = Decoder(model)
        self.context_limit = context_limit
        self.max_rows = max_rows
        self.prefill_tokens = prefill_tokens
        self.store = ContextStore(cache_bytes)
        self._window, self._layered = _attention_window(model, context_limit)
        self._check_model()

    def weights_changed(self) -> None:
        """Kept keys and values belong to the old weights."""
        self.store.clear()

    @torch.no_grad()
    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer in batches of similar context length."""
        model = self.decoder.model
        training = model.training
        model.eval()
        order = sorted(range(len(requests)), key=lambda index: (len(requests[index].token_ids), index))
        answers: dict[int, Completion] = {}
        for start in range(0, len(order), self.max_rows):
            batch = order[start : start + self.max_rows]
            for index, completion in zip(batch, self._batch([requests[index] for index in batch]), strict=True):
                answers[index] = completion
        model.train(training)
        return [answers[index] for index in range(len(requests))]

    def _batch(self, requests: Sequence[Request]) -> list[Completion]:
        contexts = list(dict.fromkeys(request.token_ids for request in requests))
        # Few new tokens first: rows of one prefill pass then need little padding.
        found = {tokens: self.store.find(tokens, len(tokens) - 1) for tokens in contexts}
        starts = {tokens: match[1] if (match := found[tokens]) else 0 for tokens in contexts}
        contexts.sort(key=lambda tokens: len(tokens) - starts[tokens])
        where = {tokens: index for index, tokens in enumerate(contexts)}
        rows = [_Row(request, where[request.token_ids]) for request in requests]
        longest = max(len(row.request.token_ids) + row.request.sampling.max_tokens for row in rows)
        # One position more than can be used: padding of a prefill pass is written there.
        cache = BatchCache([found[tokens] for tokens in contexts], longest + 1)
        with phase("prefill"):
            logits = self._prefill(cache, contexts, [starts[tokens] for tokens in contexts])
        for row in rows:
            self.work.reused += starts[row.request.token_ids]
        self.work.reused += sum(len(row.request.token_ids) - starts[row.request.token_ids] for row in rows) - sum(
            len(tokens) - starts[tokens] for tokens in contexts
        )
        index = torch.tensor([row.context for row in rows], device=logits.device)
        if len(contexts) != len(rows) or rows != sorted(rows, key=lambda row: row.context):
            cache.select(index)
            logits = logits[index]
        with phase("decode"):
            self._decode(cache, rows, logits, found)
        return [
            Completion(tuple(row.tokens), tuple(row.logprobs), Stop.END if row.ended else Stop.LENGTH) for row in rows
        ]

    def _prefill(self, cache: BatchCache, contexts: list[tuple[int, ...]], starts: list[int]) -> Tensor:
        """Run what is new of every context and return the logits after its last token, [contexts, vocabulary]."""
        new = [tokens[start:] for tokens, start in zip(contexts, starts, strict=True)]
        device, scratch = self.decoder.device, cache._length - 1
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
            cache.rows = slice(begin, end)
            logits.append(self._forward(cache, input_ids.to(device), positions.to(device), visible, last))
            self.work.prefilled += sum(len(new[index]) for index in range(begin, end))
            begin = end
        return torch.cat(logits)

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

    def _decode(
        self,
        cache: BatchCache,
        rows: list[_Row],
        logits: Tensor,
        found: dict[tuple[int, ...], tuple[Kept, int] | None],
    ) -> None:
        """Sample until every row has ended; keep each row's context."""
        device = logits.device
        uniforms = np.stack(
            [
                np.random.default_rng(row.request.seed).random(max(r.request.sampling.max_tokens for r in rows))
                for row in rows
            ]
        )
        cache.rows = slice(0, len(rows))
        active = list(range(len(rows)))  # request of each row of the cache
        step = 0
        while True:
            drawn = _draw(logits, [rows[i].request for i in active], uniforms[active, step])
            chosen, logprobs = drawn[0].tolist(), drawn[1].tolist()
            step += 1
            going = []
            for place, i in enumerate(active):
                row, sampling = rows[i], rows[i].request.sampling
                row.tokens.append(chosen[place])
                row.logprobs.append(logprobs[place])
                row.ended = row.tokens[-1] in sampling.stop_ids
                if row.ended or step >= sampling.max_tokens:
                    self._keep(cache, place, row, found)
                else:
                    going.append(place)
            self.work.generated += len(active)
            if not going:
                return
            if len(going) < len(active):
                active = [active[place] for place in going]
                index = torch.tensor(going, device=device)
                cache.select(index)
            lengths = torch.tensor([len(rows[i].request.token_ids) + step for i in active], device=device)
            input_ids = torch.tensor([[rows[i].tokens[-1]] for i in active], device=device)
            logits = self._forward(
                cache, input_ids, lengths[:, None] - 1, int(lengths.max()), torch.zeros_like(lengths)
            )

    def _keep(
        self, cache: BatchCache, place: int, row: _Row, found: dict[tuple[int, ...], tuple[Kept, int] | None]
    ) -> None:
        # The last token was sampled but not yet read, so its key is not there; the next turn reads it.
        context = row.request.token_ids
        kept = cache.keep(place, (*context, *row.tokens[:-1]))
        match = found[context]
        grown = match is not None and match[1] == len(match[0].tokens)
        self.store.put(kept, replaces=match[0] if grown and match is not None else None)

    def _check_model(self) -> None:
        """Compare with the model's own forward pass, so that an unsuitable architecture is refused at once."""
        name = type(self.decoder.model).__name__
        try:
            gap = self._gap(max(6, (self._window or 0) + 3))
        except Exception as error:
            # A model that keeps its past in another way may fail anywhere inside itself.
            raise R3LBenchError(f"{name} cannot be run turn by turn on kept keys and values: {error!r}") from error
        if not gap <= (1e-3 if self.decoder.dtype in (torch.float32, torch.float64) else 0.2):
            raise R3LBenchError(f"{name} does not give the same logits turn by turn (they differ by {gap:.2g})")
        self.work = type(self.work)()

    @torch.no_grad()
    def _gap(self, length: int) -> float:
        """Largest difference between logits in two turns and in one pass of the model itself."""
        size, device = int(self.decoder.model.config.vocab_size), self.decoder.device
        tokens = tuple((7 * i + 3) % size for i in range(length))
        cache = BatchCache([None], length + 2)
        turns = torch.cat([self._prefill(cache, [tokens[:-2]], [0]), self._prefill(cache, [tokens], [length - 2])])
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


def _draw(logits: Tensor, requests: list[Request], uniforms: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
    """One token per row by inversion of its distribution, and its log-probability.

    Args:
        logits: [B, vocabulary].
        requests: B requests.
        uniforms: [B] numbers in [0, 1), each from its request's own stream.
    """
    logits = logits.double() if logits.dtype == torch.float64 else logits.float()
    heat = torch.tensor(
        [request.sampling.temperature for request in requests], device=logits.device, dtype=logits.dtype
    )
    scaled = logits / torch.where(heat > 0, heat, torch.ones_like(heat))[:, None]
    if any(request.sampling.top_k or request.sampling.top_p < 1 for request in requests):
        scaled = _truncate(scaled, requests)
    logprobs = torch.log_softmax(scaled, dim=-1)
    mass = logprobs.double().exp().cumsum(-1)
    targets = torch.from_numpy(uniforms).to(mass.device)[:, None] * mass[:, -1:]
    drawn = torch.searchsorted(mass, targets, right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
    chosen = torch.where(heat > 0, drawn, logits.argmax(-1))
    return chosen, logprobs.gather(1, chosen[:, None]).squeeze(1)


def _truncate(scaled: Tensor, requests: list[Request]) -> Tensor:
    """Set logits outside each row's top-k, and then outside the top-p of what is left, to minus infinity."""
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    top_k = torch.tensor([request.sampling.top_k or scaled.shape[1] for request in requests], device=scaled.device)
    top_p = torch.tensor([request.sampling.top_p for request in requests], device=scaled.device, dtype=scaled.dtype)
    rank = torch.arange(scaled.shape[1], device=scaled.device)
    dropped = rank >= top_k[:, None]
    probabilities = ordered.masked_fill(dropped, float("-inf")).softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    # A row that keeps everything loses nothing to rounding beside one that does not.
    beyond = (before >= top_p[:, None]) & (top_p < 1)[:, None] & (rank > 0)
    return scaled.masked_fill(torch.zeros_like(dropped).scatter(1, order, dropped | beyond), float("-inf"))
