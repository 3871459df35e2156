"""A diagnosis names the step to do differently and a plan that works from there."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from r3lbench.environments.webshop.diagnosis import RootCause, diagnose
from r3lbench.environments.webshop.expert import Expert, Wording
from r3lbench.environments.webshop.game import advance
from r3lbench.environments.webshop.goals import Goal
from r3lbench.environments.webshop.pages import Mode, pages_of
from r3lbench.environments.webshop.players import Manner, demonstrations
from r3lbench.environments.webshop.protocols import PROTOCOLS
from r3lbench.environments.webshop.shop import GENERATED, Shop, open_shop
from r3lbench.environments.webshop.state import START, Page, State
from r3lbench.teaching import Diagnosis

COMPACT = PROTOCOLS["compact"]


@cache
def shop() -> Shop:
    return open_shop(GENERATED, COMPACT)


def expert(goal: Goal) -> Expert:
    return Expert(pages_of(shop().catalogue, Mode.TEXT_RICH, COMPACT.page_size), goal)


@cache
def player() -> Expert:
    """A goal with two options: the full query's first hit is right, the weak query's lacks one, a right one follows."""
    for goal in shop().goals:
        candidate = expert(goal)
        full, weak = (candidate.hits(candidate.words(wording)) for wording in (Wording.FULL, Wording.WEAK))
        lacks_one = len(candidate.choices(weak[0])) == 1
        on_the_page = any(map(candidate.is_right, weak[: COMPACT.page_size]))
        if len(goal.goal_options) == 2 and candidate.is_right(full[0]) and lacks_one and on_the_page:
            return candidate
    raise AssertionError("no such goal")


def asin(position: int) -> str:
    return shop().catalogue.products[position].asin


def search(wording: Wording) -> str:
    return f"search[{player().words(wording)}]"


def run(actions: list[str]) -> State:
    state = START
    for action in actions:
        state = advance(player().pages, player().goal, state, action, COMPACT).state
    return state


def found(actions: list[str]) -> Diagnosis:
    diagnosis = diagnose(player(), actions, COMPACT)
    assert diagnosis is not None
    return diagnosis


def values() -> list[str]:
    return [value for _, value in player().goal.goal_options]


def test_flawless_play_has_no_pivot() -> None:
    assert found(list(player().route(START))) == Diagnosis(
        "bought the right product with the right options", "success", None, None, None
    )


def test_the_first_hit_of_a_weak_query_is_the_fault_of_the_query() -> None:
    first = player().hits(player().words(Wording.WEAK))[0]
    diagnosis = found([search(Wording.WEAK), f"click[{asin(first)}]", "click[Buy Now]"])
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.VAGUE_SEARCH, 0)
    one, two = values()
    assert diagnosis.suggestion == (
        f"search for {player().words(Wording.FULL)} then choose {one} then choose {two} then click Buy Now"
    )


def test_passing_over_the_right_hit_is_the_fault_of_the_click() -> None:
    hits = player().hits(player().words(Wording.FULL))
    wrong = next(position for position in hits if not player().is_right(position))
    diagnosis = found([search(Wording.FULL), f"click[{asin(wrong)}]", "click[Buy Now]"])
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.WRONG_PRODUCT, 1)
    assert diagnosis.suggestion is not None
    assert diagnosis.suggestion.startswith(f"click {asin(hits[0])} then choose {values()[0]}")


def test_buying_too_early_is_the_fault_of_the_purchase() -> None:
    route = list(player().route(START))
    diagnosis = found([*route[:3], route[-1]])
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.OPTION_MISSING, 3)
    assert diagnosis.suggestion == f"choose {values()[1]} then click Buy Now"


def test_a_wrong_option_is_the_fault_of_its_click() -> None:
    route = list(player().route(START))
    product = shop().catalogue.products[run(route[:2]).product]
    group, wanted = player().goal.goal_options[0]
    other = next(value for value in dict(product.options)[str(group)] if value != wanted)
    diagnosis = found([*route[:2], f"click[{other}]", route[3], route[4]])
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.OPTION_WRONG, 2)
    assert diagnosis.suggestion == f"choose {wanted} then choose {values()[1]} then click Buy Now"


def test_clicking_an_option_that_a_misleading_hit_lacks_is_the_fault_of_the_query() -> None:
    first = player().hits(player().words(Wording.WEAK))[0]
    (lacking,) = set(values()) - set(player().choices(first))
    actions = [search(Wording.WEAK), f"click[{asin(first)}]", *[f"click[{lacking}]"] * 10]
    diagnosis = found(actions)
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.VAGUE_SEARCH, 0)


def test_invalid_clicks_on_the_right_page_are_the_fault_of_the_first_of_them() -> None:
    route = list(player().route(START))
    diagnosis = found([*route[:3], *["click[Cart]"] * 9])
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.INVALID_ACTION, 3)
    assert diagnosis.suggestion == f"choose {values()[1]} then click Buy Now"


def test_an_early_invalid_click_that_was_survived_is_not_the_pivot() -> None:
    route = list(player().route(START))
    actions = ["click[Cart]", *route[:3], *["click[Features]", "click[< Prev]"] * 4]
    diagnosis = found(actions)
    assert (diagnosis.root_cause, diagnosis.pivot) == (RootCause.DETOUR, 4)


def test_the_pivot_leaves_enough_steps_for_the_plan() -> None:
    route = list(player().route(START))
    actions = [*["click[Cart]"] * 8, *route[:4]]
    assert len(actions) == COMPACT.max_steps
    diagnosis = found(actions)
    assert diagnosis.pivot is not None
    assert diagnosis.pivot + len(player().route(run(actions[: diagnosis.pivot]))) <= COMPACT.max_steps


def test_a_late_purchase_is_a_success_with_a_pivot() -> None:
    route = list(player().route(START))
    diagnosis = found([*route[:2], "click[Description]", "click[< Prev]", *route[2:]])
    assert (diagnosis.outcome, diagnosis.pivot) == ("success_but_inefficient", 2)


def test_without_an_action_there_is_nothing_to_say() -> None:
    assert diagnose(player(), [], COMPACT) is None


@pytest.mark.parametrize("manner", demonstrations(), ids=lambda manner: manner.name)
def test_following_the_expert_from_the_pivot_mends_every_failure(manner: Manner) -> None:
    for seed, goal in enumerate(random.Random(5).sample(shop().goals, 150)):
        me, state, play, actions = expert(goal), START, manner.begin(np.random.default_rng(seed)), []
        while state.page is not Page.DONE and len(actions) < COMPACT.max_steps:
            action, _ = play(me, state)
            actions.append(action)
            state = advance(me.pages, goal, state, action, COMPACT).state
        diagnosis = diagnose(me, actions, COMPACT)
        assert diagnosis is not None
        assert (diagnosis.outcome == "failure") == (state.score < 1.0)
        assert (diagnosis.pivot is None) == (diagnosis.suggestion is None) == (diagnosis.outcome == "success")
        if diagnosis.pivot is None:
            continue
        assert diagnosis.root_cause in list(RootCause)
        state = START
        for action in actions[: diagnosis.pivot]:
            state = advance(me.pages, goal, state, action, COMPACT).state
        route = me.route(state)
        assert actions[diagnosis.pivot] != route[0]
        assert diagnosis.pivot + len(route) <= COMPACT.max_steps
        for action in route:
            state = advance(me.pages, goal, state, action, COMPACT).state
        assert state.score == 1.0
