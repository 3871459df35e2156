"""Our own catalogue: fifty kinds of product, invented brands, and near-duplicates that make the first hit a gamble.

Each kind has five families (brand, line, feature, attributes, price level) of four siblings. Siblings share nearly all
of their text and differ in one option value per group, and one of them also in an attribute, another in its price. A
search that names only the attributes and the kind therefore finds the right family but only now and then the right
sibling; naming the option values too (they are indexed) finds it nearly always. That difference is what a policy can
learn from the instruction alone.

Everything follows from a seed: the same seed gives the same products, instructions, prices and goals on every machine.
The fields are those of the upstream files (princeton-nlp/WebShop, `items_shuffle` and `items_ins_v2`), so that one
loader serves both. All texts are our own.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

FAMILIES_PER_TYPE = 5
SIBLINGS_PER_FAMILY = 4

ASIN_PIECES = tuple(letter + digit for letter in "CDFGHJKM" for digit in "23456789")
"""Two-character pieces of a product id: an id is "B0" and four of these 64 pieces."""

PRICE_LIMITS = tuple(float(limit) for limit in range(10, 1000, 10))
"""Price limits that an instruction may name (upstream `PRICE_RANGE`), in dollars."""

MISSING_PRICE = 100.0
"""Price in dollars that upstream gives to a product without one."""

ATTRIBUTES_PER_PRODUCT = 4
VALUES_PER_FAMILY = 6
PRICE_ENDINGS = (0.0, 0.5, 0.99)
PRICE_STEP = (12, 34)
"""Least and largest whole-dollar surcharge of the dearer sibling."""

_DEARER_SIBLING = 2
_OTHER_ATTRIBUTE_SIBLING = 1


@dataclass(frozen=True)
class GeneratedShop:
    """A generated catalogue in the shape of the upstream files.

    Attributes:
        products: one `items_shuffle` record per product, in catalogue order.
        instructions: asin -> `items_ins_v2` record (`attributes`, `instruction`, `instruction_attributes`).
        title_nouns: title -> the nouns that name the product; disjoint between kinds, never empty.
        prices: asin -> the price in dollars that the reward compares (a draw from the range where a range is shown).
        goals: synthetic goals in a shuffled, fixed order, with the fields of an upstream synthetic goal;
            `goal_options` is a list of `[name, value]` pairs.
    """

    products: list[dict[str, Any]]
    instructions: dict[str, dict[str, Any]]
    title_nouns: dict[str, list[str]]
    prices: dict[str, float]
    goals: list[dict[str, Any]]


@dataclass(frozen=True)
class _Family:
    """What the four siblings of a family share."""

    brand: str
    line: str
    feature: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, tuple[str, ...]], ...]
    material: str
    uses: tuple[str, str]
    price: float
    shown: str  # "single", "range" or "missing": how the price is given
    described: bool


def vocabulary() -> dict[str, Any]:
    """The words the catalogue is made of: lines, departments, benefits of attributes, and kinds of product."""
    text = resources.files(__package__).joinpath("vocabulary.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def generate(seed: int = 0) -> GeneratedShop:
    """Make the catalogue of a seed: 1,000 products and more than 6,000 goals.

    Args:
        seed: any integer; 0 is the catalogue that the registered environments use.
    """
    words = vocabulary()
    rng = random.Random(seed)
    asins = _asins(rng, len(words["types"]) * FAMILIES_PER_TYPE * SIBLINGS_PER_FAMILY)
    products: list[dict[str, Any]] = []
    instructions: dict[str, dict[str, Any]] = {}
    title_nouns: dict[str, list[str]] = {}
    prices: dict[str, float] = {}
    for kind in words["types"]:
        for family in _families(rng, words, kind):
            for sibling in range(SIBLINGS_PER_FAMILY):
                asin = next(asins)
                product, attributes, price = _product(rng, words, kind, family, sibling, asin)
                products.append(product)
                title_nouns[product["name"]] = [*kind["query"].split(), family.feature]
                prices[asin] = price
                instructions[asin] = _instruction(rng, kind["query"], attributes, 3 if family.described else 2)
    rng.shuffle(products)
    return GeneratedShop(products, instructions, title_nouns, prices, _goals(rng, products, instructions, prices))


def _asins(rng: random.Random, count: int) -> Iterator[str]:
    """Distinct product ids of ten characters, in random order."""
    for number in rng.sample(range(len(ASIN_PIECES) ** 4), count):
        pieces = (ASIN_PIECES[number // len(ASIN_PIECES) ** place % len(ASIN_PIECES)] for place in range(4))
        yield "B0" + "".join(pieces)


def _families(rng: random.Random, words: dict[str, Any], kind: dict[str, Any]) -> list[_Family]:
    """The families of one kind: each brand of the department once, each line at most once."""
    department = words["departments"][kind["category"]]
    brands = rng.sample(department["brands"], FAMILIES_PER_TYPE)
    lines = rng.sample(words["lines"], FAMILIES_PER_TYPE)
    low, high = kind["price"]
    groups = list(kind["options"].items())
    # Most families of a kind have the same groups: a group that only some had would betray the right product at once.
    usual = rng.choices((0, 1, 2), weights=(1, 6, 18))[0]
    families = []
    for number, (brand, line) in enumerate(zip(brands, lines, strict=True)):
        count = usual if rng.random() < 0.8 else rng.randrange(3)
        chosen = sorted(rng.sample(range(len(groups)), count))
        families.append(
            _Family(
                brand=brand,
                line=line,
                feature=kind["features"][number % len(kind["features"])],
                attributes=tuple(rng.sample(kind["attributes"], ATTRIBUTES_PER_PRODUCT)),
                options=tuple((groups[i][0], tuple(_in_order(rng, groups[i][1], VALUES_PER_FAMILY))) for i in chosen),
                material=rng.choice(kind["materials"]),
                uses=tuple(rng.sample(department["uses"], 2)),
                price=rng.randint(low, high) + rng.choice(PRICE_ENDINGS),
                shown=rng.choices(("single", "range", "missing"), weights=(88, 9, 3))[0],
                described=rng.random() < 0.75,
            )
        )
    return families


def _in_order(rng: random.Random, values: Sequence[str], count: int) -> list[str]:
    """A random choice of at most `count` values, in their given order."""
    kept = sorted(rng.sample(range(len(values)), min(count, len(values))))
    return [values[i] for i in kept]


def _product(
    rng: random.Random, words: dict[str, Any], kind: dict[str, Any], family: _Family, sibling: int, asin: str
) -> tuple[dict[str, Any], list[str], float]:
    """One sibling: its upstream record, its attributes and the price that the reward compares."""
    attributes = list(family.attributes)
    if sibling == _OTHER_ATTRIBUTE_SIBLING:
        others = [attribute for attribute in kind["attributes"] if attribute not in attributes]
        attributes[rng.randrange(3)] = rng.choice(others)
    options = {name.title(): _offered(values, sibling) for name, values in family.options}
    price = family.price + (rng.randint(*PRICE_STEP) if sibling == _DEARER_SIBLING else 0)
    shown, drawn = _price(rng, family.shown, price)
    first, second, third, fourth = attributes
    title = f"{family.brand} {family.line} {kind['query']} with {family.feature}, {first}".title()
    benefits = words["benefits"]
    bullets = [
        f"{second.capitalize()}: {benefits[second]}",
        f"{fourth.capitalize()}: {benefits[fourth]}",
        f"Made with {family.material}",
        f"For {family.uses[0]}",
    ]
    if family.described:
        description = (
            f"A {family.line.lower()} {kind['query']} from {family.brand} for {family.uses[0]} and {family.uses[1]}. "
            f"{third.capitalize()}: {benefits[third]}."
        )
    else:
        description = ""
        bullets.insert(2, f"{third.capitalize()}: {benefits[third]}")
    department = words["departments"][kind["category"]]
    product = {
        "asin": asin,
        "name": title,
        "full_description": description,
        "small_description": bullets,
        "pricing": shown,
        "customization_options": {name: [{"value": value} for value in values] for name, values in options.items()},
        "images": [""],
        "category": kind["category"],
        "query": kind["query"],
        "product_category": " › ".join([department["name"], *kind["path"], kind["query"].title()]),
        "average_rating": "",
    }
    return product, attributes, drawn


def _offered(values: Sequence[str], sibling: int) -> list[str]:
    """The values of a group that a sibling offers: the family's but one (of six: but two), others for each sibling."""
    first = sibling % len(values)
    left_out = {first, (first + 1) % len(values)} if len(values) > 5 else {first}
    return [value for i, value in enumerate(values) if i not in left_out]


def _price(rng: random.Random, shown: str, price: float) -> tuple[str, float]:
    """The price text of the record, and the price in dollars that counts (upstream: a uniform draw from a range)."""
    if shown == "missing":
        return "", MISSING_PRICE
    if shown == "single":
        return f"${price:.2f}", price
    high = price + rng.randint(2, 9)
    return f"${price:.2f} to ${high:.2f}", rng.uniform(price, high)


def _instruction(rng: random.Random, query: str, attributes: Sequence[str], indexed: int) -> dict[str, Any]:
    """The `items_ins_v2` record: what the product has, and which of it a shopper asks for."""
    count = rng.choices((1, 2, 3), weights=(2, 7, 1))[0]
    wanted = _in_order(rng, attributes if rng.random() < 0.15 else attributes[:indexed], count)
    return {
        "attributes": list(attributes),
        "instruction": f"Find me {', '.join(wanted)} {query}",
        "instruction_attributes": wanted,
    }


def _goals(
    rng: random.Random,
    products: Sequence[dict[str, Any]],
    instructions: dict[str, dict[str, Any]],
    prices: dict[str, float],
) -> list[dict[str, Any]]:
    """One goal for every product and choice of options, weighted and worded as upstream's synthetic goals."""
    goals = []
    for product in products:
        asin = product["asin"]
        record = instructions[asin]
        limits = [limit for limit in PRICE_LIMITS if limit > prices[asin]][:4]
        price_upper = max(rng.sample(limits, 2))
        limit_wording = f", and price lower than {price_upper:.2f} dollars"
        groups = {
            name.lower(): [v["value"] for v in values] for name, values in product["customization_options"].items()
        }
        names = sorted(groups)
        for values in itertools.product(*(groups[name] for name in names)):
            options = [[name, value] for name, value in zip(names, values, strict=True)]
            wording = " with " + ", and ".join(f"{name}: {value}" for name, value in options) if options else ""
            goals.append(
                {
                    "asin": asin,
                    "category": product["category"],
                    "query": product["query"],
                    "name": product["name"],
                    "product_category": product["product_category"],
                    "instruction_text": f"{record['instruction']}{wording}{limit_wording}",
                    "attributes": list(record["instruction_attributes"]),
                    "price_upper": price_upper,
                    "goal_options": options,
                }
            )
    counts = Counter(attribute for goal in goals for attribute in goal["attributes"])
    for goal in goals:
        goal["weight"] = sum(1 / counts[attribute] for attribute in goal["attributes"]) / len(goal["attributes"])
    rng.shuffle(goals)
    return goals
