"""Terms become rows: every trained token once, in its own context, with its share of the whole batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.baseline import Aggregation, PolicyLoss
from r3lbench.tokens import Kind, OldLogprobs, Term
from r3lbench.training.packing import KINDS, OLD, MicroBatch, counts, pack, shares
from tests.conversations import Conversations

CPU = torch.device("cpu")
AGGREGATIONS: tuple[Aggregation, ...] = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum")


def packed(
    terms: list[Term], loss: PolicyLoss | None = None, *, budget: int = 10_000, share_prefixes: bool = False
) -> list[MicroBatch]:
    return list(pack(terms, loss or PolicyLoss(), budget=budget, device=CPU, share_prefixes=share_prefixes))


def context(batch: MicroBatch, token: int) -> tuple[int, ...]:
    """What is read to predict a trained token."""
    row, column = int(batch.rows[batch.source[token]]), int(batch.columns[batch.source[token]])
    if batch.tree is None:
        return tuple(batch.input_ids[row, : column + 1].tolist())
    assert row == 0
    return tuple(batch.input_ids[0, [i for i in range(column + 1) if column < batch.tree.end[i]]].tolist())


lengths = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4)


@st.composite
def batches(draw: st.DrawFn) -> list[Term]:
    """Terms over conversations that grow, are rebuilt at every turn, or are copies; some trained from a later turn."""
    made = Conversations(draw(st.integers(0, 99)))
    terms = []
    for _ in range(draw(st.integers(1, 5))):
        shape = draw(lengths)
        sample = made.rebuilt(shape) if draw(st.booleans()) else made.growing(shape)
        if draw(st.booleans()):
            sample = made.copied(sample, from_turn=draw(st.integers(0, len(shape))), told=3)
        weight = draw(st.sampled_from([0.0, 1.0, -0.5, 3.0]))
        kind, old = draw(st.sampled_from(list(Kind))), draw(st.sampled_from(list(OldLogprobs)))
        terms.append(sample.term(weight, from_turn=draw(st.integers(0, len(shape))), kind=kind, old=old))
    return terms


@given(terms=batches(), budget=st.integers(1, 200), aggregate=st.sampled_from(AGGREGATIONS), shared=st.booleans())
def test_every_trained_token_is_packed_once_in_its_own_context(
    terms: list[Term], budget: int, aggregate: Aggregation, shared: bool
) -> None:
    loss = PolicyLoss(kl=0.1, aggregate=aggregate)
    share = shares(terms, aggregate)
    expected: Counter[tuple[object, ...]] = Counter()
    for index, term in enumerate(terms):
        if term.weight == 0 and term.kind is not Kind.POLICY:
            continue
        forest = term.sample.forest
        for turn, origin in zip(term.sample.turns, term.sample.sampled_in, strict=True):
            if turn not in term.turns:
                continue
            tokens, segment = forest.token_ids(turn), forest.nodes[turn].segment
            for offset, token in enumerate(segment.token_ids):
                end = len(tokens) - len(segment.token_ids) + offset
                logprob = float(torch.tensor(forest.nodes[origin].segment.logprobs[offset]))
                facts = (term.weight, KINDS.index(term.kind), OLD.index(term.old), turn != origin)
                expected[(index, tuple(tokens[:end]), token, logprob, *facts)] += 1
    found: Counter[tuple[object, ...]] = Counter()
    for batch in packed(terms, loss, budget=budget, share_prefixes=shared):
        for i in range(len(batch.targets)):
            fields = (batch.targets, batch.behaviour, batch.advantage, batch.kind, batch.old, batch.moved)
            found[(int(batch.term[i]), context(batch, i), *(field[i].item() for field in fields))] += 1
            assert batch.share[i].item() == pytest.approx(share[int(batch.term[i])])
    assert found == expected


@given(terms=batches(), budget=st.integers(1, 200), shared=st.booleans())
def test_a_micro_batch_exceeds_its_budget_only_for_a_single_term(terms: list[Term], budget: int, shared: bool) -> None:
    homes: dict[int, int] = {}
    for number, batch in enumerate(packed(terms, budget=budget, share_prefixes=shared)):
        members = set(batch.term.tolist())
        assert batch.tokens <= budget or len(members) == 1
        for member in members:
            assert homes.setdefault(member, number) == number


@given(
    terms=batches(),
    budget=st.integers(1, 200),
    shared=st.booleans(),
    minibatches=st.integers(1, 3),
    epochs=st.integers(1, 2),
)
def test_what_passes_through_the_model_is_counted_without_it(
    terms: list[Term], budget: int, shared: bool, minibatches: int, epochs: int
) -> None:
    def batched(share_prefixes: bool) -> list[list[MicroBatch]]:
        parts = [terms[part::minibatches] for part in range(minibatches)]
        return [packed(part, budget=budget, share_prefixes=share_prefixes) for part in parts]

    of, alone = batched(shared), batched(False)
    assert counts(
        terms, PolicyLoss(), budget=budget, share_prefixes=shared, minibatches=minibatches, epochs=epochs
    ) == {
        "steps": epochs * sum(bool(part) for part in of),
        "trained_tokens": epochs * sum(len(batch.targets) for part in of for batch in part),
        "model_tokens": epochs * sum(batch.tokens for part in of for batch in part),
        "model_tokens_unshared": epochs * sum(batch.tokens for part in alone for batch in part),
    }


def test_what_rows_share_is_packed_once_across_groups_and_pieces_of_a_batch() -> None:
    one, other = Conversations(1), Conversations(2)
    system = one.prompt(10)
    drawn = [
        made.growing([(6, 4), (3, 4)], onto=made.forest.add(None, system)).term(1.0)
        for made in (one, one, other, other)
    ]
    # 10 tokens of the system message, and of every conversation all but the last of 17 more.
    (batch,) = packed(drawn, share_prefixes=True)
    assert batch.tokens == 10 + 4 * 16
    # Two by two, each piece with the system message.
    pieces = packed(drawn, budget=42, share_prefixes=True)
    assert [piece.tokens for piece in pieces] == [42, 42]
    assert counts(drawn, PolicyLoss(), budget=42, share_prefixes=True)["model_tokens_unshared"] == 4 * 27


def test_shares_by_hand() -> None:
    made = Conversations()
    one, two, none = made.growing([(3, 1), (2, 2)]), made.rebuilt([(2, 4), (2, 2)]), made.growing([(2, 5)])
    # 3 tokens in one row, 6 tokens in two rows, and a term whose turns are all masked.
    terms = [one.term(1.0), two.term(-1.0), none.term(2.0, from_turn=1)]
    assert [term.tokens for term in terms] == [3, 6, 0]
    assert shares(terms, "token-mean") == pytest.approx([1 / 9, 1 / 9, 0])
    assert shares(terms, "seq-mean-token-mean") == pytest.approx([1 / 6, 1 / 12, 0])
    assert shares(terms, "seq-mean-token-sum") == pytest.approx([1 / 2, 1 / 2, 0])
    assert [len(batch.input_ids) for batch in packed(terms)] == [3]


def test_a_conversation_that_grows_is_one_row_and_a_rebuilt_prompt_a_row_each() -> None:
    made = Conversations()
    shape = [(4, 2), (3, 2), (2, 2)]
    assert [len(batch.input_ids) for batch in packed([made.growing(shape).term(1.0)])] == [1]
    assert [len(batch.input_ids) for batch in packed([made.rebuilt(shape).term(1.0)])] == [3]


def test_a_row_ends_with_its_last_trained_token() -> None:
    made = Conversations()
    long = made.growing([(4, 2), (30, 2)])
    term = Term(long, long.turns[:1], 1.0)
    (batch,) = packed([term])
    assert batch.input_ids.shape == (1, 6)


def test_terms_that_cannot_move_a_weight_cost_no_pass_but_keep_their_share() -> None:
    made = Conversations()
    loud, mute = made.growing([(3, 4)]), made.growing([(3, 4)])
    (batch,) = packed([loud.term(1.0), mute.term(0.0)])
    assert len(batch.input_ids) == 1
    assert batch.share.tolist() == [1 / 8] * 4
    assert packed([mute.term(0.0)]) == []
    # A penalty that does not depend on the weight still moves it.
    for loss in (PolicyLoss(kl=0.1), PolicyLoss(entropy=0.1)):
        assert sum(len(batch.input_ids) for batch in packed([loud.term(1.0), mute.term(0.0)], loss)) == 2
        assert packed([mute.term(0.0, kind=Kind.LIKELIHOOD)], loss) == []


def test_nothing_to_train_is_nothing_to_pack() -> None:
    assert packed([]) == []
    assert packed([Conversations().growing([(3, 4)]).term(1.0, from_turn=1)]) == []
