from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.engines.engine import Completion, Request, Sampling, Stop
from r3lbench.engines.scripted import ScriptedEngine
from r3lbench.env import TextEnv
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.waves import Deed, Waves
from r3lbench.snapshot import Snapshot
from tests.toy import Toy

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


@pytest.mark.filterwarnings("error")
def test_who_is_ended_before_it_began_leaves_no_word() -> None:
    async def idle() -> None:
        await asyncio.sleep(60)

    async def interrupted() -> None:
        waves = echo()
        async with asyncio.TaskGroup() as group:
            whole = group.create_task(waves.gather(waves.gather([idle()]) for _ in range(2)))
            # One turn begins the gathering, the next begins those within, whose own have not begun then.
            for _ in range(2):
                await asyncio.sleep(0)
            whole.cancel()

    asyncio.run(interrupted())
    gc.collect()


def test_work_is_charged_to_the_purpose_of_the_wave() -> None:
    meter = Meter()
    waves = Waves(ScriptedEngine(lambda request: [1, 1]), meter)
    asyncio.run(waves.gather([speak(waves, "a", ["attempt", "reflect"]), speak(waves, "b", ["attempt"])]))
    assert meter.to_json() == {
        "attempt": {"generated_tokens": 6, "prefilled_tokens": 2, "reused_tokens": 0},
        "reflect": {"generated_tokens": 3, "prefilled_tokens": 1, "reused_tokens": 0},
    }


# Deeds of environments, and instances to do them with


class Crew:
    """Does deeds one by one, has a few instances, and writes down in which order it is asked."""

    def __init__(self, instances: int = 0) -> None:
        self.idle: list[TextEnv] = [Toy() for _ in range(instances)]
        self.done: list[list[Any]] = []
        self.wished: list[int] = []

    def carry_out(self, deeds: Sequence[Deed]) -> list[Any]:
        self.done.append([deed.lane for deed in deeds])
        outcomes: list[Any] = []
        for deed in deeds:
            try:
                outcomes.append(deed.do())
            except ValueError as error:
                outcomes.append(error)
        return outcomes

    def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
        self.wished.append(len(wishes))
        return [self.idle.pop() if self.idle else None for _ in wishes]

    def give_back(self, env: TextEnv) -> None:
        self.idle.append(env)


def nothing() -> None:
    """Do nothing."""


async def work(waves: Waves, crew: Crew, key: str, count: int) -> None:
    """One deed after the other, with a word to the engine after each."""
    for turn in range(count):
        await waves.carry_out(crew, f"{key}{turn}", Deed(f"{key}{turn}", nothing))
        await waves.generate(request(f"{key}{turn}"))


def test_all_deeds_are_done_together_in_the_order_of_their_keys_before_the_engine_is_asked() -> None:
    waves, crew = echo(), Crew()

    async def early() -> None:
        await waves.generate(request("early"))

    asyncio.run(
        waves.gather([early(), work(waves, crew, "c", 2), work(waves, crew, "a", 1), work(waves, crew, "b", 2)])
    )
    assert crew.done == [["a0", "b0", "c0"], ["b1", "c1"]]
    assert fired(waves) == [["a0", "b0", "c0", "early"], ["b1", "c1"]]


def test_who_did_something_goes_on_in_the_order_of_the_keys() -> None:
    waves, crew = echo(), Crew()
    went_on = []

    async def go(key: str) -> None:
        await waves.carry_out(crew, key, Deed(key, nothing))
        went_on.append(key)

    asyncio.run(waves.gather(go(key) for key in "dbca"))
    assert went_on == ["a", "b", "c", "d"]


def test_a_deed_s_error_reaches_who_waits_for_it_and_nobody_else() -> None:
    waves, crew = echo(), Crew()

    def fail() -> None:
        raise ValueError("no such door")

    async def attempt(do: Any) -> str:
        try:
            await waves.carry_out(crew, "key", Deed("lane", do))
        except ValueError as error:
            return str(error)
        return "done"

    assert asyncio.run(waves.gather([attempt(nothing), attempt(fail), attempt(nothing)])) == [
        "done",
        "no such door",
        "done",
    ]


def test_instances_are_lent_in_the_order_of_keys_and_waited_for_while_the_engine_works() -> None:
    waves, crew = echo(), Crew(instances=2)
    begun = []

    async def episode(key: str, turns: int) -> None:
        env = await waves.borrow(crew, key, None)
        begun.append(key)
        await speak(waves, key, ["attempt"] * turns)
        crew.give_back(env)

    asyncio.run(waves.gather(episode(key, turns) for key, turns in (("c", 1), ("b", 1), ("a", 3), ("d", 1))))
    assert begun == ["a", "b", "c", "d"]
    assert fired(waves) == [["a0", "b0"], ["a1", "c0"], ["a2", "d0"]]
    assert len(crew.idle) == 2


def test_who_has_an_instance_and_waits_for_another_is_told_so() -> None:
    waves, crew = echo(), Crew(instances=2)

    async def greedy(key: str) -> None:
        for _ in range(2):
            await waves.borrow(crew, key, None)

    with pytest.raises(RuntimeError, match="every instance is lent"):
        asyncio.run(waves.gather([greedy("a"), greedy("b")]))


def test_an_error_of_the_lender_reaches_who_waits() -> None:
    class Broke(Crew):
        def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
            raise ValueError("nothing to lend")

    waves = echo()
    with pytest.raises(ValueError, match="nothing to lend"):
        asyncio.run(waves.gather([waves.borrow(Broke(), "a", None), waves.generate(request("b"))]))


def test_an_instance_that_was_lent_to_somebody_who_is_given_up_comes_back() -> None:
    class Late(Crew):
        """Whoever is lent something is given up before hearing of it."""

        def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
            asyncio.get_running_loop().call_soon(tasks[0].cancel)
            return super().lend(wishes)

    waves, crew = echo(), Late(instances=1)
    tasks: list[asyncio.Future[TextEnv]] = []

    async def ask() -> None:
        tasks.append(asyncio.ensure_future(waves.borrow(crew, "a", None)))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    asyncio.run(ask())
    assert len(crew.idle) == 1 and crew.wished == [1]


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("asked", ["deed", "wish"])
def test_who_is_given_up_while_the_crew_is_at_work_is_not_told(asked: str, refused: bool) -> None:
    class Interrupted(Crew):
        """Ctrl-C comes while it is at work."""

        def carry_out(self, deeds: Sequence[Deed]) -> list[Any]:
            tasks[0].cancel()
            return [ValueError("no such door")] if refused else super().carry_out(deeds)

        def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
            tasks[0].cancel()
            if refused:
                raise ValueError("nothing to lend")
            return super().lend(wishes)

    waves, crew = echo(), Interrupted(instances=1)
    tasks: list[asyncio.Future[Any]] = []
    complaints: list[dict[str, Any]] = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
        waiting = waves.borrow(crew, "a", None) if asked == "wish" else waves.carry_out(crew, "a", Deed("a", nothing))
        tasks.append(asyncio.ensure_future(waiting))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    asyncio.run(ask())
    assert complaints == [] and len(crew.idle) == 1
