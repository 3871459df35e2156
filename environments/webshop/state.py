"""Where a shopper stands: an immutable value from which every page, button and reward follows."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .reward import Reward


class Page(StrEnum):
    """The kinds of page."""

    SEARCH = "search"
    RESULTS = "results"
    ITEM = "item"
    SECTION = "section"
    """Description, Features, Reviews or Attributes of an item."""
    DONE = "done"


class State(NamedTuple):
    """One shopper's session.

    Attributes:
        page: Kind of page shown.
        query: Search words, lower-case, as typed; empty before the first search.
        number: Number of the results page last shown, from 1.
        product: Catalogue position of the item looked at; -1 when none is.
        section: Name of the item's section shown on a section page.
        options: Chosen (group, value) pairs, in the order in which groups were first chosen.
        seen: Catalogue positions of the items opened since the search page was left.
        reward: Judgement of the purchase; None before it.
        last_action: The action taken last, for rules about repetition.
        repeats: How many times in a row it was taken.
    """

    page: Page = Page.SEARCH
    query: str = ""
    number: int = 0
    product: int = -1
    section: str = ""
    options: tuple[tuple[str, str], ...] = ()
    seen: frozenset[int] = frozenset()
    reward: Reward | None = None
    last_action: str | None = None
    repeats: int = 0

    @property
    def score(self) -> float:
        """The purchase's reward in [0, 1]; 0 before it."""
        return self.reward.total if self.reward is not None else 0.0


START = State()
