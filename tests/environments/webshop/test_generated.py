"""The generated catalogue is reproducible and exact by construction, and leaves room for learning where it shows."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from functools import cache
from itertools import combinations, permutations

import pytest

from r3lbench.environments.webshop.catalogue import Catalogue, Product, build_catalogue
from r3lbench.environments.webshop.generated import ASIN_PIECES, GeneratedShop, generate, vocabulary
from r3lbench.environments.webshop.goals import Goal
from r3lbench.environments.webshop.nouns import TitleNouns
from r3lbench.environments.webshop.reward import Reward, evaluate, has_attribute, option_met

GOLDEN = "54743f1430e576ae2bcd04b711efd9a546e129054eadfaaade0967cf28b5457d"
"""SHA-256 of the default catalogue."""
SAMPLE = 600
"""Goals that the calibration looks at; its standard error is about 0.02."""


@cache
def shop() -> GeneratedShop:
    return generate()


@cache
def catalogue() -> Catalogue:
    made = shop()
    nouns = TitleNouns({title: tuple(words) for title, words in made.title_nouns.items()})
    return build_catalogue("generated", made.products, made.instructions, prices=made.prices, nouns=nouns)


@cache
def goals() -> tuple[Goal, ...]:
    return tuple(Goal.from_record(record) for record in shop().goals)


@cache
def sample() -> tuple[Goal, ...]:
    return tuple(random.Random(7).sample(goals(), SAMPLE))


def weak_query(goal: Goal) -> str:
    return " ".join([*goal.attributes, goal.query])


def full_query(goal: Goal) -> str:
    return " ".join([weak_query(goal), *(value for _, value in goal.goal_options)])


def buy(position: int, goal: Goal, options: tuple[str, ...], *, strict: bool = False) -> Reward:
    product = catalogue().products[position]
    return evaluate(product, catalogue().prices[position], options, goal, catalogue().nouns, strict=strict)


def best(position: int, goal: Goal) -> float:
    """The most that buying a product can give: with those of its options that the goal asks for."""
    offered = [value for _, values in catalogue().products[position].options for value in values]
    wanted = tuple(next((mine for mine in offered if option_met(mine, value)), "") for _, value in goal.goal_options)
    return buy(position, goal, wanted).total


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def pages_of(product: Product) -> str:
    return " ".join(
        [product.title, product.description, *product.bullets, *(" ".join([n, *v]) for n, v in product.options)]
    )


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    made = shop()
    content = json.dumps([made.products, made.instructions, made.title_nouns, made.prices, made.goals])
    assert json.dumps([vars(generate(0))[name] for name in vars(made)]) == content
    assert hashlib.sha256(content.encode()).hexdigest() == GOLDEN, "the data changed: is a new version due?"


def test_another_seed_gives_another_shop() -> None:
    assert [p["asin"] for p in generate(1).products] != [p["asin"] for p in shop().products]


def test_the_shop_has_the_promised_size() -> None:
    products = catalogue().products
    assert len(products) == 1000
    assert len(goals()) >= 6000
    assert Counter(product.category for product in products) == dict.fromkeys(
        ["beauty", "electronics", "garden", "fashion", "grocery"], 200
    )
    kinds = Counter(product.query for product in products)
    assert len(kinds) == 50
    assert set(kinds.values()) == {20}


def test_ids_are_distinct_and_made_of_the_sixty_four_pieces() -> None:
    asins = [product.asin for product in catalogue().products]
    assert len(set(asins)) == len(asins)
    assert len(set(ASIN_PIECES)) == 64
    for asin in asins:
        assert asin[:2] == "B0"
        assert {asin[i : i + 2] for i in (2, 4, 6, 8)} <= set(ASIN_PIECES)
        assert len(asin) == 10


def test_the_vocabulary_is_small_enough_for_a_word_level_tokenizer() -> None:
    words = {word for product in catalogue().products for word in words_of(pages_of(product))}
    words |= {word for goal in goals() for word in words_of(goal.instruction_text)}
    assert 500 <= len(words) <= 900


def test_category_paths_have_four_levels_and_share_two_within_a_branch() -> None:
    paths = {product.query: product.product_category.split(" › ") for product in catalogue().products}
    assert all(len(path) == 4 for path in paths.values())
    branches = Counter(tuple(path[:2]) for path in paths.values())
    assert min(branches.values()) >= 3


def test_title_nouns_tell_the_kinds_apart() -> None:
    nouns: dict[str, set[tuple[str, ...]]] = {}
    for product in catalogue().products:
        nouns.setdefault(product.query, set()).add(catalogue().nouns(product.title))
    for kind, tables in nouns.items():
        for mine, other in permutations(tables, 2):
            assert 0.3 <= len(set(mine) & set(other)) / len(mine) <= 1.0, kind
    everything = {kind: {word for table in tables for word in table} for kind, tables in nouns.items()}
    for one, two in combinations(everything, 2):
        assert not everything[one] & everything[two], (one, two)


def test_no_option_value_of_a_kind_passes_for_another() -> None:
    for kind in vocabulary()["types"]:
        pairs = [(name, value) for name, values in kind["options"].items() for value in values]
        for (_, chosen), (_, wanted) in permutations(pairs, 2):
            assert not option_met(chosen, wanted), (kind["query"], chosen, wanted)


def test_texts_name_an_attribute_only_if_the_product_has_it() -> None:
    every = sorted(vocabulary()["benefits"])
    for product in catalogue().products:
        for attribute in every:
            assert has_attribute(product, attribute) == (attribute in product.attributes), (product.asin, attribute)


def test_each_attribute_is_shown_on_some_page_and_no_page_shows_all() -> None:
    for product in catalogue().products:
        pages = [product.title.lower(), " ".join(product.bullets).lower(), product.description.lower()]
        for attribute in product.attributes:
            assert any(attribute in page for page in pages)
        for page in pages:
            assert not all(attribute in page for attribute in product.attributes)


@pytest.mark.parametrize("strict", [False, True], ids=["values", "as upstream"])
def test_buying_the_target_as_asked_gives_exactly_one(strict: bool) -> None:
    for goal in goals():
        position = catalogue().position[goal.asin]
        assert buy(position, goal, tuple(value for _, value in goal.goal_options), strict=strict).total == 1.0


def test_leaving_out_an_option_costs_reward() -> None:
    for goal in sample():
        chosen = tuple(value for _, value in goal.goal_options)
        if chosen:
            assert buy(catalogue().position[goal.asin], goal, chosen[1:]).total < 1.0


def test_prices_are_shown_as_single_as_range_and_not_at_all() -> None:
    shown = Counter(
        "missing" if not p["pricing"] else "range" if " to " in p["pricing"] else "single" for p in shop().products
    )
    assert shown["single"] > 800
    assert 30 < shown["range"] < 150
    assert 10 < shown["missing"] < 80
    assert sum(price < 100 for price in shop().prices.values()) > 900
    cents = {
        round(price % 1 * 100) for p in shop().products for price in map(float, re.findall(r"[\d.]+", p["pricing"]))
    }
    assert cents == {0, 50, 99}


def test_some_descriptions_are_missing() -> None:
    missing = sum(not product.description for product in catalogue().products)
    assert 150 < missing < 400


def test_options_come_in_none_one_and_two_groups() -> None:
    groups = Counter(len(product.options) for product in catalogue().products)
    assert set(groups) == {0, 1, 2}
    assert min(groups.values()) > 50


def test_common_words_have_more_hits_than_are_shown() -> None:
    for word in ("free", "color", "easy", "made"):
        assert sum(word in words_of(product.indexed_text) for product in catalogue().products) > 50, word
        assert len(catalogue().index.search(word)) == 50


def test_instructions_are_worded_as_upstream_words_them() -> None:
    pattern = re.compile(
        r"Find me [a-z ,]+?( with [a-z ]+: [^:]+(, and [a-z ]+: [^:]+)?)?, and price lower than \d+\.00 dollars"
    )
    for goal in goals():
        assert pattern.fullmatch(goal.instruction_text), goal.instruction_text
        assert goal.query in goal.instruction_text
        assert goal.price_upper > catalogue().prices[catalogue().position[goal.asin]]


def test_the_target_is_always_among_the_hits_of_the_full_query() -> None:
    for goal in goals():
        assert catalogue().position[goal.asin] in catalogue().index.search(full_query(goal)), goal.instruction_text


def test_wrong_products_stand_beside_the_right_ones() -> None:
    for goal in sample():
        hits = catalogue().index.search(full_query(goal))
        assert any(best(position, goal) < 1.0 for position in hits[:20])


def test_a_weak_query_finds_a_right_product_first_in_about_half_of_the_goals() -> None:
    share = sum(best(catalogue().index.search(weak_query(goal))[0], goal) == 1.0 for goal in sample()) / SAMPLE
    assert 0.45 <= share <= 0.60


def test_a_full_query_finds_a_right_product_first_in_about_nine_of_ten_goals() -> None:
    share = sum(best(catalogue().index.search(full_query(goal))[0], goal) == 1.0 for goal in sample()) / SAMPLE
    assert 0.85 <= share <= 0.95


def test_searching_the_instruction_and_buying_the_first_hit_rarely_succeeds() -> None:
    rewards = [buy(catalogue().index.search(goal.instruction_text)[0], goal, ()).total for goal in sample()]
    assert sum(reward == 1.0 for reward in rewards) / SAMPLE < 0.10
    assert 0.4 < sum(rewards) / SAMPLE < 0.75
