from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.files import sha256_of
from r3lbench.leaderboard import main
from r3lbench.recording import RunFolder
from r3lbench.results import read_below
from r3lbench.standings import compare
from tests.recorded import R3L, comparison, record

ROOT = Path(__file__).parent.parent


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A comparison in ``runs`` below the current folder."""
    monkeypatch.chdir(tmp_path)
    return comparison(Path("runs"))


def table(*arguments: object) -> list[dict[str, str]]:
    """The CSV file that the command makes of its arguments."""
    assert main([*map(str, arguments), "--csv", "out.csv", "--quiet"]) == 0
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_sorted_by_score_and_floor_and_ceiling_stand_beside_what_they_bound(runs: Path) -> None:
    rows = table(runs)
    assert [(row["kind"], row["name"], row["seeds"]) for row in rows] == [
        ("ceiling", "oracle", "0"),
        ("method", "r3l", "0 1"),
        ("method", "grpo", "0 1"),
        ("floor", "random", "0"),
        ("warm start", "warm start", "0 1"),
    ]
    assert len({row["panel"] for row in rows}) == 1


def test_means_changes_and_differences_are_those_of_seeds_and_tasks(runs: Path) -> None:
    rows = {row["name"]: row for row in table(runs)}
    assert float(rows["r3l"]["score"]) == pytest.approx(6.5 / 8)
    assert float(rows["r3l"]["success"]) == pytest.approx(5 / 8)
    assert float(rows["r3l"]["score_change"]) == pytest.approx(6.5 / 8)
    # Seed by seed and task by task r3l is ahead by 0.5, 0.5, 0.5 and 0: the seeds do not differ in that.
    assert float(rows["r3l"]["score_difference"]) == pytest.approx(0.375)
    # Tasks alone differ: their variance is 1/16, and t with 3 degrees of freedom 3.18245 at 97.5 %.
    assert float(rows["r3l"]["score_difference_low"]) == pytest.approx(0.375 - 3.18245 / 8, abs=1e-5)
    # Of the four pairs of runs all are won on two tasks, three and a tie on another, and all ties on the last.
    assert float(rows["r3l"]["score_improvement"]) == pytest.approx((1 + 1 + 3.5 / 4 + 0.5) / 4)
    assert (rows["r3l"]["reference"], rows["r3l"]["paired_seeds"]) == ("grpo", "2")
    assert rows["grpo"]["score_difference"] == rows["warm start"]["score_change"] == ""


def test_costs_count_reflections_and_retries_but_not_evaluation(runs: Path) -> None:
    row = next(row for row in table(runs) if row["name"] == "r3l")
    costs = ("env_steps", "generated_tokens", "trained_tokens", "seconds")
    assert [row[name] for name in costs] == ["120.0", "1700.0", "3000.0", "12.5"]
    assert row["sees"] == "agent: admissible; reflector report: reward"


def test_how_a_method_learned_is_summed_over_what_was_counted(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, explore, kl in (
        ("r0", {"groups": 8, "no_signal": 0.5, "retries": 10, "retry_improved": 0.2, "reflections": 0}, 0.1),
        ("r0", {"groups": 8, "no_signal": 0.25, "retries": 30, "retry_improved": 0.4, "reflections": 0}, 0.3),
        ("r1", {"groups": 4, "no_signal": 0.0, "retries": 0, "retry_improved": None}, 0.5),
    ):
        RunFolder(runs / name).append("metrics.jsonl", {"update": 9, "explore": explore, "learn": {"kl_to_start": kl}})
    rows = {row["name"]: row for row in table(runs)}
    # Seed 0: (.5 + .25) / 2 of its groups, (10 * .2 + 30 * .4) / 40 of its retries; seed 1 had none of these.
    told = {"updates": 4.5, "no_signal": (0.375 + 0) / 2, "retry_improved": 0.35, "kl_to_start": (0.3 + 0.5) / 2}
    assert {name: float(rows["r3l"][name]) for name in told} == pytest.approx(told)
    assert rows["r3l"]["reflection_valid"] == rows["grpo"]["no_signal"] == ""
    assert main([str(runs)]) == 0
    lines = [re.sub(" +", " ", line) for line in capsys.readouterr().out.splitlines()]
    assert "| method | updates | groups without signal | retries improved | KL to the start |" in lines
    assert "| r3l | 4 | 19 % | 35 % | 0.400 |" in lines and "| grpo | 3 | | | |" in lines


@pytest.mark.parametrize(
    "changes",
    [
        {"panels__test__hash": "ef" * 32},
        {"policy__digest": "ef" * 32},
        {"config__budget": {"updates": 5}},
        {"config__env__rooms": 4},
        {"config__agent__format": "think"},
        {"config__evaluation__temperature": 0.5},
    ],
    ids=str,
)
def test_what_is_not_comparable_is_never_put_side_by_side(runs: Path, changes: dict[str, Any]) -> None:
    record(runs / "other", [1.0, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2, **changes)
    groups, _ = compare(read_below([str(runs)]).records)
    trained = [[row.seeds for row in group.rows if row.name == "r3l"] for group in groups]
    assert sorted(seeds for seeds in trained if seeds) == [[(0, 1)], [(2,)]]
    alone = next(group for group, seeds in zip(groups, trained, strict=True) if seeds == [(2,)])
    assert all(row.against is None for row in alone.rows)


def test_headings_say_what_could_be_spent(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "long", [1.0, 1.0, 1.0, 1.0], config__budget={"updates": 30, "env_steps": 1_000_000})
    assert main([str(runs)]) == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Toy-v0, policy tiny, 1,000,000 env steps or 30 updates",
        "## Toy-v0, policy tiny, 4 updates",
    ]


def test_fewer_tasks_are_another_panel(runs: Path) -> None:
    record(runs / "other", [1.0, 1.0], [0.0, 0.0], config__evaluation__tasks=2)
    assert sorted(group.tasks for group in compare(read_below([str(runs)]).records)[0]) == [2, 4]


def test_a_row_is_one_configuration_named_by_its_switches(runs: Path) -> None:
    record(runs / "small", [1.0, 0.0, 0.0, 0.0], config__method={"name": "r3l", "group_size": 4})
    record(runs / "plain", [1.0, 0.0, 0.0, 0.0], config__method={**R3L, "pivotal_credit": False})
    names = [f"{row['name']} {row['switches']}" for row in table(runs) if row["kind"] == "method"]
    assert sorted(names) == ["grpo ", "r3l ", "r3l group_size=4", "r3l w/o credit "]


def test_other_settings_are_named_where_rows_differ_in_them(runs: Path) -> None:
    record(runs / "fast", [1.0, 0.0, 0.0, 0.0], config__optimiser__lr=0.01, config__threads=2)
    switches = {row["switches"] for row in table(runs) if row["name"] == "grpo"}
    assert switches == {"optimiser.lr=0.001", "optimiser.lr=0.01"}


def test_adapters_set_rows_apart_and_ways_to_hold_less_do_not(runs: Path) -> None:
    # The other records are older than these settings.
    lean = {"gradient_checkpointing": True, "logprob_chunk": 64}
    record(runs / "lean", [1.0, 0.0, 0.0, 0.0], config__memory=lean, config__seed=7)
    assert {row["switches"] for row in table(runs) if row["name"] == "grpo"} == {""}
    record(runs / "low", [1.0, 0.0, 0.0, 0.0], config__policy={"name": "tiny", "lora": {"rank": 8}})
    record(runs / "fast", [1.0, 0.0, 0.0, 0.0], config__optimiser__betas=[0.5, 0.5], config__seed=8)
    switches = {row["switches"] for row in table(runs) if row["name"] == "grpo"}
    assert switches == {"policy.lora.rank=0", "policy.lora.rank=8"}


def test_the_reference_is_the_plainest_configuration_of_its_method(runs: Path) -> None:
    record(runs / "small", [1.0, 1.0, 1.0, 1.0], config__method={"name": "grpo", "group_size": 4})
    rows = {row["switches"]: row for row in table(runs) if row["name"] == "grpo"}
    assert rows["group_size=4"]["paired_seeds"] == "1" and rows[""]["paired_seeds"] == ""
    rows = {row["name"]: row for row in table(runs, "--reference", "r3l")}
    assert rows["r3l"]["paired_seeds"] == ""


def test_a_method_that_is_not_installed_is_listed_with_all_its_settings(runs: Path) -> None:
    record(runs / "theirs", [1.0, 0.0, 0.0, 0.0], config__method={"name": "theirs", "depth": 2})
    assert "depth=2" in {row["switches"] for row in table(runs) if row["name"] == "theirs"}


def test_a_configuration_and_seed_counts_once_and_the_older_record_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(runs / "again", [1.0, 1.0, 1.0, 1.0], created="2026-02-01T00:00:00+00:00")
    assert main([str(runs)]) == 0
    assert "- runs/g0: same configuration and seed as runs/again, which is newer" in capsys.readouterr().out
    assert next(row for row in table(runs) if row["name"] == "grpo")["seeds"] == "0 1"


def cells(page: str, name: str) -> list[str]:
    """The first row of a page that begins so, in cells."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def rivals(path: Path, **others: tuple[float, float]) -> Path:
    """GRPO with three seeds on eight tasks, and configurations of R3L with a gain and a difference between seeds."""
    for seed in range(3):
        for name, (gain, luck) in {"grpo": (0.0, 0.0), **others}.items():
            method = {"name": "grpo"} if name == "grpo" else {**R3L, "note": name}
            scores = [0.2 + gain + luck * (seed - 1) + 0.01 * (task % 2) for task in range(8)]
            run = {"config__seed": seed, "config__method": method, "config__evaluation__tasks": 8}
            record(path / f"{name}{seed}", scores, [0.0] * 8, **run)
    return path


def test_the_words_not_separable_follow_the_corrected_p(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def of_ahead(path: Path) -> tuple[float, str]:
        rows = {row["switches"]: row for row in table(path, "--reference", "grpo")}
        assert float(rows["note=ahead"]["score_difference_low"]) > 0
        assert main([str(path)]) == 0
        return float(rows["note=ahead"]["score_p"]), cells(capsys.readouterr().out, "r3l (note=ahead)")[5]

    # The gain of .15 has the standard error .05 / sqrt(3), and t = 5.2 with 2 degrees of freedom.
    p, words = of_ahead(rivals(Path("alone"), ahead=(0.15, 0.05)))
    assert p == pytest.approx(0.0351, abs=1e-4) and not words.endswith("not separable")
    p, words = of_ahead(rivals(Path("among"), ahead=(0.15, 0.05), **dict.fromkeys("bcd", (0.0, 0.15))))
    assert p > 0.05 and words.endswith("not separable")


def test_the_smallest_difference_that_is_found_stands_below_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rivals(tmp_path, ahead=(0.15, 0.05))
    assert main([str(tmp_path)]) == 0
    # Between seeds the standard error is .05 / sqrt(3); noncentral t with 2 degrees of freedom asks for 5.653 of these.
    assert (
        "With 3 seeds, 8 tasks and 1 comparison a true difference in score to grpo of 0.163 is found with a "
        "probability of 80 %.\n"
    ) in capsys.readouterr().out
    assert main([str(tmp_path), "--measure", "success"]) == 0
    assert "With 3 seeds" not in capsys.readouterr().out, "where nobody ever succeeds, nothing is known of it"


def test_where_seeds_are_too_few_no_number_leaves_its_range_and_no_difference_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, luck in enumerate([0.0, 0.8]):
        record(tmp_path / f"g{seed}", [0.0, 0.1, 0.0, 0.1], config__seed=seed)
        record(tmp_path / f"r{seed}", [luck, luck, luck, luck + 0.2], config__seed=seed, config__method=R3L)
    (row,) = (row for row in table(tmp_path) if row["name"] == "r3l")
    for part in ("change", "difference"):
        assert [float(row[f"score_{part}_{end}"]) for end in ("low", "high")] == [-1, 1]
    assert main([str(tmp_path)]) == 0
    said = "With 2 seeds, 4 tasks and 1 comparison no true difference in score to grpo is found with a probability of"
    assert said in capsys.readouterr().out


def test_differences_say_on_how_many_seeds_they_stand(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "r2", [0.5, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2)
    assert main([str(runs)]) == 0
    assert "(2 of 3 seeds)" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| r3l "))


def test_incomplete_runs_are_listed_as_such(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "r2", [1.0, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2, complete=False)
    assert main([str(runs)]) == 0
    assert "- runs/r2: incomplete, 3 updates so far" in capsys.readouterr().out
    assert next(row for row in table(runs) if row["name"] == "r3l")["seeds"] == "0 1"


def test_nothing_left_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err
    record(tmp_path / "run", [0.5, 0.5])
    assert main([str(tmp_path), "--quiet"]) == 2
    assert "only damaged runs" in capsys.readouterr().err


def test_greedy_results_stand_in_a_table_of_their_own(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "greedy", [1.0, 1.0, 1.0, 1.0], mode="greedy", config__seed=5)
    rows = table(runs, "--mode", "greedy")
    assert {(row["name"], row["seeds"]) for row in rows} == {
        ("grpo", "5"),
        ("warm start", "5"),
        ("oracle", "0"),
        ("random", "0"),
    }
    assert main([str(runs), "--mode", "greedy"]) == 0
    assert "runs/g0: not evaluated in mode greedy" in capsys.readouterr().out


def apart(page: str) -> list[str]:
    """The lines that say why groups are apart."""
    return [line for line in page.splitlines() if line.startswith("Not to be compared")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config__budget": {"updates": 5}}, "budget 5 updates {}, 4 updates {}"),
        ({"panels__test__hash": "ef" * 32}, "panel efefefefefef {}, abababababab {}"),
        ({"policy__digest": "ef" * 32}, "weights efefefefefef {}, cdcdcdcdcdcd {}"),
        ({"config__agent__format": "think"}, "agent chat with format=think {}, chat {}"),
        ({"config__evaluation__temperature": 0.5}, "temperature 0.5 {}, 1 {}"),
    ],
    ids=str,
)
def test_a_line_says_why_two_groups_are_apart(
    runs: Path, changes: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record(runs / "other", [1.0, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2, **changes)
    assert main([str(runs)]) == 0
    page = capsys.readouterr().out
    titles = [line[3:] for line in page.splitlines() if line.startswith("## ")]
    assert len(set(titles)) == 2
    first, second = apart(page)
    assert titles[0] in second and titles[1] in first
    assert sum(line.endswith(f": {reason.format('here', 'there')}.") for line in (first, second)) == 1


def test_groups_about_different_things_are_not_explained(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"config__budget": {"updates": 5}, "policy__digest": "ef" * 32, "panels__test__hash": "ef" * 32}
    record(runs / "other", [1.0, 1.0, 1.0, 1.0], **other)
    assert main([str(runs)]) == 0
    assert apart(capsys.readouterr().out) == []


def test_filters_show_less_and_change_no_number(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "ablated", [0.5, 0.0, 0.0, 0.0], config__method={**R3L, "pivotal_credit": False})
    record(runs / "d0", [0.5, 0.5, 0.0, 0.0], config__method={"name": "dapo"})
    record(runs / "long", [1.0, 1.0, 1.0, 1.0], config__budget={"updates": 30})
    record(runs / "small", [1.0, 1.0, 1.0, 1.0], config__policy={"name": "small"}, policy__name="small")
    every = {(row["policy"], row["budget"], row["kind"], row["name"]): row for row in table(runs)}
    shown = table(runs, "--methods", "r3l", "--envs", "Toy-v0", "--policies", "tiny")
    assert {row["name"] for row in shown} == {"r3l", "r3l w/o credit", "warm start", "oracle", "random"}
    assert shown == [every[row["policy"], row["budget"], row["kind"], row["name"]] for row in shown]
    assert {row["name"] for row in table(runs, "--methods", "r3l w/o credit", "dapo") if row["kind"] == "method"} == {
        "r3l w/o credit",
        "dapo",
    }
    assert {row["policy"] for row in table(runs, "--policies", "small", "--envs", "toy")} == {"small"}
    for flags, said in (
        (["--envs", "toi"], "unknown recorded environment 'toi': did you mean 'toy'"),
        (["--methods", "grop"], "unknown recorded method 'grop': did you mean 'grpo'"),
        (["--policies", "big"], "unknown recorded policy 'big'"),
    ):
        assert main([str(runs), *flags]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("name", ["grpo", "oracle", "r3l", "random", "warm start"]),
        # What has no cost comes last, by its kind.
        ("seconds", ["r3l", "grpo", "oracle", "random", "warm start"]),
        ("env_steps", ["grpo", "r3l", "oracle", "random", "warm start"]),
        ("success", ["oracle", "r3l", "grpo", "random", "warm start"]),
    ],
)
def test_rows_are_sorted_as_asked_for(runs: Path, by: str, names: list[str]) -> None:
    result = json.loads((runs / "r0" / "result.json").read_bytes())
    result["seconds"], result["cost"]["retry"]["env_steps"] = 1.0, 100
    (runs / "r0" / "result.json").write_text(json.dumps(result))
    assert [row["name"] for row in table(runs, "--sort", by)] == names


def verify(run: Path, verdict: str) -> None:
    """Lay the note beside a record that ``r3lbench verify`` would."""
    seal = sha256_of(run / "SHA256SUMS")
    note = {"format": "r3lbench-verification-1", "seal": seal, "verdict": verdict}
    (run / "verification.json").write_text(json.dumps(note))


def test_rows_say_whether_their_records_were_verified(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("g0", "g1", "r0", "oracle"):
        verify(runs / name, "verified")
    verify(runs / "random", "failed")
    rows = {row["name"]: row["record"] for row in table(runs)}
    assert rows == {
        "grpo": "verified",
        "r3l": "not verified",
        "warm start": "not verified",
        "oracle": "verified",
        "random": "failed",
    }
    assert main([str(runs), "--verified-only", "--csv", "out.csv"]) == 0
    page = capsys.readouterr().out
    assert "- runs/r1: not verified" in page and "- runs/random: failed" in page
    with Path("out.csv").open(newline="") as file:
        kept = {row["name"]: row for row in csv.DictReader(file)}
    assert set(kept) == {"grpo", "r3l", "warm start", "oracle"} and kept["r3l"]["seeds"] == "0"
    # Whoever changes a record after it was verified breaks its seal.
    RunFolder(runs / "g0").append("metrics.jsonl", {"update": 9})
    assert next(row for row in table(runs) if row["name"] == "grpo")["record"] == "failed"


def measured(folder: Path, heights: list[float], **changes: Any) -> None:
    """Write a run of 1000 tokens that was evaluated at so many even points of its budget."""
    budget = {"config__budget": {"generated_tokens": 1000}}
    run = record(folder, [heights[-1]] * 4, [heights[0]] * 4, complete=False, **budget, **changes)
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        (run.path / name).unlink()
    last = len(heights) - 1
    for update, height in enumerate(heights):
        for task in range(4):
            at = {"update": update, "mode": "sampled", "task": f"test/{task}"}
            run.append("evaluation.jsonl", {**at, "score": height, "success": height == 1})
        if update:
            spent = {"attempt": {"generated_tokens": 1200 * update // last}, "evaluate": {"generated_tokens": 99}}
            run.append("metrics.jsonl", {"update": update, "cost": spent})
    means = {
        when: {"sampled": {"score": height, "success": float(height == 1)}}
        for when, height in (("before", heights[0]), ("after", heights[-1]))
    }
    cost = {"attempt": {"generated_tokens": 1200}}
    run.write_result({"updates": last, "seconds": 1.0, "cost": cost, "evaluation": means})


def test_areas_are_of_learning_curves_over_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        measured(tmp_path / "runs" / f"early{seed}", [0.0, 1.0, 1.0, 1.0], config__seed=seed)
        measured(tmp_path / "runs" / f"late{seed}", [0.0, 0.0, 0.5, 1.0], config__seed=seed, config__method=R3L)
        measured(tmp_path / "runs" / f"ends{seed}", [0.0, 1.0], config__seed=seed, config__method={"name": "dapo"})
    rows = {row["name"]: row for row in table("runs")}
    # 400, 800 and 1200 tokens, of which 1000 count: a fifth of the budget for the last update.
    assert float(rows["grpo"]["score_area"]) == pytest.approx(0.4 / 2 + 0.4 + 0.2)
    assert float(rows["r3l"]["score_area"]) == pytest.approx(0.4 * 0.25 + 0.2 * 0.75)
    assert rows["dapo"]["score_area"] == rows["warm start"]["score_area"] == ""
    assert main(["runs"]) == 0
    page = capsys.readouterr().out
    assert "score, area" in page and "and 0 to 2 times in between; the last policy counts, not the best." in page
    assert [row["name"] for row in table("runs", "--sort", "area")][:2] == ["grpo", "r3l"]
