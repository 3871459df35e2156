"""The expert reaches the best purchase from everywhere, in words a policy can copy; simple rules do not."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.environments.webshop.expert import Expert, Wording
from r3lbench.environments.webshop.game import advance
from r3lbench.environments.webshop.goals import Goal
from r3lbench.environments.webshop.pages import Mode, Pages, pages_of
from r3lbench.environments.webshop.protocols import PROTOCOLS, GoalKind, Protocol
from r3lbench.environments.webshop.shop import GENERATED, Shop, open_shop
from r3lbench.environments.webshop.state import START, Page, State

COMPACT = PROTOCOLS["compact"]
PLAIN_BUTTONS = {"Back to Search", "< Prev", "Next >", "Buy Now"}


@cache
def shop() -> Shop:
    return open_shop(GENERATED, COMPACT)


def expert(goal: Goal) -> Expert:
    return Expert(pages_of(shop().catalogue, Mode.TEXT_RICH, COMPACT.page_size), goal)


def sample(count: int, seed: int = 0) -> list[Goal]:
    return random.Random(seed).sample(shop().goals, count)


def take(player: Expert, state: State, action: str, protocol: Protocol = COMPACT) -> State:
    turn = advance(player.pages, player.goal, state, action, protocol, strict=player.strict)
    assert turn.valid, action
    return turn.state


def finish(player: Expert, state: State, protocol: Protocol = COMPACT) -> tuple[State, list[str]]:
    """Follow the expert, asked anew at every step, to the end."""
    actions: list[str] = []
    while state.page is not Page.DONE:
        action = player.route(state)[0]
        assert len(actions) < 20, actions
        actions.append(action)
        state = take(player, state, action, protocol)
    return state, actions


def test_the_expert_reaches_one_on_every_goal_with_a_search_in_words_of_the_instruction() -> None:
    for goal in shop().goals:
        player, state = expert(goal), START
        route = player.route(state)
        for action in route:
            state = take(player, state, action)
        assert state.score == 1.0, goal.instruction_text
        assert len(route) <= 7
        query = player.words(Wording.FULL)
        assert route[0] == f"search[{query}]"
        assert all(part in goal.instruction_text for part in query.split(", "))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_from_any_state_the_route_is_valid_agrees_with_itself_and_ends_in_one(data: st.DataObject) -> None:
    goal = shop().goals[data.draw(st.integers(0, len(shop().goals) - 1))]
    player, state = expert(goal), START
    for _ in range(data.draw(st.integers(0, 8))):
        buttons = [f"click[{text}]" for text in player.pages.clickables(state) if text not in ("buy now", "search")]
        searches = [f"search[{player.words(wording)}]" for wording in Wording] + ["search[color]", "search[zzz]"]
        possible = searches if state.page is Page.SEARCH else buttons
        state = take(player, state, data.draw(st.sampled_from(possible)))
    wording = data.draw(st.sampled_from([Wording.FULL, Wording.WEAK]))
    route = player.route(state, wording)
    assert player.route(take(player, state, route[0]), wording) == route[1:]
    final, actions = finish(player, state)
    assert final.score == 1.0
    assert len(actions) == len(player.route(state))


def test_the_expert_mends_a_wrong_option() -> None:
    goal = next(goal for goal in sample(50) if len(goal.goal_options) == 2)
    player = expert(goal)
    route = player.route(START)
    state = take(player, take(player, START, route[0]), route[1])
    group, wanted = goal.goal_options[0]
    values = dict(shop().catalogue.products[state.product].options)[str(group)]
    wrong = take(player, state, f"click[{next(value for value in values if value != wanted)}]")
    assert player.route(wrong)[0] == f"click[{wanted}]"
    assert finish(player, wrong)[0].score == 1.0


def test_the_expert_leaves_a_wrong_product_and_a_section() -> None:
    player = expert(sample(1)[0])
    state = take(player, START, f"search[{player.words(Wording.FULL)}]")
    wrong = next(position for position in player.pages.shown(state) if not player.is_right(position))
    item = take(player, state, f"click[{shop().catalogue.products[wrong].asin}]")
    assert player.route(item)[0] in ("click[< Prev]", "click[Back to Search]")
    section = take(player, item, "click[Features]")
    assert player.route(section)[0] in ("click[< Prev]", "click[Back to Search]")
    assert len(player.route(section)) <= len(player.route(item)) + 1


def test_actions_are_written_as_the_pages_show_them() -> None:
    for goal in sample(100):
        player, state = expert(goal), START
        for action in player.route(START, Wording.WEAK):
            if action.startswith("click["):
                assert f" {action[6:-1]} [" in player.pages.render(goal, state)
            state = take(player, state, action)


def test_a_plan_in_words_names_search_options_and_purchase() -> None:
    goal = next(goal for goal in sample(50) if len(goal.goal_options) == 2)
    player = expert(goal)
    first, second = (value for _, value in goal.goal_options)
    route = (f"search[{player.words(Wording.FULL)}]", *player.route(START)[-3:])
    plan = f"search for {player.words(Wording.FULL)} then choose {first} then choose {second} then click Buy Now"
    assert player.in_words(route) == plan
    assert player.in_words(("click[< Prev]", "click[Buy Now]")) == "click < Prev then click Buy Now"


def test_a_plan_passes_over_the_click_on_the_first_hit_only() -> None:
    silent = 0
    for goal in sample(200):
        player = expert(goal)
        route = player.route(START)
        asin = route[1][len("click[") : -1]
        first = shop().catalogue.products[player.hits(player.words(Wording.FULL))[0]].asin
        assert (asin in player.in_words(route)) == (asin != first)
        silent += asin == first
    assert silent > 150


def test_nothing_is_left_to_do_after_the_purchase() -> None:
    player = expert(sample(1)[0])
    final, _ = finish(player, START)
    assert player.route(final) == ()


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_the_expert_keeps_the_rules_of_every_protocol(name: str) -> None:
    protocol = PROTOCOLS[name]
    pages = pages_of(shop().catalogue, Mode.TEXT_RICH, protocol.page_size)
    for goal in sample(50):
        state = START
        for action in Expert(pages, goal).route(START):
            turn = advance(pages, goal, state, action, protocol)
            assert turn.valid
            assert turn.ended == (turn.state.page is Page.DONE)
            state = turn.state
        assert state.score == 1.0


@pytest.mark.parametrize("kind", list(GoalKind))
def test_on_the_public_products_the_expert_does_as_well_as_buying_the_target(kind: GoalKind) -> None:
    folder = os.environ.get("R3LBENCH_CONFORMANCE")
    if not folder:
        pytest.skip("R3LBENCH_CONFORMANCE names no folder with recorded WebShop data")
    protocol = PROTOCOLS["default"]
    real = open_shop(str(Path(folder) / "webshop" / "data"), protocol, goals=kind)
    pages = pages_of(real.catalogue)
    for strict in (False, True):
        for goal in random.Random(0).sample(real.goals, min(len(real.goals), 150)):
            player = Expert(pages, goal, strict)
            final, actions = finish(player, START, protocol)
            assert final.score >= player.worth(real.catalogue.position[goal.asin]) - 1e-9
            assert len(actions) <= protocol.max_steps


def play_rule(goal: Goal, choose: Callable[[Pages, State, random.Random], str], seed: int) -> float:
    """Search for the instruction, then act by a rule."""
    player, rng = expert(goal), random.Random(seed)
    state = take(player, START, f"search[{goal.instruction_text}]")
    for _ in range(COMPACT.max_steps - 1):
        if state.page is Page.DONE:
            break
        action = choose(player.pages, state, rng)
        state = advance(player.pages, goal, state, action, COMPACT).state
    return state.score


def buy_first_hit(pages: Pages, state: State, rng: random.Random) -> str:
    if state.page is Page.RESULTS:
        return f"click[{shop().catalogue.products[pages.shown(state)[0]].asin}]"
    return "click[Buy Now]"


def click_anything(pages: Pages, state: State, rng: random.Random) -> str:
    if state.page is Page.SEARCH:
        return "search[gift]"
    return f"click[{rng.choice(sorted(pages.clickables(state)))}]"


@pytest.mark.parametrize(("rule", "low", "high"), [(buy_first_hit, 0.50, 0.68), (click_anything, 0.0, 0.25)])
def test_simple_rules_rarely_succeed(
    rule: Callable[[Pages, State, random.Random], str], low: float, high: float
) -> None:
    scores = [play_rule(goal, rule, seed) for seed, goal in enumerate(sample(500, seed=3))]
    assert sum(score == 1.0 for score in scores) / len(scores) < 0.05
    assert low <= sum(scores) / len(scores) <= high
