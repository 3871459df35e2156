from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import evaluate as evaluating
from tests.verifying.records import Copy, Make, train


@pytest.fixture(scope="session")
def make(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a record without policy and checkpoints, as it would be published with its trees."""

    def record(command: Any, *flags: str, env: str = "toy") -> Path:
        out = tmp_path_factory.mktemp("records") / "record"
        asked = ("--env", env, "--env.rooms", "3", "--env.max-steps", "4", "--policy", str(toy_policy), "--quiet")
        assert command.main([*asked, *flags, "--out", str(out)]) == 0
        for part in ("policy", "checkpoints"):
            shutil.rmtree(out / part, ignore_errors=True)
        return out

    return record


@pytest.fixture(scope="session")
def records(make: Make) -> dict[str, Path]:
    """A run with retries, a policy that revises its drafts, and an agent without a model; not to be written to.

    The bare one is the run without its trees.
    """
    run = train(make, "r3l", "--method.reflection", "oracle", "--optimiser.lr", "0.01")
    bare = shutil.copytree(run, run.with_name("bare"))
    shutil.rmtree(bare / "trees")
    improving = ("--tasks", "2", "--episodes-per-task", "2", "--improve", "1", "--improve-with", "oracle")
    return {
        "run": run,
        "bare": bare,
        "evaluation": make(evaluating, *improving),
        "floor": make(evaluating, "--tasks", "2", "--agent", "random"),
    }


@pytest.fixture
def copy(records: dict[str, Path], tmp_path: Path) -> Copy:
    """A copy of a record, to be changed."""

    def copied(name: str) -> Path:
        shutil.copytree(records[name], tmp_path / name)
        return tmp_path / name

    return copied
