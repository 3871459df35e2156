"""Actions lead where the official shop leads, and protocols add their rules."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.environments.webshop.catalogue import build_catalogue
from r3lbench.environments.webshop.game import Turn, advance, parse_action
from r3lbench.environments.webshop.pages import Pages
from r3lbench.environments.webshop.protocols import PROTOCOLS, Protocol, small_splits
from r3lbench.environments.webshop.state import START, Page, State
from r3lbench.errors import BadData

from .small import catalogue, goal, record

UPSTREAM = Protocol("upstream")


@pytest.fixture
def pages() -> Pages:
    return Pages(catalogue())


def play(
    pages: Pages, *actions: str, state: State = START, protocol: Protocol = UPSTREAM, strict: bool = False
) -> Turn:
    turn = Turn(state, True, False)
    for action in actions:
        turn = advance(pages, goal(), turn.state, action, protocol, strict=strict)
    return turn


@given(st.text(st.sampled_from("[]a\n \r]B[")) | st.text(st.characters(codec=None)))
def test_actions_are_parsed_as_by_upstreams_expression(action: str) -> None:
    match = re.match(r"(.+)\[(.+)\]", action)
    assert parse_action(action) == (None if match is None else (match[1], match[2].lower()))


@pytest.mark.parametrize("junk", ["[" * 100_000, "]" * 100_000, "[]" * 50_000, "a[" * 50_000 + "]"])
def test_long_junk_is_parsed_in_linear_time(junk: str) -> None:
    parse_action(junk)


@pytest.mark.parametrize(
    "action",
    [
        *("", "search", "search[]", "Search[tea]", "I will search[tea]", "click[search]", "click[nothing]"),
        *("search [tea]", "search[red [blue] tea]", "\nsearch[tea]", "\x00", "\ud800", "buy[now]"),
    ],
)
def test_an_impossible_action_changes_nothing(pages: Pages, action: str) -> None:
    turn = play(pages, action)
    assert not turn.valid and not turn.ended
    assert turn.state._replace(last_action=None, repeats=0) == START


def test_searching_works_on_every_page_and_forgets_options(pages: Pages) -> None:
    state = play(pages, "search[dress]", "click[B000000001]", "click[Dark Red]").state
    assert (state.page, state.options, state.seen) == (Page.ITEM, (("color", "dark red"),), {0})
    again = play(pages, "search[Lamp] and more", state=state)
    assert again.valid
    assert (again.state.page, again.state.query, again.state.options, again.state.seen) == (
        Page.RESULTS,
        "lamp",
        (),
        {0},
    )
    assert not play(pages, "search[lamp]", state=state, protocol=PROTOCOLS["compact"]).valid
    assert play(pages, "click[back to search]", state=state).state._replace(last_action=None, repeats=0) == START


def test_pages_are_turned_without_end_and_left_where_they_were(pages: Pages) -> None:
    state = play(pages, "search[dress]", "click[next >]", "click[Next >]").state
    assert state.number == 3
    state = play(pages, "click[< prev]", "click[< prev]", "click[b000000002]", "click[features]", state=state).state
    assert (state.page, state.section) == (Page.SECTION, "Features")
    item = play(pages, "click[< prev]", state=state).state
    assert (item.page, item.product) == (Page.ITEM, 1)
    results = play(pages, "click[< prev]", state=item).state
    assert (results.page, results.query, results.number) == (Page.RESULTS, "dress", 1)


def test_a_group_keeps_one_value_in_the_place_of_its_first_choice(pages: Pages) -> None:
    state = play(pages, "search[dress]", "click[b000000001]", "click[dark red]", "click[small]", "click[café]").state
    assert state.options == (("color", "café"), ("size", "small"))
    assert play(pages, "click[blue | white]", state=state).state.options == (
        ("color", "café"),
        ("size", "blue | white"),
    )


def test_buying_judges_the_item_and_ends_the_episode(pages: Pages) -> None:
    turn = play(pages, "search[dress]", "click[b000000001]", "click[dark red]", "click[buy now]")
    assert turn.ended and turn.state.page is Page.DONE and turn.state.score == 1.0
    assert not play(pages, "search[dress]", state=turn.state).valid
    again = play(pages, "search[dress]", "click[b000000002]", "click[buy now]", state=turn.state, strict=True)
    assert again.ended and again.state.score < 1.0


def test_the_search_words_can_pose_as_the_name_of_a_page(pages: Pages) -> None:
    state = play(pages, "search[dress search_results]", "click[b000000001]", "click[< prev]").state
    assert (state.page, state.number) == (Page.RESULTS, 0)


def test_an_option_named_like_a_button_acts_as_the_button() -> None:
    values = [{"value": value} for value in ("Buy Now", "Description", "Attributes", "Search", "Next >")]
    pages = Pages(build_catalogue("odd", [record("B1", "tea", customization_options={"kind": values})], {}))
    item = play(pages, "search[tea]", "click[b1]").state
    assert play(pages, "click[buy now]", state=item).ended
    assert play(pages, "click[description]", state=item).state.section == "Description"
    assert play(pages, "click[attributes]", state=item).state.section == "Attributes"
    assert not play(pages, "click[search]", state=item).valid
    assert play(pages, "click[next >]", state=item).state.options == (("kind", "next >"),)


def test_r3l_ends_an_episode_at_malformed_text_and_at_repetition(pages: Pages) -> None:
    rules = PROTOCOLS["r3l"]
    assert play(pages, "I think I should search", protocol=rules).ended
    assert not play(pages, "click[nothing]", protocol=rules).ended
    assert play(pages, "click[nothing]", "click[nothing]", protocol=rules).ended
    assert not play(pages, "click[nothing]", "click[other]", "click[nothing]", protocol=rules).ended
    assert not play(pages, "search[tea]", "click[next >]", "click[next >]", protocol=rules).ended
    lenient = replace(rules, repeat_limit=None, malformed_ends=False)
    assert not play(pages, "nonsense", "nonsense", "nonsense", protocol=lenient).ended


def test_splits_hold_goals_out() -> None:
    assert PROTOCOLS["default"].ranges(12_087) == (
        "published",
        {"test": range(500), "dev": range(500, 1500), "train": range(1500, 12_087)},
    )
    assert PROTOCOLS["r3l"].ranges(12_087)[1]["test"] == range(4096, 4196)
    assert PROTOCOLS["r3l"].ranges(6910) == ("small", small_splits(6910))
    for goals in (3, 13, 600, 4999, 100_000):
        splits = small_splits(goals)
        assert sorted(position for split in splits.values() for position in split) == list(range(goals))
        assert 1 <= len(splits["test"]) == len(splits["dev"]) <= 500
    with pytest.raises(BadData, match="2 goals"):
        small_splits(2)
