"""The shopper who knows every product: the shortest way to the best purchase, from any page and after any mistake.

A route is a list of actions that ends with the purchase. It searches in words of the instruction whenever these lead to
a product that is worth as much as the target, and in words of the target's title otherwise. Actions carry product ids
and button texts exactly as the pages show them (the shop itself does not mind the case), so that a policy can copy
them; query wordings keep the instruction's commas for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from .goals import Goal
from .pages import ALL_SECTIONS, BACK, BUY, HITS, NEXT, PREVIOUS, Pages
from .reward import evaluate, option_met
from .state import Page, State

_BUTTONS = frozenset((BACK, BUY, NEXT, PREVIOUS, *ALL_SECTIONS))
_TOLERANCE = 1e-9


class Wording(StrEnum):
    """How a search names what the instruction asks for."""

    FULL = "full"
    """Attributes, kind of product and option values."""
    WEAK = "weak"
    """Attributes and kind of product."""
    VAGUE = "vague"
    """Kind of product alone."""
    TITLE = "title"
    """The target's title, which the instruction does not tell."""


@dataclass(frozen=True)
class Expert:
    """What an all-knowing shopper thinks of one goal.

    Attributes:
        pages: The shop.
        goal: What is asked for.
        strict: Judge purchases as upstream does, see ``reward.evaluate``.
    """

    pages: Pages
    goal: Goal
    strict: bool = False
    _worths: dict[int, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    def words(self, wording: Wording) -> str:
        """The search words of a wording; brackets, which end an action, are left out."""
        kind = " ".join([", ".join(self.goal.attributes), self.goal.query]).strip()
        match wording:
            case Wording.FULL:
                text = ", ".join([kind, *(value for _, value in self.goal.goal_options)])
            case Wording.WEAK:
                text = kind
            case Wording.VAGUE:
                text = self.goal.query
            case Wording.TITLE:
                text = self.goal.name
        return text.replace("[", " ").replace("]", " ").strip()

    def hits(self, query: str) -> tuple[int, ...]:
        """Catalogue positions of the products that a search finds."""
        return self.pages.catalogue.index.search(query.lower(), HITS)

    def choices(self, position: int) -> tuple[str, ...]:
        """The values to choose on a product's page: as many wanted options as can be met together."""
        groups = self.pages.catalogue.products[position].options
        candidates = []
        for name, wanted in self.goal.goal_options:
            # The very value first, in its own group: a fuzzy match elsewhere is only the second choice.
            found = [
                (value != wanted, group != name, group, value)
                for group, values in groups
                for value in values
                if option_met(value, wanted)
            ]
            in_order = sorted(found, key=lambda match: match[:2])
            first_of_group = {group: value for _, _, group, value in reversed(in_order)}
            candidates.append(list(reversed(first_of_group.items())))
        return tuple(value for _, value in _assign(candidates, ()))

    def worth(self, position: int) -> float:
        """The reward of buying a product with the best choice of options, in [0, 1]."""
        known = self._worths.get(position)
        if known is None:
            catalogue = self.pages.catalogue
            product, price, chosen = catalogue.products[position], catalogue.prices[position], self.choices(position)
            known = evaluate(product, price, chosen, self.goal, catalogue.nouns, strict=self.strict).total
            self._worths[position] = known
        return known

    @cached_property
    def best(self) -> float:
        """The most that can be had: the target's worth where a search finds as much, else the best that one finds."""
        target = self.worth(self.pages.catalogue.position[self.goal.asin])
        found = [self.hits(self.words(wording)) for wording in (Wording.FULL, Wording.TITLE)]
        if any(self.worth(position) >= target - _TOLERANCE for hits in found for position in hits):
            return target
        return max((self.worth(position) for hits in found for position in hits), default=0.0)

    def is_right(self, position: int) -> bool:
        """Whether a product, bought with the right options, gives the most that can be had."""
        return self.is_best(self.worth(position))

    def is_best(self, reward: float) -> bool:
        """Whether a reward is the most that can be had."""
        return reward >= self.best - _TOLERANCE

    def route(self, state: State, wording: Wording = Wording.FULL) -> tuple[str, ...]:
        """The actions that lead from a state to the best purchase.

        Args:
            state: Any state of the shop.
            wording: How to search, where searching is needed and this wording leads to a right product.

        Returns:
            The actions, the last of which buys; empty when nothing is left to do, or when no search finds anything.
        """
        match state.page:
            case Page.SEARCH:
                return self._search(wording)
            case Page.RESULTS:
                return self._leave(state, wording)
            case Page.ITEM:
                if self.is_right(state.product):
                    return self._buy(state.product, state)
                return self._leave(state, wording, (click(PREVIOUS),))
            case Page.SECTION:
                if self.is_right(state.product):
                    return (click(PREVIOUS), *self._buy(state.product, state))
                return self._leave(state, wording, (click(PREVIOUS), click(PREVIOUS)))
            case Page.DONE:
                return ()

    def in_words(self, route: Sequence[str]) -> str:
        """A route as a plan: ``search for … then choose … then click Buy Now``.

        The click on the first hit of a search goes without saying.
        """
        steps, first = [], ""
        for action in route:
            name, _, argument = action.removesuffix("]").partition("[")
            if name == "search":
                steps.append(f"search for {argument}")
                first = next((self._asin(position) for position in self.hits(argument)), "")
            elif argument == first:
                first = ""
            elif argument in _BUTTONS or argument in self.pages.catalogue.position:
                steps.append(f"click {argument}")
                first = ""
            else:
                steps.append(f"choose {argument}")
        return " then ".join(steps)

    def _search(self, wording: Wording) -> tuple[str, ...]:
        for candidate in dict.fromkeys((wording, Wording.FULL, Wording.TITLE)):
            query = self.words(candidate)
            onward = self._pick(self.hits(query), 1)
            if onward:
                return (f"search[{query}]", *onward)
        return ()

    def _leave(self, state: State, wording: Wording, to_results: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The shorter of going on with the hits at hand and searching anew."""
        onward = self._pick(self.hits(state.query), state.number)
        anew = (click(BACK), *self._search(wording))
        if onward and len(to_results) + len(onward) <= len(anew):
            return (*to_results, *onward)
        return anew if len(anew) > 1 else ()

    def _pick(self, hits: Sequence[int], number: int) -> tuple[str, ...]:
        """From a results page to the purchase of the nearest right product; empty when no hit is right."""
        size = self.pages.page_size
        for rank in sorted(range(len(hits)), key=lambda rank: abs(rank // size + 1 - number)):
            if self.is_right(hits[rank]):
                pages = rank // size + 1 - number
                turns = (click(NEXT if pages > 0 else PREVIOUS),) * abs(pages)
                return (*turns, click(self._asin(hits[rank])), *self._buy(hits[rank], None))
        return ()

    def _buy(self, position: int, state: State | None) -> tuple[str, ...]:
        chosen = {value for _, value in state.options} if state is not None else set()
        return (*(click(value) for value in self.choices(position) if value not in chosen), click(BUY))

    def _asin(self, position: int) -> str:
        return self.pages.catalogue.products[position].asin


def click(text: str) -> str:
    """The action that clicks a text."""
    return f"click[{text}]"


def _assign(candidates: Sequence[Sequence[tuple[str, str]]], taken: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """One (group, value) for as many wishes as possible, each group at most once; earlier candidates preferred."""
    if not candidates:
        return ()
    best = _assign(candidates[1:], taken)
    for group, value in candidates[0]:
        if group not in taken:
            found = ((group, value), *_assign(candidates[1:], (*taken, group)))
            if len(found) > len(best):
                best = found
    return best
