"""A small shop in WebShop's format, with the corners of that format in it."""

from __future__ import annotations

import random
from typing import Any

from r3lbench.environments.webshop.catalogue import Catalogue, build_catalogue
from r3lbench.environments.webshop.goals import Goal


def record(asin: str, name: str, **changes: Any) -> dict[str, Any]:
    """A product record; keyword arguments replace fields."""
    return {
        "asin": asin,
        "name": name,
        "full_description": "",
        "small_description": [],
        "pricing": "$10.00",
        "customization_options": "",
        "images": ["x.jpg"],
        "category": "fashion",
        "query": "Dresses ",
        "product_category": "Clothing › Women › Dresses",
        **changes,
    }


def records() -> list[dict[str, Any]]:
    """Two dresses, a lamp, and entries that the shop leaves out."""
    return [
        record(
            "B000000001",
            "Red Summer Dress",
            full_description="Made of <b>cotton</b> & silk.",
            small_description=["Machine wash ", "", "Long sleeve"],
            pricing="$19.99 to $1,039.50",
            customization_options={
                "Color": [{"value": " Dark Red "}, {"value": "Blue/White"}, {"value": 'wide 28"'}, {"value": "café"}],
                "Size": [{"value": "Small"}, {"value": "blue | white"}],
                "Style": None,
            },
        ),
        record("B000000002", "Blue Winter Dress", small_description="Wool", pricing=""),
        record(
            "B000000003",
            "Oak Lamp",
            category="garden",
            query="lamps",
            product_category="Home › Lighting › Lamps",
            pricing="$27",
        ),
        record("B000000001", "A repeated product"),
        record("nan", "No product"),
        record("B0000000001", "An id of eleven characters"),
    ]


INSTRUCTIONS: dict[str, dict[str, Any]] = {
    "B000000001": {
        "attributes": ["machine wash", "long sleeve"],
        "instruction": "Find me machine wash dresses",
        "instruction_attributes": ["machine wash"],
    },
    "B000000002": {"attributes": []},
}
HUMAN = {
    "B000000002": [
        {"instruction": "i want a wool dress...", "instruction_attributes": ["wool"], "instruction_options": ["blue"]},
        {"instruction": "skipped", "instruction_attributes": [], "instruction_options": []},
    ]
}


def catalogue() -> Catalogue:
    """The products of ``records``."""
    return build_catalogue("small", records(), INSTRUCTIONS, rng=random.Random(0))


def goal(**changes: Any) -> Goal:
    """A goal for the first product."""
    fields: dict[str, Any] = {
        "asin": "B000000001",
        "category": "fashion",
        "query": "dresses",
        "name": "Red Summer Dress",
        "product_category": "Clothing › Women › Dresses",
        "instruction_text": "Find me machine wash dresses with color: dark red",
        "attributes": ("machine wash",),
        "price_upper": 1_000_000.0,
        "goal_options": (("color", "dark red"),),
    }
    return Goal(**(fields | changes))
