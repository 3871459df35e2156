"""A purchase is judged by upstream's formula."""

from __future__ import annotations

import pytest

from r3lbench.environments.webshop.nouns import TitleNouns
from r3lbench.environments.webshop.reward import COLOURS, evaluate, normalise_colour, option_met

from .small import catalogue, goal

NOUNS = TitleNouns({"Red Summer Dress": ("summer", "dress"), "Blue Winter Dress": ("winter", "dress")})


def test_the_target_with_its_options_is_worth_one() -> None:
    reward = evaluate(catalogue().products[0], 20.0, ["dark red"], goal(), NOUNS)
    assert (reward.total, reward.type, reward.attributes, reward.options, reward.price) == (
        1.0,
        1.0,
        (True,),
        (True,),
        True,
    )


@pytest.mark.parametrize(
    ("price", "options", "total"), [(20.0, [], 2 / 3), (31.0, ["dark red"], 2 / 3), (31.0, ["blue | white"], 1 / 3)]
)
def test_each_part_that_is_missed_costs_its_share(price: float, options: list[str], total: float) -> None:
    assert evaluate(catalogue().products[0], price, options, goal(price_upper=30.0), NOUNS).total == total


@pytest.mark.parametrize(
    ("bought", "wanted", "query", "path", "kind"),
    [
        (("dress",), ("dress",), "same", "A › B", 1.0),
        (("dress",), ("dress", "a", "b", "c", "d"), "other", "X › B", 0.5),
        (("dress",), ("dress", "a", "b", "c"), "other", "X › B", 1.0),
        (("dress",), ("dress", "a", "b", "c", "d"), "other", "B › A › Z", 1.0),
        (("dress",), ("dress", *"abcdefghij"), "same", "A › B", 0.1),
        (("dress",), ("lamp",), "same", "A › B", 0.0),
        (("dress",), (), "other", "X", 0.5),
    ],
)
def test_the_type_factor_depends_on_kind_path_and_nouns(
    bought: tuple[str, ...], wanted: tuple[str, ...], query: str, path: str, kind: float
) -> None:
    product = catalogue().products[0]
    same = goal(query=product.query if query == "same" else query, product_category=path, name="goal title")
    nouns = TitleNouns({product.title: bought, "goal title": wanted})
    target = type(product)(*[*(getattr(product, name) for name in product.__slots__[:-1]), "A › B"])
    assert evaluate(target, 1.0, ["dark red"], same, nouns).type == kind


def test_attributes_are_found_in_the_texts_too() -> None:
    product = catalogue().products[0]
    assert evaluate(product, 1.0, [], goal(attributes=("cotton", "long sleeves", "red", "oak")), NOUNS).attributes == (
        True,
        True,
        True,
        False,
    )


def test_a_colour_name_stands_for_the_whole_value() -> None:
    assert len(COLOURS) == 102 and list(COLOURS) == sorted(COLOURS)
    assert [normalise_colour(value) for value in ("dark green", "light blue", "rectangular", "xl")] == [
        *("dark", "blue", "tan", "xl")
    ]
    assert option_met("dark green", "dark yellow") and not option_met("blue", "green")


def test_strict_comparison_repeats_upstreams_unreachable_options() -> None:
    wanted = goal(goal_options=(("item shape", "rectangular"),))
    product = catalogue().products[0]
    assert evaluate(product, 1.0, ["rectangular"], wanted, NOUNS).options == (True,)
    assert evaluate(product, 1.0, ["rectangular"], wanted, NOUNS, strict=True).options == (False,)
    human = goal(goal_options=((None, "rectangular"),))
    assert evaluate(product, 1.0, ["rectangular"], human, NOUNS, strict=True).options == (True,)
