"""A report says what the leaderboard says: its words and its tables are made of the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r3lbench.formats import cell
from r3lbench.grids import across, costs, happenings, outcomes
from r3lbench.recording import SEAL
from r3lbench.report.overall import overalls
from r3lbench.report.strips import colours, overall_strips, strips
from r3lbench.report.words import count, overall_words, verdict, words
from r3lbench.results import read_below
from r3lbench.standings import compare
from r3lbench.stats import Estimate
from r3lbench.webpage import sort_key
from tests.recorded import record, record_agent
from tests.reported import GRPO_SETTINGS, R3L_SETTINGS, WITHOUT_CREDIT, reported, shown_of


def test_tables_are_the_leaderboards(runs: Path) -> None:
    (group,), _ = compare(read_below([str(runs)]).records)
    read = reported(runs)
    grids = [grid for grid in (outcomes(group, "score"), costs(group), happenings(group)) if grid is not None]
    told = [[[cell.replace("], ", "] ") for cell in row] for row in (grid.columns, *grid.rows)] for grid in grids]
    assert read.tables["toy-v0-1"] == told and len(told) == 3


def test_the_headline_answers_who_won_by_how_much_at_what_cost_and_whether_it_can_be_told_apart(runs: Path) -> None:
    (section,) = shown_of(runs)
    said = words(section)
    # R3L came to 3.5 of 4 with either seed, GRPO to 2, the ablation to 3; seeds do not differ at all.
    assert said is not None and said.best == "r3l"
    row = next(row for row in section.group.rows if row.name == "r3l")
    assert section.headline is not None and section.headline.best.row is row
    assert list(section.headline.rivals) == ["grpo"], "an ablation is no rival"
    rival = section.headline.rivals["grpo"]
    assert row.against is not None and rival is not None
    assert rival["score"].value == -row.against["score"].value == -0.375
    separable = rival["score"].separable
    assert said.verdict.startswith("won: it is told apart from grpo." if separable else "ends highest, but")
    gained = said.facts["By how much"]
    assert gained.startswith("+0.375 [") and " against grpo" in gained
    assert gained.endswith("not separable") == (not row.against["score"].separable)
    spent = said.facts["Cost of a run (× that of grpo)"]
    assert spent.startswith("120 env steps (×1.00), 1,700 generated tokens (×1.00), ")
    assert said.facts["Grey ticks"] == "warm start 0.000, random (floor) 0.125, oracle (ceiling) 1.000"
    assert said.facts["Measured with"] == "2 seeds, 4 tasks" and "Mind that" not in said.facts
    text = " ".join(reported(runs).text.split())
    assert f"r3l {said.verdict}" in text and all(fact in text for fact in said.facts.values())


def test_environments_are_averaged_first(runs: Path) -> None:
    other: dict[str, Any] = {"env": "Other-v0", "panels__test__hash": "ef" * 32}
    for seed in (0, 1):
        own = {**other, "config__seed": seed}
        record(runs / f"other-grpo-{seed}", [0.5, 0.5, 0.5, 0.5], config__method=GRPO_SETTINGS, **own)
        record(runs / f"other-r3l-{seed}", [0.0, 0.5, 0.5, 0.5], config__method=R3L_SETTINGS, **own)
        record(runs / f"other-part-{seed}", [0.5, 0.5, 0.5, 1.0], config__method=WITHOUT_CREDIT, **own)
    record_agent(runs / "other-random", "random", "admissible", [0.0] * 4, **other)
    record_agent(runs / "other-oracle", "oracle", "expert", [1.0] * 4, **other)
    groups, _ = compare(read_below([str(runs)]).records)
    (of,) = overalls(groups, "score")
    # On Toy-v0 0 is 1/8: R3L's (7/8 - 1/8) / (7/8) = 6/7 and 3/8, GRPO's 3/7 and 1/2; the ablation is no rival.
    assert [one.name for one in of.methods] == ["r3l", "grpo"]
    assert of.methods[0].value.value == pytest.approx((6 / 7 + 3 / 8) / 2)
    rival = of.rivals["grpo"]
    assert rival is not None and rival.value == pytest.approx((3 / 7 + 1 / 2) / 2 - (6 / 7 + 3 / 8) / 2)
    said = overall_words(of)
    assert said.best == "r3l" and said.facts["On each"] == "Other-v0 0.375, Toy-v0 0.857"
    assert said.facts["By how much"].startswith(f"{-rival.value:+.3f} [")
    read = reported(runs)
    table = [[cell.replace("], ", "] ") for cell in row] for row in (across(of.suite).columns, *across(of.suite).rows)]
    assert read.tables["together-1"] == [table]
    assert [(line.name, line.middle) for line in overall_strips(of, {"grpo": -1, "r3l": 0})] == [
        ("r3l", round(100 * of.methods[0].value.value, 2)),
        ("grpo", round(100 * of.methods[1].value.value, 2)),
    ]


@pytest.mark.parametrize(
    ("rivals", "said"),
    [
        ({}, "has nothing to be compared with."),
        ({"a": True}, "won: it is told apart from a."),
        ({"a": True, "b": True}, "won: it is told apart from a and b."),
        (dict.fromkeys("abcde", True), "won: it is told apart from 5 others."),
        (
            {"a": False, "b": False, "c": False},
            "ends highest, but is not separable from a, b and c: there is no winner.",
        ),
        ({"a": False, "b": True}, "ends highest: it is told apart from b, but not separable from a."),
    ],
)
def test_verdicts_name_what_is_separable(rivals: dict[str, bool], said: str) -> None:
    def behind(separable: bool) -> Estimate:
        return Estimate(-0.2, -0.3, -0.1 if separable else 0.1, seeds=3, tasks=9, p=0.01)

    assert verdict({name: behind(separable) for name, separable in rivals.items()}) == said


def test_a_reference_that_is_ahead_is_held_against_the_next_method(runs: Path) -> None:
    (section,) = shown_of(runs, reference="r3l")
    said = words(section)
    assert said is not None and said.best == "r3l" and said.facts["By how much"].startswith("+0.375 [")
    assert " against grpo, the next" in said.facts["By how much"]
    assert said.facts["Cost of a run"].startswith("120 env steps, "), "its costs are held against nothing"


def test_an_ablation_that_ends_higher_is_mentioned_and_does_not_win(runs: Path) -> None:
    better = {**R3L_SETTINGS, "positive_amplification": None}
    for seed in (0, 1):
        record(runs / f"more-{seed}", [1.0] * 4, config__method=better, config__seed=seed)
    (section,) = shown_of(runs)
    said = words(section)
    assert section.contenders[0].short == "r3l w/o positive"
    assert said is not None and said.best == "r3l"
    assert said.facts["Mind that"] == "r3l w/o positive, an ablation, ends higher still."


def test_records_that_failed_verification_are_said_to(runs: Path) -> None:
    (runs / "r3l-s1" / SEAL).write_text(f"{'0' * 64}  metrics.jsonl\n")
    (section,) = shown_of(runs)
    said = words(section)
    assert said is not None and said.facts["Mind that"] == "Its records failed verification."


def test_what_cannot_be_told_apart_is_named(tmp_path: Path) -> None:
    for seed, (grpo, r3l, erl) in enumerate(
        (([0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]), ([0, 0, 0, 1], [0, 1, 1, 0], [0] * 4))
    ):
        for name, scores in (("grpo", grpo), ("r3l", r3l), ("erl", erl)):
            settings = {"name": name, "group_size": 8}
            record(
                tmp_path / f"{name}{seed}",
                [float(score) for score in scores],
                config__method=settings,
                config__seed=seed,
            )
    (section,) = shown_of(tmp_path)
    said = words(section)
    assert said is not None and said.best == "r3l"
    assert said.verdict == "ends highest, but is not separable from grpo and erl: there is no winner."
    lines = strips(section, colours([section], "grpo"))
    assert [(line.name, line.standing, line.colour) for line in lines] == [
        ("r3l", "highest", 1),
        ("grpo", "not separable", -1),
        ("erl", "not separable", 0),
    ]


def test_one_seed_tells_nothing_apart(tmp_path: Path) -> None:
    record(tmp_path / "a", [1.0, 1.0, 1.0, 1.0])
    record(tmp_path / "b", [0.0, 0.0, 0.0, 0.0], config__method={"name": "r3l", "group_size": 8})
    said = words(shown_of(tmp_path)[0])
    assert said is not None and "with a single seed nothing can be told apart" in said.verdict
    assert "choice of tasks only" in said.facts["Mind that"]


def test_the_best_of_several_settings_of_one_method_is_held_against_other_methods(tmp_path: Path) -> None:
    for rate, scores in ((0.001, [1.0, 1.0, 1.0, 0.0]), (0.01, [1.0, 1.0, 1.0, 1.0])):
        record(tmp_path / f"grpo-{rate}", scores, config__optimiser__lr=rate)
    record(tmp_path / "r3l", [0.0, 0.0, 0.0, 0.0], config__method={"name": "r3l", "group_size": 8})
    (section,) = shown_of(tmp_path)
    headline = section.headline
    assert headline is not None and headline.best.short == "grpo (optimiser.lr=0.01)"
    rivals = {name: None if of is None else of["score"].value for name, of in headline.rivals.items()}
    assert rivals == {"grpo (optimiser.lr=0.001)": None, "r3l": -1.0}


def test_strips_lie_where_their_numbers_are(runs: Path) -> None:
    (section,) = shown_of(runs)
    lines = strips(section, colours([section], "grpo"))
    assert [line.name for line in lines] == ["r3l", "grpo"], "ablations have a figure of their own"
    of = section.contenders[0].row.values["score"]
    assert (lines[0].middle, lines[0].low) == (87.5, round(100 * of.low, 2))
    assert lines[0].low + lines[0].width == pytest.approx(100 * of.high, abs=0.01)
    assert lines[0].value.startswith("0.875 [")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0.875 [0.500, 1.000]", ("0.875", "[0.500, 1.000]", "", "0.875", "")),
        ("+0.375 [+0.1, +0.5]", ("+0.375", "[+0.1, +0.5]", "", "0.375", "up")),
        ("-0.375 [-0.5, -0.1] (1 of 2 seeds)", ("-0.375", "[-0.5, -0.1]", " (1 of 2 seeds)", "-0.375", "down")),
        ("+0.1 [-0.1, +0.3], not separable", ("+0.1", "[-0.1, +0.3]", "not separable", "0.1", "open")),
        ("13.4 k", ("13.4 k", "", "", "13400.0", "")),
        ("1,700", ("1,700", "", "", "1700.0", "")),
        ("2.02 M", ("2.02 M", "", "", "2020000.0", "")),
        ("19 %", ("19 %", "", "", "19.0", "")),
        ("r3l w/o credit (optimiser.lr=0.1)", ("r3l w/o credit", "", " (optimiser.lr=0.1)", "r3l w/o credit", "")),
        ("", ("", "", "", "", "")),
    ],
)
def test_cells_are_taken_apart_and_sorted_by_their_number(text: str, parts: tuple[str, ...]) -> None:
    of = cell(text)
    assert (of.value, of.interval, of.rest.removeprefix(", "), sort_key(of.value), of.tone) == parts


def test_counts_have_three_digits() -> None:
    assert [count(value) for value in (0, 12.5, 9_999, 13_449, 2_015_000, 3e9)] == [
        "0",
        "12",
        "9,999",
        "13.4 k",
        "2.02 M",
        "3 G",
    ]
