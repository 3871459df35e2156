"""From terms to padded batches.

Every term becomes one row per distinct context it is trained in; its trained tokens carry a coefficient that already
holds weight and aggregation over the *whole* batch, so that the sum of all token losses is the loss, however the rows
are cut into micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r3lbench.baseline import Aggregation, PolicyLoss
from r3lbench.tokens import Kind, OldLogprobs, Term, rows_of

KINDS = tuple(Kind)
OLD = tuple(OldLogprobs)


@dataclass(frozen=True)
class Row:
    """A context and the tokens that are trained in it.

    Attributes:
        term: Index of the term.
        tokens: The context, up to its last trained token.
        targets: [N] positions of trained tokens.
        behaviour: [N] log-probabilities as recorded at sampling.
        moved: [N] whether they were sampled in another context than this one.
    """

    term: int
    tokens: list[int]
    targets: np.ndarray[tuple[int], np.dtype[np.int64]]
    behaviour: np.ndarray[tuple[int], np.dtype[np.float64]]
    moved: np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class MicroBatch:
    """Rows padded to one length, and N trained tokens.

    Attributes:
        input_ids: [B, T]; padding stands behind a row, where no earlier token attends to it.
        rows: [N] row of each trained token.
        columns: [N] its position.
        targets: [N] its id.
        term: [N] index of its term.
        advantage: [N] the term's weight.
        share: [N] its share in the aggregate; over the global batch the shares are 1 / N, or as the aggregation says.
        kind: [N] index into ``KINDS``.
        old: [N] index into ``OLD``.
        behaviour: [N] log-probability at sampling, in nats.
        moved: [N] True where the token is trained in another context than it was sampled in.
    """

    input_ids: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    term: Tensor
    advantage: Tensor
    share: Tensor
    kind: Tensor
    old: Tensor
    behaviour: Tensor
    moved: Tensor

    @property
    def tokens(self) -> int:
        """Positions that pass through the model, padding included."""
        return int(self.input_ids.numel())


def shares(terms: Sequence[Term], aggregate: Aggregation) -> list[float]:
    """Per term, the share of each of its tokens in the loss; terms without tokens count nowhere."""
    counts = [term.tokens for term in terms]
    filled = sum(1 for count in counts if count)
    total = sum(counts)
    if aggregate == "token-mean":
        return [1.0 / total if count else 0.0 for count in counts]
    if aggregate == "seq-mean-token-mean":
        return [1.0 / (filled * count) if count else 0.0 for count in counts]
    return [1.0 / filled if count else 0.0 for count in counts]


def is_inert(term: Term, loss: PolicyLoss) -> bool:
    """Whether a term's gradient is zero whatever the model; it still counts in the aggregate."""
    return not term.tokens or (term.weight == 0 and not (term.kind is Kind.POLICY and (loss.kl or loss.entropy)))


def pack(terms: Sequence[Term], loss: PolicyLoss, *, budget: int, device: torch.device) -> Iterator[MicroBatch]:
    """Cut terms into micro-batches of at most ``budget`` tokens, padding included (a longer term stands alone).

    A term's rows stay together, because a sequence ratio needs all of its tokens. Rows of similar length share a
    micro-batch; the order depends on nothing but the terms.
    """
    share = shares(terms, loss.aggregate)
    packed = [(index, _rows(index, term)) for index, term in enumerate(terms) if not is_inert(term, loss)]
    packed.sort(key=lambda item: (max(len(row.tokens) for row in item[1]), item[0]))
    batch: list[Row] = []
    width = 0
    for _, rows in packed:
        wider = max(width, *(len(row.tokens) for row in rows))
        if batch and wider * (len(batch) + len(rows)) > budget:
            yield _collate(batch, terms, share, device)
            batch, wider = [], max(len(row.tokens) for row in rows)
        batch, width = [*batch, *rows], wider
    if batch:
        yield _collate(batch, terms, share, device)


def _rows(index: int, term: Term) -> list[Row]:
    forest = term.sample.forest
    origin = dict(zip(term.sample.turns, term.sample.sampled_in, strict=True))
    rows = []
    for leaf, nodes in rows_of(forest, term.turns):
        targets: list[int] = []
        behaviour: list[float] = []
        moved: list[bool] = []
        for node in nodes:
            end, count = forest.nodes[node].end, len(forest.nodes[node].segment.token_ids)
            targets.extend(range(end - count, end))
            behaviour.extend(forest.nodes[origin[node]].segment.logprobs)
            moved.extend([origin[node] != node] * count)
        where = np.array(targets, dtype=np.int64)
        rows.append(Row(index, forest.token_ids(leaf), where, np.array(behaviour), np.array(moved)))
    return rows


def _collate(rows: list[Row], terms: Sequence[Term], share: list[float], device: torch.device) -> MicroBatch:
    width = max(len(row.tokens) for row in rows)
    input_ids = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        input_ids[place, : len(row.tokens)] = row.tokens
    counts = [len(row.targets) for row in rows]
    columns = np.concatenate([row.targets for row in rows])
    which = np.repeat(np.arange(len(rows)), counts)
    index = np.repeat([row.term for row in rows], counts)
    kind = np.array([KINDS.index(terms[row.term].kind) for row in rows])
    old = np.array([OLD.index(terms[row.term].old) for row in rows])

    def tensor(values: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    return MicroBatch(
        input_ids=tensor(input_ids, torch.long),
        rows=tensor(which, torch.long),
        columns=tensor(columns, torch.long),
        targets=tensor(input_ids[which, columns], torch.long),
        term=tensor(index, torch.long),
        advantage=tensor(np.array([term.weight for term in terms])[index], torch.float32),
        share=tensor(np.array(share)[index], torch.float32),
        kind=tensor(np.repeat(kind, counts), torch.long),
        old=tensor(np.repeat(old, counts), torch.long),
        behaviour=tensor(np.concatenate([row.behaviour for row in rows]), torch.float32),
        moved=tensor(np.concatenate([row.moved for row in rows]), torch.bool),
    )
