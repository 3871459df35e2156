from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.dealing import Draws, group_key
from r3lbench.registry import make
from r3lbench.run import RunConfig, parse
from r3lbench.training import schedule
from r3lbench.training.ranks import Ranks
from r3lbench.training.trainer import MOST_DRAWS

WANTED = 3
PANEL = make("toy").panel("train")


@pytest.fixture(scope="module")
def settings(toy_policy: Path) -> dict[str, RunConfig]:
    flags = ("--env", "toy", "--policy", str(toy_policy), "--tasks-per-update", str(WANTED))
    return {method: parse(["--method", method, *flags]) for method in ("grpo", "dapo")}


def explored(seed: int, update: int, drawn: int, liked: set[int], processes: int) -> tuple[int, dict[str, int]]:
    """How many tasks were drawn after an update in which groups that are drawn at these places of it are kept; by key
    of those the process that had it. As ``Trainer`` goes about it."""
    of_process: dict[str, int] = {}
    times: Counter[str] = Counter()
    for _ in range(MOST_DRAWS):
        keyed = []
        for task in schedule.tasks_from(PANEL, seed, drawn, WANTED - len(of_process)):
            times[task.id] += 1
            keyed.append((times.total(), group_key(update, task.id, times[task.id])))
        drawn += len(keyed)
        for rank in range(processes):
            own = Ranks(rank, processes).own(keyed)
            of_process |= {key: rank for place, key in own if place in liked}
        if len(of_process) == WANTED:
            break
    return drawn, of_process


@given(st.lists(st.sets(st.integers(1, 40), max_size=20), min_size=1, max_size=4), st.integers(1, 4))
def test_whose_a_group_was_follows_from_the_order_of_the_tasks(
    settings: dict[str, RunConfig], liked: list[set[int]], processes: int
) -> None:
    draws, drawn = Draws(settings["dapo"], PANEL), 0
    for update, of in enumerate(liked, start=1):
        drawn, of_process = explored(settings["dapo"].seed, update, drawn, of, processes)
        places = draws.places(update, of_process)
        assert {key: place % processes for key, place in places.items()} == of_process
        assert draws.drawn == drawn


def test_after_an_update_that_is_not_known_places_are_where_no_group_was_turned_down(
    settings: dict[str, RunConfig],
) -> None:
    keys = [group_key(2, task.id, 1) for task in schedule.tasks_from(PANEL, 0, WANTED, WANTED)]
    for method, known in (("grpo", dict(zip(keys, range(WANTED), strict=True))), ("dapo", {})):
        draws = Draws(settings[method], PANEL)
        draws.pass_over()
        assert draws.places(2, keys) == known
