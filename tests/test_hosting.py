"""One place that asks servers: patience, and how an answer is taken apart."""

from __future__ import annotations

import _thread
import asyncio
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai", reason="needs the openai package: pip install 'r3lbench[api]'")

from r3lbench import hosting
from r3lbench.errors import BadConfig
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
        with pytest.raises(ServerFailed, match=r"somebody, model small at http.*/v1/: asked once without .*status 401"):
            asyncio.run(model.ask(ASKED))
        assert asyncio.run(model.ask(ASKED)).message == {"content": "Hi"}


def test_every_answer_is_kept_and_given_again_to_those_only_who_want_that() -> None:
    with chat_server([Answer("Hi"), Answer("Ho")]) as server:
        said = []
        for remember in (False, False, True):
            model = HostedModel(server_at(server.url), parallel=1, retries=0, pause=0.0, remember=remember)
            said.append((asyncio.run(model.ask(ASKED)).message, model.tally.remembered))
    assert said == [({"content": "Hi"}, 0), ({"content": "Ho"}, 0), ({"content": "Ho"}, 1)]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000/v1", "no server's address for a url: 'localhost:8000/v1'; give one like http://"),
        ("ftp://localhost/v1", "no server's address"),
        ("https://", "no server's address"),
        ("", "no server's address"),
        ("http://local\nhost/v1", "no server's address"),
        ("http://localhost:99999/v1", "cannot be read: Port out of range"),
        ("http://[::1/v1", "cannot be read: "),
    ],
)
def test_a_url_that_is_none_is_refused_wherever_it_stands(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfig, match=re.escape(said)):
        server_at(url)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    monkeypatch.setenv("NO_KEY", "sk-any")
    with pytest.raises(BadConfig, match=re.escape(said)):
        ChatServer("somebody", model="small", url=None, key_env="NO_KEY", timeout=5.0)


def test_a_server_that_is_not_there_is_named_with_what_kept_us_from_it() -> None:
    with chat_server([Answer()]) as server:
        url = server.url
    model = HostedModel(server_at(url), parallel=1, retries=1, pause=0.0, remember=False)
    with pytest.raises(ServerFailed, match=rf"model small at {url}/: asked 2 times .*Connection refused"):
        asyncio.run(model.ask(ASKED))


@pytest.mark.parametrize(("key", "said"), [("sk-wrong", "to the key in NO_KEY: "), (None, "to no key: NO_KEY is not")])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable(
    status: int, key: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key:
        monkeypatch.setenv("NO_KEY", key)
    with chat_server([Answer(status=status, body='{"error": {"message": "no"}}')]) as server:
        problem = server_at(server.url).ask(ASKED).problem
    assert f"with status {status} {said}" in problem


def test_a_reply_of_something_else_is_shown() -> None:
    with chat_server([Answer(body="<html>Welcome to nginx!</html>")]) as server:
        problem = server_at(server.url).ask(ASKED).problem
    assert problem.startswith("the server's reply is no chat completion (Invalid JSON: ")
    assert problem.endswith(": <html>Welcome to nginx!</html>")


def test_at_most_so_many_are_under_way_in_every_event_loop() -> None:
    under_way, most = 0, []
    counting = threading.Lock()

    def answer(asked: dict[str, Any]) -> Answer:
        nonlocal under_way
        with counting:
            under_way += 1
            most.append(under_way)
        time.sleep(0.02)
        with counting:
            under_way -= 1
        return Answer("Hi")

    async def many() -> None:
        await asyncio.gather(*(model.ask(ASKED, seed=seed) for seed in range(6)))

    with chat_server(answer) as server:
        model = HostedModel(server_at(server.url), parallel=2, retries=0, pause=0.0, remember=False)
        asyncio.run(many())
        asyncio.run(many())
    assert max(most) == 2 and len(most) == 12


def test_an_interrupt_that_wakes_nobody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when Ctrl-C comes just before the event loop falls asleep."""
    released = threading.Event()

    def ask(*_: object, **__: object) -> hosting.Answer:
        time.sleep(0.2)
        _thread.interrupt_main()
        released.wait(timeout=30)
        return hosting.Answer(None, "never mind")

    server = server_at("http://localhost:1/v1")
    monkeypatch.setattr(server, "ask", ask)
    model = HostedModel(server, parallel=1, retries=0, pause=0, remember=False)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(model.ask(ASKED))
    assert time.monotonic() - began < 20
    released.set()
