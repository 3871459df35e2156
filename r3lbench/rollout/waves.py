"""Hundreds of coroutines, one model.

Attempts advance as coroutines. Whenever every one of them waits for the model, the requests of one purpose go to the
engine as one wave, sorted by key. Nothing depends on timing: the same coroutines make the same waves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import TypeVar

from r3lbench.engines.engine import Completion, Engine, Request
from r3lbench.rollout.meter import Meter

T = TypeVar("T")


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
        self._waiting: list[tuple[Request, asyncio.Future[Completion]]] = []

    async def generate(self, request: Request) -> Completion:
        """Wait for the wave that answers ``request``."""
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._fire_if_quiet()
        return await future

    async def gather(self, awaitables: Iterable[Awaitable[T]]) -> list[T]:
        """Run coroutines side by side and return their results in order; the first error ends them all."""
        tasks = [asyncio.ensure_future(self._child(awaitable)) for awaitable in awaitables]
        if not tasks:
            return []
        # While the parent waits, its children run in its place; the last child to end hands the place back.
        self._live += len(tasks) - 1
        remaining = len(tasks)

        def ended(task: asyncio.Task[T]) -> None:
            nonlocal remaining
            remaining -= 1
            if not task.cancelled() and task.exception() is not None:
                for other in tasks:
                    other.cancel()
            if remaining:
                self._live -= 1
                self._fire_if_quiet()

        for task in tasks:
            task.add_done_callback(ended)
        try:
            return list(await asyncio.gather(*tasks))
        except BaseException:
            # By now all are cancelled; what they have borrowed is given back before anyone goes on.
            await asyncio.wait(tasks)
            raise

    async def _child(self, awaitable: Awaitable[T]) -> T:
        return await awaitable

    def _fire_if_quiet(self) -> None:
        if self._waiting and len(self._waiting) >= self._live:
            # Callbacks of this turn of the loop run first: a task that has just ended may free its parent.
            asyncio.get_running_loop().call_soon(self._fire)

    def _fire(self) -> None:
        # Who was given up while it waited has cancelled its future.
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]
        if not self._waiting or len(self._waiting) < self._live or self.engine is None:
            return
        purpose = min(request.purpose for request, _ in self._waiting)
        wave = sorted((pair for pair in self._waiting if pair[0].purpose == purpose), key=lambda pair: pair[0].key)
        self._waiting = [pair for pair in self._waiting if pair[0].purpose != purpose]
        before = replace(self.engine.work)
        try:
            completions = self.engine.wave([request for request, _ in wave])
        except Exception as error:  # noqa: BLE001 - handed to every coroutine that waits
            for _, future in wave:
                if not future.done():
                    future.set_exception(error)
            return
        after = self.engine.work
        self.meter.add(
            purpose,
            generated_tokens=after.generated - before.generated,
            prefilled_tokens=after.prefilled - before.prefilled,
            reused_tokens=after.reused - before.reused,
        )
        for (_, future), completion in zip(wave, completions, strict=True):
            if not future.done():
                future.set_result(completion)
