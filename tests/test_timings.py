"""Every run says where its time went."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import run, timings
from r3lbench.phases import Seconds, from_json
from r3lbench.recording import RunFolder
from tests.recorded import record
from tests.reported import retell, spent


@pytest.fixture(scope="module")
def trained(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, float]:
    """A short run, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("timings") / "run"
    ask = ["--method", "r3l", "--env", "toy", "--policy", str(toy_policy), "--method.group-size", "4"]
    ask += ["--tasks-per-update", "4", "--budget.updates", "4", "--evaluation.tasks", "4", "--threads", "1"]
    ask += ["--agent.max-tokens", "3", "--reflection.max-tokens", "6", "--quiet", "--out", str(folder)]
    config = run.parse(ask)
    began = time.perf_counter()
    run.run(config)
    return RunFolder.open(folder), time.perf_counter() - began


def test_the_phases_of_a_run_are_its_time(trained: tuple[RunFolder, float]) -> None:
    folder, seconds = trained
    whole = timings.spent(folder)
    assert 0.95 * seconds <= sum(of.wall for path, of in whole.items() if len(path) == 1) <= seconds
    names = {".".join(path) for path in whole}
    assert names >= {"load", "explore", "learn", "evaluate", "record", "checkpoint"}
    assert names >= {f"learn.{of}" for of in ("credit", "pack", "forward", "backward", "reference", "optimiser")}
    assert names >= {f"explore.{purpose}.{of}" for purpose in ("attempt", "reflect") for of in ("prefill", "decode")}
    assert names >= {f"explore.attempt.{of}" for of in ("reset", "step")}
    assert names >= {f"evaluate.{of}" for of in ("prefill", "decode", "reset", "step")}
    for outer, of in whole.items():
        # Each is rounded to a microsecond.
        assert sum(inner.wall for path, inner in whole.items() if path[:-1] == outer) <= of.wall + 1e-5


def test_seconds_of_an_update_are_those_of_its_phases(trained: tuple[RunFolder, float]) -> None:
    folder, _ = trained
    assert folder.result is not None
    whole = from_json(folder.result["phases"])
    lines = folder.timings()
    for name in ("explore", "learn"):
        told = [line["phases"][name][0] for line in lines]
        assert all(seconds <= line[name] for seconds, line in zip(told, lines, strict=True))
        assert sum(told) == pytest.approx(whole[name,].wall, abs=1e-4)
    assert "phases" not in (folder.path / "metrics.jsonl").read_text()


def test_time_goes_on_where_a_run_was_broken_off(
    trained: tuple[RunFolder, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained
    again = tmp_path / "again"
    flags = ["--out", str(again), "--quiet", "--threads", "1", "--checkpoint-every", "1"]

    def broken(*_: Any) -> None:
        raise KeyboardInterrupt

    settings = folder.manifest["config"]
    ask = ["--method", "grpo", "--env", "toy", "--policy", settings["policy"]["name"], "--evaluation.tasks", "2"]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_result", broken)
        assert run.main([*ask, "--budget.updates", "2", *flags]) == 130
    before = json.loads((again / "checkpoints" / "u000002" / "state.json").read_bytes())["state"]["phases"]
    assert run.main(["--resume", str(again), "--quiet"]) == 0
    after = json.loads((again / "result.json").read_bytes())["phases"]
    assert after["learn"] == before["learn"] and after["load"][0] > before["load"][0]


def told(folder: Path) -> RunFolder:
    """The record of a run that explored for 6 seconds and learned for 2."""
    made = record(folder, [1.0, 1.0, 1.0, 1.0])
    retell(made, [spent(1, 10, retries=1)])
    (made.path / "timings.jsonl").unlink()
    for update in (1, 2):
        phases = {"explore": (3.0, 2.0), "explore.attempt": (2.0, 1.0), "learn": (1.0, 0.5), "load": (1.0, 1.0)}
        made.append("timings.jsonl", {"update": update, "phases": phases})
    result = {**made._read("result.json"), "phases": {"load": (2.0, 1.0), "explore": (6.0, 4.0)}}
    (made.path / "result.json").write_text(json.dumps(result))
    return made


def test_a_complete_run_tells_the_whole_and_the_mean_of_its_updates(tmp_path: Path) -> None:
    made = told(tmp_path / "run")
    assert timings.spent(made) == {("load",): Seconds(2, 1), ("explore",): Seconds(6, 4)}
    means = {("explore",): Seconds(3, 2), ("explore", "attempt"): Seconds(2, 1), ("learn",): Seconds(1, 0.5)}
    assert timings.spent(made, per_update=True) == means
    (made.path / "result.json").unlink()
    assert timings.spent(made) == {path: of.plus(of) for path, of in means.items()} | {("load",): Seconds(2, 2)}


def test_the_table_draws_every_phase_under_the_one_around_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = told(tmp_path / "run")
    assert timings.main([str(made.path), "--per-update"]) == 0
    title, head, *rows = capsys.readouterr().out.splitlines()
    assert title == f"{made.path}, mean of its updates" and head.split() == ["phase", "share", "wall", "s", "CPU", "s"]
    assert [row.rstrip() for row in rows] == [
        "explore    " + "█" * 30 + " " * 10 + "  75.0%     3.0    2.0",
        "  attempt  " + "█" * 20 + " " * 20 + "  50.0%     2.0    1.0",
        "  other    " + " " * 20 + "█" * 10 + " " * 10 + "  25.0%     1.0    1.0",
        "learn      " + " " * 30 + "█" * 10 + "  25.0%     1.0    0.5",
    ]
    assert timings.main([str(made.path), "--per-update", "--markdown", "--least", "0.3"]) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "|:--|--:|--:|--:|",
        "| explore | 75.0 % | 3.00 | 2.00 |",
        "| explore.attempt | 50.0 % | 2.00 | 1.00 |",
        "",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"update": 1, "explore": 1.0}', "says nothing of phases"),
        ('{"update": 1, "phases": {"explore": [1.0]}}', "timings.jsonl is damaged: 0.phases.explore"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = record(tmp_path / "run", [1.0, 1.0, 1.0, 1.0], complete=False)
    (made.path / "timings.jsonl").write_text(line + "\n")
    assert timings.main([str(made.path)]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1


def test_a_run_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert timings.main([]) == 2
    assert "name the folder of a run" in capsys.readouterr().err
