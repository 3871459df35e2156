"""What shoppers are asked to buy.

Human goals are crowd-written instructions (``items_human_ins``), synthetic ones combine a product's instruction with
every combination of its options. Both add a price limit above the product's price. Upstream draws prices and limits
without a seed, so that no two of its processes agree; here they come from a generator of the caller's. The order of the
goals is upstream's: shuffled with seed 233 (``get_goals`` in ``web_agent_site/engine/goal.py``, ``SimServer``).
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from r3lbench.errors import BadData

from .catalogue import Catalogue, Product, texts

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


@dataclass(frozen=True)
class Wish:
    """A goal for every combination of some choices, all for one product.

    Attributes:
        position: The product's position in the catalogue.
        text: What the shopper is told, but for options and price.
        attributes: Properties asked for.
        limit: Highest price that is met, in dollars.
        choices: Each option's group, None in human goals, and the values of which one is asked for.
        weight: Of each of the goals.
    """

    position: int
    text: str
    attributes: tuple[str, ...]
    limit: float
    choices: tuple[tuple[str | None, tuple[str, ...]], ...]
    weight: float = 1.0

    def __len__(self) -> int:
        return math.prod(len(values) for _, values in self.choices)

    @property
    def line(self) -> bytes:
        """All of it but the weight as JSON, in ASCII."""
        return json.dumps([self.position, self.text, self.attributes, self.limit, self.choices]).encode("ascii")

    @classmethod
    def from_line(cls, line: bytes, weight: float = 1.0) -> Wish:
        """The wish that such a line stands for."""
        position, text, attributes, limit, choices = json.loads(line)
        groups = tuple((group, tuple(values)) for group, values in choices)
        return cls(position, text, tuple(attributes), limit, groups, weight)

    def goal(self, number: int, product: Product) -> Goal:
        """One of the goals; the last choice changes first.

        Args:
            number: Which one.
            product: What is at ``position``.
        """
        chosen: list[tuple[str | None, str]] = []
        for group, values in reversed(self.choices):
            number, place = divmod(number, len(values))
            chosen.insert(0, (group, values[place]))
        options = ", and ".join(f"{group}: {value}" for group, value in chosen if group is not None)
        price = "" if self.limit == NO_LIMIT else f", and price lower than {self.limit:.2f} dollars"
        return Goal(
            asin=product.asin,
            category=product.category,
            query=product.query,
            name=product.title,
            product_category=product.product_category,
            instruction_text=f"{self.text} with {options}{price}" if options else f"{self.text}{price}",
            attributes=self.attributes,
            price_upper=self.limit,
            goal_options=tuple(chosen),
            weight=self.weight,
        )


def human_wishes(
    catalogue: Catalogue, written: Iterable[tuple[int, Sequence[Mapping[str, Any]]]], rng: random.Random, source: str
) -> Iterator[Wish]:
    """What the crowd asks for; instructions without attributes are left out.

    Args:
        catalogue: Products and prices.
        written: Positions of products, ascending, and what ``items_human_ins`` holds for each.
        rng: Generator of the price limits.
        source: Name of the file, for messages.
    """
    for position, instructions in written:
        for record in instructions:
            try:
                (text,), attributes = texts([record["instruction"]]), texts(record["instruction_attributes"])
                options = texts(record["instruction_options"])
            except KeyError as error:
                asin = catalogue.products[position].asin
                raise BadData(f"{source}: an instruction of {asin} lacks {error}") from error
            except TypeError as error:
                asin = catalogue.products[position].asin
                raise BadData(f"{source}: an instruction of {asin} is malformed: {error}") from error
            if attributes:
                limit = _draw_limit(catalogue.prices[position], rng)
                choices = tuple((None, (value,)) for value in options)
                yield Wish(position, text.strip("."), attributes, limit, choices)


def synthetic_wishes(
    catalogue: Catalogue, written: Iterable[tuple[int, Mapping[str, Any]]], rng: random.Random, source: str
) -> Iterator[Wish]:
    """One wish for every product with an instruction, for any of its option values; without weights.

    Args:
        catalogue: Products and prices.
        written: Positions of products, ascending, and what ``items_ins_v2`` holds for each.
        rng: Generator of the price limits; one draw a product.
        source: Name of the file, for messages.
    """
    for position, record in written:
        if record.get("instruction") is None or not record.get("instruction_attributes"):
            continue
        product = catalogue.products[position]
        try:
            (text,), attributes = texts([record["instruction"]]), texts(record["instruction_attributes"])
        except TypeError as error:
            raise BadData(f"{source}: the instruction of {product.asin} is malformed: {error}") from error
        limit = _draw_limit(catalogue.prices[position], rng)
        yield Wish(position, text, attributes, limit, tuple(sorted(product.options)))


def weight_of(wish: Wish, frequency: Mapping[str, int]) -> float:
    """The weight of a synthetic wish's goals, given how many goals ask for each attribute."""
    return sum(1.0 / frequency[name] for name in wish.attributes) / len(wish.attributes)


def shuffled(count: int, seed: int | None = ORDER_SEED) -> array[int]:
    """Numbers of goals in the order that indices refer to; another one in every process where the seed is None."""
    order = array("q", range(count))
    # A list of goals would be shuffled alike.
    random.Random(seed).shuffle(order)
    return order


def _draw_limit(price: float, rng: random.Random) -> float:
    """The larger of two of the next four multiples of ten dollars."""
    candidates = [limit for limit in _LIMITS if limit > price][:4]
    return max(rng.sample(candidates, 2)) if len(candidates) >= 2 else NO_LIMIT
