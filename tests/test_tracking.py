"""Trackers get a copy of the numbers, and nothing that they do reaches the run."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import tracking
from r3lbench.rollout.meter import Meter
from r3lbench.run import main

FAKE = '''
"""Writes down what it is told; calls of the name in ``fails`` go wrong."""
calls, fails = [], None


def told(name, /, **said):
    calls.append((name, said))
    if name == fails:
        raise ConnectionError("no such\\nserver")


class Run:
    def log(self, numbers, step):
        told("log", numbers=numbers, step=step)

    def finish(self):
        told("finish")


def init(**said):
    told("init", **said)
    return Run()
'''
"""As much of wandb and trackio as is used."""
Train = Callable[..., Path]


@pytest.fixture
def train(toy_policy: Path, tmp_path: Path) -> Train:
    """Carry out a short GRPO run with further flags; returns its folder."""

    def carry_out(name: str, *flags: str, status: int = 0) -> Path:
        ask = ["--method", "grpo", "--env", "toy", "--policy", str(toy_policy), "--method.group-size", "3"]
        ask += ["--tasks-per-update", "2", "--budget.updates", "3", "--evaluation.tasks", "1", "--threads", "1"]
        ask += ["--checkpoint-every", "1", "--evaluation.every", "2", "--quiet", "--out", str(tmp_path / name)]
        assert main([*ask, *flags]) == status
        return tmp_path / name

    return carry_out


@pytest.fixture(params=["wandb", "trackio"])
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tracker's package, as if it were installed."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "TRACKIO_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / f"{request.param}.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    yield importlib.import_module(request.param)
    del sys.modules[request.param]


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """What follows from the seed."""
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    passing = ("timings.jsonl", "result.json", "manifest.json", "SHA256SUMS", "state.json")
    return {name: content for name, content in files.items() if not name.endswith(passing)}


def killed(run: Path) -> Path:
    """As if it had been killed after its second update, when the third had been made."""
    (run / "result.json").unlink()
    shutil.rmtree(run / "checkpoints" / "u000003")
    return run


def expected(run: Path) -> dict[tuple[int, str], float]:
    """By update and name, what the record says that a tracker should have been told; some of it."""
    points: dict[tuple[int, str], float] = {}
    for line, timing in zip(lines(run / "metrics.jsonl"), lines(run / "timings.jsonl"), strict=True):
        update, meter = line["update"], Meter()
        meter.load_json(line["cost"])
        points |= {(update, f"explore/{name}"): line["explore"][name] for name in ("success", "score", "retries")}
        points |= {(update, f"learn/{name}"): line["learn"][name] for name in ("loss", "entropy", "kl_to_start")}
        points |= {(update, f"cost/{name}"): meter.total(name) for name in ("env_steps", "generated_tokens")}
        points |= {(update, "cost/seconds"): timing["total"], (update, "cost/budget_share"): update / 3}
    for line in lines(run / "evaluation.jsonl"):  # on one task, so that a line is the mean
        points |= {(line["update"], f"evaluation/{line['mode']}/{name}"): line[name] for name in ("score", "steps")}
    assert len(points) == 3 * 10 + 3 * 2 * 2
    return points


# TensorBoard


def points_of(folder: Path) -> dict[tuple[int, str], float]:
    """What TensorBoard shows; a point that is there twice is an error."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (logs,) = folder.iterdir()
    events = accumulator.EventAccumulator(str(logs), size_guidance={"scalars": 0})
    events.Reload()
    found = [((event.step, name), event.value) for name in events.Tags()["scalars"] for event in events.Scalars(name)]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_tensorboard_shows_what_the_record_says(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'r3lbench[tensorboard]'")
    run = train("run", "--track", "tensorboard")
    found = points_of(tmp_path / "tracking")
    for point, value in expected(run).items():
        assert found[point] == pytest.approx(value, rel=1e-6), point
    assert not [name for _, name in found if "pivots" in name or "trained/" in name]


def test_tensorboard_has_the_settings_as_hyperparameters(train: Train, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run = train("run", "--track", "tensorboard", "--budget.updates", "0")
    (logs,) = (tmp_path / "tracking").iterdir()
    events = accumulator.EventAccumulator(str(logs))
    events.Reload()
    data = HParamsPluginData.FromString(events.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
    values = data.session_start_info.hparams
    config = json.loads((run / "manifest.json").read_bytes())["config"]
    assert values["method.group_size"].number_value == 3 and values["env.name"].string_value == "toy"
    assert values["optimiser.lr"].number_value == config["optimiser"]["lr"]
    assert values["evaluation.modes"].string_value == '["sampled", "greedy"]'
    assert values["budget.seconds"].string_value == "null" and "out" not in values and "track" not in values


def test_in_tensorboard_a_resumed_run_has_every_point_once(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'r3lbench[tensorboard]'")
    run = killed(train("run", "--track", "tensorboard"))
    assert main(["--resume", str(run), "--track", "tensorboard", "--quiet"]) == 0
    found = points_of(tmp_path / "tracking")
    for point, value in expected(run).items():
        assert found[point] == pytest.approx(value, rel=1e-6), point


# Weights & Biases and trackio


def test_a_tracker_is_told_what_the_record_says_in_the_order_of_updates(fake: ModuleType, train: Train) -> None:
    run = train("run", "--track", fake.__name__)
    (first, told), *logged, (last, _) = fake.calls
    assert (first, last) == ("init", "finish") and {name for name, _ in logged} == {"log"}
    assert told["project"] == "r3lbench" and told["name"].startswith("run") and told["resume"] == "allow"
    assert told["config"]["method.group_size"] == 3 and told["config"]["budget.seconds"] == "null"
    steps = [said["step"] for _, said in logged]
    assert steps == [0, 0, 1, 2, 2, 2, 3, 3, 3]
    found = {(said["step"], name): value for _, said in logged for name, value in said["numbers"].items()}
    for point, value in expected(run).items():
        assert found[point] == pytest.approx(value, abs=1e-12), point
    assert all(isinstance(value, int | float) for value in found.values())


def test_a_resumed_run_goes_on_under_its_name_and_id_wherever_it_lies(fake: ModuleType, train: Train) -> None:
    run = killed(train("run", "--track", fake.__name__))
    moved = run.parent / "elsewhere" / "run"
    shutil.copytree(run, moved)
    assert main(["--resume", str(moved), "--track", fake.__name__, "--quiet"]) == 0
    first, second = ({**said, "dir": None} for name, said in fake.calls if name == "init")
    assert first == second
    train("again/run", "--track", fake.__name__, "--seed", "1")
    *_, other = (said for name, said in fake.calls if name == "init")
    assert (other.get("id"), other["name"]) != (first.get("id"), first["name"])


@pytest.mark.parametrize("fake", ["wandb"], indirect=True)
def test_nothing_is_sent_over_a_network_unless_asked_for(
    fake: ModuleType, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train("one", "--track", "wandb", "--budget.updates", "0")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    train("two", "--track", "wandb", "--budget.updates", "0")
    one, two = (said for name, said in fake.calls if name == "init")
    assert (one["mode"], one["project"], one["dir"]) == ("offline", "r3lbench", str(run.parent / "tracking"))
    assert (two["mode"], two["project"]) == ("online", "mine")
    assert Path(one["dir"]).is_dir()


def test_a_tracker_is_closed_when_training_fails(fake: ModuleType, train: Train) -> None:
    train("run", "--track", fake.__name__, "--optimiser.lr", "1e25", status=2)
    assert [name for name, _ in fake.calls][-1] == "finish"


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_given_up_with_a_line_and_the_run_goes_on(
    fails: str, fake: ModuleType, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails = fails
    run = train("run", "--track", fake.__name__)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("r3lbench")]
    assert [line.split("; ") for line in errors] == [
        [
            f"r3lbench run: the tracker {fake.__name__} is given up (no such server)",
            "the run goes on and is recorded in full",
        ]
    ]
    assert [name for name, _ in fake.calls].count(fails) == 1 and (run / "result.json").is_file()


# The run


@pytest.mark.parametrize("fails", [None, "log"])
def test_tracking_changes_nothing_about_a_run(fails: str | None, fake: ModuleType, train: Train) -> None:
    fake.fails = fails
    plain, told = train("plain"), train("tracked", "--track", fake.__name__)
    assert contents(plain) == contents(told) and len(contents(plain)) > 10
    one, other = (json.loads((run / "manifest.json").read_bytes()) for run in (plain, told))
    assert one["config"] == other["config"] and "track" not in one["config"]


def test_tensorboard_changes_nothing_about_a_run(train: Train) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'r3lbench[tensorboard]'")
    assert contents(train("plain")) == contents(train("tracked", "--track", "tensorboard"))


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_tracker_that_is_not_installed_is_said_before_anything_is_done(
    name: str, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda of, *more: None if of == name else found(of, *more))
    assert not train("run", "--track", name, status=2).exists()
    errors = capsys.readouterr().err
    assert f"pip install 'r3lbench[{name}]'" in errors and errors.count("\n") == 1


def test_a_run_may_be_resumed_without_its_tracker_and_with_none_that_there_is_not(
    fake: ModuleType, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = killed(train("run", "--track", fake.__name__))
    before = len(fake.calls)
    capsys.readouterr()
    for flags, said in ((["--track", "tensorbord"], "--track tensorbord: "), (["--track"], "--track needs a value")):
        assert main(["--resume", str(run), *flags]) == 2
        assert said in capsys.readouterr().err
    assert main(["--resume", str(run), "--quiet"]) == 0
    assert len(fake.calls) == before and (run / "result.json").is_file()
