"""Products are read as WebShop reads them."""

from __future__ import annotations

import random

import pytest

from r3lbench.environments.webshop.catalogue import build_catalogue
from r3lbench.environments.webshop.nouns import TitleNouns, content_words
from r3lbench.errors import BadData

from .small import INSTRUCTIONS, catalogue, record, records


def test_repeated_nan_and_overlong_ids_are_left_out() -> None:
    assert [product.asin for product in catalogue().products] == ["B000000001", "B000000002", "B000000003"]


def test_options_are_lower_case_and_slashes_become_bars() -> None:
    assert catalogue().products[0].options == (
        ("color", ("dark red", "blue | white", 'wide 28"', "café")),
        ("size", ("small", "blue | white")),
    )


def test_prices_are_shown_as_floats_and_drawn_within_their_range() -> None:
    shop = catalogue()
    assert [product.price_tag for product in shop.products] == ["$19.99 to $1039.5", "$100.0", "$27.0"]
    assert 19.99 <= shop.prices[0] <= 1039.5
    assert shop.prices[1:] == (100.0, 27.0)
    again = build_catalogue("small", records(), INSTRUCTIONS, rng=random.Random(0))
    assert (again.prices, again.hash) == (shop.prices, shop.hash)


def test_the_indexed_text_is_title_description_first_bullet_and_options() -> None:
    first, second, third = (product.indexed_text for product in catalogue().products)
    assert first == (
        "red summer dress made of <b>cotton</b> & silk. machine wash  "
        'color: dark red, blue | white, wide 28", café, and size: small, blue | white'
    )
    assert second == "blue winter dress  wool "
    assert third == "oak lamp   "


def test_a_product_unknown_to_the_attribute_file_has_a_dummy_attribute() -> None:
    assert [product.attributes for product in catalogue().products][1:] == [(), ("DUMMY_ATTR",)]


def test_num_products_counts_entries_of_the_file() -> None:
    assert len(build_catalogue("small", records(), {}, num_products=1, rng=random.Random(0)).products) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"asin": "B1"},
        record("B1", "x") | {"query": None},
        record("B1", "x") | {"customization_options": {"Color": [{}]}},
        record("B1", "x") | {"pricing": "free"},
        record("B1", "x") | {"pricing": "$"},
        record("B1", "x") | {"name": None},
        record("B1", "x") | {"small_description": [None]},
        record("B1", "x") | {"product_category": 5},
        "no record",
    ],
)
def test_a_malformed_product_is_named_with_its_file(broken: object) -> None:
    with pytest.raises(BadData, match=r"items\.json"):
        build_catalogue("small", [broken], {}, source="items.json")  # type: ignore[list-item]


def test_prices_that_are_given_must_cover_all_products() -> None:
    with pytest.raises(BadData, match="B000000003"):
        build_catalogue("small", records(), {}, prices={"B000000001": 1.0, "B000000002": 2.0})


def test_the_hash_covers_products_prices_and_the_noun_rule() -> None:
    nouns = TitleNouns({"Oak Lamp": ("lamp",)})
    prices = {"B000000001": 1.0, "B000000002": 2.0, "B000000003": 3.0}
    shops = [
        build_catalogue("small", records(), INSTRUCTIONS, prices=prices),
        build_catalogue("small", records(), {}, prices=prices),
        build_catalogue("small", records(), INSTRUCTIONS, prices=prices | {"B000000003": 3.5}),
        build_catalogue("small", records(), INSTRUCTIONS, prices=prices, nouns=nouns),
    ]
    assert len({shop.hash for shop in shops}) == len(shops)


def test_nouns_come_from_the_table_and_else_from_content_words() -> None:
    nouns = TitleNouns({"Oak Lamp": ("lamp",)})
    assert nouns("Oak Lamp") == ("lamp",)
    assert nouns("The 2 new Oak-Lamps for women's rooms 18x18") == ("oak-lamps", "women's", "rooms")
    assert nouns.name != TitleNouns({"Oak Lamp": ("oak",)}).name
    assert content_words("") == ()
