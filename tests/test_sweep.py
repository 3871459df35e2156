"""A sweep: which runs a plan is, what is chosen for them, and what a failure or a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import sweep
from r3lbench.recording import RunFolder
from r3lbench.sweep import Plan, choose, jobs, main, tuning_jobs
from tests.recorded import record

PLAN = """\
methods = ["grpo", "r3l"]
envs = ["toy"]
seeds = [0, 1]
agents = ["oracle"]

[ablations.toy]
r3l = ["w/o credit"]

[run]
policy = "{policy}"
threads = 1
tasks_per_update = 1
evaluation = {{ tasks = 2, modes = ["sampled"] }}
budget.updates = 1

[env.toy]
env.rooms = 4
optimiser.lr = 0.5

[method.r3l]
method.group_size = 2
optimiser.lr = 0.25
"""
TUNE = """
[tune]
setting = "optimiser.lr"
values = [0.001, 0.002]
splits = {{ toy = "train" }}
"""
NAMES = ["toy-oracle", *(f"toy-{name}-s{seed}" for seed in (0, 1) for name in ("grpo", "r3l", "r3l-without-credit"))]
Write = Callable[..., Path]


@pytest.fixture
def write(toy_policy: Path, tmp_path: Path, python_path: str, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the plan, with further text; returns its file."""
    monkeypatch.setenv("PYTHONPATH", python_path)

    def written(more: str = "") -> Path:
        file = tmp_path / "plan.toml"
        file.write_text((PLAN + more).format(policy=toy_policy))
        return file

    return written


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_plan_is_every_method_on_every_environment_with_every_seed(write: Write) -> None:
    found = list(jobs(Plan.read(write()), {}))
    assert [job.name for job in found] == NAMES
    assert found[0].settings == {"agent": "oracle", "env": "toy", "env.rooms": 4, "tasks": 2, "modes": ["sampled"],
                                 "policy": found[0].settings["policy"], "threads": 1}  # fmt: skip
    by_name = {job.name: job.settings for job in found}
    assert by_name["toy-grpo-s1"]["seed"] == 1 and by_name["toy-grpo-s1"]["optimiser.lr"] == 0.5
    # The method's table wins over the environment's.
    assert by_name["toy-r3l-s0"]["optimiser.lr"] == 0.25
    assert by_name["toy-r3l-without-credit-s0"] == {**by_name["toy-r3l-s0"], "method.pivotal_credit": False}


def test_tuning_gives_every_method_the_same_grid_on_the_validation_split(write: Write) -> None:
    plan = Plan.read(write(TUNE))
    cells = [(env, method, value) for env, method, value, _ in tuning_jobs(plan)]
    assert cells == [("toy", method, value) for method in ("grpo", "r3l") for value in (0.001, 0.002)]
    for _, _, value, job in tuning_jobs(plan):
        assert (job.settings["evaluation.split"], job.settings["seed"]) == ("train", 1000)
        assert job.settings["optimiser.lr"] == value


def test_what_measured_best_is_chosen_and_of_equals_the_first(write: Write, tmp_path: Path) -> None:
    plan = Plan.read(write(TUNE))
    scores = {"toy-grpo-0.001": 0.0, "toy-grpo-0.002": 1.0, "toy-r3l-0.001": 1.0, "toy-r3l-0.002": 1.0}
    for name, score in scores.items():
        record(tmp_path / "tuning" / name, [score] * 4)
    chosen = choose(plan, tmp_path)
    assert chosen == {"toy": {"grpo": 0.002, "r3l": 0.001}}
    tuned = {job.name: job.settings.get("optimiser.lr") for job in jobs(plan, chosen)}
    assert (tuned["toy-grpo-s0"], tuned["toy-r3l-s1"], tuned["toy-r3l-without-credit-s1"]) == (0.002, 0.001, 0.001)
    written = json.loads((tmp_path / "tuning.json").read_bytes())
    assert written["measured"]["toy"]["grpo"] == {"0.001": 0.0, "0.002": 1.0} and written["chosen"] == chosen


def test_a_sweep_makes_what_is_missing_and_leaves_what_is_there(write: Write, tmp_path: Path) -> None:
    plan, out = write(), tmp_path / "out"
    arguments = [str(plan), "--out", str(out), "--jobs", "2", "--quiet"]
    assert main(arguments) == 0
    assert sorted(file.name for file in out.iterdir() if file.is_dir()) == sorted(NAMES)
    assert all(RunFolder(out / name).result for name in NAMES)
    manifest = RunFolder(out / "toy-r3l-without-credit-s1").manifest["config"]
    assert (manifest["method"]["pivotal_credit"], manifest["seed"], manifest["optimiser"]["lr"]) == (False, 1, 0.25)
    before = contents(out)
    # One is broken off between its last update and its end.
    for name in ("result.json", "SHA256SUMS"):
        (out / "toy-grpo-s0" / name).unlink()
    assert main(arguments) == 0
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} <= {
        "toy-grpo-s0.log",
        "toy-grpo-s0/result.json",
        "toy-grpo-s0/SHA256SUMS",
        "toy-grpo-s0/timings.jsonl",
    }


def test_one_failure_stops_no_other_and_is_named_with_its_log(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = write(), tmp_path / "out"
    (out / "toy-grpo-s0").mkdir(parents=True)
    (out / "toy-grpo-s0" / "mine.txt").write_text("not a run")
    assert main([str(plan), "--out", str(out), "--jobs", "2", "--quiet"]) == 1
    assert all(RunFolder(out / name).result for name in NAMES if name != "toy-grpo-s0")
    assert f"toy-grpo-s0 failed; see {out}/toy-grpo-s0.log" in capsys.readouterr().err
    assert "is not empty" in (out / "toy-grpo-s0.log").read_text()


def test_tuning_comes_before_what_it_is_for(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(job: Any, folder: Path) -> int:
        made.append(job.name)
        record(folder, [float(job.settings["optimiser.lr"] == 0.002)] * 4)
        return 0

    monkeypatch.setattr(sweep, "_make", make)
    plan = write(TUNE)
    plan.write_text(plan.read_text().replace('agents = ["oracle"]', ""))
    assert main([str(plan), "--out", str(tmp_path / "out"), "--jobs", "1", "--quiet"]) == 0
    assert made[:4] == ["toy-grpo-0.001", "toy-grpo-0.002", "toy-r3l-0.001", "toy-r3l-0.002"]
    assert made[4:] == NAMES[1:]
    assert json.loads((tmp_path / "out" / "tuning.json").read_bytes())["chosen"]["toy"] == {"grpo": 0.002, "r3l": 0.002}


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("seeds = ", "seed = ", "unknown setting 'seed'; did you mean seeds?"),
        ("[0, 1]", '"all"', "seeds: "),
        ("optimiser.lr = 0.5", "optimiser.rate = 0.5", "--optimiser.rate"),
        ("env.rooms = 4", "env.rooms = 'many'", "--env.rooms"),
        ('r3l = ["w/o credit"]', 'r3l = ["w/o credits"]', "did you mean 'w/o credit'"),
        ('["grpo", "r3l"]', '["grpo", "r3"]', "did you mean 'r3l'"),
        ("values = [0.001, 0.002]", "values = []", "tune.values"),
        ('toy = "train"', 'other = "train"', "names no validation split for toy"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_is_begun(
    right: str, wrong: str, said: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write(TUNE)
    text = plan.read_text()
    assert right in text
    plan.write_text(text.replace(right, wrong))
    assert main([str(plan), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_records_of_other_settings_are_not_taken_for_the_plans(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    record(out / "toy-r3l-s0", [1.0] * 4)
    assert main([str(write()), "--out", str(out), "--quiet"]) == 2
    assert f"{out}/toy-r3l-s0 was made with other settings (" in capsys.readouterr().err


def test_a_dry_run_prints_the_commands(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(write()), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0 runs to tune with, 7 runs to compare"
    assert "toy-r3l-s1: python -m r3lbench.run --method r3l --env toy" in "\n".join(lines)
    assert not (tmp_path / "out").exists()
