"""Waves without their troughs: nobody waits for the longest reply, or for the slowest environment.

A request joins the batch that is running as soon as there is room in it, and leaves it with its answer; what
environments do elsewhere is begun as soon as it is asked for, while the model goes on, as long as at least as many ask
it as are away. Those who wait for room are admitted in the order of their keys, so that a slot stays with an attempt,
and then with its group, until it is over.

What is sampled for a request is the same as in waves but for rounding. Which requests run beside each other depends on
who is ready first, and so, where environments play elsewhere, on time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from r3lbench.engines.engine import Completion, Engine
from r3lbench.phases import phase
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.waves import Waiting, Waves, recomputed


class Continuous(Waves):
    """Answers requests as they come; arguments as of ``Waves``."""

    def __init__(self, engine: Engine | None, meter: Meter | None = None) -> None:
        super().__init__(engine, meter)
        self._due = False
        self._answering: dict[str, Waiting[Completion]] = {}
        self._busy: set[Hashable] = set()

    def _stir(self) -> None:
        """Somebody waits, or has ended: see what can be done once those who are ready have gone on."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._fire)

    def _fire(self) -> None:
        self._due = False
        self._leave_out_given_up()
        self._begin_deeds()
        if self._lend():
            # Whoever was lent something has something to ask.
            self._stir()
        elif self.engine is not None and len(self._requests) + len(self._answering) >= self._away:
            # Where more are away they are waited for: a step of few rows takes about as long as one of many.
            self._let_answer(self.engine)

    @property
    def _away(self) -> int:
        """How many wait for what environments do elsewhere."""
        return len(self._busy) + len(self._deeds)

    def _begin_deeds(self) -> None:
        """Those whose lanes are free."""
        loop, waiting, self._deeds = asyncio.get_running_loop(), self._deeds, []
        for one in waiting:
            if one.asks.lane in self._busy:
                self._deeds.append(one)
                continue
            assert one.crew is not None
            self._busy.add(one.asks.lane)

            def done(outcome: Future[Any], one: Waiting[Any] = one) -> None:
                # There is no loop any more where Ctrl-C has ended everybody.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._done, one, outcome)

            one.crew.begin(one.asks).add_done_callback(done)

    def _done(self, waiting: Waiting[Any], outcome: Future[Any]) -> None:
        self._busy.remove(waiting.asks.lane)
        error = outcome.exception()
        if waiting.future.done():
            pass
        elif error is not None:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(outcome.result())
        self._stir()

    def _let_answer(self, engine: Engine) -> None:
        """Let requests join, and the batch go on by a token."""
        if all(waiting.future.done() for waiting in self._answering.values()):
            # Whoever asked has been given up.
            engine.abandon()
            self._answering.clear()
        if not self._requests and not self._answering:
            return
        self._requests.sort(key=lambda waiting: waiting.key)
        try:
            with phase("replies"):
                count = engine.admit([waiting.asks for waiting in self._requests])
                self._answering |= {waiting.key: waiting for waiting in self._requests[:count]}
                self._requests = self._requests[count:]
                answered = engine.advance()
        except Exception as error:  # noqa: BLE001 - handed to every coroutine that waits
            engine.abandon()
            for waiting in (*self._answering.values(), *self._requests):
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            self._answering.clear()
            self._requests.clear()
            return
        for request, completion in answered:
            self.meter.add(
                request.purpose,
                generated_tokens=len(completion.token_ids),
                prefilled_tokens=len(request.token_ids) - completion.reused,
                reused_tokens=completion.reused,
                **recomputed(completion.recomputed),
            )
            waiting = self._answering.pop(request.key)
            if not waiting.future.done():
                waiting.future.set_result(completion)
        self._stir()
