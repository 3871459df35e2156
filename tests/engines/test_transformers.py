"""Sampling with kept keys and values: what it costs, what it draws, and that the cache is never seen in a reply."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, BertConfig, BloomConfig, GPTNeoConfig, MambaConfig, RwkvConfig

from r3lbench.engines.engine import Completion, Request, Sampling, Stop
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.errors import R3LBenchError
from tests.engines.asking import END, ask, engine_of, gap_to_full_pass, words
from tests.random_models import CONFIGS, SHAPE, VOCABULARY, full_pass, random_model

# What it costs


def test_every_turn_costs_its_new_tokens_and_the_one_token_that_was_never_read() -> None:
    engine = engine_of(random_model())
    context, costs = words(20, 0), []
    for turn in range(6):
        before = engine.work.prefilled
        reply = engine.wave([ask(context, turn)])[0]
        costs.append(engine.work.prefilled - before)
        context = (*context, *reply.token_ids, *words(7 + turn, turn))
    assert costs == [20] + [1 + 7 + turn for turn in range(5)]
    assert engine.work.generated == 6 * 5


def test_attempts_that_begin_alike_go_on_each_from_its_own_turn() -> None:
    engine = engine_of(random_model())
    contexts = [words(20, 0)] * 4
    for turn in range(3):
        before = engine.work.prefilled
        replies = engine.wave([ask(context, 10 * turn + i) for i, context in enumerate(contexts)])
        assert len({reply.token_ids for reply in replies}) > 1
        assert engine.work.prefilled - before == (20 if turn == 0 else 4 * (1 + 6))
        contexts = [
            (*context, *reply.token_ids, *words(6, turn)) for context, reply in zip(contexts, replies, strict=True)
        ]


def test_a_retry_reuses_the_prefix_that_it_shares_with_its_base() -> None:
    engine = engine_of(random_model())
    context, prompts = words(20, 0), []
    for turn in range(4):
        prompts.append(context)
        context = (*context, *engine.wave([ask(context, turn)])[0].token_ids, *words(9, turn))
    for pivot in (3, 2, 0, 1):
        before = engine.work.prefilled, engine.work.reused
        guided = (*prompts[pivot], *words(11, 100 + pivot))
        engine.wave([ask(guided, 7)])
        assert (engine.work.prefilled - before[0], engine.work.reused - before[1]) == (11, len(prompts[pivot]))
        # Without guidance only the last token runs again, for its logits.
        before = engine.work.prefilled, engine.work.reused
        engine.wave([ask(prompts[pivot], 8)])
        assert (engine.work.prefilled - before[0], engine.work.reused - before[1]) == (1, len(prompts[pivot]) - 1)


@pytest.mark.parametrize(("said", "anew"), [(4, 6130), (10, 6400)])
def test_ten_turns_of_a_hundred_tokens_are_read_once(said: int, anew: int) -> None:
    # 100 tokens of system prompt; each turn 90 of observation, and what is said. Anew: 10 * 100 + 55 * 90 + 45 * said.
    model = random_model(dtype=torch.float32)
    read = {}
    for room in (1 << 30, 0):
        engine = TransformersEngine(model, context_limit=2048, cache_bytes=room)
        context = words(100, 0)
        for turn in range(10):
            context = (*context, *words(90, turn))
            context = (*context, *engine.wave([ask(context, turn, max_tokens=said)])[0].token_ids)
        read[room] = engine.work
    assert [work.prefilled for work in read.values()] == [190 + 9 * (1 + 90), anew]
    # All but the observation and the one token that was never read had been there, of which whole blocks are counted.
    dropped = [16 * ((9 + 90 * turn + said * (turn - 1)) // 16) for turn in range(2, 11)]
    assert [work.recomputed for work in read.values()] == [0, sum(dropped)]
    through = [work.prefilled + work.generated for work in read.values()]
    assert through[1] >= 4 * through[0]


def test_identical_prompts_of_a_wave_run_once() -> None:
    engine = engine_of(random_model())
    one, other = words(30, 1), words(25, 2)
    engine.wave([ask(one if i % 2 else other, i, max_tokens=1) for i in range(10)])
    assert engine.work.forwards == 1
    assert engine.work.prefilled == 30 + 25
    assert engine.work.reused == 4 * (30 + 25)
    assert engine.work.generated == 10


def test_forward_passes_are_those_of_the_longest_reply() -> None:
    engine = engine_of(random_model())
    engine.wave([ask(words(20, i), i, max_tokens=2 + i) for i in range(4)])
    assert engine.work.forwards == 5
    assert engine.work.generated == 2 + 3 + 4 + 5


def test_a_long_prefill_is_cut_into_passes_and_a_big_wave_into_batches() -> None:
    model = random_model()
    requests = [ask(words(10 + i, i), i) for i in range(7)]
    whole = engine_of(model)
    cut = engine_of(model, prefill_tokens=32, max_rows=3)
    for mine, theirs in zip(whole.wave(requests), cut.wave(requests), strict=True):
        assert mine.token_ids == theirs.token_ids
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-9)
    assert cut.work.prefilled == whole.work.prefilled
    assert cut.work.forwards > whole.work.forwards


# What it draws


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_logprobs_are_those_of_a_full_forward_pass(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model = random_model(name, dtype=dtype)
    engine = engine_of(model)
    contexts = [words(20, 0), words(20, 0), words(33, 1)]
    for turn in range(4):
        requests = [ask(context, 10 * turn + i, max_tokens=3 + i) for i, context in enumerate(contexts)]
        replies = engine.wave(requests)
        for request, reply in zip(requests, replies, strict=True):
            assert gap_to_full_pass(model, request, reply) < tolerance
        contexts = [
            (*context, *reply.token_ids, *words(5 + i, turn))
            for i, (context, reply) in enumerate(zip(contexts, replies, strict=True))
        ]


BIG = {key: value for key, value in SHAPE.items() if key in ("vocab_size", "hidden_size")}
UNSUITABLE = {
    "a recurrent model": (MambaConfig(**BIG, num_hidden_layers=2, state_size=4), "linear_attention"),
    "a recurrent model of another kind": (RwkvConfig(**BIG, num_hidden_layers=2), "turn by turn"),
    "positions from the attention mask": (BloomConfig(**BIG, n_layer=2, n_head=4), "turn by turn"),
    "windows of its own kind": (
        GPTNeoConfig(**BIG, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=8),
        "window_size",
    ),
    "attention in both directions": (
        BertConfig(**BIG, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48),
        "turn by turn",
    ),
}


@pytest.mark.parametrize("name", UNSUITABLE)
def test_a_model_that_cannot_be_run_turn_by_turn_is_refused_with_the_reason(name: str) -> None:
    config, reason = UNSUITABLE[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises(R3LBenchError, match=reason) as refused:
        engine_of(model)
    assert type(model).__name__ in str(refused.value)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_a_reply_is_the_same_alone_and_beside_others(dtype: torch.dtype, tolerance: float) -> None:
    model = random_model(dtype=dtype)
    requests = [
        ask(words(5 + 4 * (i % 5), i % 5), i, max_tokens=1 + i % 7, stop_ids=(END,), temperature=0.5 * (i % 4))
        for i in range(20)
    ]
    beside = engine_of(model, max_rows=8).wave(requests)
    for request, reply in zip(requests, beside, strict=True):
        alone = engine_of(model).wave([request])[0]
        assert alone.token_ids == reply.token_ids
        assert alone.stop == reply.stop
        assert alone.logprobs == pytest.approx(reply.logprobs, abs=tolerance)


def test_the_order_of_a_wave_changes_nothing() -> None:
    model = random_model()
    requests = [ask(words(20, i % 3), i) for i in range(8)]
    there, back = engine_of(model).wave(requests), engine_of(model).wave(requests[::-1])[::-1]
    assert [reply.token_ids for reply in there] == [reply.token_ids for reply in back]


def test_another_seed_gives_another_reply_and_the_same_seed_the_same() -> None:
    engine = engine_of(random_model())
    replies = engine.wave([ask(words(20, 0), seed, max_tokens=12) for seed in (1, 2, 1)])
    assert replies[0] == replies[2] != replies[1]


def truncated(logprobs: torch.Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Any:
    """The distribution that a request asks for, written out: heat, then the k likeliest, then the nucleus of those."""
    order = sorted(range(len(logprobs)), key=lambda token: -float(logprobs[token]))
    kept = order[: top_k or len(order)]
    heated = {token: math.exp(float(logprobs[token]) / temperature) for token in kept}
    nucleus: dict[int, float] = {}
    for token in kept:
        if nucleus and sum(nucleus.values()) >= top_p * sum(heated.values()):
            break
        nucleus[token] = heated[token]
    return np.array([nucleus.get(token, 0.0) for token in range(len(order))]) / sum(nucleus.values())


WAYS: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.4},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 4},
    {"top_p": 0.05},
    {"top_p": 0.7},
    {"temperature": 1.5, "top_k": 6, "top_p": 0.8},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_tokens_come_with_the_frequencies_that_were_asked_for(way: dict[str, Any]) -> None:
    model = random_model()
    context, count = words(20, 3), 2000
    expected = truncated(full_pass(model, context)[-1], **way)
    replies = engine_of(model, max_rows=count).wave([ask(context, seed, max_tokens=1, **way) for seed in range(count)])
    drawn = np.bincount([reply.token_ids[0] for reply in replies], minlength=VOCABULARY)
    assert not drawn[expected == 0].any()
    # Rare tokens are pooled so that Pearson's statistic is near its limit; its mean is df, its variance 2 df.
    common = expected * count >= 5
    pooled = [(drawn[common], expected[common]), (drawn[~common].sum()[None], expected[~common].sum()[None])]
    cells = [(seen, share * count) for s, e in pooled for seen, share in zip(s, e, strict=True) if share > 0]
    statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    freedom = len(cells) - 1
    assert statistic <= freedom + 4 * math.sqrt(2 * freedom)
    for reply in replies[:50]:
        assert reply.logprobs[0] == pytest.approx(math.log(expected[reply.token_ids[0]]), abs=1e-9)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_token_is_the_inverse_of_its_distribution_at_its_seeds_draw(way: dict[str, Any]) -> None:
    model = random_model()
    context = words(20, 4)
    mass = np.cumsum(truncated(full_pass(model, context)[-1], **way))
    for seed in range(30):
        reply = engine_of(model).wave([ask(context, seed, max_tokens=1, **way)])[0]
        assert reply.token_ids[0] == np.searchsorted(mass, np.random.default_rng(seed).random(), side="right")


def test_greedy_takes_the_likeliest_token_whatever_the_seed() -> None:
    model = random_model()
    engine = engine_of(model)
    request = ask(words(20, 5), 1, temperature=0.0, max_tokens=8)
    reply = engine.wave([request])[0]
    full = full_pass(model, (*request.token_ids, *reply.token_ids))
    assert list(reply.token_ids) == full[19:-1].argmax(-1).tolist()
    assert gap_to_full_pass(model, request, reply) < 1e-9
    assert engine.wave([ask(words(20, 5), 2, temperature=0.0, max_tokens=8)])[0] == reply


def test_a_stop_token_ends_a_reply_and_belongs_to_it() -> None:
    engine = engine_of(random_model())
    free = engine.wave([ask(words(20, i), i, max_tokens=12) for i in range(12)])
    stops = tuple({reply.token_ids[4] for reply in free[:2]})
    ended = engine.wave([ask(words(20, i), i, max_tokens=12, stop_ids=stops) for i in range(12)])
    assert {reply.stop for reply in ended} == {Stop.END, Stop.LENGTH}
    for before, after in zip(free, ended, strict=True):
        first = next((i for i, token in enumerate(before.token_ids) if token in stops), None)
        assert after.token_ids == (before.token_ids if first is None else before.token_ids[: first + 1])
        assert after.stop is (Stop.LENGTH if first is None else Stop.END)
        assert len(after.logprobs) == len(after.token_ids)


@pytest.mark.parametrize(
    "sampling", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}, {"max_tokens": 0}]
)
def test_sampling_out_of_range_is_refused(sampling: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Sampling(**sampling)


def test_an_empty_wave_has_no_replies() -> None:
    assert engine_of(random_model()).wave([]) == []


# The cache is never seen


Step = tuple[int, int, int]
"""A request: which earlier context it continues, how many new tokens, their seed."""

trees = st.lists(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40), st.integers(0, 3)), min_size=1, max_size=4),
    min_size=1,
    max_size=5,
)


def play(
    engine: TransformersEngine, waves: list[list[Step]], *, forget: bool = False
) -> list[tuple[Request, Completion]]:
    """Grow a tree of conversations wave by wave; every reply can be continued by any later request."""
    contexts: list[tuple[int, ...]] = [()]
    asked = []
    for number, steps in enumerate(waves):
        requests = [
            ask((*contexts[parent % len(contexts)], *words(count, seed)), 100 * number + i, max_tokens=1 + parent % 4)
            for i, (parent, count, seed) in enumerate(steps)
        ]
        for request, reply in zip(requests, engine.wave(requests), strict=True):
            asked.append((request, reply))
            contexts.append((*request.token_ids, *reply.token_ids))
        if forget:
            engine.forget()
    return asked


@pytest.fixture(scope="module", params=["llama with grouped queries", "gemma3 with a window"])
def model(request: pytest.FixtureRequest) -> Any:
    return random_model(request.param)


@settings(max_examples=25, deadline=None)
@given(waves=trees)
def test_any_tree_of_conversations_gives_the_same_with_and_without_cache(model: Any, waves: list[list[Step]]) -> None:
    cached, uncached = engine_of(model), engine_of(model)
    kept, forgotten = play(cached, waves), play(uncached, waves, forget=True)
    for (request, reply), (_, expected) in zip(kept, forgotten, strict=True):
        assert reply.token_ids == expected.token_ids
        assert reply.logprobs == pytest.approx(expected.logprobs, abs=1e-9)
        assert gap_to_full_pass(model, request, reply) < 1e-9
    assert cached.work.prefilled <= uncached.work.prefilled
    assert cached.work.prefilled + cached.work.reused == sum(len(request.token_ids) for request, _ in kept)


def test_eviction_changes_nothing_but_work() -> None:
    waves = [[(parent, 20, parent) for parent in range(wave, wave + 4)] for wave in range(5)]
    model = random_model()
    roomy, tight = engine_of(model), engine_of(model, cache_bytes=200_000)
    expected, replies = play(roomy, waves), play(tight, waves)
    assert [reply.token_ids for _, reply in replies] == [reply.token_ids for _, reply in expected]
    for (_, mine), (_, theirs) in zip(replies, expected, strict=True):
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-9)
    assert tight.store.evicted > 0 == roomy.store.evicted
    assert tight.store.bytes <= 200_000
    again = tight.work.prefilled - roomy.work.prefilled
    assert again - 15 * len(replies) <= tight.work.recomputed <= again
    assert tight.work.recomputed > 0 == roomy.work.recomputed


# Room for what runs


def test_a_batch_has_as_many_rows_as_there_is_memory_for() -> None:
    model = random_model()
    # Two layers, keys and values of four heads of eight numbers; 20 tokens are read, 5 said, and one is for padding.
    row = 2 * 2 * 4 * 8 * 8 * (20 + 5 + 1)
    requests = [ask(words(20, i), i) for i in range(6)]
    expected = engine_of(model).wave(requests)
    for room, batches in ((6 * row, 1), (2 * row, 3), (2 * row - 1, 6), (1, 6)):
        engine = engine_of(model, batch_bytes=room)
        assert [reply.token_ids for reply in engine.wave(requests)] == [reply.token_ids for reply in expected]
        assert (engine.work.steps, engine.work.forwards) == (5 * batches, 5 * batches)


def test_a_long_context_has_company_as_far_as_it_fits() -> None:
    requests = [ask(words(20, i), i) for i in range(4)] + [ask(words(60, 4), 4)]
    engine = engine_of(random_model(), batch_bytes=1024 * 4 * 26)
    engine.wave(requests)
    assert engine.work.steps == 2 * 5


def test_changed_weights_drop_every_kept_context() -> None:
    model = random_model()
    engine = engine_of(model)
    request = ask(words(40, 0), 0)
    engine.wave([request])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    engine.weights_changed()
    assert len(engine.store) == engine.store.bytes == 0
    reply = engine.wave([request])[0]
    assert gap_to_full_pass(model, request, reply) < 1e-9
    assert engine.work.prefilled == 2 * 40 and engine.work.reused == 0


def test_the_model_is_left_as_it_was() -> None:
    model = random_model().train()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    engine_of(model).wave([ask(words(20, 0))])
    assert model.training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
