"""Recorded runs are measured, and what cannot be measured is refused with the reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import run as training
from r3lbench.credit import main
from r3lbench.errors import BadCheckpoint
from r3lbench.files import gzip_lines
from r3lbench.recording import RunFolder
from r3lbench.traces import read_groups, recorded_updates
from tests.recorded import record


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of the shipped policy."""
    folder = tmp_path_factory.mktemp("runs") / "lake"
    short = ("--budget.updates", "2", "--tasks-per-update", "3", "--evaluation.tasks", "1", "--threads", "1")
    assert training.main(["--method", "r3l", "--env", "frozenlake", *short, "--out", str(folder), "--quiet"]) == 0
    return folder


def measured(tmp_path: Path, *arguments: object) -> dict[str, Any]:
    file = tmp_path / "out.json"
    assert main([*map(str, arguments), "--json", str(file), "--quiet"]) == 0
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


def test_a_run_is_measured_from_its_record(lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(tmp_path, lake)
    (run,) = found["runs"]
    assert (run["env"], run["method"], run["value"], run["rollouts"]) == ("FrozenLake-v0", "r3l", "exact", None)
    assert [line["update"] for line in run["updates"]] == [1, 2]
    counts = run["whole"]["counts"]
    assert counts["groups"] == 6 and counts["unvalued"] == 0
    first = RunFolder.open(lake).metrics()[0]["explore"]
    # In this protocol whoever does not arrive has lost what could be had, and retries are attempts, too.
    assert run["updates"][0]["counts"]["attempts"] == first["attempts"] + first["retries"]
    files = [lake / "trees" / f"u{update:06d}.jsonl.gz" for update in (1, 2)]
    groups = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert counts["failed"] == sum(not attempt["success"] for group in groups for attempt in group["attempts"]) > 0
    assert counts["reflections"] == counts["invalid"] + counts["without_step"] + counts["pivots"]
    before = (tmp_path / "out.json").read_bytes()
    assert measured(tmp_path, lake) == found and (tmp_path / "out.json").read_bytes() == before
    assert main([str(lake), str(lake)]) == 0
    out = capsys.readouterr().out
    assert "FrozenLake-v0, exact values" in out and out.count("\n r3l ") == 4 and "nan" not in out


def test_updates_and_groups_are_chosen(lake: Path, tmp_path: Path) -> None:
    whole = measured(tmp_path, lake)["runs"][0]
    second = measured(tmp_path, "--updates", "2", lake)["runs"][0]
    assert second["updates"] == whole["updates"][1:] == measured(tmp_path, lake, "--every", 2)["runs"][0]["updates"]
    fewer = measured(tmp_path, lake, "--groups", 2, "--updates", "1,2")["runs"][0]
    assert [line["counts"]["groups"] for line in fewer["updates"]] == [2, 2]


def test_experts_and_policies_value_the_same_run(lake: Path, tmp_path: Path) -> None:
    exact = measured(tmp_path, lake, "--groups", 1)["runs"][0]
    expert = measured(tmp_path, lake, "--groups", 1, "--value", "expert")["runs"][0]
    assert {**expert, "value": "exact"} == exact
    policy = measured(tmp_path, lake, "--groups", 1, "--value", "policy", "--rollouts", 2, "--threads", 1)["runs"][0]
    assert policy["rollouts"] == 2 and policy["whole"]["counts"]["unvalued"] == 0
    assert policy["whole"]["counts"]["steps"] == exact["whole"]["counts"]["steps"]


def refused(arguments: Sequence[object], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*map(str, arguments)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors


@pytest.fixture
def copy(lake: Path, tmp_path: Path) -> Path:
    """A copy of the run's record, without its policy and its end."""
    folder = tmp_path / "copy"
    (folder / "trees").mkdir(parents=True)
    for name in ("manifest.json", "trees/u000001.jsonl.gz", "trees/u000002.jsonl.gz"):
        (folder / name).write_bytes((lake / name).read_bytes())
    return folder


def test_a_run_under_way_has_values_but_no_policy(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(copy), "--quiet"]) == 0
    assert "not complete; continue it with --resume" in refused([copy, "--value", "policy"], capsys)


def test_records_that_cannot_be_measured_say_why(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "name the folder of a run" in refused([], capsys)
    assert "is not a run folder" in refused([tmp_path / "nowhere"], capsys)
    assert "updates 1 to 2; update 7 is not among them" in refused([copy, "--updates", "1,7"], capsys)
    assert "give numbers with commas" in refused([copy, "--updates", "last"], capsys)
    assert "no update of" in refused([copy, "--every", 3], capsys)
    assert "published without its trees" in refused([record(tmp_path / "published", [1.0, 1.0]).path], capsys)
    begun = record(tmp_path / "begun", [1.0, 1.0], complete=False)
    assert "no update of this run is recorded yet" in refused([begun.path], capsys)
    evaluation = record(tmp_path / "evaluation", [1.0, 1.0], config__method=None)
    assert "nothing was trained" in refused([evaluation.path], capsys)
    foreign = tmp_path / "mine.json"
    foreign.write_text("[]")
    assert "nothing was overwritten" in refused([copy, "--json", foreign], capsys)
    assert foreign.read_text() == "[]"


def test_a_run_on_other_tasks_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((copy / "manifest.json").read_bytes())
    manifest["panels"]["train"]["hash"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert "its train tasks are not those of FrozenLake-v0 here" in refused([copy], capsys)


def test_a_state_that_is_not_reached_again_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, lambda group: group["states"][1].update(digest="0" * 32))
    assert f"{copy}: u1/train/" in (said := refused([copy], capsys)) and "after 1 recorded actions" in said


def change(folder: Path, how: Any) -> None:
    """Change the first group of the first update."""
    file = folder / "trees" / "u000001.jsonl.gz"
    groups = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    how(groups[0])
    file.write_bytes(gzip_lines(groups))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda group: group.pop("terms"), "terms: Field required"),
        (lambda group: group["states"][0].update(reward="much"), "states.0.reward"),
        (lambda group: group["states"][1].update(parent=5), "states are not numbered"),
        (lambda group: group["states"][1].update(id=0), "states are not numbered"),
        (lambda group: group["states"][1].update(parent=None), "more than one root"),
        (lambda group: group["states"][1].update(action=None), "no action"),
        (lambda group: group["segments"][1].update(parent=7), "segments are not numbered"),
        (lambda group: group["segments"][1].update(sampled=False), "log-probability"),
        (lambda group: group["attempts"][0].update(leaf=10**6), "a turn for each of its steps"),
        (lambda group: group["attempts"][0]["turns"].pop(), "a turn for each of its steps"),
        (lambda group: group["attempts"][0].update(base="u9"), "retries u9, which is not there"),
        (lambda group: group["attempts"][0]["turns"].__setitem__(0, [0, 10**6]), "tokens are not there"),
        (lambda group: group["reflections"][0].update(pivot=99), "a step that the attempt does not have"),
        (lambda group: group["terms"][0]["sampled_in"].append(0), "an earlier version"),
    ],
)
def test_a_group_that_does_not_hold_together_is_refused(
    how: Any, words: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(copy, how)
    said = refused([copy], capsys)
    assert words in said and "u000001.jsonl.gz, line 1" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"{}")[:-6], gzip.compress(b"{")],
    ids=["empty", "other", "cut", "half"],
)
def test_a_damaged_file_is_named(content: bytes, copy: Path) -> None:
    folder = RunFolder.open(copy)
    (copy / "trees" / "u000002.jsonl.gz").write_bytes(content)
    assert recorded_updates(folder) == [1, 2]
    if content:
        with pytest.raises(BadCheckpoint, match=r"u000002\.jsonl\.gz"):
            list(read_groups(folder, 2))
