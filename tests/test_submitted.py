"""Rows that others have sent: what is merged is what it says, and holds what results/README.md asks for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.console import make_console
from r3lbench.errors import MissingExtra
from r3lbench.importing import main as bring
from r3lbench.recording import RunFolder
from r3lbench.registry import ENVIRONMENTS
from r3lbench.results import absolute_paths, run_folders
from r3lbench.verify import verify
from tests.conftest import ROOT
from tests.test_importing import expert, written
from tests.verifying.records import change

SUBMITTED = ROOT / "results" / "submitted"


def rows(folder: Path) -> list[Path]:
    """What lies in a folder of submitted rows, but for its own words."""
    return sorted(path for path in folder.iterdir() if path.name != "README.md")


def shortcomings(path: Path) -> list[str]:
    """Why a row is not merged, a line each."""
    if run_folders([str(path)] if path.is_dir() else []) != [path]:
        return ["not the folder of a record"]
    found = verify(RunFolder(path), make_console(quiet=True))
    wrong = [f"{check.name}: {one.place}: {one.words}" for check in found.checks for one in check.differences]
    wrong += [f"{check.name}: {check.cannot}" for check in found.checks if check.cannot]
    manifest = RunFolder.open(path).manifest
    env, seed = manifest["config"]["env"]["name"], manifest["config"]["seed"]
    if not (path.name.startswith(f"{env}-") and path.name.endswith(f"-s{seed}")):
        wrong.append(f"named otherwise than {env}-NAME-s{seed}")
    if not manifest["revision"] or "+" in manifest["revision"]:
        wrong.append("not made from a commit without changes")
    wrong += [f"holds {part}" for part in ("policy", "checkpoints", "trees") if (path / part).exists()]
    wrong += [f"names {file}, of one machine" for file in absolute_paths(manifest)]
    return wrong


@pytest.mark.parametrize(
    "path",
    rows(SUBMITTED) or [pytest.param(SUBMITTED, marks=pytest.mark.skip(reason="nobody has submitted a row"))],
    ids=lambda path: path.name,
)
def test_a_submitted_row_is_what_it_says(path: Path) -> None:
    try:
        ENVIRONMENTS.load(RunFolder(path).names(("env",))["env"])
    except MissingExtra as error:
        pytest.skip(str(error))
    assert shortcomings(path) == []


# What that would find


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row as it is asked for; not to be written to."""
    folder = tmp_path_factory.mktemp("submitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("r3lbench.recording.revision", lambda: "0123456789abcdef0123456789abcdef01234567")
        file = written(folder / "traces.jsonl", expert())
        assert bring([str(file), "--out", str(folder / "toy-expert-s4"), "--quiet"]) == 0
    return folder / "toy-expert-s4"


def test_an_honest_row_is_merged(honest: Path, tmp_path: Path) -> None:
    shutil.copy(SUBMITTED / "README.md", tmp_path)
    shutil.copytree(honest, tmp_path / honest.name)
    (path,) = rows(tmp_path)
    assert shortcomings(path) == []


def resealed(file: str, how: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    """A change by somebody who knows how to seal."""
    return lambda path: change(path, file, how)


def unsealed(path: Path) -> None:
    file = path / "evaluation.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"score": 1.0', b'"score": 0.5', 1))


def better(lines: list[Any]) -> None:
    lines[0]["steps"] -= 1


def from_home(values: list[Any]) -> None:
    values[0]["elsewhere"]["description"] = "/home/me/model"


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (unsealed, "seal: evaluation.jsonl: was changed"),
        (resealed("evaluation.jsonl", better), "evaluation: evaluation.jsonl:1 steps: recorded "),
        (resealed("evaluation.jsonl", lambda lines: lines.pop()), "evaluation: evaluation.jsonl: 0/sampled/test/2/0"),
        (resealed("result.json", lambda values: values[0].update(stopped_by="budget")), "result: result.json stopped"),
        (resealed("manifest.json", from_home), "names /home/me/model, of one machine"),
        (resealed("manifest.json", lambda values: values[0].update(revision="ab12+")), "not made from a commit"),
        (resealed("manifest.json", lambda values: values[0].update(revision=None)), "not made from a commit"),
        (lambda path: (path / "SHA256SUMS").unlink(), "seal: the record is not sealed"),
        (lambda path: (path / "result.json").unlink(), "seal: result.json: is missing"),
        (lambda path: (path / "trees").mkdir(), "holds trees"),
        (lambda path: (path / "policy").mkdir(), "holds policy"),
        (lambda path: (path / "checkpoints").mkdir(), "holds checkpoints"),
        (lambda path: (path / "manifest.json").unlink(), "not the folder of a record"),
    ],
)
def test_a_row_that_was_tampered_with_is_not(
    tamper: Callable[[Path], Any], said: str, honest: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(honest, tmp_path / honest.name)
    tamper(path)
    assert any(line.startswith(said) for line in shortcomings(path))


@pytest.mark.parametrize("name", ["expert-s4", "toy-expert", "toy-expert-s5", "toy"])
def test_a_row_is_named_by_environment_and_seed(name: str, honest: Path, tmp_path: Path) -> None:
    path = shutil.copytree(honest, tmp_path / name)
    assert shortcomings(path) == ["named otherwise than toy-NAME-s4"]


def test_what_is_no_record_is_not_overlooked(honest: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("see my fork")
    shutil.copytree(honest, tmp_path / "folder" / honest.name)
    assert [shortcomings(path) for path in rows(tmp_path)] == [["not the folder of a record"]] * 2
