"""The main job on real input: the shipped policy, WebShop, both methods, from the command line's own entry point."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from r3lbench.registry import make
from r3lbench.run import main

SHORT = ["--budget.updates", "1", "--tasks-per-update", "3", "--method.group-size", "4", "--evaluation.tasks", "24"]


@pytest.fixture(scope="module", params=["grpo", "r3l"])
def record(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("webshop") / request.param
    assert main(["--method", request.param, "--env", "webshop", *SHORT, "--out", str(folder), "--quiet"]) == 0
    return folder


def groups_of(record: Path) -> list[dict[str, Any]]:
    with gzip.open(record / "trees" / "u000001.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_the_run_is_complete_and_the_shipped_policy_can_shop(record: Path) -> None:
    result = json.loads((record / "result.json").read_text())
    assert (result["stopped_by"], result["updates"]) == ("updates", 1)
    before = result["evaluation"]["before"]["sampled"]
    assert before["tasks"] == 24
    # 0.37 of the whole panel; random play reaches 0.01.
    assert before["success"] > 0.1
    assert before["score"] > 0.5


def test_the_recorded_actions_lead_to_the_recorded_rewards(record: Path) -> None:
    env = make("webshop")
    attempts = 0
    for group in groups_of(record):
        states = {state["id"]: state for state in group["states"]}
        for attempt in group["attempts"]:
            path = [states[attempt["leaf"]]]
            while path[-1]["parent"] is not None:
                path.append(states[path[-1]["parent"]])
            env.reset(options={"task": group["task"]})
            total = 0.0
            for state in reversed(path[:-1]):
                observation, reward, *_ = env.step(state["action"])
                total += reward
                assert (observation, reward) == (state["observation"], state["reward"])
            assert (total, env.success()) == (attempt["return"], attempt["success"])
            attempts += 1
    assert attempts >= 3 * 2


def test_retries_leave_their_base_at_the_pivot(record: Path) -> None:
    retries = [(group, attempt) for group in groups_of(record) for attempt in group["attempts"] if attempt["base"]]
    assert bool(retries) == (record.name == "r3l")
    for group, retry in retries:
        base = next(attempt for attempt in group["attempts"] if attempt["key"] == retry["base"])
        pivot = retry["pivot"]
        assert retry["turns"][:pivot] == base["turns"][:pivot]
        assert all(turn not in base["turns"] for turn in retry["turns"][pivot:])
        assert retry["guidance"].startswith("Guidance: ")


def test_what_a_run_cost_is_counted_by_purpose(record: Path) -> None:
    (line,) = [json.loads(line) for line in (record / "metrics.jsonl").read_text().splitlines()]
    purposes = {"attempt", "evaluate", "train"} | ({"reflect", "retry"} if record.name == "r3l" else set())
    assert set(line["cost"]) == purposes
    # Every turn but the first finds its conversation's keys and values at hand.
    assert line["cost"]["attempt"]["reused_tokens"] > line["cost"]["attempt"]["prefilled_tokens"]
    assert line["cost"]["attempt"]["replayed_steps"] == 0
