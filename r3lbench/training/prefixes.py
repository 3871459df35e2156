"""Contexts that begin alike, as a tree in which every token stands once.

What a causal model computes at a token follows from the tokens up to it. So contexts are merged wherever their tokens
agree from the start on, whichever attempt, group or copy they belong to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Context = tuple[int, ...]
"""Token ids."""
Indices = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Branch:
    """A context to its end, and what it adds to the tree.

    Attributes:
        path: [length] indices of its tokens in the tree.
        fork: How many of them the branch before it has, too; what follows stands in the tree without a gap.
    """

    path: Indices
    fork: int

    @property
    def own(self) -> int:
        """Number of tokens that it adds."""
        return len(self.path) - self.fork


@dataclass(frozen=True)
class PrefixTree:
    """N tokens, depth first: what follows upon a token in some context stands behind it.

    Attributes:
        tokens: [N] token ids.
        depth: [N] position of each in its contexts, from 0 on.
        end: [N] index behind the last token that follows upon it; so a token at j reads one at i if i <= j < end[i].
        branches: The contexts that no other one continues, in the order of the tree.
        paths: Of every context that the tree was made of, in their order, the indices of its tokens.
    """

    tokens: Indices
    depth: Indices
    end: Indices
    branches: tuple[Branch, ...]
    paths: tuple[Indices, ...]

    @classmethod
    def of(cls, contexts: Sequence[Context]) -> PrefixTree:
        """Merge contexts; there may be equal ones, and ones that continue others."""
        ordered = sorted(set(contexts))
        leaves = [
            context for context, after in zip(ordered, [*ordered[1:], ()], strict=True) if not _begins(after, context)
        ]
        size = tree_size(leaves)
        tokens, depth, end = (np.zeros(size, dtype=np.int64) for _ in range(3))
        branches: list[Branch] = []
        before: Context = ()
        path, start = np.zeros(0, dtype=np.int64), 0
        for leaf in leaves:
            fork = common_prefix(before, leaf)
            own = len(leaf) - fork
            end[path[fork:]] = start
            path = np.concatenate([path[:fork], np.arange(start, start + own)])
            tokens[start : start + own] = leaf[fork:]
            depth[start : start + own] = np.arange(fork, len(leaf))
            branches.append(Branch(path, fork))
            before, start = leaf, start + own
        end[path] = size
        # The first leaf that is not before a context continues it.
        paths = [branches[bisect_left(leaves, context)].path[: len(context)] for context in contexts]
        return cls(tokens, depth, end, tuple(branches), tuple(paths))


class Growth:
    """How a tree grows as contexts are added to it, without the tree."""

    def __init__(self) -> None:
        self._contexts: list[Context] = []

    def add(self, context: Context) -> int:
        """Number of tokens that a context adds."""
        place = bisect_left(self._contexts, context)
        # Nobody shares more with it than those it stands between.
        near = self._contexts[max(0, place - 1) : place + 1]
        self._contexts.insert(place, context)
        return len(context) - max((common_prefix(context, other) for other in near), default=0)


def tree_size(contexts: Sequence[Context]) -> int:
    """Number of tokens in the tree of these contexts."""
    growth = Growth()
    return sum(growth.add(context) for context in contexts)


def common_prefix(one: Context, other: Context) -> int:
    """Length of the longest common prefix."""
    return bisect_left(range(min(len(one), len(other))), True, key=lambda last: one[: last + 1] != other[: last + 1])


def _begins(context: Context, start: Context) -> bool:
    return context[: len(start)] == start
