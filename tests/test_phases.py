"""Phases lie within each other, and what is counted for them is all the time that there was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.phases import Path, Phases, Seconds, from_json, phase, side_by_side, spans, to_json, total
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Deed
from tests.toy import Toy


@dataclass
class Clock:
    """Goes on only when told to; the CPU works a quarter of the time."""

    time: float = 0.0

    def __call__(self) -> Seconds:
        return Seconds(self.time, self.time / 4)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def phases(clock: Clock) -> Iterator[Phases]:
    """What measures the test."""
    measured = Phases(clock)
    with measured.measuring():
        yield measured


def wall(phases: Phases) -> dict[str, float]:
    """Seconds of the wall clock by dotted path."""
    return {".".join(path): spent.wall for path, spent in phases.spent.items()}


def test_a_phase_counts_what_lies_in_it(clock: Clock, phases: Phases) -> None:
    clock.time += 100
    with phase("explore"):
        clock.time += 1
        with phase("attempt"):
            clock.time += 2
            with phase("decode"):
                clock.time += 4
        with phase("attempt", "step"):
            clock.time += 8
    with phase("learn"):
        clock.time += 16
    assert wall(phases) == {
        "explore": 15,
        "explore.attempt": 14,
        "explore.attempt.decode": 4,
        "explore.attempt.step": 8,
        "learn": 16,
    }
    assert all(spent.cpu == spent.wall / 4 for spent in phases.spent.values())


def test_a_phase_within_itself_is_no_other_one(clock: Clock, phases: Phases) -> None:
    with phase("evaluate"):
        clock.time += 1
        with phase("evaluate"):
            clock.time += 2
        with phase("evaluate", "step"):
            clock.time += 4
    assert wall(phases) == {"evaluate": 7, "evaluate.step": 4}


def test_what_ends_in_an_error_has_taken_its_time_all_the_same(clock: Clock, phases: Phases) -> None:
    with pytest.raises(RuntimeError), phase("learn"), phase("forward"):
        clock.time += 3
        raise RuntimeError
    with phase("record"):
        clock.time += 1
    assert wall(phases) == {"learn": 3, "learn.forward": 3, "record": 1}


def test_things_done_at_once_share_the_time_of_all(clock: Clock, phases: Phases) -> None:
    with phase("explore"), side_by_side() as tell:
        clock.time += 12
        tell(("attempt", "step"), 3.0)
        tell(("retry", "restore"), 1.0)
        tell(("attempt", "reset"), 2.0)
    assert wall(phases) == pytest.approx(
        {
            "explore": 12,
            "explore.attempt": 10,
            "explore.attempt.reset": 4,
            "explore.attempt.step": 6,
            "explore.retry": 2,
            "explore.retry.restore": 2,
        }
    )


def test_a_pool_tells_what_its_threads_did(clock: Clock, phases: Phases) -> None:
    def work() -> None:
        clock.time += 1

    def fail() -> None:
        clock.time += 1
        raise RuntimeError

    pool = EnvPool(Toy)
    with phase("explore"):
        deeds = [Deed(0, work, ("attempt", "step")), Deed(0, fail, ("retry", "step")), Deed(1, work, ("retry", "step"))]
        pool.carry_out(deeds)
    pool.close()
    found = wall(phases)
    assert set(found) == {"explore", *(f"explore.{of}" for of in ("attempt", "attempt.step", "retry", "retry.step"))}
    assert found["explore.attempt"] + found["explore.retry"] == pytest.approx(3)


def test_nobody_needs_to_measure() -> None:
    with phase("explore"), side_by_side() as tell:
        tell(("attempt",), 1.0)


def test_a_lap_is_what_came_since_the_last_one(clock: Clock, phases: Phases) -> None:
    for seconds in (1, 2):
        with phase("learn"):
            clock.time += seconds
        assert phases.lap() == {("learn",): Seconds(seconds, seconds / 4)}
    assert phases.lap() == {}


def test_a_resumed_run_goes_on_from_what_it_had_spent(clock: Clock, phases: Phases) -> None:
    with phase("load"):
        clock.time += 1
    told = json.loads(json.dumps(to_json({("load",): Seconds(4, 2), ("learn",): Seconds(8, 8)})))
    phases.add(from_json(told))
    assert wall(phases) == {"load": 5, "learn": 8}
    assert phases.lap() == {("load",): Seconds(1, 0.25)}


@st.composite
def programs(draw: st.DrawFn) -> Any:
    """Phases within phases, each as its name, whole seconds of its own, and what lies in it."""
    leaves: st.SearchStrategy[Any] = st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.just([]))
    grown = st.recursive(
        leaves,
        lambda inner: st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.lists(inner, max_size=4)),
        max_leaves=20,
    )
    return draw(st.lists(grown, min_size=1, max_size=5))


@settings(deadline=None)
@given(programs())
def test_phases_are_apart_and_add_up_to_the_whole(program: Any) -> None:
    clock = Clock()
    measured = Phases(clock)

    def carry_out(parts: Any) -> None:
        for name, seconds, inner in parts:
            with phase(name):
                clock.time += seconds
                carry_out(inner)

    with measured.measuring():
        carry_out(program)
    assert sum(spent.wall for path, spent in measured.spent.items() if len(path) == 1) == clock.time
    for outer, spent in measured.spent.items():
        assert sum(of.wall for path, of in measured.spent.items() if path[:-1] == outer) <= spent.wall
    if clock.time:
        shown = list(spans(measured.spent))
        inner = {span.path[:-1] for span in shown}
        leaves = sorted((span.begin, span.share) for span in shown if span.path not in inner)
        assert sum(share for _, share in leaves) == pytest.approx(1)
        # Side by side, without gaps.
        for (begin, share), (after, _) in pairwise(leaves):
            assert begin + share == pytest.approx(after) or not share


def test_the_longest_phase_comes_first_and_what_is_left_last() -> None:
    spent: dict[Path, Seconds] = {
        ("learn",): Seconds(6, 3),
        ("learn", "pack"): Seconds(1, 1),
        ("learn", "forward"): Seconds(3, 1),
        ("explore",): Seconds(4, 4),
    }
    assert [(".".join(span.path), round(span.begin, 3), round(span.share, 3)) for span in spans(spent)] == [
        ("learn", 0.0, 0.6),
        ("learn.forward", 0.0, 0.3),
        ("learn.pack", 0.3, 0.1),
        ("learn.other", 0.4, 0.2),
        ("explore", 0.6, 0.4),
    ]
    assert total([spent, spent])["learn", "pack"] == Seconds(2, 2)
