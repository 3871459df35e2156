"""Evaluating plays the panel as a run does, and leaves the same kind of record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import run as training
from r3lbench.evaluate import estimates, main
from r3lbench.recording import RunFolder
from r3lbench.registry import REFLECTORS
from r3lbench.results import absolute_paths, read
from r3lbench.rollout.evaluation import Score, summary
from r3lbench.standings import compare
from tests.conftest import ROOT
from tests.recorded import record
from tests.toy_policy import DEFAULTS

Evaluate = Callable[..., RunFolder]


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    """Evaluate on the toy environment and return the record."""

    def go(*arguments: object, out: str = "out") -> RunFolder:
        folder = tmp_path / out
        assert main(["--env", "toy", *map(str, arguments), "--out", str(folder), "--quiet"]) == 0
        return RunFolder.open(folder)

    return go


def lines(folder: RunFolder, update: int = 0) -> list[dict[str, Any]]:
    """What was measured, without what a run has no need to say."""
    return [
        {key: value for key, value in line.items() if key not in ("episode", "update")}
        for line in folder.evaluations()
        if line["update"] == update
    ]


@pytest.fixture(scope="module")
def trained(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of one update."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    short = ("--tasks-per-update", "3", "--method.group-size", "6", "--budget.updates", "1", "--seed", "3")
    arguments = ["--env", "toy", "--method", "grpo", "--policy", str(toy_policy), *short, "--out", str(folder)]
    assert training.main([*arguments, "--optimiser.lr", "0.05", "--quiet"]) == 0
    return RunFolder.open(folder)


def test_the_expert_solves_everything_and_chance_does_not(evaluate: Evaluate) -> None:
    best = read(evaluate("--agent", "oracle", "--tasks", 8))
    assert best.panels["after", "sampled"]["success"] == [1.0] * 8
    assert best.policy is None and best.method is None
    assert read(evaluate("--agent", "random", out="random")).panels["after", "sampled"]["success"] != [1.0] * 8


def test_the_record_describes_itself(evaluate: Evaluate) -> None:
    folder = evaluate("--agent", "oracle", "--env.rooms", 4, "--tasks", 2, "--seed", 5)
    manifest, result = folder.manifest, folder.result
    assert manifest["config"]["env"]["name"] == "toy" and manifest["config"]["env"]["rooms"] == 4
    assert manifest["config"]["seed"] == 5 and manifest["config"]["evaluation"]["tasks"] == 2
    assert manifest["sees"] == {"agent": ["expert"]} and manifest["policy"] == {}
    assert set(manifest["panels"]) == {"train", "valid", "test"}
    assert result is not None and result["evaluation"]["after"]["sampled"]["tasks"] == 2
    # Wilson's interval of two tasks, with t of one degree of freedom: 1 / (1 + 12.706^2 / 2).
    assert result["intervals"]["sampled"]["success"] == pytest.approx([0.012236, 1.0], abs=1e-6)
    assert result["cost"]["evaluate"]["env_steps"] == sum(line["steps"] for line in folder.evaluations())


def test_a_policy_is_measured_as_a_run_measures_its_warm_start(
    evaluate: Evaluate, trained: RunFolder, toy_policy: Path
) -> None:
    before = evaluate("--agent", "chat", "--policy", toy_policy, "--seed", 3)
    assert lines(before) == lines(trained, 0)
    assert trained.result is not None and before.result is not None
    assert before.result["evaluation"]["after"] == trained.result["evaluation"]["before"]


def test_a_run_stands_for_the_policy_it_trained(trained: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # Environment, its settings, agent and panel are the run's own.
    assert main(["--policy", str(trained.path), "--seed", "3", "--out", str(out), "--quiet"]) == 0
    after = RunFolder.open(out)
    assert after.manifest["config"]["env"] == trained.manifest["config"]["env"]
    assert after.manifest["config"]["agent"] == trained.manifest["config"]["agent"]
    assert lines(after) == lines(trained, 1)
    assert after.manifest["policy"]["digest"] != trained.manifest["policy"]["digest"]


def test_a_run_that_is_not_complete_has_no_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "run", [1.0, 1.0], complete=False)
    assert main(["--policy", str(tmp_path / "run")]) == 2
    assert "continue it with --resume" in capsys.readouterr().err


def test_floor_and_ceiling_are_measured_on_the_tasks_the_policy_was_made_for(
    evaluate: Evaluate, toy_policy: Path
) -> None:
    chat = evaluate("--agent", "chat", "--policy", toy_policy, "--modes", "greedy")
    floor = evaluate("--agent", "random", "--policy", toy_policy, out="floor")
    assert floor.manifest["config"]["env"] == chat.manifest["config"]["env"]
    assert floor.manifest["panels"] == chat.manifest["panels"]
    assert [line["task"] for line in floor.evaluations()] == [line["task"] for line in chat.evaluations()]


def test_records_hold_no_path_of_this_machine(evaluate: Evaluate, toy_policy: Path) -> None:
    assert toy_policy.is_absolute()
    folder = evaluate("--agent", "chat", "--policy", toy_policy, "--tasks", 1)
    for file in ("manifest.json", "result.json"):
        assert list(absolute_paths(json.loads((folder.path / file).read_bytes()))) == []


def test_sampled_play_is_repeated_and_greedy_play_is_not(evaluate: Evaluate, toy_policy: Path) -> None:
    folder = evaluate("--agent", "chat", "--policy", toy_policy, "--episodes-per-task", 3)
    episodes = [(line["mode"], line["task"], line["episode"]) for line in folder.evaluations()]
    sampled = [("sampled", f"test/{task}", episode) for task in range(2) for episode in range(3)]
    assert episodes == [*sampled, ("greedy", "test/0", 0), ("greedy", "test/1", 0)]
    assert len(read(folder).panels["after", "sampled"]["score"]) == 2


def test_the_same_seed_plays_the_same(evaluate: Evaluate) -> None:
    first, again, other = (
        evaluate("--agent", "random", "--seed", seed, out=out) for seed, out in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert first.evaluations() == again.evaluations() != other.evaluations()


def test_agents_without_a_model_do_without_its_libraries(tmp_path: Path) -> None:
    script = """
import sys
import tests.toy
from r3lbench.evaluate import main
assert main(["--env", "toy", "--agent", "random", "--quiet"]) == 0
assert not {"torch", "transformers"} & set(sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--agent", "oracel"), "unknown agent 'oracel': did you mean 'oracle'"),
        (("--agent", "oracle", "--split", "tests"), "no split 'tests'"),
        (("--agent", "oracle", "--tasks", "0"), "greater than or equal to 1"),
        (("--agent", "oracle", "--modes", "beam"), "--modes"),
        (("--agent", "oracle", "--improve", "1"), "the agent 'oracle' has no model here that could revise"),
        (("--agent", "oracle", "--improve", "-1"), "--improve -1: Input should be greater than or equal to 0"),
        (("--agent", "oracle", "--method", "r3l"), "unknown flag --method"),
        (("--agent", "oracle", "--policy", "no/such/policy"), "no policy"),
        (("--agent", "chat"), "toy ships no tiny policy"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", "toy", *arguments]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and errors.startswith("r3lbench evaluate: ")


# Self-improvement


def test_first_attempts_are_recorded_as_without_self_improvement(evaluate: Evaluate, toy_policy: Path) -> None:
    ordinary = ("--agent", "chat", "--policy", toy_policy, "--episodes-per-task", 2, "--seed", 1)
    plain, improved = evaluate(*ordinary), evaluate(*ordinary, "--improve", 2, out="improved")
    assert plain.evaluations() == improved.evaluations()
    assert plain.result is not None and improved.result is not None
    assert {**plain.result, "improvement": improved.result["improvement"]} == improved.result
    assert set(improved.result["cost"]) == {"evaluate"}
    # Nothing tells that it could have been improved where it was not.
    settings = improved.manifest["config"]
    told = {"improve": 2, "improve_with": "hindsight", "reflection": DEFAULTS["reflection"]}
    assert settings == {**plain.manifest["config"], **told}
    assert not (plain.path / "improvement.jsonl").exists()
    # To the leaderboard both are the same first attempts; what follows them stands apart.
    [[without], _], [[group], _] = compare([read(plain)]), compare([read(improved)])
    assert [row.values for row in without.rows] == [row.values for row in group.rows]
    told = [trial.protocol for trial in group.trials]
    assert told[: len(without.trials)] == [trial.protocol for trial in without.trials] and len(told) > len(
        without.trials
    )


def test_every_round_is_recorded_and_summed_up(evaluate: Evaluate, toy_policy: Path) -> None:
    ordinary = ("--agent", "chat", "--policy", toy_policy, "--episodes-per-task", 2, "--seed", 1)
    folder = evaluate(*ordinary, "--improve", 3)
    found = [json.loads(line) for line in (folder.path / "improvement.jsonl").read_text().splitlines()]
    wanted = [("sampled", n, f"test/{task}", episode) for n in (1, 2, 3) for task in (0, 1) for episode in (0, 1)]
    wanted += [("greedy", n, f"test/{task}", 0) for n in (1, 2, 3) for task in (0, 1)]
    assert [(line["mode"], line["round"], line["task"], line["episode"]) for line in found] == wanted
    first = {"update", *folder.evaluations()[0]} - {"update"}
    assert {*found[0]} == first | {"round", "retried", "valid"}
    assert folder.result is not None
    improvement = folder.result["improvement"]
    assert improvement["sees"] == ["rubrics"] and set(improvement["rounds"]) == {"sampled", "greedy"}
    for mode, rounds in improvement["rounds"].items():
        before = [line for line in folder.evaluations() if line["mode"] == mode]
        best = [line["score"] for line in before]
        for number, of in enumerate(rounds):
            now = before if number == 0 else [line for line in found if (line["mode"], line["round"]) == (mode, number)]
            best = [max(pair) for pair in zip(best, (line["score"] for line in now), strict=True)]
            means = {name: fmean(line[name] for line in now) for name in ("success", "score", "return", "steps")}
            assert of["round"] == number and {name: of[name] for name in means} == pytest.approx(means)
            assert of["best_score"] == pytest.approx(fmean(best))
            assert of["score_change"] == pytest.approx(of["score"] - rounds[0]["score"])
            assert of["retried"] == sum(line.get("retried", False) for line in now)
            assert set(of["intervals"]) == {*means, "invalid", "best_score", "success_change", "score_change"}
            low, high = of["intervals"]["success"]
            assert low <= of["success"] <= high
        assert set(rounds[0]["cost"]) == {"evaluate"} and set(rounds[1]["cost"]) <= {"reflect", "retry"}
        assert rounds[1]["retried"] > 0
    assert folder.result["cost"]["evaluate"]["env_steps"] == sum(
        rounds[0]["cost"]["evaluate"]["env_steps"] for rounds in improvement["rounds"].values()
    )


@pytest.mark.parametrize("reflector", sorted(REFLECTORS.names()))
def test_every_reflector_can_guide_an_improvement(reflector: str, evaluate: Evaluate, toy_policy: Path) -> None:
    ordinary = ("--agent", "chat", "--policy", toy_policy, "--modes", "sampled")
    folder = evaluate(*ordinary, "--improve", 2, "--improve-with", reflector)
    again = evaluate(*ordinary, "--improve", 2, "--improve-with", reflector, out="again")
    assert folder.result is not None and folder.result == again.result
    assert folder.result["improvement"]["sees"] == sorted(REFLECTORS.load(reflector).sees)
    assert [of["round"] for of in folder.result["improvement"]["rounds"]["sampled"]] == [0, 1, 2]


def test_the_table_has_a_row_for_every_round_and_mode(capsys: pytest.CaptureFixture[str], toy_policy: Path) -> None:
    assert main(["--env", "toy", "--policy", str(toy_policy), "--improve", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("latest score") == 2 + 2 and out.count("best score") == 2
    for mode in ("sampled", "greedy"):
        _, found, table = out.partition(f"self-improvement with hindsight, {mode}")
        rows = [line.split() for line in table.partition("round 2 against")[0].splitlines()]
        assert found and [row[0] for row in rows if row and row[0].isdecimal()] == ["0", "1", "2"]
    assert out.count("round 2 against round 0, paired: success ") == 2


def test_an_unknown_reflector_is_refused_before_anything_is_played(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ordinary = ("--env", "toy", "--policy", str(toy_policy), "--out", str(out))
    assert main([*ordinary, "--improve", "1", "--improve-with", "hindsigth"]) == 2
    output = capsys.readouterr()
    assert "unknown reflector 'hindsigth': did you mean 'hindsight'" in output.err and output.err.count("\n") == 1
    assert output.out == "" and not out.exists()


@pytest.mark.parametrize("config", ["{}", '{"env": {"name": "toy"}}', '{"env": "toy", "agent": "chat"}'])
def test_a_run_that_does_not_say_what_it_was_made_with_is_refused(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.json").write_text(f'{{"format": 1, "panels": {{}}, "policy": {{}}, "config": {config}}}')
    assert main(["--policy", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "does not say which" in errors and errors.count("\n") == 1


def test_a_folders_name_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "[bold]" / "x[/red]"
    assert main(["--env", "toy", "--agent", "random", "--tasks", "1", "--out", str(out)]) == 0
    assert f"recorded in {out};" in capsys.readouterr().out.replace("\n", "")


def test_nothing_is_overwritten(evaluate: Evaluate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate("--agent", "oracle", "--tasks", 1)
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert main(["--env", "toy", "--agent", "random", "--out", str(tmp_path / "out")]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    below = tmp_path / "out" / "manifest.json" / "run"
    assert main(["--env", "toy", "--agent", "random", "--out", str(below)]) == 2
    output = capsys.readouterr()
    assert "nothing can be recorded in" in output.err and "success" not in output.out


def test_the_table_shows_means_with_their_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "toy", "--agent", "oracle", "--tasks", "4"]) == 0
    out = capsys.readouterr().out
    assert "oracle on Toy-v0, seed 0" in out and "panel test: 4 of 8 tasks" in out
    # Wilson's interval of four tasks, with t of three degrees of freedom: 1 / (1 + 3.182^2 / 4).
    assert "100.0    [28.3, 100.0]" in out


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "toy", "--agent", "oracle", "--tasks", "1", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_estimates_are_the_means_of_the_summary() -> None:
    played = [("test/0", 1.0, 4, 1), ("test/0", 0.5, 6, 2), ("test/1", 0.0, 10, 5), ("test/1", 0.0, 8, 0)]
    scores = [Score(task, score, score, score == 1, steps, invalid) for task, score, steps, invalid in played]
    found, means = estimates(scores, 2), summary(scores)
    assert {name: of.value for name, of in found.items()} == pytest.approx({name: means[name] for name in found})
    assert (found["score"].seeds, found["score"].tasks) == (1, 2)
    # Tasks .75 and 0: a variance of .140625, as of 1 / .6 trials of .375; t = 12.706 with one degree of freedom, so
    # that s = .6 t^2 = 96.87, and the ends are (.375 + s / 2 -+ sqrt(s (.375 * .625 + s / 4))) / (1 + s).
    assert (found["score"].low, found["score"].high) == pytest.approx((0.00144, 0.99600), abs=1e-5)
    assert all(0 <= found[name].low <= found[name].high <= 1 for name in ("success", "score", "invalid"))
    assert found["steps"].low == 0, "5 and 9 steps, and t as large"
