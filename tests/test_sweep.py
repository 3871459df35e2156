"""A sweep: which runs a plan is, what is chosen for them, and what a failure or a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import launching
from r3lbench.errors import R3LBenchError
from r3lbench.locking import is_locked, locked
from r3lbench.plans import Plan, choose, jobs, tuning_jobs
from r3lbench.recording import RunFolder
from r3lbench.sweep import main
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


def test_flags_of_runs_also_hold_for_agents_as_far_as_these_have_such_settings(write: Write) -> None:
    flags = ("--evaluation.tasks", "3", "--evaluation.modes=greedy", "--optimiser.lr", "1", "--env.rooms", "5")
    oracle = next(jobs(Plan.read(write()).model_copy(update={"flags": flags}), {}))
    parsed = oracle.command.parse(oracle.flags)
    assert (parsed.tasks, parsed.modes, parsed.env.rooms) == (3, ("greedy",), 5)


def test_tuning_gives_every_method_the_same_grid_on_the_validation_split(write: Write) -> None:
    plan = Plan.read(write(TUNE))
    cells = [(env, method, value) for env, method, value, _ in tuning_jobs(plan)]
    assert cells == [("toy", method, value) for method in ("grpo", "r3l") for value in (0.001, 0.002)]
    for _, _, value, job in tuning_jobs(plan):
        assert (job.settings["evaluation.split"], job.settings["seed"]) == ("train", 1000)
        assert job.settings["optimiser.lr"] == value


def test_further_values_are_for_one_method_on_one_environment(write: Write) -> None:
    plan = Plan.read(write(TUNE + "further.toy.r3l = [0.0001]\n"))
    cells = [(method, value) for _, method, value, _ in tuning_jobs(plan)]
    assert cells == [("grpo", 0.001), ("grpo", 0.002), ("r3l", 0.001), ("r3l", 0.002), ("r3l", 0.0001)]


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
    said = f"toy-grpo-s0 failed with exit status 2; see {out}/toy-grpo-s0.log, and give the same command to go on"
    assert said in capsys.readouterr().err
    assert "is not empty" in (out / "toy-grpo-s0.log").read_text()


def test_tuning_comes_before_what_it_is_for(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def start(run: launching.Run, launcher: Any) -> None:
        made.append(run.job.name)
        record(run.folder, [float(run.job.settings["optimiser.lr"] == 0.002)] * 4)
        run.state = launching.State.DONE

    monkeypatch.setattr(launching.Run, "start", start)
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
        ('toy = "train"', 'toy = "test"', "results are measured on the split test of toy: tune on another"),
        ('splits = { toy = "train" }', 'splits = { toy = "train" }\nseed = 1', "seed 1 is one of the results'"),
        ("tasks = 2,", 'tasks = 2, split = "train",', "results are measured on the split train of toy"),
        ("seeds = [0, 1]", "seeds = []", "seeds: Tuple should have at least 1 item"),
        ("seeds = [0, 1]", "seeds = [0, -1]", "seeds.1: Input should be greater than or equal to 0"),
        ("[ablations.toy]", "[ablations.toi]", "unknown environment 'toi': did you mean 'toy'"),
        ("r3l = [", "r3 = [", "unknown method 'r3': did you mean 'r3l'"),
        ("[env.toy]", "[env.toi]", "unknown environment 'toi'"),
        ("[method.r3l]", "[method.rl3]", "unknown method 'rl3': did you mean 'r3l'"),
        ('toy = "train"', 'toy = "train", toi = "train"', "unknown environment 'toi'"),
        ("splits = ", "further.toi.r3l = [1]\nsplits = ", "unknown environment 'toi'"),
        ("splits = ", "further.toy.rl3 = [1]\nsplits = ", "unknown method 'rl3': did you mean 'r3l'"),
        ("[tune]", '[tune]\nmode = "greddy"', "tune.mode: Input should be 'sampled' or 'greedy'"),
        ("[tune]", '[tune]\nmeasure = "scores"', "tune.measure: Input should be 'score', 'success' or 'return'"),
        ("[tune]", '[tune]\nmode = "greedy"', "toy-grpo-0.001 is tuned by its results in mode greedy, in which"),
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


def test_a_dry_run_prints_the_commands_and_what_they_may_cost(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--budget.generated-tokens", "50", "--seeds", "3", "--envs", "toy"]
    assert main([str(write()), "--out", str(tmp_path / "out"), "--dry-run", *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "0 runs to tune with, 10 runs to compare"
    assert "toy-r3l-s2: python -m r3lbench.run --method r3l --env toy" in "\n".join(lines)
    assert lines[-1] == "at most 450 generated tokens, 9 updates in all"
    assert not (tmp_path / "out").exists()


def test_flags_are_a_plan_and_win_over_one(
    write: Write, toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    flags = ["--methods", "grpo", "r3l", "--envs", "toy", "--seeds", "1", "--out", str(tmp_path / "out"), "--dry-run"]
    flags += ["--policy", str(toy_policy)]
    assert main([*flags, "--optimiser.lr", "0.125", "--method.group-size", "2"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("toy-")]
    commands = [f"toy-{name}-s0: python -m r3lbench.run --method {name} --env toy --seed 0" for name in ("grpo", "r3l")]
    said = f"--policy {toy_policy} --optimiser.lr 0.125 --method.group-size 2"
    assert lines == [f"{command} {said}" for command in commands]
    assert main([str(tmp_path / "plan.toml"), *flags, "--optimiser.lr", "0.125"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "-grpo-" in line]
    assert lines[0].endswith(f"--optimiser.lr 0.5 --seed 0 --policy {toy_policy} --optimiser.lr 0.125")
    assert main(["--methods", "grpo", "--dry-run"]) == 2
    assert "Give a plan's file, or --envs" in capsys.readouterr().err
    assert main([*flags, "--optimiser.rate", "1"]) == 2
    assert "--optimiser.rate" in capsys.readouterr().err


class Scripted:
    """A launcher whose processes end with these statuses, one after another, by name of the run."""

    def __init__(self, statuses: dict[str, list[int]]) -> None:
        self.statuses = statuses
        self.commands: list[tuple[str, bool]] = []

    def start(self, command: Any, log: Path) -> Any:
        name = log.stem
        self.commands.append((name, "--resume" in command))
        status = self.statuses[name].pop(0)
        folder = log.with_suffix("")
        if not (folder / "manifest.json").exists():
            record(folder, [1.0] * 4, complete=False)
        if status == 0:
            RunFolder(folder).write_result({"updates": 3, "evaluation": {"after": {}}, "seconds": 1.0})

        class Ended:
            def poll(self) -> int:
                return status

            def interrupt(self) -> None:
                raise AssertionError("it has ended")

        return Ended()

    def close(self) -> None:
        pass


def carried_out(write: Write, out: Path, statuses: dict[str, list[int]]) -> tuple[Scripted, list[launching.Run]]:
    plan = Plan.read(write()).model_copy(update={"agents": (), "ablations": {}, "seeds": (0,)})
    launcher = Scripted(statuses)
    runs = [launching.Run(job, out / job.name) for job in jobs(plan, {})]
    return launcher, launching.carry_out(runs, launcher, 1, lambda _: None)


def test_a_run_that_was_killed_is_resumed_and_one_that_failed_is_not(write: Write, tmp_path: Path) -> None:
    statuses = {"toy-grpo-s0": [-9, 143, 0], "toy-r3l-s0": [1]}
    launcher, failed = carried_out(write, tmp_path, statuses)
    assert launcher.commands == [
        ("toy-grpo-s0", False),
        ("toy-grpo-s0", True),
        ("toy-grpo-s0", True),
        ("toy-r3l-s0", False),
    ]
    assert [(run.job.name, run.status) for run in failed] == [("toy-r3l-s0", 1)]


def test_a_run_that_is_resumed_is_watched_as_before(write: Write, tmp_path: Path) -> None:
    plan = Plan.read(write())
    plan = plan.model_copy(update={"agents": (), "run": {**plan.run, "track": "wandb"}})
    run = launching.Run(next(jobs(plan, {})), tmp_path / "run")
    record(run.folder, [1.0] * 4, complete=False)
    commands: list[list[str]] = []

    class Noting(launching.LocalLauncher):
        def start(self, command: Any, log: Path) -> Any:
            commands.append(command)

    run.start(Noting())
    assert commands[0][-4:] == ["--resume", str(run.folder), "--track", "wandb"]


def test_a_run_that_is_killed_without_getting_on_is_given_up(write: Write, tmp_path: Path) -> None:
    launcher, failed = carried_out(write, tmp_path, {"toy-grpo-s0": [-9] * 9, "toy-r3l-s0": [0]})
    assert [run.job.name for run in failed] == ["toy-grpo-s0"]
    assert [name for name, _ in launcher.commands].count("toy-grpo-s0") == 4


def test_a_run_that_another_process_writes_is_waited_for(write: Write, tmp_path: Path) -> None:
    shown: list[list[str]] = []
    plan = Plan.read(write()).model_copy(update={"agents": (), "ablations": {}, "seeds": (0,)})
    runs = [launching.Run(job, tmp_path / job.name) for job in jobs(plan, {})]
    holding = locked(tmp_path / "toy-grpo-s0")
    holding.__enter__()

    def show(of: Any) -> None:
        shown.append([run.state.value for run in of])
        if len(shown) == 2:
            holding.__exit__(None, None, None)

    launcher = Scripted({"toy-grpo-s0": [0], "toy-r3l-s0": [0]})
    assert launching.carry_out(runs, launcher, 1, show) == []
    # There is one slot, and the other process has it.
    assert shown[:2] == [["written by another process", "waiting"]] * 2
    assert [name for name, _ in launcher.commands] == ["toy-grpo-s0", "toy-r3l-s0"]


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        assert is_locked(tmp_path / "run")
        with pytest.raises(R3LBenchError, match="is being written by another process"), locked(tmp_path / "run"):
            raise AssertionError("not reached")
        assert is_locked(tmp_path / "run")
    assert not is_locked(tmp_path / "run") and list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("launcher", ["local", "ray"])
def test_a_sweep_survives_kills_of_itself_and_of_its_runs(
    launcher: str, write: Write, tmp_path: Path, command: Any
) -> None:
    if launcher == "ray":
        pytest.importorskip("ray", reason="needs Ray")
    plan = write()
    text = plan.read_text().replace("budget.updates = 1", "budget.updates = 4\ncheckpoint_every = 1")
    plan.write_text(text.replace("seeds = [0, 1]", "seeds = [0]"))
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main([str(plan), "--out", str(whole), "--jobs", "2", "--quiet"]) == 0
    arguments = [plan, "--out", out, "--jobs", "2", "--launcher", launcher, "--quiet"]

    def wait_for(updates: int) -> None:
        while sweep.poll() is None and len(list(out.glob("*/trees/*"))) < updates:
            time.sleep(0.02)
        assert sweep.poll() is None

    sweep = command("sweep", *arguments, cwd=tmp_path)
    wait_for(2)
    os.kill(writers(out)[0], signal.SIGKILL)
    wait_for(6)
    # What the sweep has begun goes on without it, for a while.
    sweep.kill()
    sweep.communicate()
    sweep = command("sweep", *arguments, cwd=tmp_path)
    said = sweep.communicate()
    assert sweep.returncode == 0 and "failed" not in said[1]
    for name in NAMES[:4]:
        assert RunFolder(out / name).result
        for file in ("metrics.jsonl", "evaluation.jsonl", "policy/model.safetensors"):
            if (whole / name / file).exists():
                assert (out / name / file).read_bytes() == (whole / name / file).read_bytes()


def writers(out: Path) -> list[int]:
    """Processes that are given a folder below ``out``, the sweep itself left out."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"r3lbench.run" in words and any(word.startswith(str(out).encode()) for word in words):
            found.append(int(entry.name))
    return sorted(found)
