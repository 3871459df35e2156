from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.leaderboard import main
from r3lbench.results import read_below
from r3lbench.standings import compare
from r3lbench.stats import comparisons_of_means, mean_of_means
from r3lbench.suites import Suite, suites
from tests.recorded import record, record_agent

METHODS = {"grpo": {"name": "grpo", "group_size": 8}, "r3l": {"name": "r3l", "group_size": 8}}
OTHER: dict[str, Any] = {"env": "Other-v0", "panels__test__hash": "ef" * 32}
THIRD: dict[str, Any] = {"env": "Third-v0", "panels__test__hash": "01" * 32}
SCORES = {
    ("grpo", "Toy-v0"): [[0.4, 0.6, 0.4, 0.6], [0.5, 0.7, 0.5, 0.7]],
    ("grpo", "Other-v0"): [[0.2, 0.3, 0.3, 0.4], [0.4, 0.4, 0.3, 0.5]],
    ("r3l", "Toy-v0"): [[0.6, 0.6, 0.6, 0.6], [0.8, 0.8, 0.6, 0.6]],
    ("r3l", "Other-v0"): [[0.3, 0.4, 0.3, 0.4], [0.5, 0.5, 0.3, 0.5]],
}
"""By method and environment, a row a seed. Floor and ceiling are .2 and 1 on Toy-v0, 0 and .5 on Other-v0."""
POSSIBLE = (-0.125, 1.5)
"""The least and the greatest mean over both: a score of 0 is -.25 and 0 there, one of 1 is 1 and 2."""


def environment(
    folder: Path, scores: dict[str, list[list[float]]], floor: float, ceiling: float, **changes: Any
) -> None:
    for method, by_seed in scores.items():
        for seed, values in enumerate(by_seed):
            settings = {"config__method": METHODS.get(method, {"name": method}), "config__seed": seed}
            record(folder / f"{method}{seed}", values, [floor] * 4, **settings, **changes)
    record_agent(folder / "random", "random", "admissible", [floor] * 4, **changes)
    record_agent(folder / "oracle", "oracle", "expert", [ceiling] * 4, **changes)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("runs")
    environment(path / "toy", {method: SCORES[method, "Toy-v0"] for method in METHODS}, 0.2, 1.0)
    environment(path / "other", {method: SCORES[method, "Other-v0"] for method in METHODS}, 0.0, 0.5, **OTHER)
    return path


def suite(*paths: Path) -> Suite | None:
    groups, _ = compare(read_below(map(str, paths)).records)
    return next(iter(suites(groups, "score")), None)


def normal(method: str) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Other-v0 and Toy-v0, in this order."""
    return [np.array(SCORES[method, "Other-v0"]) / 0.5, (np.array(SCORES[method, "Toy-v0"]) - 0.2) / 0.8]


def test_results_are_normalised_by_floor_and_ceiling_and_averaged(runs: Path) -> None:
    found = suite(runs)
    assert found is not None and [group.env for group in found.groups] == ["Other-v0", "Toy-v0"]
    rows = {of.label: of for of in found.standings}
    assert list(rows) == ["r3l", "grpo", "warm start"] and rows["r3l"].seeds == (0, 1)
    # Of .6 and .7 on the mean .5625 of what lies between .2 and 1; of .35 and .45 on the mean .8.
    assert rows["r3l"].by_environment == pytest.approx((0.8, 0.5625)) and rows["r3l"].value.value == pytest.approx(
        0.68125
    )
    assert rows["warm start"].by_environment == pytest.approx((0, 0))
    for method in METHODS:
        assert vars(rows[method].value) == pytest.approx(vars(mean_of_means(normal(method)).between(POSSIBLE)))
    (expected,) = comparisons_of_means([(normal("r3l"), normal("grpo"))], normal("grpo"), [normal("r3l")])
    assert rows["r3l"].against == expected.between((-1.625, 1.625)) and rows["grpo"].against is None


def test_no_mean_and_no_difference_over_environments_leaves_its_range(runs: Path) -> None:
    for seed, score in enumerate([0.0, 1.0]):
        lucky: dict[str, Any] = {"config__seed": seed, "config__method": {"name": "opmd"}}
        record(runs / f"a{seed}", [score] * 4, **lucky)
        record(runs / f"b{seed}", [score] * 4, **lucky, **OTHER)
    found = suite(runs)
    assert found is not None
    of = next(of for of in found.standings if of.label == "opmd")
    assert (of.value.low, of.value.value, of.value.high) == pytest.approx((POSSIBLE[0], 0.6875, POSSIBLE[1]))
    assert of.against is not None and (of.against.low, of.against.high) == pytest.approx((-1.625, 1.625))


def test_methods_stand_in_the_table_that_were_run_on_all_of_its_environments(runs: Path) -> None:
    record(runs / "more", [0.5] * 4, config__method={"name": "dapo"})
    environment(runs / "third", {"dapo": [[1.0] * 4]}, 0.0, 1.0, **THIRD)
    found = suite(runs)
    assert found is not None and [of.label for of in found.standings] == ["r3l", "grpo", "warm start"]
    assert found.left_out == ("Third-v0, on which few methods were run", "dapo, not run on Other-v0")


def test_an_environment_without_its_bounds_is_not_averaged(runs: Path) -> None:
    record(runs / "third", [1.0] * 4, **THIRD)
    found = suite(runs)
    assert found is not None and len(found.groups) == 2
    assert found.left_out == ("Third-v0, where no floor and a ceiling above it are recorded",)
    assert suite(runs / "toy", runs / "third") is None, "one environment is no suite"


def test_what_is_tuned_for_an_environment_is_the_same_method_on_all(runs: Path) -> None:
    for seed in (0, 1):
        method = {"name": "opmd"}
        record(runs / f"a{seed}", [0.6] * 4, config__seed=seed, config__method=method, config__optimiser__lr=0.1)
        record(runs / f"b{seed}", [0.5] * 4, config__seed=seed, config__method=method, **OTHER)
    found = suite(runs)
    assert found is not None and "opmd" in [of.label for of in found.standings]
    # Of two configurations on one environment nobody knows which is meant.
    record(runs / "c", [0.6] * 4, config__method={"name": "opmd"}, config__optimiser__lr=0.2)
    found = suite(runs)
    assert found is not None and "opmd, with 2 configurations on Toy-v0" in found.left_out


def test_only_common_seeds_count(runs: Path) -> None:
    record(runs / "g2", [1.0] * 4, config__method=METHODS["grpo"], config__seed=2)
    record(runs / "d0", [1.0] * 4, config__method={"name": "dapo"}, config__seed=0)
    record(runs / "d1", [0.5] * 4, config__method={"name": "dapo"}, config__seed=1, **OTHER)
    found = suite(runs)
    assert found is not None
    rows = {of.label: of for of in found.standings}
    assert rows["grpo"].seeds == (0, 1) and rows["grpo"].by_environment == pytest.approx((0.7, 0.4375))
    assert found.left_out == ("dapo, without a seed common to all environments",)


def test_other_policies_are_averaged_apart(runs: Path) -> None:
    changes = {"policy__name": "small", "policy__digest": "01" * 32}
    record(runs / "small", [1.0] * 4, **changes)
    record(runs / "small-other", [1.0] * 4, **changes, **OTHER)
    groups, _ = compare(read_below([str(runs)]).records)
    small, tiny = suites(groups, "score")
    assert (small.policy, tiny.policy) == ("small", "tiny")
    assert [of.label for of in small.standings] == ["grpo", "warm start"]


def test_the_leaderboard_begins_with_it(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs), "--csv", "out.csv"]) == 0
    page = capsys.readouterr().out
    first = page.split("## ")[1]
    assert first.startswith("Across environments, policy tiny\n")
    assert "Other-v0 (4 updates; 0.000 to 0.500), Toy-v0 (4 updates; 0.200 to 1.000)" in first
    assert "| Other-v0 | Toy-v0 | record" in first.replace("   ", "")
    with Path("out.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"].endswith("across environments")]
    assert (rows[0]["name"], rows[0]["environment"]) == ("r3l", "Other-v0 + Toy-v0")
    assert float(rows[0]["normalised"]) == pytest.approx(0.68125) and rows[0]["score"] == ""
    assert main([str(runs), "--methods", "r3l", "--quiet", "--csv", "out.csv"]) == 0
    with Path("out.csv").open(newline="") as file:
        shown = [row for row in csv.DictReader(file) if row["kind"].endswith("across environments")]
    assert shown == [row for row in rows if row["name"] != "grpo"]
