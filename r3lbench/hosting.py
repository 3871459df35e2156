"""Models behind servers that speak OpenAI's chat completions: the one place that asks them, for judges and for agents.

A ``ChatServer`` asks once and says what came of it. A ``HostedModel`` asks for many speakers at once, asks again what
was not answered, keeps answers that were paid for, and counts.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from r3lbench.errors import BadConfig, MissingExtra, R3LBenchError
from r3lbench.memory import Memory

_HOPELESS = (400, 401, 403, 404, 413, 422)
"""HTTP statuses that stay the same however often one asks."""
_NO_ROOM = re.compile(r"context[ _](length|size|window)", re.IGNORECASE)
"""How servers say that a conversation has grown too long: OpenAI, vLLM, llama.cpp, llama-cpp-python."""
_LONGEST_PAUSE = 60.0
"""A server that asks for more seconds of patience than these is asked again after them."""
_HEARTBEAT = 0.5
"""Seconds after which the event loop looks around, whether or not anything has come."""
_REPLIES = Memory("replies", "r3lbench-reply-1")
T = TypeVar("T")


class ServerFailed(R3LBenchError):
    """A server did not answer, however often it was asked."""


class _Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class _Call(BaseModel):
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    tool_calls: tuple[_Call, ...] | None = None


class _Choice(BaseModel):
    message: _Message


class _Details(BaseModel):
    cached_tokens: NonNegativeInt | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt = 0
    completion_tokens: NonNegativeInt = 0
    prompt_tokens_details: _Details | None = None


class _Completion(BaseModel):
    """What is read of a server's reply."""

    choices: tuple[_Choice, ...] = Field(min_length=1)
    model: str | None = None
    system_fingerprint: str | None = None
    usage: _Usage | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of a reply, as its server counts them.

    Attributes:
        prompt: Read.
        cached: Of them, those whose keys and values were at hand.
        written: By the model, thoughts that are not shown included.
    """

    prompt: int = 0
    cached: int = 0
    written: int = 0


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes:
        message: The reply's message in OpenAI's form; None where none came.
        problem: Why none came.
        hopeless: Asking again cannot help (no such model, no permission).
        no_room: The conversation does not fit into the model's context.
        pause: Seconds after which the server wants to be asked again; 0 if it does not say.
        model, fingerprint: What answered, in the server's words; empty where it does not say.
        usage: What it cost; None where the server does not say.
    """

    message: dict[str, Any] | None
    problem: str = ""
    hopeless: bool = False
    no_room: bool = False
    pause: float = 0.0
    model: str = ""
    fingerprint: str = ""
    usage: Usage | None = None


class ChatServer:
    """Asks a server, once a call; may be used by several threads at once.

    Args:
        who: Who asks, as in messages: ``"the judge 'openai'"``.
        model: The model's name at the server.
        url: Base address, e.g. ``http://localhost:8000/v1``; None takes the one of the ``openai`` package.
        key_env: Environment variable with the server's key. The key itself is written nowhere. A server of one's own
            (``url``) may do without.
        timeout: Seconds to wait for a reply.

    Raises:
        MissingExtra: The ``openai`` package is not installed.
        BadConfig: There is no model or no key, or the address is none or holds a key.
    """

    def __init__(self, who: str, *, model: str | None, url: str | None, key_env: str, timeout: float) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtra(f"{who} needs the openai package: pip install 'r3lbench[api]'") from error
        if not model:
            raise BadConfig(f"{who} needs the name of a model")
        key = os.environ.get(key_env)
        if not key and url is None:
            raise BadConfig(f"{who} needs a key in the environment variable {key_env}, or a url")
        self.who, self.model, self._key, self._key_env = who, model, key, key_env
        if (address := os.environ.get("OPENAI_BASE_URL") if url is None else url) is not None:
            _check_address(address, who, key_env)
        # Retries are ours: each is counted, and a reply that is of no use to its reader is one, too.
        self._client = openai.OpenAI(api_key=key or "none", base_url=url, timeout=timeout, max_retries=0)
        self._errors = (openai.APIStatusError, openai.APIError)
        self.url = str(self._client.base_url)

    def ask(self, messages: Sequence[dict[str, Any]], **settings: Any) -> Answer:
        """Ask for the next message of a conversation.

        Args:
            messages: In OpenAI's form.
            **settings: Further parameters of the request (``temperature``, ``max_tokens``, ``tools``, ...).
        """
        status_error, any_error = self._errors
        try:
            # Servers know more parameters than the package, which passes on what is in the extra body.
            said = self._client.chat.completions.with_raw_response.create(
                model=self.model, messages=cast(Any, messages), extra_body=settings
            )
            completion = _Completion.model_validate_json(said.content)
        except status_error as error:
            no_room = error.status_code in (400, 413, 500) and _NO_ROOM.search(error.response.text) is not None
            return Answer(
                None,
                self._public(f"the server answered {self._to(error.status_code)}: {error.message}"),
                hopeless=no_room or error.status_code in _HOPELESS,
                no_room=no_room,
                pause=_seconds(error.response.headers.get("retry-after", "")),
            )
        except any_error as error:
            # A timeout or a lost connection.
            cause = f" ({error.__cause__})" if error.__cause__ else ""
            return Answer(None, self._public(f"{error}{cause}"))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            wrong = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
            return Answer(None, self._public(f"the server's reply is no chat completion ({wrong}): {said.text}"))
        usage = completion.usage
        return Answer(
            completion.choices[0].message.model_dump(exclude_none=True),
            model=completion.model or "",
            fingerprint=completion.system_fingerprint or "",
            usage=None if usage is None else _counted(usage),
        )

    def _to(self, status: int) -> str:
        """A status, with what decides on it."""
        key = f"the key in {self._key_env}" if self._key else f"no key: {self._key_env} is not set"
        return f"with status {status}" + (f" to {key}" if status in (401, 403) else "")

    def _public(self, problem: str) -> str:
        """A problem as it may be shown: some servers repeat the key that they refuse."""
        return (problem.replace(self._key, "***") if self._key else problem)[:200]


@dataclass
class Tally:
    """What was asked of a hosted model so far.

    Attributes:
        requests: Answered ones.
        remembered: Of them, those that were answered before and kept.
        failed: Requests that had to be sent again.
        uncounted: Replies whose tokens the server did not count.
        seconds: Spent waiting, requests side by side added up.
        models, fingerprints: What answered, in the server's words.
    """

    requests: int = 0
    remembered: int = 0
    failed: int = 0
    uncounted: int = 0
    seconds: float = 0.0
    models: set[str] = field(default_factory=set)
    fingerprints: set[str] = field(default_factory=set)


class HostedModel:
    """A model behind a server, asked by many coroutines at once.

    Args:
        server: Where it is.
        parallel: Requests under way at once.
        retries: How often a request without an answer is sent again.
        pause: Seconds before the first time; twice as long before every further time, and never less than the server
            asks for.
        remember: Give answers that are kept on disk. Those that come are kept there in any case: they were paid for.
    """

    def __init__(self, server: ChatServer, *, parallel: int, retries: int, pause: float, remember: bool) -> None:
        self.server, self.retries, self.pause, self.remember = server, retries, pause, remember
        self.tally = Tally()
        self._parallel = parallel
        # A semaphore serves one event loop, and every mode of an evaluation has its own.
        self._room: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    async def ask(self, messages: Sequence[dict[str, Any]], **settings: Any) -> Answer:
        """The answer to a request, see ``ChatServer.ask``; without a message only where there is no room for it.

        Raises:
            ServerFailed: There is none after all retries.
        """
        asked = [self.server.url, self.server.model, list(messages), settings]
        kept = _REPLIES.recall(asked) if self.remember else None
        if kept is not None:
            usage = kept.pop("usage")
            answer = Answer(**kept, usage=None if usage is None else Usage(**usage))
            self.tally.remembered += 1
        else:
            answer = await self._ask(messages, settings)
            if answer.message is not None:
                _REPLIES.keep(asked, asdict(answer))
        self.tally.requests += 1
        self.tally.uncounted += answer.message is not None and answer.usage is None
        self.tally.models |= {answer.model} - {""}
        self.tally.fingerprints |= {answer.fingerprint} - {""}
        return answer

    def to_json(self) -> dict[str, Any]:
        """Model, server and tally, as recorded."""
        tally = {name: sorted(value) if isinstance(value, set) else value for name, value in vars(self.tally).items()}
        named = {"model": _name(self.server.model), "models": sorted(map(_name, self.tally.models))}
        return {**tally, **named, "url": self.server.url}

    async def _ask(self, messages: Sequence[dict[str, Any]], settings: dict[str, Any]) -> Answer:
        room = self._room.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._parallel))
        for attempt in range(self.retries + 1):
            async with room:
                said, seconds = await _aside(lambda: self._timed(messages, settings))
            self.tally.seconds += seconds
            if said.message is not None or said.no_room:
                return said
            self.tally.failed += 1
            if said.hopeless or attempt == self.retries:
                break
            await asyncio.sleep(max(self.pause * 2**attempt, said.pause))
        times = "once" if attempt == 0 else f"{attempt + 1} times"
        raise ServerFailed(
            f"{self.server.who}, model {self.server.model} at {self.server.url}: asked {times} without an answer: "
            f"{' '.join(said.problem.split())}"
        )

    def _timed(self, messages: Sequence[dict[str, Any]], settings: dict[str, Any]) -> tuple[Answer, float]:
        begun = time.monotonic()
        return self.server.ask(messages, **settings), time.monotonic() - begun


async def _aside(work: Callable[[], T]) -> T:
    """What comes of work in a thread of its own, which nobody waits for who has given it up."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def do() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed to who waits
            future.set_exception(error)

    Thread(target=do, name="r3lbench-hosted", daemon=True).start()
    waiting = asyncio.wrap_future(future)
    try:
        # A Ctrl-C that comes just before the event loop falls asleep does not wake it.
        while not (await asyncio.wait([waiting], timeout=_HEARTBEAT))[0]:
            pass
        return waiting.result()
    finally:
        waiting.cancel()


def _check_address(url: str, who: str, key_env: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadConfig(f"{who} has a url that cannot be read: {error}") from error
    if "@" in parts.netloc:
        # The address is a setting, and settings are recorded.
        raise BadConfig(f"{who} has a url that holds a name or password; put the key into the variable {key_env}")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isprintable():
        raise BadConfig(f"{who} has no server's address for a url: {url!r}; give one like http://localhost:8000/v1")


def _counted(usage: _Usage) -> Usage:
    details = usage.prompt_tokens_details
    cached = 0 if details is None else details.cached_tokens or 0
    return Usage(usage.prompt_tokens, min(cached, usage.prompt_tokens), usage.completion_tokens)


def _name(model: str) -> str:
    """Of a model named from the root of the server's machine, its own name only."""
    return Path(model).name if Path(model).is_absolute() else model


def _seconds(header: str) -> float:
    """A Retry-After header's seconds; 0 where it holds none (it may be a date)."""
    return min(float(header), _LONGEST_PAUSE) if re.fullmatch(r"\d{1,9}(\.\d+)?", header) else 0.0
