"""What shoppers are asked to buy.

Human goals are crowd-written instructions (``items_human_ins``), synthetic ones combine a product's instruction with
every combination of its options. Both add a price limit above the product's price. Upstream draws prices and limits
without a seed, so that no two of its processes agree; here they come from a generator of the caller's. The order of the
goals is upstream's: shuffled with seed 233 (``get_goals`` in ``web_agent_site/engine/goal.py``, ``SimServer``).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from r3lbench.errors import BadData

from .catalogue import Catalogue, texts

ORDER_SEED = 233
"""Seed of upstream's shuffle."""
NO_LIMIT = 1_000_000.0
"""Price limit of a goal without one."""
_LIMITS = tuple(10.0 * step for step in range(1, 100))


@dataclass(frozen=True)
class Goal:
    """One thing to buy.

    Attributes:
        asin: The target product.
        category: Department of the target.
        query: Product type of the target.
        name: Title of the target.
        product_category: Category path of the target.
        instruction_text: What the shopper is told.
        attributes: Properties asked for.
        price_upper: Highest price that is met, in dollars.
        goal_options: Option values asked for, as (group, value); the group is None in human goals.
        weight: Chance of being drawn upstream, up to a factor.
    """

    asin: str
    category: str
    query: str
    name: str
    product_category: str
    instruction_text: str
    attributes: tuple[str, ...]
    price_upper: float
    goal_options: tuple[tuple[str | None, str], ...]
    weight: float = 1.0

    @cached_property
    def key(self) -> str:
        """SHA-256 (hex) of the goal's content."""
        fields = [getattr(self, name) for name in type(self).__dataclass_fields__]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Goal:
        """Read a goal in upstream's form.

        ``goal_options`` may be a mapping or a list of (group, value) pairs, as in synthetic goals, or a list of values,
        as in human ones. Other keys are ignored.
        """
        options = record["goal_options"]
        pairs = options.items() if isinstance(options, Mapping) else options
        return cls(
            **{name: record[name] for name in _TEXT_FIELDS},
            attributes=tuple(record["attributes"]),
            price_upper=float(record["price_upper"]),
            goal_options=tuple((None, pair) if isinstance(pair, str) else (pair[0], pair[1]) for pair in pairs),
            weight=float(record.get("weight", 1.0)),
        )


_TEXT_FIELDS = ("asin", "category", "query", "name", "product_category", "instruction_text")


def human_goals(
    catalogue: Catalogue, instructions: Mapping[str, Sequence[Mapping[str, Any]]], rng: random.Random, source: str = ""
) -> list[Goal]:
    """Goals of the crowd, in file order of the products; instructions without attributes are left out.

    Args:
        catalogue: Products and prices.
        instructions: Content of ``items_human_ins``.
        rng: Generator of the price limits.
        source: Name of the file, for messages.
    """
    goals = []
    for position, product in enumerate(catalogue.products):
        for written in instructions.get(product.asin, ()):
            try:
                (text,), attributes = texts([written["instruction"]]), texts(written["instruction_attributes"])
                options = tuple((None, value) for value in texts(written["instruction_options"]))
            except KeyError as error:
                raise BadData(f"{source}: an instruction of {product.asin} lacks {error}") from error
            except TypeError as error:
                raise BadData(f"{source}: an instruction of {product.asin} is malformed: {error}") from error
            if not attributes:
                continue
            limit, limit_text = _draw_limit(catalogue.prices[position], rng)
            goals.append(_goal(catalogue, position, text.strip(".") + limit_text, attributes, limit, options))
    return goals


def synthetic_goals(
    catalogue: Catalogue, instructions: Mapping[str, Mapping[str, Any]], rng: random.Random, source: str = ""
) -> list[Goal]:
    """One goal for every product with an instruction and every combination of its option values.

    Args:
        catalogue: Products and prices.
        instructions: Content of ``items_ins_v2``.
        rng: Generator of the price limits; one draw a product.
        source: Name of the file, for messages.
    """
    goals: list[Goal] = []
    for position, product in enumerate(catalogue.products):
        written = instructions.get(product.asin, {})
        if written.get("instruction") is None or not written.get("instruction_attributes"):
            continue
        try:
            (text,), attributes = texts([written["instruction"]]), texts(written["instruction_attributes"])
        except TypeError as error:
            raise BadData(f"{source}: the instruction of {product.asin} is malformed: {error}") from error
        limit, limit_text = _draw_limit(catalogue.prices[position], rng)
        groups = sorted(product.options)
        for values in itertools.product(*(choices for _, choices in groups)):
            options = tuple((name, value) for (name, _), value in zip(groups, values, strict=True))
            wish = ", and ".join(f"{name}: {value}" for name, value in options)
            full = f"{text} with {wish}{limit_text}" if wish else f"{text}{limit_text}"
            goals.append(_goal(catalogue, position, full, attributes, limit, options))
    frequency = Counter(attribute for goal in goals for attribute in goal.attributes)
    return [
        replace(goal, weight=sum(1.0 / frequency[name] for name in goal.attributes) / len(goal.attributes))
        for goal in goals
    ]


def shuffled(goals: Iterable[Goal], seed: int | None = ORDER_SEED) -> tuple[Goal, ...]:
    """The goals in the order that indices refer to; another one in every process where the seed is None."""
    order = list(goals)
    random.Random(seed).shuffle(order)
    return tuple(order)


def _goal(
    catalogue: Catalogue,
    position: int,
    text: str,
    attributes: tuple[str, ...],
    limit: float,
    options: tuple[tuple[str | None, str], ...],
) -> Goal:
    product = catalogue.products[position]
    return Goal(
        asin=product.asin,
        category=product.category,
        query=product.query,
        name=product.title,
        product_category=product.product_category,
        instruction_text=text,
        attributes=attributes,
        price_upper=limit,
        goal_options=options,
    )


def _draw_limit(price: float, rng: random.Random) -> tuple[float, str]:
    """The larger of two of the next four multiples of ten dollars, and the words for it."""
    candidates = [limit for limit in _LIMITS if limit > price][:4]
    if len(candidates) < 2:
        return NO_LIMIT, ""
    limit = max(rng.sample(candidates, 2))
    return limit, f", and price lower than {limit:.2f} dollars"
