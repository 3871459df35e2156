"""The rules of the shop: pure functions from a state and an action to the next state.

Follows ``WebAgentTextEnv.step`` and ``SimServer.receive`` of ``web_agent_site/envs/web_agent_text_env.py``.
"""

from __future__ import annotations

from typing import NamedTuple

from .goals import Goal
from .pages import ALL_SECTIONS, BACK, BUY, LINK, NEXT, PREVIOUS, SEARCH, Pages, address
from .protocols import Protocol
from .reward import Reward, evaluate
from .state import START, Page, State


class Turn(NamedTuple):
    """What an action led to.

    Attributes:
        state: The next state.
        valid: False when the action did nothing.
        ended: A rule of the protocol or a purchase ended the episode.
    """

    state: State
    valid: bool
    ended: bool


def parse_action(action: str) -> tuple[str, str] | None:
    r"""Name and lower-case argument of ``name[argument]``; None for any other text.

    Equal to upstream's ``re.match(r"(.+)\[(.+)\]", action)``, in linear time on any text: the argument lies between
    the last bracket that opens it and the last closing bracket of the first line, and what follows is ignored.
    """
    line = action.partition("\n")[0]
    close = line.rfind("]")
    start = line.rfind("[", 1, max(close - 1, 0))
    return None if start < 0 else (line[:start], line[start + 1 : close].lower())


def advance(pages: Pages, goal: Goal, state: State, action: str, protocol: Protocol, *, strict: bool = False) -> Turn:
    """Take one action.

    Args:
        pages: The shop.
        goal: What is asked for.
        state: The present state.
        action: Any text.
        protocol: Which actions are possible and what ends an episode.
        strict: Repeat upstream's errors: options of synthetic goals are compared as tuples, and a shop that has been
            paid goes on selling.
    """
    parsed = parse_action(action)
    repeats = state.repeats + 1 if action == state.last_action else 1
    following = None
    if parsed is not None and (strict or state.page is not Page.DONE):
        following = _follow(pages, goal, state, *parsed, protocol, strict)
    malformed = parsed is None or parsed[0] not in ("search", "click")
    ended = (
        (following is not None and following.page is Page.DONE)
        or (malformed and protocol.malformed_ends)
        or protocol.repeats_end(action, repeats)
    )
    reached = state if following is None else following
    return Turn(reached._replace(last_action=action, repeats=repeats), following is not None, ended)


def judge(pages: Pages, goal: Goal, state: State, *, strict: bool = False) -> Reward:
    """What buying the item looked at, with the options chosen, would be worth."""
    catalogue, chosen = pages.catalogue, [value for _, value in state.options]
    product, price = catalogue.products[state.product], catalogue.prices[state.product]
    return evaluate(product, price, chosen, goal, catalogue.nouns, strict=strict)


def _follow(
    pages: Pages, goal: Goal, state: State, name: str, argument: str, protocol: Protocol, strict: bool
) -> State | None:
    """The state that an action leads to; None when it is not possible."""
    if name == "search":
        return _results(state, argument, 1) if protocol.search_anywhere or state.page is Page.SEARCH else None
    if name != "click" or argument == SEARCH.lower():
        return None
    target = pages.clickables(state).get(argument)
    if target is None:
        return None
    if argument == BUY.lower():
        return state._replace(page=Page.DONE, reward=judge(pages, goal, state, strict=strict))
    if argument == BACK.lower():
        return START
    if argument == NEXT.lower() and _page_by_address(pages, state) is Page.RESULTS:
        return _results(state, state.query, state.number + 1)
    if argument == PREVIOUS.lower():
        return _previous(pages, state)
    section = next((name for name in ALL_SECTIONS if name.lower() == argument), None)
    if section is not None:
        return state._replace(page=Page.SECTION, section=section)
    if target == LINK:
        product = next(hit for hit in pages.shown(state) if pages.catalogue.products[hit].asin.lower() == argument)
        return state._replace(page=Page.ITEM, product=product, seen=state.seen | {product})
    return state._replace(options=tuple({**dict(state.options), target: argument}.items()))


def _results(state: State, query: str, number: int) -> State:
    return state._replace(page=Page.RESULTS, query=query, number=number, product=-1, section="", options=())


def _previous(pages: Pages, state: State) -> State:
    match _page_by_address(pages, state):
        case Page.RESULTS:
            return _results(state, state.query, state.number - 1)
        case Page.SECTION:
            return state._replace(page=Page.ITEM, section="")
    return _results(state, state.query, state.number)


def _page_by_address(pages: Pages, state: State) -> Page:
    """The kind of page as upstream finds it: by the first known name inside the address, search words included."""
    if state.page in (Page.ITEM, Page.SECTION):
        place = address(pages.catalogue, state)
        names = (("search_results", Page.RESULTS), ("item_page", Page.ITEM), ("item_sub_page", Page.SECTION))
        return next(page for name, page in names if name in place)
    return state.page
