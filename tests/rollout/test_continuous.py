"""Nobody waits for anybody else: who joins when, what is begun meanwhile, and how it all ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.engines.engine import Completion, Request, Sampling
from r3lbench.engines.scripted import ScriptedEngine
from r3lbench.env import TextEnv
from r3lbench.rollout.continuous import Continuous
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.waves import Deed, Waves
from r3lbench.snapshot import Snapshot
from tests.toy import Toy


class Steps(ScriptedEngine):
    """Says as many words as its first token says, one at a step, to so many at once; writes down who is there."""

    def __init__(self, rows: int = 1000) -> None:
        super().__init__(lambda request: [7] * request.token_ids[0])
        self.rows = rows
        self.there: list[list[str]] = []
        self._left: dict[Request, int] = {}

    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        self.work.steps += max(request.token_ids[0] for request in requests)
        return super().wave(requests)

    def admit(self, requests: Sequence[Request]) -> int:
        taken = requests[: self.rows - len(self._left)]
        self._left |= {request: request.token_ids[0] for request in taken}
        return len(taken)

    def advance(self) -> list[tuple[Request, Completion]]:
        self.there.append([request.key for request in self._left])
        self.work.steps += bool(self._left)
        self._left = {request: left - 1 for request, left in self._left.items()}
        ended = [request for request, left in self._left.items() if left == 0]
        for request in ended:
            del self._left[request]
        return [(request, super(Steps, self).wave([request])[0]) for request in ended]

    def abandon(self) -> None:
        self._left = {}


class Failing(Steps):
    """Breaks when a certain key comes."""

    def admit(self, requests: Sequence[Request]) -> int:
        if any(request.key.endswith("b1") for request in requests):
            raise MemoryError("out of memory at b1")
        return super().admit(requests)


def request(key: str, length: int = 1, purpose: str = "attempt") -> Request:
    return Request((length,), Sampling(), seed=0, purpose=purpose, key=key)


async def speak(waves: Waves, key: str, lengths: Sequence[int], purpose: str = "attempt") -> list[int]:
    """One request after the other; how long the replies are."""
    said = [await waves.generate(request(f"{key}{turn}", length, purpose)) for turn, length in enumerate(lengths)]
    return [len(completion.token_ids) for completion in said]


def steps_of(waves: Waves) -> int:
    assert waves.engine is not None
    return waves.engine.work.steps


def test_everyone_gets_the_answer_to_their_own_request() -> None:
    waves = Continuous(Steps(rows=2))
    plans = [(3, 1), (1, 4, 2), (2,), (5, 1)]
    said = asyncio.run(waves.gather(speak(waves, f"k{who}.", plan) for who, plan in enumerate(plans)))
    assert said == [list(plan) for plan in plans]


def test_a_lone_request_is_answered_and_nothing_gathers_to_nothing() -> None:
    waves = Continuous(Steps())
    assert asyncio.run(speak(waves, "a", [2])) == [2]
    assert asyncio.run(waves.gather([])) == []


def test_who_is_done_asks_again_while_others_are_being_answered_whatever_for() -> None:
    engine = Steps()
    waves = Continuous(engine)
    asyncio.run(waves.gather([speak(waves, "a", [4]), speak(waves, "b", [1, 2]), speak(waves, "c", [2, 1], "reflect")]))
    assert [sorted(keys) for keys in engine.there if keys] == [
        ["a0", "b0", "c0"],
        ["a0", "b1", "c0"],
        ["a0", "b1", "c1"],
        ["a0"],
    ]


def test_a_slot_stays_with_an_attempt_until_it_is_over_and_is_then_the_next_one_s() -> None:
    engine = Steps(rows=2)
    waves = Continuous(engine)
    asyncio.run(waves.gather(speak(waves, who, [1, 1]) for who in "cbda"))
    assert [sorted(keys) for keys in engine.there if keys] == [["a0", "b0"], ["a1", "b1"], ["c0", "d0"], ["c1", "d1"]]


plans = st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(plans=plans)
def test_it_takes_as_many_steps_as_the_longest_conversation_and_never_more_than_waves(plans: list[list[int]]) -> None:
    taken = []
    for schedule in (Continuous, Waves):
        waves = schedule(Steps())
        asyncio.run(waves.gather(speak(waves, f"k{who}.", plan) for who, plan in enumerate(plans)))
        taken.append(steps_of(waves))
    assert taken[0] == max(map(sum, plans)) <= taken[1]


@settings(max_examples=50, deadline=None)
@given(plans=plans, rows=st.integers(1, 4))
def test_no_slot_is_free_while_somebody_waits(plans: list[list[int]], rows: int) -> None:
    engine = Steps(rows)
    waves = Continuous(engine)
    asyncio.run(waves.gather(speak(waves, f"k{who}.", plan) for who, plan in enumerate(plans)))
    left = {f"k{who}.": list(plan) for who, plan in enumerate(plans) if plan}
    for keys in filter(None, engine.there):
        assert len(keys) == min(rows, len(left))
        for key in keys:
            who = key.partition(".")[0] + "."
            left[who][0] -= 1
            left[who] = left[who][1:] if left[who][0] == 0 else left[who]
            if not left[who]:
                del left[who]
    assert not left


def test_work_is_charged_to_the_purpose_of_each_request() -> None:
    meter = Meter()
    waves = Continuous(Steps(), meter)
    asyncio.run(waves.gather([speak(waves, "a", [3, 2]), speak(waves, "b", [4], "reflect")]))
    assert meter.to_json() == {
        "attempt": {"generated_tokens": 5, "prefilled_tokens": 2, "reused_tokens": 0},
        "reflect": {"generated_tokens": 4, "prefilled_tokens": 1, "reused_tokens": 0},
    }


def test_what_had_to_be_read_again_is_charged() -> None:
    class Forgetful(ScriptedEngine):
        def wave(self, requests: Sequence[Request]) -> list[Completion]:
            self.work.recomputed += 16
            return [Completion(of.token_ids, of.logprobs, of.stop, 3, 16) for of in super().wave(requests)]

    for schedule in (Continuous, Waves):
        meter = Meter()
        asyncio.run(schedule(Forgetful(lambda request: [7]), meter).generate(request("a")))
        assert meter.counts["attempt"]["recomputed_tokens"] == 16


# Errors


def test_the_engine_s_error_reaches_whoever_waits() -> None:
    waves = Continuous(Failing())
    with pytest.raises(MemoryError, match="out of memory at b1"):
        asyncio.run(waves.gather(speak(waves, who, [1, 1, 1]) for who in "abc"))


def test_the_first_error_ends_the_others_and_what_they_asked() -> None:
    engine = Steps()
    waves = Continuous(engine)
    ended = []

    async def faulty() -> None:
        await waves.generate(request("faulty"))
        raise ValueError("no such action")

    async def other() -> None:
        try:
            await speak(waves, "other", [100])
        finally:
            ended.append("other")

    async def both() -> None:
        with pytest.raises(ValueError, match="no such action"):
            await waves.gather([faulty(), other()])
        # Nobody is there any more; somebody who comes later is answered.
        assert await speak(waves, "later", [2]) == [2]

    asyncio.run(both())
    assert ended == ["other"]
    assert len(engine.there) < 8 and "other0" not in engine.there[-1]


def test_after_an_error_that_is_caught_the_others_go_on() -> None:
    waves = Continuous(Failing())

    async def group(name: str) -> list[list[int]]:
        with pytest.raises(MemoryError):
            await waves.gather([speak(waves, f"{name}b", [1, 1]), speak(waves, f"{name}c", [1, 2, 3])])
        return await waves.gather(speak(waves, f"{name}{who}", [1, 2]) for who in "pq")

    assert asyncio.run(waves.gather([group("x"), group("y")])) == [[[1, 2]] * 2] * 2


def test_who_is_cancelled_leaves_the_engine_idle() -> None:
    engine = Steps()
    waves = Continuous(engine)

    async def interrupted() -> None:
        whole = asyncio.ensure_future(waves.gather(speak(waves, who, [1000]) for who in "ab"))
        for _ in range(20):
            await asyncio.sleep(0)
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole
        count = len(engine.there)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(engine.there) <= count + 1

    asyncio.run(interrupted())
    assert engine._left == {}


# Deeds of environments, and instances to do them with


class Crew:
    """Does deeds in threads, and has a few instances."""

    def __init__(self, instances: int = 0) -> None:
        self.idle: list[TextEnv] = [Toy() for _ in range(instances)]
        self.threads = ThreadPoolExecutor(4)

    def begin(self, deed: Deed) -> Future[Any]:
        return self.threads.submit(deed.do)

    def carry_out(self, deeds: Sequence[Deed]) -> list[Any]:
        raise AssertionError("deeds are begun one by one")

    def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
        return [self.idle.pop() if self.idle else None for _ in wishes]

    def give_back(self, env: TextEnv) -> None:
        self.idle.append(env)


def test_the_model_goes_on_while_an_environment_is_at_work() -> None:
    waves, crew, said = Continuous(Steps()), Crew(), threading.Event()

    async def slow() -> Any:
        return await waves.carry_out(crew, "slow", Deed("lane", lambda: said.wait(60)))

    async def quick() -> None:
        await speak(waves, "quick", [2, 2])
        said.set()

    assert asyncio.run(waves.gather([slow(), quick()])) == [True, None]


def test_the_model_waits_while_more_are_away_than_ask_it() -> None:
    engine, crew = Steps(), Crew()
    waves, seen = Continuous(engine), []

    def slow() -> None:
        time.sleep(0.05)
        seen.append(len(engine.there))

    async def away(key: str, lane: str) -> None:
        await waves.carry_out(crew, key, Deed(lane, slow))

    # Two of them share a lane, so one has not even begun when the first has ended.
    asyncio.run(waves.gather([away("a", "one"), away("b", "one"), away("c", "two"), speak(waves, "d", [5])]))
    assert seen[:2] == [0, 0]


def test_deeds_of_one_lane_are_done_one_after_the_other_and_those_of_others_beside_them() -> None:
    waves, crew = Continuous(None), Crew()
    together, began = threading.Barrier(2), []

    def meet(who: str) -> None:
        began.append(who)
        together.wait(60)

    async def go(key: str, lane: str) -> None:
        await waves.carry_out(crew, key, Deed(lane, lambda: meet(key)))

    # Two meet, then the other two; those of one lane would wait for each other in vain.
    asyncio.run(waves.gather([go("a", "one"), go("b", "one"), go("c", "two"), go("d", "two")]))
    assert {frozenset(began[:2]), frozenset(began[2:])} == {frozenset("ac"), frozenset("bd")}


def test_a_deed_s_error_reaches_who_waits_for_it_and_nobody_else() -> None:
    waves, crew = Continuous(None), Crew()

    def fail() -> None:
        raise ValueError("no such door")

    async def attempt(do: Any) -> str:
        try:
            await waves.carry_out(crew, "key", Deed("lane", do))
        except ValueError as error:
            return str(error)
        return "done"

    assert asyncio.run(waves.gather([attempt(list), attempt(fail), attempt(list)])) == ["done", "no such door", "done"]


def test_the_lane_of_who_is_given_up_is_not_free_before_the_deed_is_done() -> None:
    waves, crew, go_on = Continuous(Steps()), Crew(), threading.Event()
    order = []

    def slow() -> None:
        go_on.wait(60)
        order.append("slow")

    async def faulty() -> None:
        await waves.generate(request("faulty"))
        raise ValueError("over")

    async def whole() -> None:
        with pytest.raises(ValueError, match="over"):
            await waves.gather([waves.carry_out(crew, "slow", Deed("lane", slow)), faulty()])
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await waves.carry_out(crew, "next", Deed("lane", lambda: order.append("next")))

    asyncio.run(whole())
    assert order == ["slow", "next"]


def test_ctrl_c_does_not_wait_for_deeds(capfd: pytest.CaptureFixture[str]) -> None:
    waves, crew, go_on = Continuous(None), Crew(), threading.Event()

    async def interrupted() -> None:
        whole = asyncio.ensure_future(waves.gather([waves.carry_out(crew, "a", Deed("lane", lambda: go_on.wait(60)))]))
        for _ in range(5):
            await asyncio.sleep(0)
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole

    asyncio.run(interrupted())
    go_on.set()
    crew.threads.shutdown()
    assert capfd.readouterr() == ("", "")


def test_an_instance_is_lent_as_soon_as_it_is_back() -> None:
    engine = Steps()
    waves, crew = Continuous(engine), Crew(instances=2)

    async def episode(key: str, turns: list[int]) -> None:
        env = await waves.borrow(crew, key, None)
        await speak(waves, key, turns)
        crew.give_back(env)

    asyncio.run(waves.gather(episode(key, turns) for key, turns in (("c", [1]), ("b", [1]), ("a", [3]), ("d", [1]))))
    assert {max(map(len, engine.there)), len(crew.idle)} == {2}
    assert [sorted(keys)[-1] for keys in engine.there if keys] == ["b0", "c0", "d0"]


def test_who_has_an_instance_and_waits_for_another_is_told_so() -> None:
    waves, crew = Continuous(Steps()), Crew(instances=2)

    async def greedy(key: str) -> None:
        for turn in range(2):
            await waves.borrow(crew, key, None)
            await speak(waves, f"{key}{turn}.", [2])

    with pytest.raises(RuntimeError, match="every instance is lent"):
        asyncio.run(waves.gather([greedy("a"), greedy("b")]))
