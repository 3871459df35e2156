"""Pages are the official ones, character by character, corners included."""

from __future__ import annotations

import pytest

from r3lbench.environments.webshop.catalogue import build_catalogue
from r3lbench.environments.webshop.pages import BUTTON, LINK, Mode, Pages, visible
from r3lbench.environments.webshop.reward import Reward
from r3lbench.environments.webshop.state import START, Page, State

from .small import catalogue, goal, record

ITEM = State(Page.ITEM, query="red", number=1, product=0)


@pytest.fixture
def pages() -> Pages:
    return Pages(catalogue())


def test_the_search_page(pages: Pages) -> None:
    assert pages.render(goal(), START) == (
        "WebShop\nInstruction: \nFind me machine wash dresses with color: dark red\n[button] Search [button_]\n"
    )
    assert dict(pages.clickables(START)) == {"search": BUTTON}
    assert pages.texts(START) == ()


def test_a_results_page_lists_products_and_marks_those_opened(pages: Pages) -> None:
    state = State(Page.RESULTS, query="dress", number=1, seen=frozenset({1}))
    assert pages.render(goal(), state) == (
        "Instruction:\nFind me machine wash dresses with color: dark red\n[button] Back to Search [button_]\n"
        "Page 1 (Total results: 2)\n[button] Next > [button_]\n"
        "\n[clicked button] B000000002 [clicked button_]\nBlue Winter Dress\n$100.0\n"
        "\n[button] B000000001 [button_]\nRed Summer Dress\n$19.99 to $1039.5\n"
    )
    assert dict(pages.clickables(state)) == {
        "back to search": BUTTON,
        "next >": BUTTON,
        "b000000002": LINK,
        "b000000001": LINK,
    }
    beyond = state._replace(number=7)
    assert "Page 7 (Total results: 2)\n[button] < Prev [button_]\n[button] Next > [button_]\n" in pages.render(
        goal(), beyond
    )
    assert list(pages.clickables(beyond)) == ["back to search", "< prev", "next >"]
    assert pages.texts(state) == ("Back to Search", "Next >", "B000000002", "B000000001")


def test_the_page_size_decides_how_many_products_a_page_shows() -> None:
    shop = build_catalogue("tea", [record(f"B{n:09d}", "tea") for n in range(60)], {})
    pages = Pages(shop, page_size=5)
    shown = [len(pages.shown(State(Page.RESULTS, query="tea", number=number))) for number in (0, 1, 10, 11)]
    assert shown == [0, 5, 5, 0]


def test_an_option_looks_clicked_when_its_quoted_text_is_in_the_address(pages: Pages) -> None:
    chosen = ITEM._replace(options=(("size", "small"), ("color", "dark red")))
    page = pages.render(goal(), chosen)
    assert page.startswith("You have clicked small.\nYou have clicked dark red.\nInstruction:\n")
    assert "  [clicked button] dark red [clicked button_]\n" in page
    for hidden in ('wide 28"', "café"):
        assert f"  [button] {hidden} [button_]\n" in pages.render(goal(), ITEM._replace(options=(("color", hidden),)))
    by_query = pages.render(goal(), ITEM._replace(query='a "small" one'))
    assert by_query.startswith("You have clicked small.\n")
    twice = pages.render(goal(), ITEM._replace(options=(("size", "blue | white"),)))
    assert twice.count("You have clicked blue | white.\n") == 2


def test_an_item_offers_its_buttons_and_then_its_options(pages: Pages) -> None:
    assert list(pages.clickables(ITEM)) == [
        *("back to search", "< prev", "description", "features", "reviews", "buy now"),
        *("dark red", "blue | white", 'wide 28"', "café", "small"),
    ]
    assert pages.clickables(ITEM)["blue | white"] == "size"


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("Description", "Made of <b>cotton</b> & silk.\n"),
        ("Features", " Machine wash \n \n Long sleeve\n"),
        ("Reviews", ""),
        ("Attributes", " machine wash\n long sleeve\nfashion\ndresses\nClothing › Women › Dresses\n"),
    ],
)
def test_a_section_shows_its_text_as_it_is(pages: Pages, section: str, text: str) -> None:
    state = ITEM._replace(page=Page.SECTION, section=section)
    assert pages.render(goal(), state).partition("[button] < Prev [button_]\n")[2] == text
    assert list(pages.clickables(state)) == ["back to search", "< prev"]


def test_text_mode_joins_stripped_texts() -> None:
    pages = Pages(catalogue(), Mode.TEXT)
    features = ITEM._replace(page=Page.SECTION, section="Features")
    assert pages.render(goal(), features) == (
        "Instruction: [SEP] Find me machine wash dresses with color: dark red [SEP] Back to Search [SEP] < Prev [SEP] "
        "Machine wash [SEP]  [SEP] Long sleeve"
    )
    assert pages.render(goal(), START).startswith("WebShop [SEP] Instruction: [SEP] Find me")
    assert "You have clicked" not in pages.render(goal(), ITEM._replace(options=(("size", "small"),)))


def test_the_receipt_escapes_options_as_json_for_html(pages: Pages) -> None:
    reward = Reward(0.125, 0.5, (), (), True, False, False, 0.0)
    options = (("size", "<a&'é"), ("color", "x"))
    page = pages.render(goal(), ITEM._replace(page=Page.DONE, options=options, reward=reward))
    assert '\noptions\n{"color": "x", "size": "\\u003ca\\u0026\\u0027\\u00e9"}\n' in page
    assert "Your score (min 0.0, max 1.0)\n0.125\n" in page
    assert pages.clickables(ITEM._replace(page=Page.DONE)) == {}


@pytest.mark.parametrize(
    ("text", "nodes"),
    [("", ()), (" \t ", (" ",)), (" \n\t", ()), ("\x0b", ("\x0b",)), ("\xa0", ("\xa0",)), (" a\n", (" a\n",))],
)
def test_text_of_spaces_alone_shrinks_or_disappears(text: str, nodes: tuple[str, ...]) -> None:
    assert visible(text) == nodes


def test_only_the_pages_looked_at_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r3lbench.environments.webshop.pages.KEPT", 3)
    shop = build_catalogue("tea", [record(f"B{n:09d}", "tea") for n in range(60)], {})
    pages = Pages(shop)
    for position in range(60):
        state = ITEM._replace(product=position)
        assert pages.render(goal(), state) == Pages(shop).render(goal(), state)
        assert pages.clickables(state) and pages.render(goal(), state._replace(page=Page.RESULTS, query="tea"))
    for kept, most in ((pages._hit, 6), (pages._plain_item, 3), (pages._item_clickables, 3)):
        assert kept.cache_info().currsize == most
