from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.leaderboard import main
from r3lbench.recording import RunFolder
from r3lbench.results import absolute_paths, read_below
from r3lbench.standings import compare
from tests.recorded import record, record_agent

ROOT = Path(__file__).parent.parent
R3L = {"name": "r3l", "group_size": 8}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GRPO and R3L with two seeds each, floor and ceiling, in ``runs`` below the current folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("runs")
    record(path / "g0", [0.0, 0.5, 0.5, 1.0])
    record(path / "g1", [0.0, 0.5, 0.0, 1.0], config__seed=1)
    sees = {"agent": ["admissible"], "reflector report": ["reward"]}
    record(path / "r0", [0.5, 1.0, 1.0, 1.0], config__method=R3L, sees=sees)
    record(path / "r1", [0.5, 1.0, 0.5, 1.0], config__method=R3L, sees=sees, config__seed=1)
    record_agent(path / "random", "random", "admissible", [0.0, 0.0, 0.5, 0.0])
    record_agent(path / "oracle", "oracle", "expert", [1.0, 1.0, 1.0, 1.0])
    return path


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


def test_differences_say_on_how_many_seeds_they_stand(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "r2", [0.5, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2)
    assert main([str(runs)]) == 0
    assert "(2 of 3 seeds)" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| r3l "))


def test_incomplete_runs_are_listed_as_such(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "r2", [1.0, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2, complete=False)
    assert main([str(runs)]) == 0
    assert "- runs/r2: incomplete, 3 updates so far" in capsys.readouterr().out
    assert next(row for row in table(runs) if row["name"] == "r3l")["seeds"] == "0 1"


def test_a_line_that_a_kill_cut_off_is_no_damage(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "r2", [1.0, 1.0, 1.0, 1.0], config__method=R3L, config__seed=2, complete=False)
    with (runs / "r2" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"update": 4, "tas')
    assert main([str(runs)]) == 0
    assert "- runs/r2: incomplete, 3 updates so far" in capsys.readouterr().out


def damage(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("manifest.json", "{", "", "manifest.json is damaged"),
        ("manifest.json", '"format": 1', '"format": 99', "is not a manifest of a run"),
        ("manifest.json", '"env": "Toy-v0"', '"environment": "Toy-v0"', "env: Field required"),
        ("manifest.json", '"seed": 0', '"sead": 0', "config.seed is missing"),
        ("result.json", '"updates": 4', '"updates": 3', "tasks are missing"),
        ("result.json", '"updates": 4', '"updates": "x"', "updates: Input should be a valid integer"),
        ("result.json", '"score": 0.5', '"score": 0.6', "score after (sampled) in result.json is not the mean"),
        ("evaluation.jsonl", '"score": 0.5', '"score": 0.7', "is not the mean"),
        ("evaluation.jsonl", '"score": 0.5', '"score": 1.5', "less than or equal to 1"),
        ("evaluation.jsonl", '"score": 0.5', '"score": NaN', "finite"),
        ("evaluation.jsonl", '"task": "test/1"', '"task": "test/5"', "tasks are missing"),
        ("evaluation.jsonl", '"task": "test/1"', '"task": "test"', "not a task id"),
        ("evaluation.jsonl", '"task": "test/1"', '"task": "test/0"', "tasks are missing"),
        ("evaluation.jsonl", "{", "", "damaged in line 1"),
    ],
)
def test_damaged_records_are_named_and_left_out(
    name: str, old: str, new: str, said: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(runs / "g0", name, old, new)
    assert main([str(runs)]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and said in captured.err and "g0" in captured.err
    assert "- runs/g0: damaged" in captured.out
    assert next(row for row in table(runs) if row["name"] == "grpo")["seeds"] == "1"


def test_a_task_that_was_tried_more_often_than_others_is_damage(tmp_path: Path) -> None:
    run = record(tmp_path / "run", [0.5, 0.5, 0.5, 0.5])
    run.append("evaluation.jsonl", {"update": 4, "mode": "sampled", "task": "test/0", "score": 0.5, "success": False})
    assert "more often" in read_below([str(tmp_path)]).damaged[0][1]


def test_a_panel_that_was_not_finished_is_damage(tmp_path: Path) -> None:
    record(tmp_path / "run", [0.5, 0.5], [0.0, 0.0])
    assert "2 of 4 tasks evaluated" in read_below([str(tmp_path)]).damaged[0][1]


def test_episodes_are_averaged_by_task(tmp_path: Path) -> None:
    record(tmp_path / "run", [0.5, 0.5, 1.0, 0.0], episodes=3)
    (found,) = read_below([str(tmp_path)]).records
    assert found.panels["after", "sampled"]["score"] == [0.5, 0.5, 1.0, 0.0]


def test_nothing_left_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "missing")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err
    record(tmp_path / "run", [0.5, 0.5])
    assert main([str(tmp_path), "--quiet"]) == 2
    assert "only damaged runs" in capsys.readouterr().err


def test_the_same_records_give_the_same_bytes_in_any_order(runs: Path) -> None:
    assert main([str(runs), "--markdown", "a.md", "--csv", "a.csv", "--quiet"]) == 0
    paths = sorted((str(path) for path in runs.iterdir()), reverse=True)
    assert main(["--quiet", *paths, str(runs), "--markdown", "b.md", "--csv", "b.csv"]) == 0
    for name in ("md", "csv"):
        assert Path(f"a.{name}").read_bytes() == Path(f"b.{name}").read_bytes()


def test_only_its_own_files_are_overwritten(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.md").write_text("mine\n")
    for flag in ("--markdown", "--csv"):
        assert main([str(runs), flag, "notes.md", "--quiet"]) == 2
        assert "nothing was overwritten" in capsys.readouterr().err
    assert Path("notes.md").read_text() == "mine\n"
    for _ in range(2):
        assert main([str(runs), "--markdown", "new/board.md", "--quiet"]) == 0
    assert Path("new/board.md").read_text().startswith("# Leaderboard\n")


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


def test_paths_of_one_machine_are_pointed_out(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "mine", [1.0, 1.0, 1.0, 1.0], config__seed=7, config__policy={"name": "/data/models/tiny"})
    assert main([str(runs), "--quiet"]) == 0
    assert "runs/mine names a file of one machine: /data/models/tiny" in capsys.readouterr().err


def test_absolute_paths_are_told_from_other_texts() -> None:
    found = absolute_paths({"a": ["/home/x/y", "org/name", "~/x", "C:\\x"], "b": {"c": "/", "d": "a /b/c", "e": 3}})
    assert list(found) == ["/home/x/y", "~/x", "C:\\x"]


def test_markdown_cells_hold_their_bars(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "bar", [1.0, 0.0, 0.0, 0.0], config__method={"name": "a|b"})
    assert main([str(runs)]) == 0
    tables = [part.splitlines() for part in capsys.readouterr().out.split("\n\n") if part.startswith("|")]
    assert all("a\\|b" in "".join(rows) for rows in tables)
    assert [{row.replace("\\|", "").count("|") for row in rows} for rows in tables] == [{8}, {7}]


@pytest.mark.skipif(not (ROOT / "results" / "leaderboard.md").is_file(), reason="no results are recorded yet")
def test_the_recorded_leaderboard_is_what_its_records_make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    findings = read_below(["results"])
    assert not findings.damaged and not findings.incomplete
    for found in findings.records:
        manifest = json.loads((Path(found.path) / "manifest.json").read_bytes())
        assert list(absolute_paths(manifest)) == []
    page = tmp_path / "leaderboard.md"
    assert main(["results", "--markdown", str(page), "--quiet"]) == 0
    assert page.read_bytes() == Path("results/leaderboard.md").read_bytes()
