"""One place that asks servers: patience, and how an answer is taken apart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the openai package: pip install 'r3lbench[api]'")

from r3lbench import hosting
from r3lbench.hosting import ChatServer, HostedModel, ServerFailed, Usage
from tests.judges.chat_server import Answer, chat_server

ASKED = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R3LBENCH_CACHE", str(tmp_path))
    # Requests to this machine take no detour.
    monkeypatch.setenv("NO_PROXY", "*")


def server_at(url: str) -> ChatServer:
    return ChatServer("somebody", model="small", url=url, key_env="NO_KEY", timeout=5.0)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 3}, Usage(5, 0, 3)),
        ({"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": None}, Usage(5, 0, 3)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0}}, Usage(5, 4, 0)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 5, 0)),
        (None, None),
    ],
)
def test_tokens_are_as_the_server_counts_them(usage: object, counted: Usage | None) -> None:
    with chat_server([Answer(told={"usage": usage})]) as server:
        assert server_at(server.url).ask(ASKED).usage == counted


@pytest.mark.parametrize(
    ("status", "body", "no_room"),
    [
        (400, '{"error": {"message": "too long", "code": "context_length_exceeded"}}', True),
        (
            400,
            '{"error": {"message": "You passed 1015 input tokens. The model\'s context length is only 1024."}}',
            True,
        ),
        (500, '{"error": {"message": "the request exceeds the available context size"}}', True),
        (400, '{"error": {"message": "Requested tokens (2285) exceed context window of 2048"}}', True),
        (400, '{"error": {"message": "unknown parameter: seed"}}', False),
        (429, '{"error": {"message": "too many requests in the context window of a minute"}}', False),
    ],
)
def test_a_conversation_that_is_too_long_is_told_from_other_refusals(status: int, body: str, no_room: bool) -> None:
    with chat_server([Answer(status=status, body=body)]) as server:
        said = server_at(server.url).ask(ASKED)
    assert said.message is None and said.no_room is no_room
    assert said.hopeless is (status != 429)


def test_pauses_grow_and_are_no_shorter_than_the_server_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []

    async def sleep(seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(hosting.asyncio, "sleep", sleep)
    patience = ["7", "0", "900", "Fri, 20 Nov 2026 07:28:00 GMT", "2.5"]
    answers = [Answer(status=429, body="{}", headers={"Retry-After": seconds}) for seconds in patience]
    with chat_server([*answers, Answer("Hi")]) as server:
        model = HostedModel(server_at(server.url), parallel=1, retries=5, pause=0.5, remember=False)
        said = asyncio.run(model.ask(ASKED))
    assert said.message == {"content": "Hi"}
    assert paused == [7.0, 1.0, 60.0, 4.0, 8.0]
    assert model.tally.failed == 5 and model.tally.requests == 1


def test_what_is_asked_twice_is_remembered_by_server_model_and_request() -> None:
    with chat_server([Answer("Hi"), Answer("Ho")]) as server, chat_server([Answer("Hey")]) as other:
        first, second = (
            HostedModel(server_at(at.url), parallel=1, retries=0, pause=0.0, remember=True) for at in (server, other)
        )
        said = [asyncio.run(first.ask(ASKED, seed=seed)).message for seed in (0, 0, 1, 0)]
        assert said == [{"content": text} for text in ("Hi", "Hi", "Ho", "Hi")]
        assert first.tally.remembered == 2 and len(server.requests) == 2
        assert asyncio.run(second.ask(ASKED, seed=0)).message == {"content": "Hey"}


def test_failures_are_not_remembered() -> None:
    with chat_server([Answer(status=401, body="{}"), Answer("Hi")]) as server:
        model = HostedModel(server_at(server.url), parallel=1, retries=0, pause=0.0, remember=True)
        with pytest.raises(ServerFailed, match=r"somebody, model small: asked once without an answer: .*status 401"):
            asyncio.run(model.ask(ASKED))
        assert asyncio.run(model.ask(ASKED)).message == {"content": "Hi"}
