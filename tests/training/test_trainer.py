"""The loop: which tasks it takes, when it stops, what it counts, and what does not disturb it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from r3lbench import register_baseline
from r3lbench.baselines.grpo import GRPO
from r3lbench.rollout.group import Group
from r3lbench.run import main
from tests.toy import Toy

Train = Callable[..., Path]


@pytest.fixture
def train(toy_policy: Path, tmp_path: Path) -> Train:
    """Carry out a short GRPO run with further flags; returns its folder."""

    def carry_out(name: str, *flags: str, method: str = "grpo", status: int = 0) -> Path:
        ask = ["--method", method, "--env", "toy", "--policy", str(toy_policy), "--method.group-size", "3"]
        ask += ["--tasks-per-update", "2", "--budget.updates", "3", "--evaluation.tasks", "1", "--threads", "1"]
        assert main([*ask, "--quiet", "--out", str(tmp_path / name), *flags]) == status
        return tmp_path / name

    return carry_out


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def result(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / "result.json").read_bytes())
    return values


def groups(run: Path, update: int) -> list[dict[str, Any]]:
    lines = gzip.decompress((run / "trees" / f"u{update:06d}.jsonl.gz").read_bytes()).splitlines()
    return [json.loads(line) for line in lines]


def test_every_task_comes_once_an_epoch_in_a_new_order(train: Train) -> None:
    run = train("run", "--env.rooms", "5", "--tasks-per-update", "3", "--budget.updates", "6")
    tasks = [task for line in metrics(run) for task in line["tasks"]]
    first, second = tasks[:9], tasks[9:18]
    assert set(first) == set(second) == {f"train/{index}" for index in range(9)}
    assert first != second and first != sorted(first)


@pytest.mark.parametrize("limit", ["env_steps", "generated_tokens"])
def test_a_run_stops_at_the_end_of_the_update_that_uses_its_budget_up(limit: str, train: Train) -> None:
    free = metrics(train("free"))
    spent = [line["cost"]["attempt"][limit] for line in free]
    flags = ("--budget.updates", "None", f"--budget.{limit.replace('_', '-')}", str(spent[1]))
    run = train("limited", *flags)
    assert metrics(run) == free[:2]
    assert result(run)["stopped_by"] == limit and result(run)["updates"] == 2
    more = train("more", *flags[:-1], str(spent[1] + 1))
    assert metrics(more) == free


def test_a_run_without_updates_only_measures(train: Train, toy_policy: Path) -> None:
    run = train("run", "--budget.updates", "0")
    assert not (run / "metrics.jsonl").exists()
    assert (run / "policy" / "model.safetensors").read_bytes() == (toy_policy / "model.safetensors").read_bytes()
    measured = result(run)["evaluation"]
    assert measured["before"] == measured["after"]


def test_neither_measuring_nor_checkpoints_disturb_learning(train: Train) -> None:
    plain = train("plain")
    busy = train("busy", "--evaluation.every", "1", "--evaluation.tasks", "3", "--checkpoint-every", "1")
    assert (plain / "policy" / "model.safetensors").read_bytes() == (busy / "policy" / "model.safetensors").read_bytes()
    for one, other in zip(metrics(plain), metrics(busy), strict=True):
        del one["cost"]["evaluate"], other["cost"]["evaluate"]
        assert one == other


@pytest.mark.parametrize(("points", "updates"), [(0, {0, 6}), (1, {0, 3, 6}), (2, {0, 2, 4, 6}), (3, {0, 2, 3, 5, 6})])
def test_a_curve_has_points_that_divide_the_budget_evenly(points: int, updates: set[int], train: Train) -> None:
    run = train("run", "--budget.updates", "6", "--evaluation.points", str(points), "--evaluation.modes", "greedy")
    lines = [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == sorted(updates)


def test_an_evaluated_episode_can_be_played_again(train: Train) -> None:
    run = train("run", "--budget.updates", "0", "--evaluation.tasks", "3")
    settings = json.loads((run / "manifest.json").read_bytes())["config"]["env"]
    with Toy(**{name: value for name, value in settings.items() if name != "name"}) as env:
        for line in (json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()):
            env.reset(options={"task": line["task"]})
            rewards = [env.step(action)[1] for action in line["actions"]]
            assert (sum(rewards), env.score(), env.success()) == (line["return"], line["score"], line["success"])
            assert len(rewards) == line["steps"]


def test_a_complete_record_is_sealed(train: Train) -> None:
    run = train("run")
    lines = dict(reversed(line.split("  ")) for line in (run / "SHA256SUMS").read_text().splitlines())
    files = {file.relative_to(run).as_posix() for file in run.rglob("*") if file.is_file()}
    assert lines.keys() == {name for name in files if not name.startswith("checkpoints/")} - {"SHA256SUMS"}
    assert all(sha256((run / name).read_bytes()).hexdigest() == digest for name, digest in lines.items())
    assert list(lines) == sorted(lines) and "trees/u000003.jsonl.gz" in lines and "policy/model.safetensors" in lines
    sealed = (run / "SHA256SUMS").read_bytes()
    (run / "SHA256SUMS").unlink()
    # A kill may come between the summary and the seal.
    assert main(["--resume", str(run), "--quiet"]) == 0
    assert (run / "SHA256SUMS").read_bytes() == sealed


def test_what_is_counted_is_what_the_record_holds(train: Train) -> None:
    run = train("run")
    steps = tokens = trained = 0
    for update, line in enumerate(metrics(run), start=1):
        for group in groups(run, update):
            steps += sum(len(attempt["turns"]) for attempt in group["attempts"])
            tokens += sum(len(segment["token_ids"]) for segment in group["segments"] if segment["sampled"])
        trained += int(line["learn"]["model_tokens"])
        cost = line["cost"]
        assert cost["attempt"]["env_steps"] == steps
        assert cost["attempt"]["generated_tokens"] == tokens
        assert cost["train"]["trained_tokens"] == trained
    evaluated = [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]
    before = [line for line in evaluated if line["update"] == 0]
    assert metrics(run)[0]["cost"]["evaluate"]["env_steps"] == sum(line["steps"] for line in before)
    assert result(run)["cost"]["evaluate"]["env_steps"] == sum(line["steps"] for line in evaluated)


def test_a_task_that_comes_twice_in_an_update_is_played_anew(train: Train) -> None:
    run = train("run", "--tasks-per-update", "8", "--budget.updates", "1")
    tasks, found = metrics(run)[0]["tasks"], groups(run, 1)
    assert len(set(tasks)) < len(tasks) == len({group["key"] for group in found})
    assert found[0]["key"] == f"u1/{tasks[0]}"
    twice = [group for group in found if group["task"] == tasks[0]]
    assert len(twice) > 1 and twice[0]["segments"] != twice[1]["segments"]


def test_training_that_diverges_says_so_and_keeps_the_last_weights(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train("run", "--optimiser.lr", "1e25", status=2)
    errors = capsys.readouterr().err
    assert "training has diverged" in errors and errors.count("\n") == 1
    assert not (run / "result.json").exists()


@register_baseline("picky")
class Picky(GRPO):
    """GRPO that turns some groups down."""

    most: int = 1
    """Highest task index that is kept."""

    def keep(self, group: Group) -> bool:
        return int(group.task.id.rpartition("/")[2]) <= self.most


def test_a_group_that_is_turned_down_is_replaced_by_the_next_task(train: Train) -> None:
    run = train("run", "--env.rooms", "5", method="picky")
    free = train("free", "--env.rooms", "5", "--budget.updates", "9")
    order = [task for line in metrics(free) for task in line["tasks"]]
    kept = [task for task in order if task in ("train/0", "train/1")]
    found = [task for line in metrics(run) for task in line["tasks"]]
    assert [len(line["tasks"]) for line in metrics(run)] == [2, 2, 2]
    assert found[: len(kept)] == kept[: len(found)]
    # What was turned down was paid for all the same.
    spent = [line["cost"]["attempt"]["env_steps"] for line in metrics(run)]
    used = [
        sum(len(attempt["turns"]) for group in groups(run, update) for attempt in group["attempts"])
        for update in (1, 2, 3)
    ]
    assert spent[-1] > sum(used)


def test_a_method_that_keeps_nothing_is_told_so(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    train("run", "--method.most", "-1", method="picky", status=2)
    errors = capsys.readouterr().err
    assert "kept none of 20 groups" in errors and errors.count("\n") == 1
