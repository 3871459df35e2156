from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.leaderboard import main
from r3lbench.protocols import best_of
from r3lbench.results import read_below
from r3lbench.standings import compare
from tests.recorded import record

ROUNDS = [[0.0, 0.5, 1.0, 0.5], [1.0, 0.5, 1.0, 0.0]]
"""Scores of four tasks after two rounds of self-improvement."""


def evaluated(folder: Path, episodes: Sequence[Sequence[float]], *, rounds: bool = False, **changes: Any) -> None:
    """Write an evaluation of a policy that scored so on every task, an episode after the other."""
    means = [sum(of) / len(of) for of in episodes]
    solved = sum(sum(score == 1 for score in of) / len(of) for of in episodes) / len(episodes)
    config = {"config__method": None, "config__budget": None, "config__policy": {"name": "tiny"}}
    improving = {"config__improve": 2, "config__improve_with": "hindsight"} if rounds else {}
    run = record(folder, [0.0] * len(episodes), None, complete=False, **config, **improving, **changes)
    (run.path / "evaluation.jsonl").unlink()
    for task, of in enumerate(episodes):
        for episode, score in enumerate(of):
            at = {"update": 0, "mode": "sampled", "episode": episode, "task": f"test/{task}"}
            run.append("evaluation.jsonl", {**at, "score": score, "success": score == 1, "steps": 2 + episode})
    told = []
    for number, scores in enumerate([means, *ROUNDS] if rounds else [], start=0):
        for task, score in enumerate(scores if number else ()):
            at = {"mode": "sampled", "episode": 0, "round": number, "task": f"test/{task}"}
            run.append("improvement.jsonl", {**at, "score": score, "success": score == 1})
        spent = {"evaluate": {"generated_tokens": 80, "env_steps": 40}}
        if number:
            spent = {"reflect": {"generated_tokens": 20}, "retry": {"generated_tokens": 30, "env_steps": 10}}
        share = solved if not number else sum(score == 1 for score in scores) / 4
        told.append({"score": sum(scores) / 4, "success": share, "cost": spent})
    improvement = {"improvement": {"sees": ["expert"], "rounds": {"sampled": told}}} if rounds else {}
    summary = {"after": {"sampled": {"score": sum(means) / len(means), "success": solved}}}
    cost = {"evaluate": {"generated_tokens": 480, "env_steps": 120}}
    run.write_result({"updates": 0, "seconds": 0.0, "cost": cost, "evaluation": summary, **improvement})


def lines(*arguments: object) -> list[dict[str, str]]:
    """The lines of the CSV file about other protocols than first attempts."""
    assert main([*map(str, arguments), "--csv", "out.csv", "--quiet"]) == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == "protocol"]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=7), st.data())
def test_the_best_of_k_is_the_mean_over_all_ways_to_choose_them(scores: list[int], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    assert best_of(scores, k) == pytest.approx(np.mean([max(chosen) for chosen in combinations(scores, k)]))


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 2), (5, 2, 3), (10, 0, 4), (10, 10, 1), (8, 6, 8), (200, 3, 100)])
def test_of_successes_it_is_the_estimator_of_chen_et_al(n: int, c: int, k: int) -> None:
    assert best_of([1] * c + [0] * (n - c), k) == pytest.approx(1 - comb(n - c, k) / comb(n, k))


def test_more_episodes_than_were_played_are_refused() -> None:
    for k in (0, 4):
        with pytest.raises(ValueError, match="cannot be known from 3"):
            best_of([0, 1, 1], k)


def test_the_best_of_several_attempts_has_a_row_and_a_cost_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated(tmp_path / "run", [[1, 0, 0], [0.5, 0.5, 0], [1, 1, 1], [0, 0, 0]])
    (two,) = lines("run")
    # Of three ways to choose two attempts a single success is in two, and one of two halves in all.
    assert two["protocol"] == "pass@2" and two["seeds"] == "0"
    assert float(two["success"]) == pytest.approx((2 / 3 + 0 + 1 + 0) / 4, abs=1e-6)
    assert float(two["score"]) == pytest.approx((2 / 3 + 0.5 + 1 + 0) / 4, abs=1e-6)
    # One attempt comes to (1/3 + 0 + 1 + 0) / 4.
    assert float(two["success_gain"]) == pytest.approx(1 / 12, abs=1e-6)
    # 480 tokens and 4 * (2 + 3 + 4) steps in 12 episodes.
    assert (two["generated_tokens_a_task"], two["env_steps_a_task"]) == ("80.0", "6.0")
    assert [of["protocol"] for of in lines("run", "--k", "3", "1", "2")] == ["pass@2", "pass@3"]


def test_rounds_of_self_improvement_have_rows_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated(tmp_path / "run", [[0], [0.5], [1], [0]], rounds=True)
    one, two = lines("run")
    assert (one["protocol"], two["protocol"]) == ("1 round with hindsight", "2 rounds with hindsight")
    assert (float(one["score"]), float(two["score"]), float(two["success"])) == (0.5, 0.625, 0.5)
    assert float(two["score_gain"]) == pytest.approx(0.625 - 0.375)
    # First attempts and both rounds: 80 + 2 * 50 tokens, 40 + 2 * 10 steps, on four tasks.
    assert (two["generated_tokens_a_task"], two["env_steps_a_task"]) == ("45.0", "15.0")
    assert two["sees"] == "agent: admissible; reflector hindsight: expert"
    assert main(["run"]) == 0
    page = capsys.readouterr().out
    first, others = page.split("*More than one attempt, each with its own cost*")
    assert "round" not in first.split("## ")[1] and "1 round with hindsight" in others
    assert "| chat, policy tiny |     1 | 25.0" in first


def test_protocols_of_several_seeds_stand_together_and_the_newest_of_equal_ones_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a, half = tmp_path / "a", [[1, 1], [0, 0], [1, 0], [0, 0]]
    evaluated(a / "0", half)
    evaluated(a / "1", [[0, 0]] * 4, config__seed=1)
    evaluated(a / "older", [[1, 1]] * 4, config__seed=1, created="2025-01-01T00:00:00+00:00")
    # Of the same seed, and newer, but another protocol; the first attempts that count are those that are more.
    evaluated(a / "rounds", [[0], [0.5], [1], [0]], rounds=True, created="2027-01-01T00:00:00+00:00")
    found = {of["protocol"]: of for of in lines("a")}
    assert list(found) == ["pass@2", "1 round with hindsight", "2 rounds with hindsight"]
    assert (found["pass@2"]["seeds"], float(found["pass@2"]["success"])) == ("0 1", 0.25)
    ((group,), notes) = compare(read_below(["a"]).records)
    assert [run.path for run in group.rows[0].runs] == ["a/0", "a/1"]
    assert notes == ["a/older: same configuration and seed as a/1, which is newer"]


def test_what_more_attempts_gain_is_at_most_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated(tmp_path / "a" / "0", [[1, 0]] * 4)
    evaluated(tmp_path / "a" / "1", [[0, 0]] * 4, config__seed=1)
    # Gains of .5 and 0, where with one degree of freedom t is 12.7.
    (two,) = lines("a")
    assert [float(two[f"success_gain{end}"]) for end in ("_low", "", "_high")] == [-1, 0.25, 1]


def test_a_summary_that_its_rounds_contradict_is_damage(tmp_path: Path) -> None:
    evaluated(tmp_path / "run", [[0], [0.5], [1], [0]], rounds=True)
    file = tmp_path / "run" / "improvement.jsonl"
    file.write_text(file.read_text().replace('"score": 0.5', '"score": 0.6', 1))
    assert "score of round 1 (sampled) in result.json is not the mean" in read_below([str(tmp_path)]).damaged[0][1]


def test_tokens_of_two_modes_together_are_no_cost_of_one(tmp_path: Path) -> None:
    evaluated(tmp_path / "run", [[1, 0]] * 4)
    (found,) = read_below([str(tmp_path)]).records
    both = {**found.episodes, "greedy": found.episodes["sampled"]}
    ((group,), _) = compare([type(found)(**{**vars(found), "episodes": both})])
    assert dict(group.trials[0].spent) == {"env_steps": 5.0}
