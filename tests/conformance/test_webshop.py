"""The engine against recordings of the official one: every episode, ranking, reward and tokenized document.

The catalogue is played once from memory and once from disk.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from r3lbench.environments.webshop.analysis import analyze
from r3lbench.environments.webshop.catalogue import Catalogue, build_catalogue
from r3lbench.environments.webshop.game import advance
from r3lbench.environments.webshop.goals import Goal
from r3lbench.environments.webshop.keeping import CACHE
from r3lbench.environments.webshop.nouns import TitleNouns
from r3lbench.environments.webshop.pages import Mode, pages_of
from r3lbench.environments.webshop.protocols import Protocol
from r3lbench.environments.webshop.reward import Reward, evaluate
from r3lbench.environments.webshop.state import START, Page
from r3lbench.environments.webshop.stock import StoredCatalogue
from r3lbench.environments.webshop.store import Sources, open_store

ROOT = os.environ.get("R3LBENCH_CONFORMANCE")
if ROOT is None or not Path(ROOT, "webshop").is_dir():
    pytest.skip("set R3LBENCH_CONFORMANCE to the folder of recordings to compare with them", allow_module_level=True)
FOLDER = Path(ROOT, "webshop")
UPSTREAM = Protocol("upstream")
PURCHASE = ("reward", "purchased_asin", "options", "price")
"""What a recorded purchase holds beside the parts of its reward."""


@cache
def read(name: str) -> Any:
    path = FOLDER / name
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()] if ".jsonl" in name else json.loads(text)


@pytest.fixture(scope="module", params=["in memory", "on disk"])
def catalogue(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    held = in_memory()
    if request.param == "in memory":
        return held
    data = FOLDER / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE, str(tmp_path_factory.mktemp("cache")))
        store = open_store(
            Sources(data / "items_shuffle_1000.json.gz", data / "items_ins_v2_1000.json", None, None), None
        )
    return StoredCatalogue(
        name=held.name, products=store.products, prices=held.prices, nouns=held.nouns, store=store, content=held.hash
    )


@cache
def in_memory() -> Catalogue:
    nouns = {title: tuple(words) for title, words in read("title_nouns.json").items()}
    return build_catalogue(
        "recorded",
        read("data/items_shuffle_1000.json.gz"),
        read("data/items_ins_v2_1000.json"),
        prices=read("prices.json"),
        nouns=TitleNouns(nouns),
    )


def parts(reward: Reward, goal: Goal) -> dict[str, Any]:
    """A reward in the form of upstream's details."""
    total = len(goal.attributes) + len(goal.goal_options) + 1
    found: dict[str, Any] = {
        "r_type": reward.type,
        "r_att": sum(reward.attributes) / len(goal.attributes),
        "w_att": len(goal.attributes) / total,
        "query_match": reward.query_match,
        "category_match": reward.category_match,
        "title_score": reward.title_score,
        "r_price": reward.price,
        "w_price": 1 / total,
    }
    if goal.goal_options:
        found["r_option"] = sum(reward.options) / len(goal.goal_options)
        found["w_option"] = len(goal.goal_options) / total
    return found


@pytest.mark.parametrize("episode", read("episodes.jsonl.gz"), ids=lambda episode: episode["id"])
def test_a_recorded_episode_replays_to_the_character(catalogue: Catalogue, episode: dict[str, Any]) -> None:
    pages, goal = pages_of(catalogue, Mode(episode["observation_mode"])), Goal.from_record(episode["goal"])
    state = START
    for step in episode["steps"]:
        reward = 0.0
        if step["action"] is not None:
            turn = advance(pages, goal, state, step["action"], UPSTREAM, strict=True)
            state = turn.state
            reward = state.score if turn.ended else 0.0
        assert pages.render(goal, state) == step["observation"]
        assert list(pages.clickables(state)) == step["clickables"]
        assert (state.page is Page.SEARCH) == step["has_search_bar"]
        assert (state.page is Page.DONE) == step["done"]
        assert reward == step["reward"]
    final = episode["final"]
    assert (state.reward is None) == (final is None)
    if state.reward is not None:
        details = parts(state.reward, goal)
        assert details == {key: final[key] for key in final if key not in PURCHASE}
        assert state.score == final["reward"]
        assert catalogue.products[state.product].asin == final["purchased_asin"]
        assert dict(state.options) == final["options"]
        assert catalogue.prices[state.product] == final["price"]


def test_every_recorded_reward_is_recomputed_with_its_parts(catalogue: Catalogue) -> None:
    for case in read("rewards.jsonl.gz"):
        goal = Goal.from_record(case["goal"])
        product = catalogue.products[catalogue.position[case["purchased_asin"]]]
        reward = evaluate(product, case["price"], case["options"].values(), goal, catalogue.nouns, strict=True)
        assert (reward.total, parts(reward, goal)) == (case["reward"], case["info"])


def test_every_recorded_search_gives_the_same_products_in_the_same_order(catalogue: Catalogue) -> None:
    for entry in read("rankings.json.gz"):
        assert analyze(entry["query"]) == entry["tokens"]
        hits = catalogue.index.search(entry["query"], 50)
        assert [catalogue.products[hit].asin for hit in hits] == entry["asins"]


def test_every_document_has_the_recorded_tokens(catalogue: Catalogue) -> None:
    for product, document in zip(catalogue.products, read("doc_tokens.jsonl.gz"), strict=True):
        assert (product.asin, analyze(product.indexed_text)) == (document["asin"], document["tokens"])
