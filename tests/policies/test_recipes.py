"""Recipes and shipped policies: values are cut alike where they are read and where they are written."""

from __future__ import annotations

import numpy as np
import pytest

from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection.report import ReportReflector
from r3lbench.env import TextEnv
from r3lbench.errors import UnknownName
from r3lbench.policies.lessons import Played, Teacher
from r3lbench.policies.loading import Policy, find_policy, load_policy
from r3lbench.policies.tokenizer import build_tokenizer
from r3lbench.registry import make
from r3lbench.warmstart import PLAIN, parse

LARGEST = 3_000_000
"""Bytes of a shipped policy's weights."""


@pytest.fixture(scope="module")
def shop() -> TextEnv:
    return make("webshop")


@pytest.fixture(scope="module")
def episodes(shop: TextEnv) -> list[Played]:
    """Expert episodes."""
    teacher = Teacher(shop, ChatAgent(**PLAIN), ReportReflector(style="compact"))
    panel, expert = shop.panel("train"), shop.demonstrators()[0]
    return [teacher.play(panel[index], expert, np.random.default_rng(index)) for index in range(12)]


@pytest.fixture(scope="module")
def shipped() -> Policy:
    try:
        source = find_policy("tiny", "webshop")
    except UnknownName:
        pytest.skip("webshop ships no tiny policy yet")
    return load_policy(source)


def contains(whole: list[int], part: list[int]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


def test_what_the_expert_clicks_has_the_same_tokens_on_the_page(episodes: list[Played]) -> None:
    cuts = parse(["--env", "webshop"]).cuts
    texts = [text for one in episodes for turn in one.turns for text in (turn.prompt[0].content, turn.text)]
    tokenizer = build_tokenizer(texts, joints=cuts.joints, identifiers=cuts.identifiers, min_count=1)
    clicks = 0
    for one in episodes:
        for turn in one.turns:
            name, _, value = turn.text.removesuffix("]").partition("[")
            if name == "click":
                written = tokenizer(turn.text).input_ids[1:-1]
                assert tokenizer.decode(written) == value
                assert contains(tokenizer(turn.prompt[0].content).input_ids, written), value
                clicks += 1
    assert clicks > 24


def test_a_product_id_is_five_tokens() -> None:
    cuts = parse(["--env", "webshop"]).cuts
    tokenizer = build_tokenizer(["B0C2D3F4G5"], joints=cuts.joints, identifiers=cuts.identifiers, min_count=1)
    assert tokenizer.tokenize("click[B0C2D3F4G5]")[1:-1] == ["B0", "C2", "D3", "F4", "G5"]


def test_the_shipped_policy_is_small_and_reads_pages_without_loss(shipped: Policy, episodes: list[Played]) -> None:
    assert sum(p.numel() * p.element_size() for p in shipped.model.parameters()) <= LARGEST
    for one in episodes:
        for turn in one.turns:
            for text in (turn.prompt[0].content, turn.text):
                assert shipped.tokenizer.decode(shipped.tokenizer(text).input_ids) == text
    assert shipped.template.system_midway and shipped.template.system_first
