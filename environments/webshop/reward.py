"""What a purchase is worth, in [0, 1] (``web_agent_site/engine/goal.py``).

    reward = type * (attributes met + options met + price met) / (attributes + options + 1)

where *type* is 1, 0.5, 0.1 or 0 by product type, category path and the nouns of the two titles. Upstream compares the
options of synthetic goals as (group, value) tuples printed as text, which a colour name inside a value can defeat:
6.6 % of its synthetic goals then cannot reach 1. ``strict`` repeats that; otherwise values are compared with values.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rapidfuzz import fuzz, utils

from .catalogue import Product
from .goals import Goal
from .nouns import TitleNouns

FUZZY_MATCH = 85
"""Token-set ratio that a match must exceed."""
_COLOUR_NAMES = """
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo ivory
    ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow
"""
COLOURS = tuple(_COLOUR_NAMES.split())
"""Names that stand for a whole option value; the first one found inside it wins."""
_NOT_COMPARED = dict.fromkeys(range(0x80, 0x100))
"""Latin-1 letters beyond ASCII, which thefuzz drops before it compares."""


class Reward(NamedTuple):
    """A purchase's worth and where it comes from.

    Attributes:
        total: The reward, in [0, 1].
        type: Factor for the kind of product: 1, 0.5, 0.1 or 0.
        attributes: For each goal attribute, whether it is met.
        options: For each goal option, whether it is met.
        price: Whether the price limit is met.
        query_match: Same product type.
        category_match: Two or more categories in common.
        title_score: Share of the target title's nouns found in the bought title.
    """

    total: float
    type: float
    attributes: tuple[bool, ...]
    options: tuple[bool, ...]
    price: bool
    query_match: bool
    category_match: bool
    title_score: float


def evaluate(
    product: Product, price: float, options: Iterable[str], goal: Goal, nouns: TitleNouns, *, strict: bool = False
) -> Reward:
    """Judge a purchase.

    Args:
        product: What is bought.
        price: At which price.
        options: The option values chosen.
        goal: What was asked for.
        nouns: Rule for title nouns.
        strict: Compare options as upstream does.
    """
    query_match = product.query == goal.query
    category_match = len(_path(product.product_category) & _path(goal.product_category)) >= 2
    title_score = _title_score(nouns(product.title), nouns(goal.name))
    kind = 1.0 if query_match or category_match or title_score > 0.2 else 0.5
    if title_score < 0.1:
        kind = 0.1 if title_score > 0.0 else 0.0
    attributes = tuple(has_attribute(product, wanted) for wanted in goal.attributes)
    chosen = [normalise_colour(value) for value in options]
    met = tuple(
        any(_alike(value, wanted) for value in chosen)
        for wanted in (_wanted(pair, strict) for pair in goal.goal_options)
    )
    affordable = price <= goal.price_upper
    total = (sum(attributes) + sum(met) + affordable) / (len(attributes) + len(met) + 1) * kind
    return Reward(total, kind, attributes, met, affordable, query_match, category_match, title_score)


def has_attribute(product: Product, wanted: str) -> bool:
    """Whether a product's attributes, or its texts, hold the attribute."""
    return (
        any(_alike(attribute, wanted) for attribute in product.attributes)
        or wanted in product.title.lower()
        or wanted in " ".join(product.bullets).lower()
        or wanted in product.description.lower()
    )


def option_met(chosen: str, wanted: str) -> bool:
    """Whether a chosen option value meets a wanted one."""
    return _alike(normalise_colour(chosen), normalise_colour(wanted))


def normalise_colour(value: str) -> str:
    """The first colour name inside the value, or the value itself."""
    return next((colour for colour in COLOURS if colour in value), value)


def _wanted(pair: tuple[str | None, str], strict: bool) -> str:
    group, value = pair
    if group is None or not strict:
        return normalise_colour(value)
    # Upstream's `colour in pair` asks whether the tuple has that very element.
    return next((colour for colour in COLOURS if colour in pair), str(pair))


@lru_cache(maxsize=1 << 16)
def _alike(left: str, right: str) -> bool:
    """``thefuzz.fuzz.token_set_ratio(left, right) > 85``."""
    processed = (utils.default_process(text.translate(_NOT_COMPARED)) for text in (left, right))
    return round(fuzz.token_set_ratio(*processed)) > FUZZY_MATCH


def _path(product_category: str) -> set[str]:
    return {part.strip() for part in product_category.split("›")}


def _title_score(bought: tuple[str, ...], wanted: tuple[str, ...]) -> float:
    return len(set(bought) & set(wanted)) / len(wanted) if wanted else 0.2
