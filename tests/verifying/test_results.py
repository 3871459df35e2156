"""The records of this repository are what they say, by a quick look; ``make verify`` plays all of them again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from r3lbench.errors import MissingExtra
from r3lbench.nature import Isolation
from r3lbench.recording import SEAL, VERIFICATION, RunFolder
from r3lbench.registry import ENVIRONMENTS
from r3lbench.results import run_folders
from r3lbench.verdict import Verdict, Verification, check_seal, verdict_on
from tests.conftest import ROOT
from tests.verifying.records import EPISODES, change, differences, verified

TASKS = 8
"""Of every evaluation so many are played again."""
RESULTS = ROOT / "results"
SEALED = [path for path in run_folders([str(RESULTS)]) if (path / SEAL).is_file()]
NONE = pytest.param(RESULTS, marks=pytest.mark.skip(reason="no record below results is sealed"))


def environment(path: Path) -> str:
    """What a record was made on."""
    return RunFolder(path).names(("env",))["env"]


def is_quick(path: Path) -> bool:
    """Whether its environment is played without worker processes, which take seconds to start."""
    try:
        return ENVIRONMENTS.load(environment(path)).isolation is not Isolation.PROCESS
    except MissingExtra:
        return True  # It is skipped at once.


def looked_at(path: Path) -> Verification:
    found = verified(path, tasks=TASKS)
    checks = {check.name: check for check in found.checks}
    if not checks["evaluation"].said:
        pytest.skip(checks["evaluation"].cannot)
    return found


FIRST = list({environment(path): path for path in reversed(SEALED)}.values())
"""A record of every environment."""


def any_of(table: dict[str, Any]) -> Any:
    return next(iter(table.values()))


def name(path: Path) -> str:
    return path.relative_to(RESULTS).as_posix()


@pytest.mark.parametrize("path", SEALED or [NONE], ids=name)
def test_a_record_is_as_it_was_sealed(path: Path) -> None:
    assert check_seal(RunFolder(path)).differences == []
    if (path / VERIFICATION).is_file():
        assert verdict_on(RunFolder(path)) is Verdict.VERIFIED


@pytest.mark.parametrize("path", [path for path in SEALED if path in FIRST or is_quick(path)] or [NONE], ids=name)
def test_a_quick_look_at_a_record_finds_nothing(path: Path) -> None:
    assert differences(looked_at(path)) == []


@pytest.mark.parametrize("path", FIRST or [NONE], ids=name)
def test_a_quick_look_at_a_changed_copy_finds_all_of_it(path: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(path, tmp_path / "record")
    change(folder, EPISODES, lambda lines: lines[0].update({"return": lines[0]["return"] + 1}))
    change(folder, EPISODES, lambda lines: lines[1]["actions"].__setitem__(0, "dance"))
    change(folder, EPISODES, lambda lines: lines[2].update(success=not lines[2]["success"]))
    change(folder, EPISODES, lambda lines: lines.pop())
    change(folder, "result.json", lambda of: any_of(of[0]["evaluation"]["after"]).update(score=2.0))
    change(folder, "manifest.json", lambda of: any_of(of[0]["panels"]).update(hash="0" * 64))
    found = looked_at(folder)
    told = "\n".join(differences(found))
    for place in (f"{EPISODES}:1 return", f"{EPISODES}:2 ", f"{EPISODES}:3 success", "is missing", "result.json eval"):
        assert place in told
    assert "manifest.json panels" in told and found.verdict is Verdict.FAILED
