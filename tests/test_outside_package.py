"""Somebody else's package adds an environment, an agent and a method without touching ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed as pip does it."""
    source = tmp_path_factory.mktemp("source") / "guess-game"
    shutil.copytree(ROOT / "tests" / "outside_package", source)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a very small language model that has learned nothing."""
    from r3lbench.policies.tiny import TinyConfig, build_model
    from r3lbench.policies.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer(["I think of a number from 0 to 99. It is higher lower than"], min_count=1)
    shape = TinyConfig(hidden=32, intermediate=32, layers=1, heads=2, context=512, structured=False)
    build_model(tokenizer, shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def attempt(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder of its own, with ours and theirs on the path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(installed), str(ROOT)))}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """What such a run prints; it must end well."""
    done = attempt(installed, folder, *arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_its_names_are_listed_beside_ours(installed: Path, tmp_path: Path) -> None:
    script = "from r3lbench.registry import *; print(*ENVIRONMENTS.names(), *AGENTS.names(), *BASELINES.names())"
    assert {"guess", "digits", "best-of", "random"} <= set(
        run(installed, tmp_path, "-W", "error", "-c", script).split()
    )


@pytest.mark.parametrize("first", ["r3lbench", "gymnasium", "guess_game"])
def test_its_environment_is_known_to_gymnasium_whatever_is_imported_first(
    first: str, installed: Path, tmp_path: Path
) -> None:
    script = f"import {first}, r3lbench, gymnasium; print(gymnasium.make('r3lbench/Guess-v0').reset(seed=0)[0])"
    assert run(installed, tmp_path, "-W", "error", "-c", script) == "I think of a number from 0 to 99.\n"


def test_its_environment_inherits_the_contract(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "outside_package" / "contract.py", tmp_path)
    output = run(installed, tmp_path, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "contract.py")
    assert " passed" in output and "failed" not in output


def test_its_agent_and_its_method_load(installed: Path, tmp_path: Path) -> None:
    script = "from r3lbench.registry import *; print(AGENTS.load('digits')(), BASELINES.load('best-of')(group_size=2))"
    assert "group_size=2" in run(installed, tmp_path, "-W", "error", "-c", script)


def test_a_run_takes_its_environment_agent_and_method_with_their_flags(
    installed: Path, policy: Path, tmp_path: Path
) -> None:
    names = ("--env", "guess", "--agent", "digits", "--method", "best-of", "--policy", str(policy))
    switches = ("--env.max-steps", "3", "--agent.max-tokens", "4", "--method.worst-too", "True")
    size = ("--method.group-size", "2", "--tasks-per-update", "2", "--budget.updates", "1", "--evaluation.tasks", "3")
    run(installed, tmp_path, "-m", "r3lbench.run", *names, *switches, *size, "--out", "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    chosen = {kind: manifest["config"][kind] for kind in ("env", "agent", "method")}
    assert chosen["env"] == {"name": "guess", "max_steps": 3}
    assert chosen["agent"] == {"name": "digits", "max_tokens": 4}
    assert chosen["method"] == {"name": "best-of", "group_size": 2, "worst_too": True}
    assert manifest["panels"]["test"]["tasks"] == 50


def test_an_environment_without_a_policy_of_its_own_says_so(installed: Path, tmp_path: Path) -> None:
    done = attempt(installed, tmp_path, "-m", "r3lbench.run", "--env", "guess", "--method", "best-of")
    assert done.returncode == 2
    assert "guess ships no tiny policy" in done.stderr and done.stderr.count("\n") == 1
