"""What a shopper sees and can click, derived from the state alone.

Upstream renders HTML templates and turns them back into text with BeautifulSoup; here the text is composed directly, to
the same characters (``web_agent_site/templates``, ``convert_html_to_text`` and ``get_available_actions`` of
``web_agent_site/envs/web_agent_text_env.py``). Two traits come from that detour and are kept: text of nothing but
spaces shrinks to one space or disappears, and an option counts as clicked when its quoted text occurs in the page's
address, which holds the search words and the chosen options as ASCII JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache

from .catalogue import Catalogue, Product
from .goals import Goal
from .state import Page, State

SEARCH = "Search"
BACK = "Back to Search"
PREVIOUS = "< Prev"
NEXT = "Next >"
BUY = "Buy Now"
SECTIONS = ("Description", "Features", "Reviews")
ALL_SECTIONS = (*SECTIONS, "Attributes")
"""Upstream has an Attributes section without a button to it; an option of that name opens it."""
_BUTTONS = (BACK, PREVIOUS, NEXT, *SECTIONS, BUY)
HITS = 50
"""A search finds at most this many products."""
KEPT = 4096
"""Products whose composed pages are kept, those looked at last."""
LINK = "\0link"
"""Target of a product's link, see ``Pages.clickables``."""
BUTTON = "\0button"
"""Target of a button."""

_SPACES = " \n\t\f\r"
_NO_TEXT = "None"
"""What upstream prints for a value that it forgot to pass to a page."""


class Mode(StrEnum):
    """How a page is put into text."""

    TEXT_RICH = "text_rich"
    """One line for each text, with buttons marked."""
    TEXT = "text"
    """Bare texts joined by ``[SEP]``."""


def visible(text: str) -> tuple[str, ...]:
    """What is left of a text that passed through an HTML parser: nothing, one space, or the text."""
    if text.strip(_SPACES):
        return (text,)
    return () if not text or "\n" in text else (" ",)


def address(catalogue: Catalogue, state: State) -> str:
    """Upstream's address of an item page or of one of its sections, as far as it is looked into."""
    asin, words = catalogue.products[state.product].asin, state.query.replace(" ", "+")
    if state.page is Page.SECTION:
        return f"item_sub_page/{asin}/{words}/{state.number}/{state.section}/{dict(state.options)}"
    return f"item_page/{asin}/{words}/{state.number}/{json.dumps(dict(state.options))}"


class Pages:
    """Renders the pages of one catalogue; use ``pages_of``, which keeps what it has composed lately.

    Args:
        catalogue: The shop.
        mode: Form of the text.
        page_size: Products on a results page; upstream has 10.
    """

    def __init__(self, catalogue: Catalogue, mode: Mode = Mode.TEXT_RICH, page_size: int = 10) -> None:
        self.catalogue = catalogue
        self.mode = mode
        self.page_size = page_size
        self._rich = mode is Mode.TEXT_RICH
        self._separator = "\n" if self._rich else " [SEP] "
        self._hit = lru_cache(maxsize=2 * KEPT)(self._compose_hit)
        self._plain_item = lru_cache(maxsize=KEPT)(lambda at: self._item_body(catalogue.products[at], frozenset()))
        self._item_clickables = lru_cache(maxsize=KEPT)(self._clickables_of_item)

    def render(self, goal: Goal, state: State) -> str:
        """The observation of a state."""
        match state.page:
            case Page.SEARCH:
                pieces = ["WebShop", *self._texts("Instruction: ", goal.instruction_text), self._button(SEARCH)]
                clicked: list[str] = []
            case Page.RESULTS:
                pieces, clicked = [*self._head(goal), *self._results(state)], []
            case Page.ITEM:
                body, clicked = self._item(state)
                pieces = [*self._head(goal), self._button(PREVIOUS), body]
            case Page.SECTION:
                pieces = [*self._head(goal), self._button(PREVIOUS), *self._texts(*self._section(state))]
                clicked = []
            case Page.DONE:
                pieces, clicked = self._texts(*self._receipt(state)), []
        if not self._rich:
            return self._separator.join(pieces)
        notes = "".join(f"You have clicked {value}.\n" for value in reversed(clicked))
        return f"{notes}{self._separator.join(pieces)}\n"

    def clickables(self, state: State) -> Mapping[str, str]:
        """What can be clicked, in upstream's order.

        Returns:
            Lower-case text to ``BUTTON``, ``LINK`` or the name of the option group it belongs to.
        """
        match state.page:
            case Page.SEARCH:
                return {SEARCH.lower(): BUTTON}
            case Page.RESULTS:
                found = {BACK.lower(): BUTTON}
                if state.number > 1:
                    found[PREVIOUS.lower()] = BUTTON
                found[NEXT.lower()] = BUTTON
                for position in self.shown(state):
                    found[self.catalogue.products[position].asin.lower()] = LINK
                return found
            case Page.ITEM:
                return self._item_clickables(state.product)
            case Page.SECTION:
                return {BACK.lower(): BUTTON, PREVIOUS.lower(): BUTTON}
            case Page.DONE:
                return {}

    def texts(self, state: State) -> tuple[str, ...]:
        """What can be clicked, as it is written on the page; without what looks like a button and does nothing."""
        written = {text.lower(): text for text in _BUTTONS}
        return tuple(
            text.upper() if target == LINK else written.get(text, text)
            for text, target in self.clickables(state).items()
            if text != SEARCH.lower()
        )

    def shown(self, state: State) -> tuple[int, ...]:
        """Catalogue positions of the products on a results page."""
        hits = self.catalogue.index.search(state.query, HITS)
        return hits[(state.number - 1) * self.page_size : state.number * self.page_size]

    def _head(self, goal: Goal) -> list[str]:
        return [*self._texts("Instruction:", goal.instruction_text), self._button(BACK)]

    def _results(self, state: State) -> list[str]:
        total = len(self.catalogue.index.search(state.query, HITS))
        pieces = [f"Page {state.number} (Total results: {total})"]
        if state.number > 1:
            pieces.append(self._button(PREVIOUS))
        pieces.append(self._button(NEXT))
        pieces.extend(self._hit(position, position in state.seen) for position in self.shown(state))
        return pieces

    def _compose_hit(self, position: int, seen: bool) -> str:
        product = self.catalogue.products[position]
        link = f"\n{self._button(product.asin, seen)}" if self._rich else product.asin
        return self._separator.join([link, *self._texts(product.title, product.price_tag)])

    def _item(self, state: State) -> tuple[str, list[str]]:
        """The page below its head, and the option values that look clicked."""
        if state.options or '"' in state.query:
            product = self.catalogue.products[state.product]
            place = address(self.catalogue, state)
            clicked = [value for _, values in product.options for value in values if value and f'"{value}"' in place]
            if clicked:
                return self._item_body(product, frozenset(clicked)), clicked
        return self._plain_item(state.product), []

    def _item_body(self, product: Product, clicked: frozenset[str]) -> str:
        pieces: list[str] = []
        for name, values in product.options:
            pieces.extend(self._texts(name))
            pieces.extend(self._label(value, value in clicked) for value in values if value)
        pieces.extend(self._texts(product.title, f"Price: {product.price_tag}", "Rating: N.A."))
        pieces.extend(self._button(text) for text in (*SECTIONS, BUY))
        return self._separator.join(pieces)

    def _section(self, state: State) -> Iterable[str]:
        product = self.catalogue.products[state.product]
        match state.section:
            case "Description":
                return (product.description,)
            case "Features":
                return (f" {bullet}" for bullet in product.bullets)
            case "Attributes":
                attributes = (f" {attribute}" for attribute in product.attributes)
                return (*attributes, product.category, product.query, product.product_category)
        return ()

    def _receipt(self, state: State) -> tuple[str, ...]:
        options = json.dumps(dict(state.options), sort_keys=True)
        for character in "<>&'":
            options = options.replace(character, f"\\u{ord(character):04x}")
        return (
            *("Thank you for shopping with us!", "Your code: ", _NO_TEXT, " (Paste it in your MTurk interface.)"),
            *("Purchased", "asin", self.catalogue.products[state.product].asin, "options", options),
            *("attrs", _NO_TEXT, "category", _NO_TEXT, "query", _NO_TEXT, "product category", _NO_TEXT),
            *("Target", "asin", "options", "attrs", "price upper", "instuction text"),
            *("category", "product category", "query", "Goal ", _NO_TEXT),
            *("Reward", "Your score (min 0.0, max 1.0)", str(state.score), "Reward Details ", _NO_TEXT),
        )

    def _clickables_of_item(self, position: int) -> dict[str, str]:
        found = {text.lower(): BUTTON for text in (BACK, PREVIOUS, *SECTIONS, BUY)}
        found.update((value, name) for name, values in self.catalogue.products[position].options for value in values)
        return found

    def _texts(self, *texts: str) -> list[str]:
        nodes = [node for text in texts for node in visible(text)]
        return nodes if self._rich else [node.strip() for node in nodes]

    def _button(self, text: str, clicked: bool = False) -> str:
        if not self._rich:
            return text.strip()
        return f"[clicked button] {text} [clicked button_]" if clicked else f"[button] {text} [button_]"

    def _label(self, text: str, clicked: bool) -> str:
        return f"  {self._button(text, clicked)}" if self._rich else text.strip()


@lru_cache(maxsize=8)
def pages_of(catalogue: Catalogue, mode: Mode = Mode.TEXT_RICH, page_size: int = 10) -> Pages:
    """The renderer of a catalogue, one for all its sessions."""
    return Pages(catalogue, mode, page_size)
