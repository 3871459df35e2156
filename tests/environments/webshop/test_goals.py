"""Goals are made as upstream makes them, from a generator of the caller's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from r3lbench.environments.webshop.catalogue import Catalogue
from r3lbench.environments.webshop.goals import (
    NO_LIMIT,
    Goal,
    Wish,
    human_wishes,
    shuffled,
    synthetic_wishes,
    weight_of,
)
from r3lbench.errors import BadData

from .small import HUMAN, INSTRUCTIONS, catalogue, goal


def synthetic_goals(shop: Catalogue, instructions: Mapping[str, Any] = INSTRUCTIONS, seed: int = 1) -> list[Goal]:
    written = ((shop.position[asin], record) for asin, record in instructions.items())
    return goals_of(shop, synthetic_wishes(shop, written, random.Random(seed), "f.json"))


def human_goals(shop: Catalogue, instructions: Mapping[str, Any] = HUMAN) -> list[Goal]:
    written = ((shop.position[asin], records) for asin, records in instructions.items())
    return goals_of(shop, human_wishes(shop, written, random.Random(1), "f.json"))


def goals_of(shop: Catalogue, wishes: Any) -> list[Goal]:
    return [wish.goal(number, shop.products[wish.position]) for wish in wishes for number in range(len(wish))]


def test_synthetic_goals_combine_an_instruction_with_all_option_values() -> None:
    goals = synthetic_goals(catalogue())
    assert len(goals) == 4 * 2
    assert {each.asin for each in goals} == {"B000000001"}
    assert [dict(each.goal_options) for each in goals[:3]] == [
        {"color": "dark red", "size": "small"},
        {"color": "dark red", "size": "blue | white"},
        {"color": "blue | white", "size": "small"},
    ]
    assert goals[0].instruction_text.startswith(
        "Find me machine wash dresses with color: dark red, and size: small, and"
    )
    assert len({each.price_upper for each in goals}) == 1


def test_rare_attributes_weigh_more() -> None:
    wish = Wish(0, "tea", ("wool", "long sleeve"), NO_LIMIT, ())
    assert weight_of(wish, {"wool": 4, "long sleeve": 10}) == pytest.approx((1 / 4 + 1 / 10) / 2)
    assert wish.goal(0, catalogue().products[0]).weight == 1.0
    assert replace(wish, weight=0.5).goal(0, catalogue().products[0]).weight == 0.5


def test_a_wish_survives_its_line() -> None:
    wish = Wish(3, "tea \ud800", ("wool",), 20.0, (("color", ("red", "blue")), (None, ("x",))), 0.25)
    assert Wish.from_line(wish.line, 0.25) == wish
    assert len(wish) == 2
    assert len(replace(wish, choices=())) == 1
    assert len(replace(wish, choices=(("color", ()),))) == 0


def test_human_goals_skip_instructions_without_attributes() -> None:
    (only,) = human_goals(catalogue())
    assert only.goal_options == ((None, "blue"),)
    assert only.instruction_text == f"i want a wool dress, and price lower than {only.price_upper:.2f} dollars"
    assert only.price_upper in (120.0, 130.0, 140.0)


def test_an_expensive_product_has_no_limit() -> None:
    shop = catalogue()
    dear = type(shop)(shop.name, shop.products, (981.0, *shop.prices[1:]), shop.nouns)
    limits = {each.price_upper for each in synthetic_goals(dear)}
    assert limits == {NO_LIMIT}


def test_equal_seeds_give_equal_goals_in_equal_order() -> None:
    one, other = (synthetic_goals(catalogue(), seed=7) for _ in range(2))
    assert one == other != synthetic_goals(catalogue(), seed=8)
    goals = list(range(50))
    random.Random(233).shuffle(goals)
    assert shuffled(50).tolist() == goals
    assert shuffled(50, 5) != shuffled(50)


def test_a_goal_survives_its_upstream_form() -> None:
    record = {
        **{name: getattr(goal(), name) for name in ("asin", "category", "query", "name", "product_category")},
        "instruction_text": goal().instruction_text,
        "attributes": ["machine wash"],
        "price_upper": 1000000,
        "index": 3,
    }
    assert Goal.from_record(record | {"goal_options": {"color": "dark red"}}) == goal()
    assert Goal.from_record(record | {"goal_options": [["color", "dark red"]]}) == goal()
    assert Goal.from_record(record | {"goal_options": ["blue"]}).goal_options == ((None, "blue"),)
    assert goal().key != goal(price_upper=10.0).key


def test_an_instruction_that_is_no_text_is_named() -> None:
    record = {"instruction": 5, "instruction_attributes": ["x"], "instruction_options": []}
    with pytest.raises(BadData, match=r"^f\.json: an instruction of B000000002 is malformed"):
        human_goals(catalogue(), {"B000000002": [record]})
    with pytest.raises(BadData, match=r"^f\.json: the instruction of B000000002 is malformed"):
        synthetic_goals(catalogue(), {"B000000002": record})


def test_a_malformed_human_instruction_is_named() -> None:
    with pytest.raises(BadData, match=r"B000000002 lacks 'instruction_options'"):
        human_goals(catalogue(), {"B000000002": [{"instruction": "x", "instruction_attributes": []}]})
