"""Goals are made as upstream makes them, from a generator of the caller's."""

from __future__ import annotations

import random

import pytest

from r3lbench.environments.webshop.goals import NO_LIMIT, Goal, human_goals, shuffled, synthetic_goals
from r3lbench.errors import BadData

from .small import HUMAN, INSTRUCTIONS, catalogue, goal


def test_synthetic_goals_combine_an_instruction_with_all_option_values() -> None:
    goals = synthetic_goals(catalogue(), INSTRUCTIONS, random.Random(1))
    assert len(goals) == 4 * 2
    assert {each.asin for each in goals} == {"B000000001"}
    assert goals[0].goal_options == (("color", "dark red"), ("size", "small"))
    assert goals[0].instruction_text.startswith(
        "Find me machine wash dresses with color: dark red, and size: small, and"
    )
    assert sum(each.weight for each in goals) == pytest.approx(1.0)
    assert len({each.price_upper for each in goals}) == 1


def test_human_goals_skip_instructions_without_attributes() -> None:
    (only,) = human_goals(catalogue(), HUMAN, random.Random(1))
    assert only.goal_options == ((None, "blue"),)
    assert only.instruction_text == f"i want a wool dress, and price lower than {only.price_upper:.2f} dollars"
    assert only.price_upper in (120.0, 130.0, 140.0)


def test_an_expensive_product_has_no_limit() -> None:
    shop = catalogue()
    dear = type(shop)(shop.name, shop.products, (981.0, *shop.prices[1:]), shop.nouns)
    limits = {each.price_upper for each in synthetic_goals(dear, INSTRUCTIONS, random.Random(1))}
    assert limits == {NO_LIMIT}


def test_equal_seeds_give_equal_goals_in_equal_order() -> None:
    one, other = (synthetic_goals(catalogue(), INSTRUCTIONS, random.Random(7)) for _ in range(2))
    assert shuffled(one) == shuffled(other) != tuple(one)
    assert shuffled(one, 5) != shuffled(one)


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
    written = {"instruction": 5, "instruction_attributes": ["x"], "instruction_options": []}
    with pytest.raises(BadData, match=r"^f\.json: an instruction of B000000002 is malformed"):
        human_goals(catalogue(), {"B000000002": [written]}, random.Random(0), "f.json")
    with pytest.raises(BadData, match=r"^f\.json: the instruction of B000000002 is malformed"):
        synthetic_goals(catalogue(), {"B000000002": written}, random.Random(0), "f.json")


def test_a_malformed_human_instruction_is_named() -> None:
    with pytest.raises(BadData, match=r"B000000002 lacks 'instruction_options'"):
        human_goals(
            catalogue(),
            {"B000000002": [{"instruction": "x", "instruction_attributes": []}]},
            random.Random(0),
            "f.json",
        )
