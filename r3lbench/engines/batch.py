"""Requests that are answered side by side, a token each at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from r3lbench.engines.drawing import draw
from r3lbench.engines.engine import Completion, Request, Stop
from r3lbench.engines.kv import BatchCache, ContextStore
from r3lbench.engines.reading import Found, Reader
from r3lbench.phases import phase


@dataclass(eq=False)
class Row:
    """A request while it is answered.

    Attributes:
        request: What is asked.
        found: What its context began with.
        reused: Tokens of its context whose keys and values were at hand.
        recomputed: Of the others, those whose keys and values had been dropped.
        tokens: The reply so far.
        logprobs: Of its tokens.
        ended: Whether the last of them is a stop token.
    """

    request: Request
    found: Found
    reused: int
    recomputed: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False

    def __post_init__(self) -> None:
        """Begin the request's own random stream."""
        self.rng = np.random.default_rng(self.request.seed)

    @property
    def over(self) -> bool:
        """Whether the reply is complete."""
        return self.ended or len(self.tokens) >= self.request.sampling.max_tokens

    @property
    def length(self) -> int:
        """Tokens of context and reply so far."""
        return len(self.request.token_ids) + len(self.tokens)

    @property
    def completion(self) -> Completion:
        """The reply."""
        stop = Stop.END if self.ended else Stop.LENGTH
        return Completion(tuple(self.tokens), tuple(self.logprobs), stop, self.reused, self.recomputed)


class Batch:
    """Rows that each get a token at every step; others may join in between.

    Args:
        reader: Who reads.
        store: Where contexts are kept when their replies are complete.
        count: Rows there is room for.
        length: Positions there are for each; see ``positions``.
    """

    def __init__(self, reader: Reader, store: ContextStore, count: int, length: int) -> None:
        self.rows: list[Row] = []
        self.cache = BatchCache(count, length)
        self._reader = reader
        self._store = store
        self._logits: Tensor | None = None

    def join(self, requests: Sequence[Request]) -> list[Row]:
        """Read the contexts of more requests, what they have in common once; returns their rows."""
        store, work, first = self._store, self._reader.work, len(self.rows)
        contexts = list(dict.fromkeys(request.token_ids for request in requests))
        found = {tokens: store.find(tokens, len(tokens) - 1) for tokens in contexts}
        starts = {tokens: match[1] if (match := found[tokens]) else 0 for tokens in contexts}
        # Few new tokens first: rows of one prefill pass then need little padding.
        contexts.sort(key=lambda tokens: len(tokens) - starts[tokens])
        with phase("prefill"):
            logits = self._reader.read(self.cache, first, contexts, [found[tokens] for tokens in contexts])
        places = {tokens: place for place, tokens in enumerate(contexts)}
        order = [places[request.token_ids] for request in requests]
        if order != list(range(len(contexts))):
            sources, targets = [first + place for place in order], range(first, first + len(order))
            self.cache.move(sources, targets, max(map(len, contexts)))
            logits = logits[torch.tensor(order, device=logits.device)]
        joined: list[Row] = []
        for request in requests:
            tokens = request.token_ids
            if tokens in starts:
                start = starts.pop(tokens)
                joined.append(Row(request, found[tokens], start, store.missing(tokens[:-1], start)))
            else:
                joined.append(Row(request, found[tokens], len(tokens), 0))
        work.reused += sum(row.reused for row in joined)
        work.recomputed += sum(row.recomputed for row in joined)
        self._logits = logits if self._logits is None else torch.cat([self._logits, logits])
        self.rows += joined
        return joined

    def step(self) -> list[Row]:
        """Give every row a token; returns those that are complete, which leave."""
        assert self._logits is not None
        samplings = [row.request.sampling for row in self.rows]
        chosen, logprobs = draw(self._logits, samplings, [row.rng.random() for row in self.rows])
        complete, going = [], []
        for place, (row, token, logprob) in enumerate(zip(self.rows, chosen.tolist(), logprobs.tolist(), strict=True)):
            row.tokens.append(token)
            row.logprobs.append(logprob)
            row.ended = token in row.request.sampling.stop_ids
            if row.over:
                self._keep(place, row)
                complete.append(row)
            else:
                going.append(place)
        self._reader.work.steps += 1
        self._reader.work.generated += len(self.rows)
        self._close_ranks(going)
        self._logits = None
        if self.rows:
            lengths = [row.length for row in self.rows]
            self._logits = self._reader.go_on(self.cache, [row.tokens[-1] for row in self.rows], lengths)
        return complete

    def _close_ranks(self, going: list[int]) -> None:
        """Let only these rows stand, first and in this order."""
        moved = [(source, target) for target, source in enumerate(going) if source != target]
        self.rows = [self.rows[place] for place in going]
        if moved:
            sources, targets = zip(*moved, strict=True)
            self.cache.move(sources, targets, max(row.length for row in self.rows))

    def _keep(self, place: int, row: Row) -> None:
        # The last token was sampled but not yet read, so its key is not there; the next turn reads it.
        kept = self.cache.keep(place, (*row.request.token_ids, *row.tokens[:-1]))
        grown = row.found is not None and row.found[1] == len(row.found[0].tokens)
        self._store.put(kept, replaces=row.found[0] if grown and row.found is not None else None)


def positions(request: Request) -> int:
    """Positions that a request needs: those of context and reply, and one for padding."""
    return len(request.token_ids) + request.sampling.max_tokens + 1
