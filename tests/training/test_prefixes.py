"""The tree holds every beginning of every context once, and nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.training.prefixes import Context, Growth, PrefixTree, common_prefix, tree_size

# Few tokens, so that contexts begin alike, are equal and continue each other.
contexts = st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=7).map(tuple), min_size=1, max_size=9)


@given(contexts)
def test_every_beginning_of_every_context_stands_in_the_tree_once(drawn: list[Context]) -> None:
    tree = PrefixTree.of(drawn)
    spelled = set()
    for context, path in zip(drawn, tree.paths, strict=True):
        assert tuple(tree.tokens[path]) == context
        assert tree.depth[path].tolist() == list(range(len(context)))
        spelled |= {(context[: place + 1], int(index)) for place, index in enumerate(path)}
    assert len({beginning for beginning, _ in spelled}) == len({index for _, index in spelled}) == len(spelled)
    assert len(spelled) == len(tree.tokens) == tree_size(drawn)


@given(contexts)
def test_a_token_reads_what_stands_before_it_in_its_context(drawn: list[Context]) -> None:
    tree = PrefixTree.of(drawn)
    places = np.arange(len(tree.tokens))
    for path in tree.paths:
        for length, token in enumerate(path, start=1):
            assert places[(places <= token) & (token < tree.end)].tolist() == path[:length].tolist()


@given(contexts)
def test_branches_add_the_tokens_of_the_tree_in_their_order(drawn: list[Context]) -> None:
    tree = PrefixTree.of(drawn)
    assert np.concatenate([branch.path[branch.fork :] for branch in tree.branches]).tolist() == list(
        range(len(tree.tokens))
    )
    assert all(branch.own for branch in tree.branches)


@given(contexts)
def test_a_tree_grows_by_what_no_context_in_it_begins_with(drawn: list[Context]) -> None:
    growth, known = Growth(), set[Context]()
    for context in drawn:
        beginnings = {context[: length + 1] for length in range(len(context))}
        assert growth.add(context) == len(beginnings - known)
        known |= beginnings


def test_common_prefixes_by_hand() -> None:
    assert common_prefix((), (1,)) == 0
    assert common_prefix((1, 2, 3), (1, 2, 4)) == 2
    assert common_prefix((1, 2), (1, 2, 4)) == 2
    assert common_prefix((2, 2), (1, 2)) == 0
