"""Whole runs in either schedule, and with hardly any room: the same is played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from r3lbench.agents.chat import ChatAgent
from r3lbench.recording import RunFolder
from r3lbench.rollout.continuous import Continuous
from r3lbench.rollout.pool import EnvPool
from r3lbench.run import main
from tests.rollout import worker_toys as toys
from tests.rollout.lending import source
from tests.stage import by_chance, play, stage
from tests.verifying.records import TREE, change, differences, read, verified

R3L = ("--method", "r3l", "--method.group-size", "4", "--method.reflection", "oracle", "--tasks-per-update", "2")
SHORT = ("--env", "toy", *R3L, "--budget.updates", "1", "--evaluation.tasks", "2", "--threads", "1")


@pytest.fixture(scope="module")
def waves(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "waves"
    assert main([*SHORT, "--policy", str(toy_policy), "--out", str(folder), "--quiet"]) == 0
    return folder


def said(folder: Path) -> list[Any]:
    """Before the weights change: what was measured, and every reply, whichever came first."""
    measured = [line for line in read(folder / "evaluation.jsonl") if line["update"] == 0]
    replies = [
        sorted(segment["token_ids"] for segment in group["segments"] if segment["sampled"])
        for group in read(folder / TREE)
    ]
    assert sum(map(len, replies)) > 40
    return [measured, replies]


def cost(folder: Path) -> dict[str, dict[str, int]]:
    return RunFolder.open(folder).metrics()[-1]["cost"]  # type: ignore[no-any-return]


def test_a_run_without_waves_plays_the_same_and_is_marked(
    waves: Path, toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    ask = ("--policy", str(toy_policy), "--out", str(folder), "--rollout.schedule", "continuous")
    assert main([*SHORT, *ask]) == 0
    assert "the same command may not give the same numbers again" in capsys.readouterr().out
    assert said(folder) == said(waves)
    assert json.loads((folder / "manifest.json").read_bytes())["reproducible"] is False
    assert "reproducible" not in json.loads((waves / "manifest.json").read_bytes())
    for purpose, spent in cost(waves).items():
        mine = cost(folder)[purpose]
        assert mine.get("generated_tokens") == spent.get("generated_tokens")
        assert mine.get("env_steps") == spent.get("env_steps")
    assert differences(verified(folder)) == []
    change(folder, "manifest.json", lambda of: of[0].pop("reproducible"))
    assert differences(verified(folder)) == ["manifest.json reproducible: recorded null, found false"]


def test_a_run_with_hardly_any_room_plays_the_same_and_says_what_it_read_again(
    waves: Path, toy_policy: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    room = ("--memory.kept-gib", "0", "--memory.batch-gib", "1e-9")
    assert main([*SHORT, "--policy", str(toy_policy), "--out", str(folder), "--quiet", *room]) == 0
    assert said(folder) == said(waves)
    there, here = cost(waves)["attempt"], cost(folder)["attempt"]
    assert "recomputed_tokens" not in there and here["recomputed_tokens"] > 0
    assert here["prefilled_tokens"] >= there["prefilled_tokens"] + here["recomputed_tokens"]
    assert differences(verified(folder)) == []


def test_attempts_in_workers_are_the_same_without_waves() -> None:
    played = []
    for continuous in (False, True):
        at = stage(by_chance, agent=ChatAgent())
        at.rollout.envs = EnvPool(source(toys.Remote), workers=2)
        if continuous:
            at.rollout.waves = Continuous(at.engine, at.meter)
        try:
            attempts = play(at.group().attempt(5))
        finally:
            at.rollout.envs.close()
        played.append([(attempt.key, attempt.trajectory.actions, attempt.ret) for attempt in attempts])
    assert played[0] == played[1]
