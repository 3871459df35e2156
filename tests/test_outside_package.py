"""Somebody else's package adds an environment, an agent and a method without touching ours."""

from __future__ import annotations

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


def run(installed: Path, folder: Path, *arguments: str) -> str:
    """Run Python in a folder of its own, with ours and theirs on the path and warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(installed), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_its_names_are_listed_beside_ours(installed: Path, tmp_path: Path) -> None:
    script = "from r3lbench.registry import *; print(*ENVIRONMENTS.names(), *AGENTS.names(), *BASELINES.names())"
    assert {"guess", "bisect", "best-of", "random"} <= set(run(installed, tmp_path, "-c", script).split())


@pytest.mark.parametrize("first", ["r3lbench", "gymnasium", "guess_game"])
def test_its_environment_is_known_to_gymnasium_whatever_is_imported_first(
    first: str, installed: Path, tmp_path: Path
) -> None:
    script = f"import {first}, r3lbench, gymnasium; print(gymnasium.make('r3lbench/Guess-v0').reset(seed=0)[0])"
    assert run(installed, tmp_path, "-c", script) == "I think of a number from 0 to 99.\n"


def test_its_environment_inherits_the_contract(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "outside_package" / "contract.py", tmp_path)
    output = run(installed, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "contract.py")
    assert " passed" in output and "failed" not in output


def test_its_agent_and_its_method_load(installed: Path, tmp_path: Path) -> None:
    script = "from r3lbench.registry import *; print(AGENTS.load('bisect')(), BASELINES.load('best-of')(group_size=2))"
    assert "group_size=2" in run(installed, tmp_path, "-c", script)
