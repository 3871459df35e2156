from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.tokens import Kind, OldLogprobs, Sample, Segment, Term, TokenForest, rows_of


def prompt(*tokens: int) -> Segment:
    return Segment("prompt", tokens)


def reply(*tokens: int, logprob: float = -1.0) -> Segment:
    return Segment("assistant", tokens, sampled=True, logprobs=(logprob,) * len(tokens))


def conversation(forest: TokenForest, *turns: tuple[int, ...]) -> list[int]:
    """A growing conversation with a one-token prompt before every turn; the nodes of the turns."""
    nodes: list[int] = []
    for turn in turns:
        asked = forest.add(nodes[-1] if nodes else None, prompt(0))
        nodes.append(forest.add(asked, reply(*turn)))
    return nodes


@st.composite
def forests(draw: st.DrawFn) -> TokenForest:
    """Any forest; prompts and replies in any order."""
    forest = TokenForest()
    for _ in range(draw(st.integers(1, 25))):
        parent = draw(st.none() | st.integers(0, len(forest.nodes) - 1)) if forest.nodes else None
        tokens = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
        forest.add(parent, reply(*tokens) if draw(st.booleans()) else prompt(*tokens))
    return forest


# Segments and nodes


@pytest.mark.parametrize("logprobs", [(), (-1.0,), (-1.0, -1.0, -1.0)])
def test_a_sampled_token_without_its_logprob_is_refused(logprobs: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="2 tokens with"):
        Segment("assistant", (1, 2), sampled=True, logprobs=logprobs)


def test_a_prompt_has_no_logprobs() -> None:
    with pytest.raises(ValueError, match="2 tokens with 2 log"):
        Segment("prompt", (1, 2), logprobs=(-1.0, -1.0))


def test_a_prompt_that_several_read_is_one_node() -> None:
    forest = TokenForest()
    root = forest.add(None, prompt(1, 2))
    assert forest.add(None, prompt(1, 2)) == root
    below = forest.add(root, prompt(3))
    assert forest.add(root, prompt(3)) == below
    assert forest.add(None, prompt(3)) != below
    assert len(forest.nodes) == 3


def test_what_is_sampled_twice_is_two_nodes() -> None:
    forest = TokenForest()
    root = forest.add(None, prompt(1))
    assert forest.add(root, reply(2)) != forest.add(root, reply(2))


@settings(deadline=None)
@given(forests())
def test_a_path_is_the_context_and_ends_count_its_tokens(forest: TokenForest) -> None:
    for node in forest.nodes:
        path = forest.path(node.id)
        assert path[0].parent is None and path[-1] is node
        assert all(below.parent == above.id for above, below in itertools.pairwise(path))
        tokens = forest.token_ids(node.id)
        assert tokens == [token for part in path for token in part.segment.token_ids]
        assert node.end == len(tokens)
    assert forest.token_ids(None) == []


@settings(deadline=None)
@given(forests())
def test_a_forest_can_be_read_from_its_record(forest: TokenForest) -> None:
    again = TokenForest()
    for line in json.loads(json.dumps(forest.to_json())):
        segment = Segment(line["role"], tuple(line["token_ids"]), line["sampled"], tuple(line["logprobs"]))
        assert again.add(line["parent"], segment) == line["id"]
    assert again.nodes == forest.nodes


# Samples and terms


def test_a_term_from_a_turn_on_leaves_the_earlier_turns_out() -> None:
    forest = TokenForest()
    turns = conversation(forest, (1,), (2, 2), (3, 3, 3))
    sample = Sample(forest, tuple(turns), tuple(turns))
    assert sample.term(0.5).turns == tuple(turns)
    assert sample.term(0.5).tokens == 6
    assert sample.term(0.5, from_turn=1).turns == tuple(turns[1:])
    assert sample.term(0.5, from_turn=1).tokens == 5
    assert sample.term(0.5, from_turn=3).tokens == 0


def test_a_copy_holds_the_tokens_of_its_origin() -> None:
    forest = TokenForest()
    guided = forest.add(forest.add(None, prompt(0, 9)), reply(1, 2))
    copy = forest.add(forest.add(None, prompt(0)), reply(1, 2))
    other = forest.add(forest.add(None, prompt(0)), reply(1, 3))
    assert Sample(forest, (copy,), (guided,)).sampled_in == (guided,)
    with pytest.raises(ValueError, match="does not hold the tokens"):
        Sample(forest, (other,), (guided,))


def test_what_nobody_sampled_is_no_sample() -> None:
    forest = TokenForest()
    asked = forest.add(None, prompt(1))
    with pytest.raises(ValueError, match="does not hold the tokens"):
        Sample(forest, (asked,), (asked,))


def test_a_turn_without_an_origin_is_refused() -> None:
    forest = TokenForest()
    turns = conversation(forest, (1,), (2,))
    with pytest.raises(ValueError):
        Sample(forest, tuple(turns), tuple(turns[:1]))


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_no_number_is_refused(weight: float) -> None:
    forest = TokenForest()
    turns = tuple(conversation(forest, (1,)))
    with pytest.raises(ValueError, match="finite"):
        Sample(forest, turns, turns).term(weight)


def test_a_term_trains_only_its_own_sample() -> None:
    forest = TokenForest()
    first, second = conversation(forest, (1,)), conversation(forest, (2,))
    with pytest.raises(ValueError, match="not in its sample"):
        Term(Sample(forest, tuple(first), tuple(first)), tuple(second), 1.0)


def test_a_term_is_recorded_with_kind_origin_and_weight() -> None:
    forest = TokenForest()
    turns = tuple(conversation(forest, (1,), (2,)))
    term = Sample(forest, turns, turns).term(
        2.0, from_turn=1, kind=Kind.SHAPED, old=OldLogprobs.BEHAVIOUR, label="revised"
    )
    assert json.loads(json.dumps(term.to_json())) == {
        "label": "revised",
        "kind": "shaped",
        "weight": 2.0,
        "old": "behaviour",
        "turns": [turns[1]],
        "sampled_in": [turns[1]],
    }


# Rows


@settings(deadline=None)
@given(forests(), st.data())
def test_every_trained_node_is_in_exactly_one_row_on_the_path_of_its_leaf(
    forest: TokenForest, data: st.DataObject
) -> None:
    turns = data.draw(st.lists(st.integers(0, len(forest.nodes) - 1)))
    rows = rows_of(forest, turns)
    assert sorted(node for _, nodes in rows for node in nodes) == sorted(set(turns))
    for leaf, nodes in rows:
        on_path = [part.id for part in forest.path(leaf)]
        assert nodes == [node for node in on_path if node in nodes]
        assert nodes[-1] == leaf
    # No row could have been part of another one.
    leaves = [leaf for leaf, _ in rows]
    for leaf in leaves:
        assert not any(other != leaf and leaf in [part.id for part in forest.path(other)] for other in leaves)


def test_a_growing_conversation_is_one_row_and_rebuilt_prompts_are_one_each() -> None:
    forest = TokenForest()
    growing = conversation(forest, (1,), (2,), (3,))
    rebuilt = [forest.add(forest.add(None, prompt(0, step)), reply(step)) for step in range(3)]
    assert rows_of(forest, growing) == [(growing[-1], growing)]
    assert sorted(rows_of(forest, rebuilt)) == [(node, [node]) for node in rebuilt]


def test_attempts_that_leave_a_common_prefix_are_rows_of_their_own() -> None:
    forest = TokenForest()
    base = conversation(forest, (1,), (2,))
    branch = forest.add(forest.add(base[0], prompt(0)), reply(3, 3))
    assert rows_of(forest, [*base, branch]) == [(branch, [base[0], branch]), (base[1], [base[1]])]
