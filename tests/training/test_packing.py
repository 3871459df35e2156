"""Terms become rows: every trained token once, in its own context, with its share of the whole batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.baseline import Aggregation, PolicyLoss
from r3lbench.tokens import Kind, OldLogprobs, Term
from r3lbench.training.packing import KINDS, OLD, MicroBatch, pack, shares
from tests.conversations import Conversations

CPU = torch.device("cpu")
AGGREGATIONS: tuple[Aggregation, ...] = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum")


def packed(terms: list[Term], loss: PolicyLoss | None = None, *, budget: int = 10_000) -> list[MicroBatch]:
    return list(pack(terms, loss or PolicyLoss(), budget=budget, device=CPU))


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


@given(terms=batches(), budget=st.integers(1, 200), aggregate=st.sampled_from(AGGREGATIONS))
def test_every_trained_token_is_packed_once_in_its_own_context(
    terms: list[Term], budget: int, aggregate: Aggregation
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
    for batch in packed(terms, loss, budget=budget):
        for i in range(len(batch.targets)):
            context = tuple(batch.input_ids[batch.rows[i], : batch.columns[i]].tolist())
            fields = (batch.targets, batch.behaviour, batch.advantage, batch.kind, batch.old, batch.moved)
            found[(int(batch.term[i]), context, *(field[i].item() for field in fields))] += 1
            assert batch.share[i].item() == pytest.approx(share[int(batch.term[i])])
    assert found == expected


@given(terms=batches(), budget=st.integers(1, 200))
def test_a_micro_batch_exceeds_its_budget_only_for_a_single_term(terms: list[Term], budget: int) -> None:
    homes: dict[int, int] = {}
    for number, batch in enumerate(packed(terms, budget=budget)):
        members = set(batch.term.tolist())
        assert batch.tokens <= budget or len(members) == 1
        for member in members:
            assert homes.setdefault(member, number) == number


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
