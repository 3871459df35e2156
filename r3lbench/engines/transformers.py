"""In-process sampling from a Hugging Face model that shares its weights with the trainer.

The k-th turn of a conversation costs its new tokens: contexts are kept with their keys and values, a retry continues
from the prefix it shares with its base, and prompts that several requests of a batch have in common run once. What is
sampled for a request depends on its seed and context; which requests ran beside it changes logits by rounding only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from r3lbench.engines.batch import Batch, positions
from r3lbench.engines.engine import BATCH_GIB, GIB, KEPT_GIB, Completion, Engine, Request
from r3lbench.engines.kv import ContextStore
from r3lbench.engines.reading import Reader
from r3lbench.phases import phase

MAX_ROWS = 128
_STRIDE = 128
"""A running batch has a multiple of so many positions, lest every longer request moves it to another place."""


class TransformersEngine(Engine):
    """Batched, cached sampling.

    Args:
        model: A decoder-only causal language model.
        context_limit: Most tokens of context and reply together.
        max_rows: Requests that run as one batch.
        prefill_tokens: Most tokens (padding included) of one prefill pass.
        cache_bytes: Memory for kept contexts.
        batch_bytes: Memory for keys and values of a batch, which has fewer rows where they are long, but at least one.
    """

    def __init__(
        self,
        model: Any,
        *,
        context_limit: int,
        max_rows: int = MAX_ROWS,
        prefill_tokens: int = 8192,
        cache_bytes: int = int(KEPT_GIB * GIB),
        batch_bytes: int = int(BATCH_GIB * GIB),
    ) -> None:
        super().__init__()
        self.reader = Reader(model, context_limit=context_limit, prefill_tokens=prefill_tokens, work=self.work)
        self.context_limit = context_limit
        self.max_rows = max_rows
        self.store = ContextStore(cache_bytes)
        self._most_positions = batch_bytes // self.reader.bytes_per_position
        self._running: Batch | None = None

    def weights_changed(self) -> None:
        """Kept keys and values belong to the old weights."""
        self.store.clear()
        self.abandon()

    @torch.no_grad()
    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer in batches of similar context length."""
        answers: dict[int, Completion] = {}
        with self._evaluating():
            for places in self._batches(requests):
                length = max(positions(requests[place]) for place in places)
                batch = Batch(self.reader, self.store, len(places), length)
                rows = batch.join([requests[place] for place in places])
                with phase("decode"):
                    while batch.rows:
                        batch.step()
                answers |= {place: row.completion for place, row in zip(places, rows, strict=True)}
        return [answers[place] for place in range(len(requests))]

    @torch.no_grad()
    def admit(self, requests: Sequence[Request]) -> int:
        """Read the contexts of the first of some requests, as many as there is room for in the running batch."""
        rows = [] if self._running is None else self._running.rows
        longest = max((positions(row.request) for row in rows), default=0)
        taken = 0
        for request in requests:
            longer = max(longest, positions(request))
            if (rows or taken) and not self._fit(len(rows) + taken + 1, longer):
                break
            longest, taken = longer, taken + 1
        if taken:
            with self._evaluating():
                self._room_for(len(rows) + taken, longest).join(requests[:taken])
        return taken

    @torch.no_grad()
    def advance(self) -> list[tuple[Request, Completion]]:
        """Give every row of the running batch a token."""
        if self._running is None:
            return []
        with self._evaluating(), phase("decode"):
            complete = self._running.step()
        if not self._running.rows:
            self._running = None
        return [(row.request, row.completion) for row in complete]

    def abandon(self) -> None:
        """Give up the running batch."""
        self._running = None

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Places of requests that run together, the shortest contexts first."""
        batch: list[int] = []
        longest = 0
        for place in sorted(range(len(requests)), key=lambda place: (len(requests[place].token_ids), place)):
            longest = max(longest, positions(requests[place]))
            if batch and not self._fit(len(batch) + 1, longest):
                yield batch
                batch, longest = [], positions(requests[place])
            batch.append(place)
        if batch:
            yield batch

    def _fit(self, rows: int, length: int) -> bool:
        return rows <= self.max_rows and rows * length <= self._most_positions

    def _room_for(self, rows: int, length: int) -> Batch:
        """The running batch, with room for so many rows of this length."""
        if self._running is None:
            self._running = Batch(self.reader, self.store, rows, length)
        cache, most = self._running.cache, self._most_positions
        if rows > cache.count or length > cache.length:
            length = max(length, min(-(-length // _STRIDE) * _STRIDE, most // rows))
            cache.resize(max(rows, min(2 * cache.count, self.max_rows, most // length)), length)
        return self._running

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The model as it plays, for the duration of a block."""
        model = self.reader.decoder.model
        training = model.training
        model.train(False)
        try:
            yield
        finally:
            model.train(training)
