from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.engines.engine import Completion, Request, Sampling, Stop
from r3lbench.engines.scripted import ScriptedEngine
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.waves import Waves

SAMPLING = Sampling(max_tokens=4, stop_ids=(9,))


class Failing(ScriptedEngine):
    """Breaks on the wave that holds a certain key."""

    def __init__(self, key: str) -> None:
        super().__init__(lambda request: [1])
        self.key = key

    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        if any(request.key == self.key for request in requests):
            raise MemoryError(f"out of memory at {self.key}")
        return super().wave(requests)


def request(key: str, purpose: str = "attempt", context: tuple[int, ...] = (0,)) -> Request:
    return Request(context, SAMPLING, seed=0, purpose=purpose, key=key)


def echo() -> Waves:
    """Replies with the context."""
    return Waves(ScriptedEngine(lambda request: request.token_ids))


def fired(waves: Waves) -> list[list[str]]:
    """Keys of every wave."""
    assert isinstance(waves.engine, ScriptedEngine)
    return [[request.key for request in wave] for wave in waves.engine.waves]


async def speak(waves: Waves, key: str, purposes: Sequence[str]) -> list[Completion]:
    """One request after the other."""
    return [await waves.generate(request(f"{key}{turn}", purpose)) for turn, purpose in enumerate(purposes)]


def test_a_lone_request_is_answered_at_once() -> None:
    waves = echo()
    completion = asyncio.run(waves.generate(request("a", context=(1, 2))))
    assert completion == Completion((1, 2, 9), (-0.5, -0.5, -0.5), Stop.END)
    assert fired(waves) == [["a"]]


def test_all_who_wait_are_answered_together_in_the_order_of_their_keys() -> None:
    waves = echo()
    keys = ["c", "a", "d", "b"]
    asyncio.run(waves.gather(waves.generate(request(key)) for key in keys))
    assert fired(waves) == [["a", "b", "c", "d"]]


def test_everyone_gets_the_answer_to_their_own_request() -> None:
    waves = echo()
    contexts = [(3,), (1,), (2,)]
    answers = asyncio.run(
        waves.gather(waves.generate(request(f"k{9 - place}", context=of)) for place, of in enumerate(contexts))
    )
    assert [answer.token_ids for answer in answers] == [(3, 9), (1, 9), (2, 9)]


def test_results_come_in_the_order_of_the_coroutines_and_nothing_gathers_to_nothing() -> None:
    waves = echo()

    async def after(turns: int) -> int:
        await speak(waves, f"k{turns}.", ["attempt"] * turns)
        return turns

    assert asyncio.run(waves.gather(after(turns) for turns in (3, 1, 2))) == [3, 1, 2]
    assert asyncio.run(waves.gather([])) == []
    assert [len(wave) for wave in fired(waves)] == [3, 2, 1]


def test_one_purpose_at_a_time() -> None:
    waves = echo()
    asyncio.run(
        waves.gather(
            [
                speak(waves, "a", ["attempt", "reflect", "retry"]),
                speak(waves, "b", ["attempt", "attempt", "reflect"]),
                speak(waves, "c", ["reflect"]),
            ]
        )
    )
    # Whoever waits with a later purpose is joined by those who come to it.
    assert fired(waves) == [["a0", "b0"], ["b1"], ["a1", "b2", "c0"], ["a2"]]


def test_nothing_is_fired_while_somebody_is_on_the_way() -> None:
    waves = echo()

    async def late() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await waves.generate(request("late"))

    asyncio.run(waves.gather([late(), waves.generate(request("early"))]))
    assert fired(waves) == [["early", "late"]]


def test_who_has_ended_is_not_waited_for() -> None:
    waves = echo()

    async def silent() -> None:
        await asyncio.sleep(0)

    asyncio.run(waves.gather([silent(), speak(waves, "a", ["attempt"]), silent()]))
    assert fired(waves) == [["a0"]]


def test_gatherings_within_gatherings_share_waves() -> None:
    waves = echo()

    async def group(name: str, members: int) -> None:
        await waves.gather(speak(waves, f"{name}{member}.", ["attempt"]) for member in range(members))
        await waves.generate(request(f"{name}.", "reflect"))
        await waves.gather(speak(waves, f"{name}{member}r.", ["retry"]) for member in range(members))

    asyncio.run(waves.gather([group("x", 2), group("y", 3)]))
    assert [len(wave) for wave in fired(waves)] == [5, 2, 5]
    assert fired(waves)[1] == ["x.", "y."]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_waves_depend_on_nothing_but_the_requests(seed: int) -> None:
    plans = [
        [random.Random(f"{seed}{who}").choice(["attempt", "reflect", "retry"]) for _ in range(who)] for who in range(6)
    ]

    def run(order: random.Random) -> list[list[str]]:
        waves = echo()
        coroutines = [speak(waves, f"k{who}.", plan) for who, plan in enumerate(plans)]
        order.shuffle(coroutines)
        asyncio.run(waves.gather(coroutines))
        return fired(waves)

    first = run(random.Random(1))
    assert first == run(random.Random(2))
    assert sorted(key for wave in first for key in wave) == sorted(
        f"k{who}.{turn}" for who, plan in enumerate(plans) for turn in range(len(plan))
    )


def test_hundreds_of_coroutines_advance_together() -> None:
    waves = echo()
    asyncio.run(waves.gather(speak(waves, f"{who:03d}.", ["attempt"] * 7) for who in range(300)))
    assert [len(wave) for wave in fired(waves)] == [300] * 7


# Errors


def test_the_engine_s_error_reaches_whoever_gathers() -> None:
    waves = Waves(Failing("b1"))
    with pytest.raises(MemoryError, match="out of memory at b1"):
        asyncio.run(waves.gather(speak(waves, who, ["attempt"] * 3) for who in "abc"))


def test_the_first_error_ends_the_others() -> None:
    waves = echo()
    ended = []

    async def faulty() -> None:
        await waves.generate(request("faulty"))
        raise ValueError("no such action")

    async def other() -> None:
        try:
            await speak(waves, "other", ["attempt"] * 100)
        finally:
            ended.append("other")

    with pytest.raises(ValueError, match="no such action"):
        asyncio.run(waves.gather([faulty(), other()]))
    assert ended == ["other"]
    assert len(fired(waves)) < 5


def test_after_an_error_that_is_caught_the_others_go_on() -> None:
    waves = Waves(Failing("x0"))
    left = []

    async def nested(who: str) -> None:
        try:
            await waves.gather([waves.gather([speak(waves, who, ["retry"])])])
        finally:
            left.append(who)

    async def group() -> list[list[Completion]]:
        with pytest.raises(MemoryError):
            await waves.gather([speak(waves, "x", ["attempt"]), nested("y")])
        assert left == ["y"]
        return await waves.gather(speak(waves, who, ["retry"]) for who in "pq")

    async def both() -> list[list[list[Completion]]]:
        return await waves.gather([group(), waves.gather([speak(waves, "z", ["retry", "retry"])])])

    asyncio.run(both())
    # The request of the one that was given up is asked no more.
    assert fired(waves) == [["p0", "q0", "z0"], ["z1"]]


# Cost


def test_work_is_charged_to_the_purpose_of_the_wave() -> None:
    meter = Meter()
    waves = Waves(ScriptedEngine(lambda request: [1, 1]), meter)
    asyncio.run(waves.gather([speak(waves, "a", ["attempt", "reflect"]), speak(waves, "b", ["attempt"])]))
    assert meter.to_json() == {
        "attempt": {"generated_tokens": 6, "prefilled_tokens": 2, "reused_tokens": 0},
        "reflect": {"generated_tokens": 3, "prefilled_tokens": 1, "reused_tokens": 0},
    }
