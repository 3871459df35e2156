"""The imitation loop: its loss, its batches, its seed, and that it learns."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from r3lbench.policies.imitation import ImitationConfig, WeightedSequence, batches, imitate, imitation_loss, pad
from r3lbench.policies.tiny import TinyConfig, build_model
from r3lbench.policies.tokenizer import build_tokenizer

SMALL = TinyConfig(hidden=64, intermediate=64)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(["one two three four five"] * 3)


def test_the_loss_is_the_weighted_mean_of_each_sequence_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model(tokenizer, SMALL).double()
    sequences = [
        WeightedSequence((5, 261, 262, 263), (9.0, 1.0, 0.0, 0.1)),
        WeightedSequence((5, 262, 263, 264, 265, 262), (0.0, 0.1, 1.0, 1.0, 0.0, 2.0)),
    ]
    total, mass = 0.0, 0.0
    for sequence in sequences:
        ids = torch.tensor([sequence.token_ids])
        losses = functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")
        weights = torch.tensor(sequence.loss_weights[1:], dtype=torch.float64)
        total += (losses * weights).sum().item()
        mass += float(weights.sum())
    loss = imitation_loss(model, *pad(sequences, tokenizer.pad_token_id))
    assert loss.item() == pytest.approx(total / mass, rel=1e-6)


@given(st.lists(st.integers(2, 60), min_size=1, max_size=50), st.integers(0, 5))
def test_an_epoch_holds_every_sequence_once_within_the_budget(lengths: list[int], seed: int) -> None:
    stream = batches(lengths, batch_tokens=100, seed=seed)
    seen: Counter[int] = Counter()
    while seen.total() < 2 * len(lengths):
        batch = next(stream)
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= 100
        seen.update(batch)
        if seen.total() == len(lengths):
            assert set(seen.values()) == {1}
    assert seen == dict.fromkeys(range(len(lengths)), 2)


def test_batches_follow_the_seed() -> None:
    lengths = [5] * 40
    first, same, other = (list(itertools.islice(batches(lengths, batch_tokens=20, seed=s), 10)) for s in (1, 1, 2))
    assert first == same != other


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    sequences = [WeightedSequence((5, 260 + n, 261, 260 + n), (0.0, 0.0, 0.0, 1.0)) for n in range(6)]
    before = torch.random.get_rng_state()
    states = []
    for _ in range(2):
        model = build_model(tokenizer, SMALL, seed=3)
        report = imitate(model, sequences, ImitationConfig(steps=6, batch_tokens=12), seed=4)
        states.append(model.state_dict())
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert len(report.losses) == 6
    assert report.losses[-1] < report.losses[0]
    assert report.tokens == 6 * 12


def test_a_weight_of_zero_teaches_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model(tokenizer, SMALL)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    imitate(model, [WeightedSequence((5, 261), (1.0, 0.0))], ImitationConfig(steps=2, weight_decay=0.0))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_cannot_be_imitated_is_refused() -> None:
    with pytest.raises(ValueError, match="as many weights"):
        WeightedSequence((1, 2), (1.0,))
    with pytest.raises(ValueError, match="no sequence"):
        next(batches([], batch_tokens=10, seed=0))
