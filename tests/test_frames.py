"""Records as data frames: what stands in which row, worked out by hand; and the examples of docs/analysis.md."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import r3lbench
import tests.toy  # noqa: F401 - registers the environment
from r3lbench import evaluate, run
from r3lbench.errors import BadCheckpoint, BadConfig, BadData, MissingExtra, UnknownName
from r3lbench.recording import RunFolder
from tests.recorded import manifest

pandas = pytest.importorskip("pandas", reason="pip install 'r3lbench[analysis]'")

DOCUMENT = (Path(__file__).parents[1] / "docs" / "analysis.md").read_text(encoding="utf-8")
COST = (
    {
        "attempt": {"env_steps": 10, "generated_tokens": 100},
        "evaluate": {"env_steps": 999, "generated_tokens": 999},
        "reflect": {"generated_tokens": 20},
        "retry": {"env_steps": 3, "generated_tokens": 30},
        "train": {"trained_tokens": 70},
    },
    {
        "attempt": {"env_steps": 18, "generated_tokens": 180},
        "evaluate": {"env_steps": 1999, "generated_tokens": 1999},
        "reflect": {"generated_tokens": 40},
        "retry": {"env_steps": 7, "generated_tokens": 60},
        "train": {"trained_tokens": 130},
    },
)
EXPLORE = (
    {"retries": 4.0, "retry_improved": 0.5, "pivots": {"2": 3, "10": 1}},
    {"retries": 0.0, "retry_improved": None, "pivots": {}},
)


def played(update: int, task: str, score: float, **more: Any) -> dict[str, Any]:
    line = {"update": update, "mode": "sampled", "task": task, "score": score, "success": score == 1}
    return {**line, "return": 2 * score, "steps": 5, "invalid": 2, "actions": ["look"], **more}


def record(folder: Path, *, complete: bool = True, **changes: Any) -> RunFolder:
    """Two updates of R3L on two tasks, with round numbers."""
    settings: dict[str, Any] = {
        "config__method": {"name": "r3l", "group_size": 3},
        "config__budget": {"updates": 4, "generated_tokens": 400, "seconds": None},
        "config__evaluation": {"tasks": 2},
        "config__seed": 7,
    }
    of = RunFolder.create(folder, manifest(**{**settings, **changes}))
    for update, scores in ((0, (0.0, 0.5)), (1, (0.25, 0.75)), (2, (0.5, 1.0))):
        if update:
            numbers = {"update": update, "tasks": ["train/0"], "explore": EXPLORE[update - 1]}
            of.append("metrics.jsonl", {**numbers, "learn": {"loss": 0.125 * update}, "cost": COST[update - 1]})
            phases = {"explore": 1.0, "learn": 0.5, "record": 0.25}
            of.append("timings.jsonl", {"update": update, **phases, "total": 1.5 * update})
        for index, score in enumerate(scores):
            of.append("evaluation.jsonl", played(update, f"test/{index}", score))
    if complete:
        before, after = ({"sampled": {"score": score, "success": solved}} for score, solved in ((0.25, 0), (0.75, 0.5)))
        result = {"updates": 2, "seconds": 3.0, "cost": COST[1], "evaluation": {"before": before, "after": after}}
        of.write_result({**result, "stopped_by": "updates"})
    return of


def rows(frame: Any) -> list[dict[str, Any]]:
    return [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def test_an_evaluated_episode_says_what_it_came_to_and_what_had_been_spent(tmp_path: Path) -> None:
    record(tmp_path / "run")
    found = rows(r3lbench.load_results(tmp_path))
    assert len(found) == 6
    assert found[3] == {
        "run": (tmp_path / "run").as_posix(),
        "complete": True,
        "env": "Toy-v0",
        "method": "r3l",
        "switches": "group_size=3",
        "agent": "chat",
        "policy": "tiny",
        "seed": 7,
        "budget": "generated_tokens=400, updates=4",
        "split": "test",
        "panel": "ab" * 32,
        "update": 1,
        "env_steps": 13,
        "generated_tokens": 150,
        "trained_tokens": 70,
        "seconds": 1.5,
        "budget_share": 0.375,  # of the tokens; of the updates 0.25
        "mode": "sampled",
        "task": "test/1",
        "task_index": 1,
        "episode": 0,
        "return": 1.5,
        "score": 0.75,
        "success": False,
        "steps": 5,
        "invalid": 2,
    }
    spent = [(row["update"], row["generated_tokens"], row["seconds"], row["budget_share"]) for row in found]
    assert spent == [(0, 0, 0.0, 0.0)] * 2 + [(1, 150, 1.5, 0.375)] * 2 + [(2, 280, 3.0, 0.7)] * 2
    assert [row["success"] for row in found] == [False] * 5 + [True]


def test_an_update_is_a_row_with_all_its_metrics(tmp_path: Path) -> None:
    record(tmp_path / "run")
    first, second = rows(r3lbench.load_results(tmp_path, kind="updates"))
    assert (first["update"], first["env_steps"], first["budget_share"]) == (1, 13, 0.375)
    assert (first["explore.retries"], first["explore.retry_improved"], first["learn.loss"]) == (4.0, 0.5, 0.125)
    assert (first["explore.pivots.2"], first["explore.pivots.10"]) == (3, 1)
    assert (first["cost.evaluate.env_steps"], first["cost.retry.generated_tokens"]) == (999, 30)
    assert [second[f"seconds.{phase}"] for phase in ("explore", "learn", "record")] == [1.0, 0.5, 0.25]
    assert math.isnan(second["explore.retry_improved"]) and math.isnan(second["explore.pivots.2"])


def test_a_run_is_a_row_with_result_and_settings(tmp_path: Path) -> None:
    record(tmp_path / "run", config__optimiser={"lr": 0.5, "betas": [0.9, 0.99]})
    (found,) = rows(r3lbench.load_results(tmp_path, kind="runs"))
    assert (found["update"], found["stopped_by"], found["generated_tokens"], found["seconds"]) == (2, "updates", 280, 3)
    assert (found["before.sampled.score"], found["after.sampled.success"]) == (0.25, 0.5)
    assert (found["config.optimiser.lr"], found["config.optimiser.betas"]) == (0.5, "[0.9, 0.99]")
    assert (found["config.seed"], found["config.method.name"]) == (7, "r3l")
    assert (found["policy_digest"], found["parameters"]) == ("cd" * 32, 720_000)
    assert (found["split"], found["panel"]) == ("test", "ab" * 32)
    assert found["created"] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("method", "called", "switches"),
    [
        ({"name": "r3l"}, "r3l", ""),
        ({"name": "r3l", "pivotal_credit": False}, "r3l w/o credit", ""),
        ({"name": "r3l", "pivotal_credit": False, "group_size": 3}, "r3l", "group_size=3, pivotal_credit=false"),
        ({"name": "elsewhere", "depth": 2}, "elsewhere", "depth=2"),
    ],
)
def test_a_method_is_called_as_the_leaderboard_calls_it(
    method: dict[str, Any], called: str, switches: str, tmp_path: Path
) -> None:
    record(tmp_path / "run", config__method=method)
    frame = r3lbench.load_results(tmp_path)
    assert set(frame["method"]) == {called} and set(frame["switches"]) == {switches}


def test_runs_that_are_under_way_are_told_apart(tmp_path: Path) -> None:
    record(tmp_path / "b")
    under_way = record(tmp_path / "a", complete=False)
    # Between the two lines of an update, and in the middle of a line.
    under_way.append("metrics.jsonl", {"update": 3, "explore": {}, "learn": {}, "cost": COST[1]})
    with (tmp_path / "a" / "evaluation.jsonl").open("ab") as file:
        file.write(b'{"update": 3, "mo')
    frame = r3lbench.load_results(tmp_path)
    assert [Path(path).name for path in frame["run"].unique()] == ["a", "b"]
    assert frame.groupby("run")["complete"].unique().map(list).tolist() == [[False], [True]]
    assert len(r3lbench.load_results(tmp_path, kind="updates")) == 4
    begun, done = rows(r3lbench.load_results(tmp_path, kind="runs"))
    assert (begun["complete"], done["complete"], begun["update"]) == (False, True, 2)
    assert pandas.isna(begun["stopped_by"]) and pandas.isna(begun["after.sampled.score"])


def test_a_run_that_has_only_begun_has_a_row_and_no_episodes(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", manifest())
    assert r3lbench.load_results(tmp_path).empty and "score" in r3lbench.load_results(tmp_path).columns
    (begun,) = rows(r3lbench.load_results(tmp_path, kind="runs"))
    assert begun["update"] == 0 and pandas.isna(begun["panel"])


def test_rows_come_in_one_order_whatever_order_the_paths_have(tmp_path: Path) -> None:
    for name in ("c", "a", "b/deep"):
        record(tmp_path / name)
    paths = [tmp_path / name for name in ("a", "b", "c")]
    whole = r3lbench.load_results(tmp_path)
    assert whole.equals(r3lbench.load_results(paths[::-1])) and whole.equals(r3lbench.load_results(map(str, paths)))
    assert [Path(path).name for path in whole["run"].unique()] == ["a", "deep", "c"]


def contradict(of: RunFolder) -> str:
    of.append("evaluation.jsonl", played(2, "test/1", 0.0))
    return "some tasks were evaluated more often"


def lose_an_update(of: RunFolder) -> str:
    lines = (of.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (of.path / "metrics.jsonl").write_bytes(lines[0])
    return "lacks update 2"


def lose_a_timing(of: RunFolder) -> str:
    (of.path / "timings.jsonl").unlink()
    return "lacks update 1"


def spoil_a_cost(of: RunFolder) -> str:
    (of.path / "metrics.jsonl").write_text('{"update": 1, "explore": {}, "learn": {}, "cost": {"attempt": 3}}\n')
    return "metrics.jsonl is damaged: 0.cost.attempt"


def misname_a_task(of: RunFolder) -> str:
    (of.path / "result.json").unlink()
    of.append("evaluation.jsonl", played(0, "test", 0.0))
    return "is not a task id"


def name_another_split(of: RunFolder) -> str:
    (of.path / "result.json").unlink()
    of.append("evaluation.jsonl", played(0, "train/0", 0.0))
    return "names no panel of the split 'train'"


@pytest.mark.parametrize(
    "damage", [contradict, lose_an_update, lose_a_timing, spoil_a_cost, misname_a_task, name_another_split]
)
def test_a_damaged_record_is_an_error_or_left_out_with_the_reason(damage: Any, tmp_path: Path) -> None:
    record(tmp_path / "sound")
    said = damage(record(tmp_path / "broken"))
    with pytest.raises(BadCheckpoint, match=re.escape(said)):
        r3lbench.load_results(tmp_path)
    frame = r3lbench.load_results(tmp_path, errors="skip")
    assert set(frame["run"]) == {(tmp_path / "sound").as_posix()}
    assert list(frame.attrs["damaged"]) == [(tmp_path / "broken").as_posix()]
    assert said in frame.attrs["damaged"][(tmp_path / "broken").as_posix()]
    assert r3lbench.load_results(tmp_path / "sound").attrs["damaged"] == {}


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path) -> None:
    record(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    refusals: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (BadData, "is not a folder", {"paths": tmp_path / "absent"}),
        (BadData, "no recorded run", {"paths": [tmp_path / "empty"]}),
        (UnknownName, "did you mean 'updates'", {"paths": tmp_path, "kind": "update"}),
        (BadConfig, "'raise' or 'skip'", {"paths": tmp_path, "errors": "ignore"}),
    ]
    for error, said, arguments in refusals:
        with pytest.raises(error, match=said) as refusal:
            r3lbench.load_results(**arguments)
        assert "\n" not in str(refusal.value)


def test_pandas_is_imported_on_use_and_its_absence_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = "import r3lbench, sys; print('load_results' in r3lbench.__all__, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'r3lbench[analysis]'")):
        r3lbench.load_results(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'load_result'"):
        r3lbench.load_result  # type: ignore[attr-defined]  # noqa: B018


# The examples of the document


@pytest.fixture(scope="module")
def results(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``results`` of short real runs: two methods, two seeds, and the floor."""
    folder = tmp_path_factory.mktemp("recorded") / "results"
    ask = ["--env", "toy", "--policy", str(toy_policy), "--method.group-size", "4", "--tasks-per-update", "2"]
    ask += ["--budget.updates", "2", "--evaluation.points", "1", "--evaluation.tasks", "3", "--threads", "1", "--quiet"]
    # The policy's own reports are seldom valid; the oracle's make retries certain.
    for method, flags in (("grpo", []), ("r3l", ["--method.reflection", "oracle"])):
        for seed in ("0", "1"):
            out = ["--seed", seed, "--out", str(folder / f"{method}-{seed}")]
            assert run.main([*ask, "--method", method, *flags, *out]) == 0
    ask = ["--env", "toy", "--env.rooms", "3", "--agent", "random", "--tasks", "3", "--quiet"]
    assert evaluate.main([*ask, "--out", str(folder / "floor")]) == 0
    return folder


def example(name: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What an example's names are after it was run beside the results."""
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found, f"the document has no example {name}"
    monkeypatch.chdir(results.parent)
    names: dict[str, Any] = {}
    exec(compile(found[1], f"analysis.md:{name}", "exec"), names)
    return names


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_learning_curve_is_the_mean_over_tasks_and_seeds_at_each_point(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curve = example("curve", results, monkeypatch)["curve"]
    assert list(curve.index) == [("Toy-v0", method, point) for method in ("grpo", "r3l") for point in range(3)]
    for method in ("grpo", "r3l"):
        for update in range(3):
            scores, tokens = [], []
            for seed in (0, 1):
                folder = results / f"{method}-{seed}"
                measured = [line for line in lines(folder / "evaluation.jsonl") if line["update"] == update]
                scores += [line["score"] for line in measured if line["mode"] == "sampled"]
                cost = lines(folder / "metrics.jsonl")[update - 1]["cost"] if update else {}
                tokens.append(
                    sum(of.get("generated_tokens", 0) for purpose, of in cost.items() if purpose != "evaluate")
                )
            assert len(scores) == 6
            point = curve.loc["Toy-v0", method, update]
            assert point["score"] == pytest.approx(fmean(scores), abs=1e-12)
            assert point["generated_tokens"] == fmean(tokens) and bool(update) == bool(tokens[0])


def test_the_table_of_tasks_is_by_method_beside_the_warm_start(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = example("tasks", results, monkeypatch)
    tasks, change = found["tasks"], found["change"]
    assert list(tasks.index) == [("Toy-v0", index, f"test/{index}") for index in range(3)]
    assert list(tasks.columns) == ["grpo", "r3l", "warm start"]
    for task in ("test/0", "test/1", "test/2"):
        row = tasks.xs(task, level="task").iloc[0]
        for method, update, runs in (("r3l", 2, ("r3l-0", "r3l-1")), ("warm start", 0, ("grpo-0", "r3l-1"))):
            scores = [
                line["score"]
                for name in runs
                for line in lines(results / name / "evaluation.jsonl")
                if (line["update"], line["mode"], line["task"]) == (update, "sampled", task)
            ]
            assert len(scores) == 2 and row[method] == pytest.approx(fmean(scores), abs=1e-12)
        assert change.xs(task, level="task").iloc[0]["r3l"] == pytest.approx(row["r3l"] - row["warm start"], abs=1e-12)
    assert sorted(found["hardest"].index) == list(tasks.index)


def test_the_retries_are_weighted_by_their_number(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retries = example("retries", results, monkeypatch)["retries"]
    assert list(retries.index) == [("Toy-v0", "grpo"), ("Toy-v0", "r3l")]
    explored = [line["explore"] for seed in (0, 1) for line in lines(results / f"r3l-{seed}" / "metrics.jsonl")]
    made = sum(of["retries"] for of in explored)
    improved = sum(of["retry_improved"] * of["retries"] for of in explored if of["retries"])
    row = retries.loc["Toy-v0", "r3l"]
    assert made > 0 and row["retries"] == made
    assert row["improved, share"] == pytest.approx(improved / made, abs=1e-12)
    assert row["per attempt"] == made / sum(of["attempts"] for of in explored)
    assert retries.loc["Toy-v0", "grpo"]["retries"] == 0


def test_the_first_lines_of_the_document_give_its_three_frames(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = re.search(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    assert first is not None
    monkeypatch.chdir(results.parent)
    names: dict[str, Any] = {}
    exec(compile(first[1], "analysis.md", "exec"), names)
    assert [len(names[kind]) for kind in ("episodes", "updates", "runs")] == [4 * 3 * 2 * 3 + 3, 4 * 2, 5]
    documented = set(re.findall(r"`([a-z_.]+[a-z])`", DOCUMENT))
    assert {*names["episodes"].columns} <= documented
