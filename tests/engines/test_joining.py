"""Requests that join a running batch as they come, and leave it as they end."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from r3lbench.engines.engine import Completion, Request
from r3lbench.engines.kv import BatchCache
from r3lbench.engines.transformers import TransformersEngine
from tests.engines.asking import END, ask, engine_of, gap_to_full_pass, words
from tests.random_models import random_model


@pytest.fixture(scope="module", params=["llama with grouped queries", "gemma3 with a window"])
def model(request: pytest.FixtureRequest) -> Any:
    return random_model(request.param)


def uneven(count: int) -> list[Request]:
    """Some of them with a prompt in common; lengths of contexts and replies vary."""
    return [
        ask(words(10 + 7 * (i % 5), i % 5), i, max_tokens=1 + (5 * i) % 11, stop_ids=(END,), temperature=0.5 * (i % 4))
        for i in range(count)
    ]


def as_they_come(engine: TransformersEngine, requests: list[Request], at_once: int = 100) -> dict[str, Completion]:
    """Every step some more requests come, as far as there is room for them."""
    replies: dict[str, Completion] = {}
    waiting = list(requests)
    while len(replies) < len(requests):
        waiting = waiting[engine.admit(waiting[:at_once]) :]
        replies |= {request.key: reply for request, reply in engine.advance()}
    assert engine.advance() == []
    return replies


@pytest.mark.parametrize("at_once", [1, 100])
@pytest.mark.parametrize("options", [{}, {"max_rows": 4}, {"batch_bytes": 1024 * 128}])
def test_whoever_joins_a_running_batch_is_told_the_same_as_in_a_wave(
    model: Any, options: dict[str, int], at_once: int
) -> None:
    requests = uneven(24)
    waves, engine = engine_of(model, **options), engine_of(model, **options)
    replies = as_they_come(engine, requests, at_once)
    for request, expected in zip(requests, waves.wave(requests), strict=True):
        reply = replies[request.key]
        assert (reply.token_ids, reply.stop) == (expected.token_ids, expected.stop)
        assert reply.logprobs == pytest.approx(expected.logprobs, abs=1e-9)
        assert gap_to_full_pass(model, request, reply) < 1e-9 or request.sampling.temperature not in (0, 1)
    work = engine.work
    assert work.generated == sum(len(reply.token_ids) for reply in replies.values()) == waves.work.generated
    assert work.reused == sum(reply.reused for reply in replies.values())
    assert work.prefilled + work.reused == sum(len(request.token_ids) for request in requests)


def test_a_running_batch_stays_full_where_waves_run_empty() -> None:
    requests = uneven(24)
    waves, engine = engine_of(random_model(), max_rows=4), engine_of(random_model(), max_rows=4)
    waves.wave(requests)
    as_they_come(engine, requests)
    assert engine.work.generated == waves.work.generated
    assert 1.3 * engine.work.steps < waves.work.steps
    # Nobody waits for a place while one is free, but for those at the end.
    assert engine.work.steps <= engine.work.generated / 4 + 11


def test_a_running_batch_keeps_within_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    room, held = 1024 * 300, []
    buffer = BatchCache._buffer

    def note(cache: BatchCache, like: torch.Tensor) -> torch.Tensor:
        held.append(1024 * cache.count * cache.length)
        return buffer(cache, like)

    engine = engine_of(random_model(), batch_bytes=room)
    monkeypatch.setattr(BatchCache, "_buffer", note)
    requests = [ask(words(length, i), i) for i, length in enumerate((10, 20, 90, 10, 200, 10, 290, 10, 10))]
    replies = as_they_come(engine, requests)
    assert len(replies) == len(requests)
    assert 1024 * 296 <= max(held) <= room


def test_turns_that_come_back_to_a_running_batch_cost_what_is_new() -> None:
    engine = engine_of(random_model())
    engine.admit([ask(words(20, 1), 1, max_tokens=30)])
    context, costs = words(20, 0), []
    for turn in range(3):
        before = engine.work.prefilled
        assert engine.admit([ask(context, 100 + turn, max_tokens=4)]) == 1
        costs.append(engine.work.prefilled - before)
        ended = [engine.advance() for _ in range(4)]
        assert ended[:3] == [[], [], []]
        (((_, reply),),) = ended[3:]
        context = (*context, *reply.token_ids, *words(7, turn))
    assert costs == [20, 1 + 7, 1 + 7]


def test_what_is_given_up_runs_no_more() -> None:
    engine = engine_of(random_model())
    engine.admit(uneven(3))
    engine.abandon()
    before = engine.work.forwards
    assert engine.advance() == [] and engine.work.forwards == before
    engine.admit(uneven(3))
    engine.weights_changed()
    assert engine.advance() == []
