"""Shops are opened from WebShop's own files, once, with errors that help."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r3lbench.environments.webshop.env import WebShop
from r3lbench.environments.webshop.protocols import PROTOCOLS, GoalKind
from r3lbench.environments.webshop.shop import (
    DATA_VARIABLE,
    GENERATED,
    _shop,
    _stock,
    open_shop,
    splits_of,
)
from r3lbench.errors import BadData

from .small import HUMAN, INSTRUCTIONS, record, records

DEFAULT = PROTOCOLS["default"]


def write(folder: Path, files: dict[str, Any]) -> str:
    for name, content in files.items():
        text = "\n".join(map(json.dumps, content)) if ".jsonl" in name else json.dumps(content)
        data = text.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(folder)


@pytest.mark.parametrize(
    "products",
    ["items_shuffle.json", "items_shuffle_1000.json.gz", "items_shuffle.jsonl", "items_shuffle_1000.jsonl.gz"],
)
def test_files_are_found_under_all_their_names(tmp_path: Path, products: str) -> None:
    folder = write(tmp_path, {products: records(), "items_ins_v2.json": INSTRUCTIONS})
    shop = open_shop(folder, DEFAULT)
    assert (shop.kind, len(shop.goals), shop.catalogue.name) == ("synthetic", 8, "webshop-3")
    assert open_shop(folder, DEFAULT) is shop
    assert open_shop(folder, DEFAULT, order_seed=1).catalogue is shop.catalogue


def test_the_small_files_serve_small_numbers_of_products(tmp_path: Path) -> None:
    files = {"items_shuffle.json": records(), "items_shuffle_1000.json": [record("B9", "tea"), record("B8", "tea")]}
    attributes = {"B9": {"attributes": ["x"], "instruction": "tea", "instruction_attributes": ["x"]}}
    folder = write(tmp_path, files | {"items_ins_v2.json": INSTRUCTIONS, "items_ins_v2_1000.json": attributes})
    assert [product.asin for product in open_shop(folder, DEFAULT, num_products=1).catalogue.products] == ["B9"]
    assert len(open_shop(folder, DEFAULT).catalogue.products) == 3


def test_human_goals_are_taken_when_asked_for(tmp_path: Path) -> None:
    files = {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS}
    folder = write(tmp_path, files | {"items_human_ins.json": HUMAN})
    assert open_shop(folder, DEFAULT, goals=GoalKind.HUMAN).kind == "human"
    assert open_shop(folder, PROTOCOLS["r3l"]).kind == "synthetic"
    (tmp_path / "other").mkdir()
    with pytest.raises(BadData, match="no human goals"):
        open_shop(write(tmp_path / "other", files), DEFAULT, goals=GoalKind.HUMAN)


def test_prices_are_equal_in_every_process_unless_asked_otherwise(tmp_path: Path) -> None:
    folder = write(tmp_path, {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS})
    # The draws of random.Random(0), whose first uniform number is 0.8444218515250481.
    assert open_shop(folder, DEFAULT).catalogue.prices[0] == 19.99 + (1039.5 - 19.99) * 0.8444218515250481
    assert (
        open_shop(folder, DEFAULT, price_seed=1).catalogue.prices[0] != open_shop(folder, DEFAULT).catalogue.prices[0]
    )


def test_nouns_may_lie_beside_the_products(tmp_path: Path) -> None:
    files = {
        "items_shuffle.json": records(),
        "items_ins_v2.json": INSTRUCTIONS,
        "title_nouns.json": {"Oak Lamp": ["oak"]},
    }
    assert open_shop(write(tmp_path, files), DEFAULT).catalogue.nouns("Oak Lamp") == ("oak",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no items_shuffle\.json or items_shuffle_1000\.json .*setup\.sh"),
        ({"items_shuffle.json": []}, r"no items_ins_v2\.json"),
        ({"items_shuffle.json": [], "items_ins_v2.json": {}}, r"items_shuffle\.json: no product found"),
        ({"items_shuffle.json": [1], "items_ins_v2.json": {}}, r"items_shuffle\.json: entry 0 is no product"),
        ({"items_shuffle.json": records(), "items_ins_v2.json": []}, r"items_ins_v2\.json should hold a JSON object"),
        ({"items_ins_v2.json": {"B000000001": None}}, r"items_ins_v2\.json: the entry of 'B000000001'"),
        ({"items_ins_v2.json": {"B000000001": {"attributes": "wool"}}}, r"items_shuffle\.json: product 'B000000001'"),
        (
            {"items_ins_v2.json": {"B000000001": {"instruction": "x", "instruction_attributes": 5}}},
            r"items_ins_v2\.json: the instruction of B000000001",
        ),
        ({"items_human_ins.json": {"B000000001": {}}}, r"items_human_ins\.json: the entry of 'B000000001'"),
        ({"items_human_ins.json": {"B000000001": [5]}}, r"items_human_ins\.json: the entry of 'B000000001'"),
        ({"title_nouns.json": {"Oak Lamp": "oak"}}, r"title_nouns\.json: the entry of 'Oak Lamp'"),
    ],
)
def test_missing_and_malformed_files_are_named(tmp_path: Path, files: dict[str, Any], message: str) -> None:
    if files and "items_shuffle.json" not in files:
        files = {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS} | files
    with pytest.raises(BadData, match=message) as refusal:
        open_shop(write(tmp_path, files), DEFAULT)
    assert "\n" not in str(refusal.value)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=DATA_VARIABLE):
        open_shop(str(tmp_path / "nowhere"), DEFAULT)


@pytest.mark.parametrize("name", ["items_shuffle.json", "items_ins_v2.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"no gzip", lambda data: data[:20] + bytes(9) + data[29:]],
    ids=["cut off", "other bytes", "changed bytes"],
)
def test_a_damaged_compressed_file_is_refused(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    folder = write(tmp_path, {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS})
    (tmp_path / name).rename(tmp_path / "whole")
    (tmp_path / f"{name}.gz").write_bytes(damage(gzip.compress((tmp_path / "whole").read_bytes())))
    with pytest.raises(BadData, match=rf"{name}\.gz is damaged"):
        open_shop(folder, DEFAULT)


def test_a_product_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"items_ins_v2.json": INSTRUCTIONS})
    (tmp_path / "items_shuffle.json").write_bytes(b'[{"asin": "\xff"}]')
    with pytest.raises(BadData, match=r"items_shuffle\.json is damaged"):
        open_shop(folder, DEFAULT)


def test_without_data_the_catalogue_is_generated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert open_shop(None, DEFAULT) is open_shop(GENERATED, DEFAULT)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert open_shop(GENERATED, DEFAULT).kind == "generated"
    with pytest.raises(BadData, match="items_shuffle"):
        open_shop(None, DEFAULT)
    with pytest.raises(BadData, match="num_products"):
        open_shop(GENERATED, DEFAULT, num_products=10)


def test_a_goal_that_repeats_a_held_out_one_is_left_out(tmp_path: Path) -> None:
    options = {"size": [{"value": "one"}] * 40}
    product = record("B1", "tea", customization_options=options)
    attributes = {"B1": {"attributes": ["x"], "instruction": "tea", "instruction_attributes": ["x"]}}
    other = record("B2", "tea") | {"customization_options": {"size": [{"value": str(n)} for n in range(40)]}}
    files = {"items_shuffle.json": [product, other], "items_ins_v2.json": attributes | {"B2": attributes["B1"]}}
    shop = open_shop(write(tmp_path, files), DEFAULT)
    _, splits = splits_of(shop, DEFAULT)
    keys = [{shop.keys[position] for position in positions} for positions in splits.values()]
    assert len(shop.goals) == 80
    assert sum(map(len, keys)) == len(set().union(*keys)) == 41


def test_strict_upstream_draws_prices_without_a_seed(tmp_path: Path) -> None:
    folder = write(tmp_path, {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS})

    def prices(**options: Any) -> tuple[float, ...]:
        _stock.cache_clear()
        return tuple(WebShop(data=folder, **options).shop.catalogue.prices)

    assert prices() == prices() == prices(price_seed=0)
    assert prices(strict_upstream=True, price_seed=7) == prices(price_seed=7)
    assert len({prices(strict_upstream=True) for _ in range(4)}) > 1


def test_without_a_seed_goals_are_shuffled_anew(tmp_path: Path) -> None:
    folder = write(tmp_path, {"items_shuffle.json": records(), "items_ins_v2.json": INSTRUCTIONS})

    def order() -> tuple[str, ...]:
        _shop.cache_clear()
        return tuple(open_shop(folder, DEFAULT, order_seed=None).keys)

    orders = {order() for _ in range(8)}
    assert len(orders) > 1
    assert len({tuple(sorted(keys)) for keys in orders}) == 1
