"""From terms to micro-batches.

Every term becomes one row per distinct context it is trained in; its trained tokens carry a coefficient that already
holds weight and aggregation over the *whole* batch, so that the sum of all token losses is the loss, however the rows
are cut into micro-batches. A micro-batch is a tree, in which what its rows have in common from the start on stands
once, or the rows themselves, padded.
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
from r3lbench.training.prefixes import Context, Growth, PrefixTree, tree_size

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
    tokens: Context
    targets: np.ndarray[tuple[int], np.dtype[np.int64]]
    behaviour: np.ndarray[tuple[int], np.dtype[np.float64]]
    moved: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @property
    def read(self) -> Context:
        """What a model must read to predict its trained tokens: all but the last of them."""
        return self.tokens[:-1]


@dataclass(frozen=True)
class MicroBatch:
    """Rows, and N trained tokens in them.

    Attributes:
        input_ids: [B, T] padded rows; padding stands behind a row, where no earlier token attends to it. Or [1, T] the
            tokens of ``tree``.
        tree: What the rows read, merged; None where they are padded.
        rows: [P] row of each position that predicts trained tokens: those behind it in some context.
        columns: [P] its column.
        source: [N] which of the P positions predicts each trained token.
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
    tree: PrefixTree | None
    rows: Tensor
    columns: Tensor
    source: Tensor
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


def pack(
    terms: Sequence[Term], loss: PolicyLoss, *, budget: int, device: torch.device, share_prefixes: bool = True
) -> Iterator[MicroBatch]:
    """Cut terms into micro-batches of at most ``budget`` tokens, padding included (a longer term stands alone).

    A term's rows stay together, because a sequence ratio needs all of its tokens. Rows that begin alike (or, padded,
    of similar length) share a micro-batch; the order depends on nothing but the terms.
    """
    share = shares(terms, loss.aggregate)
    for rows in _cut(_rows_of_terms(terms, loss), budget, share_prefixes):
        yield _collate(rows, terms, share, device, share_prefixes)


def counts(
    terms: Sequence[Term],
    loss: PolicyLoss,
    *,
    budget: int,
    share_prefixes: bool,
    minibatches: int = 1,
    epochs: int = 1,
) -> dict[str, float]:
    """What an update passes through the model, without the model.

    Returns:
        ``steps``, ``trained_tokens``, ``model_tokens`` and ``model_tokens_unshared`` as ``Learner.step`` reports them.
    """
    parts = [_rows_of_terms(terms[part::minibatches], loss) for part in range(minibatches)]

    def passed(shared: bool) -> int:
        return sum(_size(rows, shared) for part in parts for rows in _cut(part, budget, shared))

    return {
        "steps": float(epochs * sum(bool(part) for part in parts)),
        "trained_tokens": float(epochs * sum(len(row.targets) for part in parts for rows in part for row in rows)),
        "model_tokens": float(epochs * passed(share_prefixes)),
        "model_tokens_unshared": float(epochs * passed(False)),
    }


def _rows_of_terms(terms: Sequence[Term], loss: PolicyLoss) -> list[list[Row]]:
    """The rows of every term that can move a weight."""
    return [_rows(index, term) for index, term in enumerate(terms) if not is_inert(term, loss)]


def _cut(terms: Sequence[list[Row]], budget: int, share_prefixes: bool) -> Iterator[list[Row]]:
    return _cut_trees(terms, budget) if share_prefixes else _cut_padded(terms, budget)


def _size(rows: Sequence[Row], share_prefixes: bool) -> int:
    """Positions that pass through the model."""
    return tree_size([row.read for row in rows]) if share_prefixes else len(rows) * _width(rows)


def _width(rows: Sequence[Row]) -> int:
    return max(len(row.tokens) for row in rows)


def _cut_trees(terms: Sequence[list[Row]], budget: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    growth, size = Growth(), 0
    # In this order neighbours share the longest prefixes.
    for rows in sorted(terms, key=lambda rows: (min(row.read for row in rows), rows[0].term)):
        added = sum(growth.add(row.read) for row in rows)
        if batch and size + added > budget:
            yield batch
            batch, growth, size = [], Growth(), 0
            added = sum(growth.add(row.read) for row in rows)
        batch, size = [*batch, *rows], size + added
    if batch:
        yield batch


def _cut_padded(terms: Sequence[list[Row]], budget: int) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for rows in sorted(terms, key=lambda rows: (_width(rows), rows[0].term)):
        if batch and _size([*batch, *rows], False) > budget:
            yield batch
            batch = []
        batch = [*batch, *rows]
    if batch:
        yield batch


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
        rows.append(Row(index, tuple(forest.token_ids(leaf)), where, np.array(behaviour), np.array(moved)))
    return rows


def _collate(
    rows: list[Row], terms: Sequence[Term], share: list[float], device: torch.device, share_prefixes: bool
) -> MicroBatch:
    lengths = [len(row.targets) for row in rows]
    tree = PrefixTree.of([row.read for row in rows]) if share_prefixes else None
    if tree is None:
        input_ids = np.zeros((len(rows), _width(rows)), dtype=np.int64)
        for place, row in enumerate(rows):
            input_ids[place, : len(row.tokens)] = row.tokens
        paths = list(np.arange(input_ids.size).reshape(input_ids.shape))
    else:
        input_ids, paths = tree.tokens[None], list(tree.paths)
    before = np.concatenate([path[row.targets - 1] for row, path in zip(rows, paths, strict=True)])
    predictors, source = np.unique(before, return_inverse=True)
    index = np.repeat([row.term for row in rows], lengths)
    kind = np.array([KINDS.index(terms[row.term].kind) for row in rows])
    old = np.array([OLD.index(terms[row.term].old) for row in rows])

    def tensor(values: np.ndarray[Any, Any], dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    return MicroBatch(
        input_ids=tensor(input_ids, torch.long),
        tree=tree,
        rows=tensor(predictors // input_ids.shape[1], torch.long),
        columns=tensor(predictors % input_ids.shape[1], torch.long),
        source=tensor(source, torch.long),
        targets=tensor(np.array([row.tokens[place] for row in rows for place in row.targets]), torch.long),
        term=tensor(index, torch.long),
        advantage=tensor(np.array([term.weight for term in terms])[index], torch.float32),
        share=tensor(np.array(share)[index], torch.float32),
        kind=tensor(np.repeat(kind, lengths), torch.long),
        old=tensor(np.repeat(old, lengths), torch.long),
        behaviour=tensor(np.concatenate([row.behaviour for row in rows]), torch.float32),
        moved=tensor(np.concatenate([row.moved for row in rows]), torch.bool),
    )
