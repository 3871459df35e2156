"""Demonstrations fail and recover as they promise, and mark what must not be imitated."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest

from r3lbench.environments.webshop.expert import Expert, Wording
from r3lbench.environments.webshop.game import advance
from r3lbench.environments.webshop.goals import Goal
from r3lbench.environments.webshop.pages import Mode, pages_of
from r3lbench.environments.webshop.players import Manner, demonstrations, looks_right
from r3lbench.environments.webshop.protocols import PROTOCOLS
from r3lbench.environments.webshop.shop import GENERATED, Shop, open_shop
from r3lbench.environments.webshop.state import START, Page, State

COMPACT = PROTOCOLS["compact"]
EPISODES = 300


@cache
def shop() -> Shop:
    return open_shop(GENERATED, COMPACT)


def expert(goal: Goal) -> Expert:
    return Expert(pages_of(shop().catalogue, Mode.TEXT_RICH, COMPACT.page_size), goal)


def manner(name: str, full_query: float = 0.4) -> Manner:
    return next(manner for manner in demonstrations(full_query) if manner.name == name)


def play(chosen: Manner, goal: Goal, seed: int) -> tuple[list[tuple[State, str, bool, bool]], float]:
    """An episode: state, action, worth imitating, valid; and the score."""
    me, state, player, steps = expert(goal), START, chosen.begin(np.random.default_rng(seed)), []
    while state.page is not Page.DONE and len(steps) < COMPACT.max_steps:
        action, train = player(me, state)
        turn = advance(me.pages, goal, state, action, COMPACT)
        steps.append((state, action, train, turn.valid))
        state = turn.state
    return steps, state.score


@cache
def episodes(name: str) -> list[tuple[Goal, list[tuple[State, str, bool, bool]], float]]:
    goals = random.Random(2).sample(shop().goals, EPISODES)
    return [(goal, *play(manner(name), goal, seed)) for seed, goal in enumerate(goals)]


def successes(name: str) -> float:
    return sum(score == 1.0 for _, _, score in episodes(name)) / EPISODES


def test_the_shares_of_the_mix_add_up() -> None:
    assert sum(manner.weight for manner in demonstrations()) == pytest.approx(1.0)


def test_players_succeed_as_often_as_they_should() -> None:
    assert successes("expert") == 1.0
    assert 0.30 <= successes("careless") <= 0.50
    assert successes("noisy") >= 0.97


@pytest.mark.parametrize("name", ["expert", "careless", "noisy"])
def test_the_same_generator_plays_the_same_episode(name: str) -> None:
    goal = shop().goals[0]
    assert [play(manner(name), goal, seed) for seed in range(20)] == [
        play(manner(name), goal, seed) for seed in range(20)
    ]


def test_invalid_actions_come_from_the_noisy_player_alone_and_are_never_imitated() -> None:
    assert all(valid for name in ("expert", "careless") for _, steps, _ in episodes(name) for *_, valid in steps)
    invalid = [train for _, steps, _ in episodes("noisy") for *_, train, valid in steps if not valid]
    assert invalid
    assert not any(invalid)


def test_a_product_is_imitated_only_where_the_page_alone_suggests_it() -> None:
    hidden = 0
    for goal, steps, _ in episodes("expert"):
        me = expert(goal)
        for state, action, train, _ in steps:
            if state.page is Page.RESULTS and action.startswith("click[B0"):
                position = shop().catalogue.position[action[len("click[") : -1]]
                assert train == looks_right(me, state, position)
                hidden += not train
            else:
                assert train
    assert 0 < hidden < EPISODES / 2


def test_noisy_players_mend_their_mistakes_and_show_how() -> None:
    leaving = [
        train
        for goal, steps, _ in episodes("noisy")
        for state, action, train, _ in steps
        if state.page is Page.ITEM and not expert(goal).is_right(state.product) and action == "click[Back to Search]"
    ]
    assert len(leaving) > 20
    assert all(leaving)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_full_queries_can_be_chosen(share: float) -> None:
    goals = [goal for goal in shop().goals[:100] if goal.goal_options]
    for seed, goal in enumerate(goals):
        steps, _ = play(manner("expert", share), goal, seed)
        full = f"search[{expert(goal).words(Wording.FULL)}]"
        if share == 1.0:
            assert steps[0][1] == full
        else:
            weak = expert(goal).words(Wording.WEAK)
            assert steps[0][1] == f"search[{weak}]" or not any(map(expert(goal).is_right, expert(goal).hits(weak)))
