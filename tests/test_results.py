"""Records read back: what can be trusted, and what is refused with the reason."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.leaderboard import main
from r3lbench.results import absolute_paths, read_below
from tests.recorded import R3L, comparison, record


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A comparison in ``runs`` below the current folder."""
    monkeypatch.chdir(tmp_path)
    return comparison(Path("runs"))


def test_a_line_that_a_kill_cut_off_is_no_damage(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "r2", [1.0, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2, complete=False)
    with (runs / "r2" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"update": 4, "tas')
    assert main([str(runs)]) == 0
    assert "- runs/r2: incomplete, 3 updates so far" in capsys.readouterr().out


def damage(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("manifest.json", "{", "", "manifest.json is damaged"),
        ("manifest.json", '"format": 1', '"format": 99', "is not a manifest of a run"),
        ("manifest.json", '"env": "Toy-v0"', '"environment": "Toy-v0"', "env: Field required"),
        ("manifest.json", '"seed": 0', '"sead": 0', "config.seed is missing"),
        ("result.json", '"updates": 4', '"updates": 3', "tasks are missing"),
        ("result.json", '"updates": 4', '"updates": "x"', "updates: Input should be a valid integer"),
        ("result.json", '"score": 0.5', '"score": 0.6', "score after (sampled) in result.json is not the mean"),
        ("evaluation.jsonl", '"score": 0.5', '"score": 0.7', "is not the mean"),
        ("evaluation.jsonl", '"score": 0.5', '"score": 1.5', "less than or equal to 1"),
        ("evaluation.jsonl", '"score": 0.5', '"score": NaN', "finite"),
        ("evaluation.jsonl", '"task": "test/1"', '"task": "test/5"', "tasks are missing"),
        ("evaluation.jsonl", '"task": "test/1"', '"task": "test"', "not a task id"),
        ("evaluation.jsonl", '"task": "test/1"', '"task": "test/0"', "tasks are missing"),
        ("evaluation.jsonl", "{", "", "damaged in line 1"),
    ],
)
def test_damaged_records_are_named_and_left_out(
    name: str, old: str, new: str, said: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(runs / "g0", name, old, new)
    assert main([str(runs)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and said in captured.err and "g0" in captured.err
    assert "- runs/g0: damaged" in captured.out
    assert main([str(runs), "--csv", "out.csv", "--quiet"]) == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        assert next(row for row in csv.DictReader(file) if row["name"] == "grpo")["seeds"] == "1"


def test_a_task_that_was_tried_more_often_than_others_is_damage(tmp_path: Path) -> None:
    run = record(tmp_path / "run", [0.5, 0.5, 0.5, 0.5])
    run.append("evaluation.jsonl", {"update": 4, "mode": "sampled", "task": "test/0", "score": 0.5, "success": False})
    assert "more often" in read_below([str(tmp_path)]).damaged[0][1]


def test_a_panel_that_was_not_finished_is_damage(tmp_path: Path) -> None:
    record(tmp_path / "run", [0.5, 0.5], [0.0, 0.0])
    assert "2 of 4 tasks evaluated" in read_below([str(tmp_path)]).damaged[0][1]


def test_episodes_are_averaged_by_task(tmp_path: Path) -> None:
    record(tmp_path / "run", [0.5, 0.5, 1.0, 0.0], episodes=3)
    (found,) = read_below([str(tmp_path)]).records
    assert found.panels["after", "sampled"]["score"] == [0.5, 0.5, 1.0, 0.0]


def test_absolute_paths_are_told_from_other_texts() -> None:
    found = absolute_paths({"a": ["/home/x/y", "org/name", "~/x", "C:\\x"], "b": {"c": "/", "d": "a /b/c", "e": 3}})
    assert list(found) == ["/home/x/y", "~/x", "C:\\x"]
