"""Ways to shop for a warm start: an expert, a careless shopper, and a noisy one who mends his mistakes.

The mix teaches more than flawless play would: careless purchases fail in the ways that a reflection can name and a
retry can repair, and noisy ones show the way back. Each step says whether it is worth imitating. Not worth it are a
noisy shopper's mistakes, and every click on a product that only someone who knows the catalogue could have preferred: a
policy that sees the page alone would learn to guess product ids from it. Careless steps are imitated, so that a fresh
policy has something left to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .expert import Expert, Wording, click
from .pages import BACK, BUY, SECTIONS
from .state import Page, State

Play = Callable[[Expert, State], tuple[str, bool]]
"""Chooses the next action in a state, and says whether it is worth imitating."""

FULL_QUERY = 0.4
"""Share of episodes that search with option values; the others leave them out."""

VAGUE_SEARCH = 0.15
"""Share of careless and noisy episodes that begin by searching for the kind of product alone."""

CARELESS_PRODUCT = 0.6
"""Share of careless episodes that open a product without looking: mostly the first, else any of the page."""
FIRST_PRODUCT = 0.7
CARELESS_SKIP, CARELESS_WRONG = 0.3, 0.15
"""Shares of careless episodes that leave out an option, and that choose a wrong value."""

NOISY_PRODUCT = 0.15
NOISY_ITEM = 0.09
"""Chance of a wrong product at each list of hits, and of a useless click at each page of the right product."""
NOISY_INVALID = 0.04
"""Chance of an impossible click at each step."""
NOISY_TRUST = 0.5
"""Share of noisy episodes with an incomplete query that open the first hit, find it wrong, and search in full."""


@dataclass(frozen=True)
class Manner:
    """A way to shop.

    Attributes:
        name: ``"expert"``, ``"careless"`` or ``"noisy"``.
        weight: Share of the episodes in the mix.
        begin: Given the generator of an episode, returns the player of this episode.
    """

    name: str
    weight: float
    begin: Callable[[np.random.Generator], Play]


def demonstrations(full_query: float = FULL_QUERY) -> tuple[Manner, ...]:
    """The mix of players for a warm start.

    Args:
        full_query: Share of episodes that search with option values.
    """
    return (
        Manner("expert", 0.2, lambda rng: _expert(rng, full_query)),
        Manner("careless", 0.4, lambda rng: _careless(rng, full_query)),
        Manner("noisy", 0.4, lambda rng: _noisy(rng, full_query)),
    )


def looks_right(expert: Expert, state: State, position: int) -> bool:
    """Whether a product is the first on the results page, among those not opened yet, of the wanted kind and price.

    The lower end of a shown price range counts.
    """
    products = expert.pages.catalogue.products
    return position == next(
        (
            shown
            for shown in expert.pages.shown(state)
            if shown not in state.seen
            and products[shown].query == expert.goal.query
            and products[shown].prices[0] <= expert.goal.price_upper
        ),
        -1,
    )


def _expert(rng: np.random.Generator, full_query: float) -> Play:
    wording = Wording.FULL if rng.random() < full_query else Wording.WEAK
    return lambda expert, state: _follow(expert, state, wording)


def _careless(rng: np.random.Generator, full_query: float) -> Play:
    vague = rng.random() < VAGUE_SEARCH
    wording = Wording.VAGUE if vague else Wording.FULL if rng.random() < full_query else Wording.WEAK
    looks = rng.random() >= CARELESS_PRODUCT
    takes_first = rng.random() < FIRST_PRODUCT
    fate = rng.random()

    def play(expert: Expert, state: State) -> tuple[str, bool]:
        match state.page:
            case Page.SEARCH:
                return f"search[{expert.words(wording)}]", True
            case Page.RESULTS if not looks:
                shown = expert.pages.shown(state)
                if not shown:
                    return click(BACK), False
                chosen = 0 if takes_first else int(rng.integers(len(shown)))
                return click(expert.pages.catalogue.products[shown[chosen]].asin), takes_first
            case Page.ITEM:
                return _options(expert, state, fate, rng), True
        return _follow(expert, state, wording)

    return play


def _options(expert: Expert, state: State, fate: float, rng: np.random.Generator) -> str:
    """The next click of a careless shopper on a product's page; the last wanted option may be skipped or mistaken."""
    groups = dict(expert.pages.catalogue.products[state.product].options)
    chosen = dict(state.options)
    wishes = [(group, value) for value in expert.choices(state.product) for group in groups if value in groups[group]]
    for number, (group, value) in enumerate(wishes, start=1):
        if group in chosen:
            continue
        if number < len(wishes) or fate >= CARELESS_SKIP + CARELESS_WRONG:
            return click(value)
        others = [other for other in groups[group] if other != value]
        if fate >= CARELESS_SKIP and others:
            return click(others[int(rng.integers(len(others)))])
    return click(BUY)


def _noisy(rng: np.random.Generator, full_query: float) -> Play:
    wording = Wording.FULL if rng.random() < full_query else Wording.WEAK
    trusting = wording is Wording.WEAK and rng.random() < NOISY_TRUST
    vague = rng.random() < VAGUE_SEARCH
    vague_words_used = False

    def play(expert: Expert, state: State) -> tuple[str, bool]:
        nonlocal vague_words_used
        products = expert.pages.catalogue.products
        if rng.random() < NOISY_INVALID:
            return _impossible(expert, state, rng), False
        match state.page:
            case Page.SEARCH if vague and not vague_words_used:
                vague_words_used = True
                return f"search[{expert.words(Wording.VAGUE)}]", False
            case Page.SEARCH if state.last_action is not None:
                return _follow(expert, state, Wording.FULL)
            case Page.RESULTS:
                shown = expert.pages.shown(state)
                if trusting and shown and not state.seen:
                    return click(products[shown[0]].asin), looks_right(expert, state, shown[0])
                wrong = [position for position in shown if not expert.is_right(position)]
                if wrong and not state.seen and rng.random() < NOISY_PRODUCT:
                    return click(products[wrong[int(rng.integers(len(wrong)))]].asin), False
            case Page.ITEM if not expert.is_right(state.product):
                if state.query != expert.words(Wording.FULL).lower():
                    return click(BACK), True
            case Page.ITEM if not state.options and rng.random() < NOISY_ITEM:
                return _useless(expert, state, rng), False
        return _follow(expert, state, wording)

    return play


def _impossible(expert: Expert, state: State, rng: np.random.Generator) -> str:
    """A click that no page but perhaps another one offers."""
    values = [value for _, value in expert.goal.goal_options] or [BUY]
    tempting = [text for text in (*values, BUY, BACK) if text.lower() not in expert.pages.clickables(state)]
    return click(tempting[int(rng.integers(len(tempting)))] if tempting else "Cart")


def _useless(expert: Expert, state: State, rng: np.random.Generator) -> str:
    """A section of the product, or an option value that is not wanted."""
    needed = set(expert.choices(state.product))
    options = expert.pages.catalogue.products[state.product].options
    unwanted = [value for _, values in options if needed & set(values) for value in values if value not in needed]
    texts = [*SECTIONS[:2], *unwanted]
    return click(texts[int(rng.integers(len(texts)))])


def _follow(expert: Expert, state: State, wording: Wording) -> tuple[str, bool]:
    """The expert's next action, and whether the page alone suggests it."""
    route = expert.route(state, wording)
    if not route:
        return click(BACK), False
    argument = route[0].removesuffix("]").partition("[")[2]
    position = expert.pages.catalogue.position.get(argument)
    return route[0], position is None or looks_right(expert, state, position)
