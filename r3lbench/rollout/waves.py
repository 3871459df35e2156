"""Hundreds of coroutines, one model.

Attempts advance as coroutines. Whenever every one of them waits, what they wait for is carried out together, sorted by
key: first the deeds of environments that run elsewhere, side by side; then instances of environments are lent to
whoever waits for one; and only when neither is left to do, the requests of one purpose go to the engine as one wave.
Nothing depends on timing: the same coroutines make the same waves, however long a deed takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from r3lbench.engines.engine import Completion, Engine, Request
from r3lbench.env import TextEnv
from r3lbench.phases import Path, phase
from r3lbench.rollout.meter import Meter
from r3lbench.snapshot import Snapshot

T = TypeVar("T")


@dataclass(frozen=True)
class Deed:
    """Something that an environment does elsewhere: in a worker process, or in a thread.

    Attributes:
        lane: Deeds of one lane are done one after the other.
        do: Does it, in any thread.
        phase: What its time counts for.
    """

    lane: Hashable
    do: Callable[[], Any]
    phase: Path = ()


class Crew(Protocol):
    """Who does deeds and lends instances; see ``EnvPool``."""

    def carry_out(self, deeds: Sequence[Deed]) -> list[Any]:
        """Do all, side by side, and wait for all; in the place of a result, the error that was raised."""

    def begin(self, deed: Deed) -> Future[Any]:
        """Have it done in a thread; no other one of its lane is begun meanwhile."""

    def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
        """An instance for each, as far as there are any; a wish is the snapshot that will be restored."""

    def give_back(self, env: TextEnv) -> None:
        """Take an instance back."""


@dataclass(frozen=True, eq=False)
class Waiting(Generic[T]):
    """Somebody who waits for ``future``, with what is asked for and of whom."""

    key: str
    asks: Any
    future: asyncio.Future[T]
    crew: Crew | None = None


class Waves:
    """Collects requests and fires them together.

    Args:
        engine: Who answers; None where nobody speaks (scripted or oracle play).
        meter: Where the engine's work is charged, by purpose.
    """

    def __init__(self, engine: Engine | None, meter: Meter | None = None) -> None:
        self.engine = engine
        self.meter = Meter() if meter is None else meter
        self._live = 1
        self._requests: list[Waiting[Completion]] = []
        self._deeds: list[Waiting[Any]] = []
        self._wishes: list[Waiting[TextEnv]] = []

    async def generate(self, request: Request) -> Completion:
        """Wait for the wave that answers ``request``."""
        return await self._wait(self._requests, Waiting(request.key, request, _future()))

    async def carry_out(self, crew: Crew, key: str, deed: Deed) -> Any:
        """Wait until ``crew`` has done ``deed``; raises what it raised."""
        return await self._wait(self._deeds, Waiting(key, deed, _future(), crew))

    async def borrow(self, crew: Crew, key: str, snapshot: Snapshot | None) -> TextEnv:
        """Wait for one of ``crew``'s instances, which is to be given back; ``snapshot`` is what will be restored."""
        wish: Waiting[TextEnv] = Waiting(key, snapshot, _future(), crew)
        try:
            return await self._wait(self._wishes, wish)
        except asyncio.CancelledError:
            if wish.future.done() and not wish.future.cancelled():
                crew.give_back(wish.future.result())
            raise

    async def gather(self, awaitables: Iterable[Awaitable[T]]) -> list[T]:
        """Run coroutines side by side and return their results in order; the first error ends them all."""
        tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
        if not tasks:
            return []
        # While the parent waits, its children run in its place; the last child to end hands the place back.
        self._live += len(tasks) - 1
        remaining = len(tasks)

        def ended(task: asyncio.Future[T]) -> None:
            nonlocal remaining
            remaining -= 1
            if not task.cancelled() and task.exception() is not None:
                for other in tasks:
                    other.cancel()
            if remaining:
                self._live -= 1
                self._stir()

        for task in tasks:
            task.add_done_callback(ended)
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            # By now all are cancelled; what they have borrowed is given back before anyone goes on.
            await asyncio.wait(tasks)
            raise

    @property
    def _waiting(self) -> int:
        return len(self._requests) + len(self._deeds) + len(self._wishes)

    async def _wait(self, line: list[Waiting[T]], waiting: Waiting[T]) -> T:
        line.append(waiting)
        self._stir()
        return await waiting.future

    def _stir(self) -> None:
        """Somebody waits, or has ended: fire if it is time."""
        if 0 < self._waiting >= self._live:
            # Callbacks of this turn of the loop run first: a task that has just ended may free its parent.
            asyncio.get_running_loop().call_soon(self._fire)

    def _fire(self) -> None:
        self._leave_out_given_up()
        if not 0 < self._waiting >= self._live:
            return
        if self._deeds:
            self._do_deeds()
        elif not self._lend():
            self._ask_engine()

    def _leave_out_given_up(self) -> None:
        # Who was given up while it waited has cancelled its future.
        self._requests = [waiting for waiting in self._requests if not waiting.future.done()]
        self._deeds = [waiting for waiting in self._deeds if not waiting.future.done()]
        self._wishes = [waiting for waiting in self._wishes if not waiting.future.done()]

    def _do_deeds(self) -> None:
        """All outstanding deeds of one crew."""
        crew = self._deeds[0].crew
        assert crew is not None
        wave = sorted((deed for deed in self._deeds if deed.crew is crew), key=lambda deed: deed.key)
        self._deeds = [deed for deed in self._deeds if deed.crew is not crew]
        for waiting, outcome in zip(wave, crew.carry_out([waiting.asks for waiting in wave]), strict=True):
            if waiting.future.done():
                # Given up meanwhile: Ctrl-C does not wait for deeds.
                continue
            if isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)

    def _lend(self) -> bool:
        """Lend what can be lent; whether anything was."""
        if not self._wishes:
            return False
        crew = self._wishes[0].crew
        assert crew is not None
        wave = sorted((wish for wish in self._wishes if wish.crew is crew), key=lambda wish: wish.key)
        try:
            lent = crew.lend([wish.asks for wish in wave])
        except Exception as error:  # noqa: BLE001 - handed to every coroutine that waits
            self._refuse(wave, error)
            return True
        for wish, env in zip(wave, lent, strict=True):
            if env is not None:
                self._wishes.remove(wish)
                if wish.future.done():
                    crew.give_back(env)
                else:
                    wish.future.set_result(env)
        if any(env is not None for env in lent):
            return True
        if len(self._wishes) < self._live:
            return False
        self._refuse(wave, RuntimeError("every instance is lent to somebody who waits for another one"))
        return True

    def _refuse(self, wishes: Sequence[Waiting[TextEnv]], error: Exception) -> None:
        self._wishes = [wish for wish in self._wishes if wish not in wishes]
        for wish in wishes:
            if not wish.future.done():
                wish.future.set_exception(error)

    def _ask_engine(self) -> None:
        """One purpose's requests."""
        if not self._requests or self.engine is None:
            return
        purpose = min(waiting.asks.purpose for waiting in self._requests)
        wave = sorted((one for one in self._requests if one.asks.purpose == purpose), key=lambda one: one.key)
        self._requests = [waiting for waiting in self._requests if waiting.asks.purpose != purpose]
        before = replace(self.engine.work)
        try:
            with phase(purpose):
                completions = self.engine.wave([waiting.asks for waiting in wave])
        except Exception as error:  # noqa: BLE001 - handed to every coroutine that waits
            for waiting in wave:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            return
        after = self.engine.work
        self.meter.add(
            purpose,
            generated_tokens=after.generated - before.generated,
            prefilled_tokens=after.prefilled - before.prefilled,
            reused_tokens=after.reused - before.reused,
            **recomputed(after.recomputed - before.recomputed),
        )
        for waiting, completion in zip(wave, completions, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(completion)


def recomputed(tokens: int) -> dict[str, int]:
    """What a meter is told of tokens that were read again; nothing where there were none."""
    return {"recomputed_tokens": tokens} if tokens else {}


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()
