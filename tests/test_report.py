"""A report says what the leaderboard says, shows what was recorded, and lets nothing that was recorded run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import r3lbench.report
import tests.toy  # noqa: F401 - registers the environment
from r3lbench.grids import costs, happenings, outcomes
from r3lbench.recording import RunFolder
from r3lbench.report import main
from r3lbench.report.branches import Choice, collect, encode, read_group
from r3lbench.report.curves import curve, history, read_past
from r3lbench.report.members import members, of_group, of_row
from r3lbench.report.page import cell_of
from r3lbench.report.sections import Section, sections
from r3lbench.report.speech import Speech, speech_of
from r3lbench.report.strips import colours, strips
from r3lbench.report.words import count, verdict, words
from r3lbench.results import read_below
from r3lbench.standings import Kind, compare
from r3lbench.stats import Estimate
from tests.recorded import record, record_agent
from tests.reported import R3L_SETTINGS, ReadBack, by_grpo, by_r3l, comparison, lines_of, plant, retell, spent
from tests.stage import TOKENIZER

ROOT = Path(__file__).parent.parent
NASTY = "</script><script>alert(1)</script> <!-- & \"quoted\" 'so' <b>bold</b> ]]> \u2028 \ud800 \u202e end"
"""What an environment might echo: tags, half a character, and a mark that turns text around."""
SHOWN = NASTY.replace("\ud800", "?")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A comparison in ``runs`` below the current folder, and no plotting library to carry around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(r3lbench.report, "plotting_library", lambda: "window.Plotly = null;")
    return comparison(Path("runs"))


def reported(*arguments: object) -> ReadBack:
    """The report that the command makes of its arguments."""
    assert main([*map(str, arguments), "--out", "report.html", "--quiet"]) == 0
    return ReadBack(Path("report.html"))


def shown_of(path: Path, **settings: Any) -> list[Section]:
    """The sections of the records below a folder."""
    records = read_below([str(path)]).records
    pasts = {record.path: read_past(record, "sampled") for record in records if record.method is not None}
    groups, _ = compare(records, **settings)
    return sections(groups, records, pasts, measure="score")


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*map(str, arguments)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors


# Words and tables


def test_tables_are_the_leaderboards(runs: Path) -> None:
    (group,), _ = compare(read_below([str(runs)]).records)
    read = reported(runs)
    grids = [grid for grid in (outcomes(group, "score"), costs(group), happenings(group)) if grid is not None]
    told = [[[cell.replace("], ", "] ") for cell in row] for row in (grid.columns, *grid.rows)] for grid in grids]
    assert read.tables["toy-v0-1"] == told and len(told) == 3


def test_the_headline_answers_who_won_by_how_much_at_what_cost_and_whether_it_can_be_told_apart(runs: Path) -> None:
    (section,) = shown_of(runs)
    said = words(section)
    assert said is not None
    # R3L came to 3.5 of 4 with either seed, GRPO to 2, the ablation to 3; seeds do not differ at all.
    assert (said.best, said.value.split()[0]) == ("r3l", "0.875")
    row = next(row for row in section.group.rows if row.name == "r3l")
    assert section.headline is not None and section.headline.best.row is row
    assert list(section.headline.rivals) == ["grpo"], "an ablation is no rival"
    rival = section.headline.rivals["grpo"]
    assert row.against is not None and rival is not None
    assert rival["score"].value == -row.against["score"].value == -0.375
    separable = rival["score"].separable
    assert said.verdict.startswith("won: it is told apart from grpo." if separable else "ends highest, but")
    assert said.gain.startswith("+0.375 [") and " against grpo" in said.gain
    assert said.gain.endswith("not separable") == (not row.against["score"].separable)
    assert said.costs[:2] == ["120 env steps (×1.00)", "1,700 generated tokens (×1.00)"]
    assert said.beside == "grpo"
    assert said.scale == "warm start 0.000, random (floor) 0.125, oracle (ceiling) 1.000"
    assert said.setting == "2 seeds, 4 tasks" and said.caution == ""
    text = " ".join(reported(runs).text.split())
    assert f"r3l {said.verdict}" in text and said.gain in text and ", ".join(said.costs) in text


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
    assert said is not None and said.best == "r3l" and said.gain.startswith("+0.375 [")
    assert " against grpo, the next" in said.gain
    assert (said.costs[0], said.beside) == ("120 env steps", ""), "the reference's costs are held against nothing"


def test_an_ablation_that_ends_higher_is_mentioned_and_does_not_win(runs: Path) -> None:
    for seed in (0, 1):
        record(
            runs / f"more-{seed}",
            [1.0] * 4,
            config__method={**R3L_SETTINGS, "positive_amplification": None},
            config__seed=seed,
        )
    (section,) = shown_of(runs)
    said = words(section)
    assert section.contenders[0].short == "r3l w/o positive"
    assert said is not None and said.best == "r3l"
    assert said.caution == "r3l w/o positive, an ablation, ends higher still."


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
    assert "choice of tasks only" in said.caution


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
    cell = cell_of(text)
    assert (cell.value, cell.interval, cell.rest, cell.key, cell.tone) == parts


def test_counts_have_three_digits() -> None:
    assert [count(value) for value in (0, 12.5, 9_999, 13_449, 2_015_000, 3e9)] == [
        "0",
        "12",
        "9,999",
        "13.4 k",
        "2.02 M",
        "3 G",
    ]


# Figures


def test_every_row_is_made_of_its_runs(runs: Path) -> None:
    record(runs / "fast", [1.0, 0.0, 0.0, 0.0], config__optimiser__lr=0.01)
    record(runs / "newer", [1.0, 1.0, 0.0, 0.0], config__optimiser__lr=0.01, created="2026-01-02T00:00:00+00:00")
    record(runs / "elsewhere", [1.0, 1.0, 0.0, 0.0], config__budget={"updates": 5})
    for path in (runs, ROOT / "results"):
        records = read_below([str(path)]).records
        for group in compare(records)[0]:
            known = of_group(group, members(records))
            trained = [row for row in group.rows if row.kind is Kind.METHOD]
            assert trained
            for row in trained:
                of = of_row(row, known)
                assert tuple(run.seed for run in of) == row.seeds
                panels = [run.panels["after", group.mode]["score"] for run in of]
                mean = sum(sum(panel) / len(panel) for panel in panels) / len(panels)
                assert mean == pytest.approx(row.values["score"].value)


def test_curves_put_seeds_side_by_side_and_end_where_the_table_does(runs: Path) -> None:
    between = {0: (2, [0.0, 0.5, 0.5, 0.5]), 1: (3, [0.5, 0.5, 0.5, 0.5])}
    for seed, (update, scores) in between.items():
        for index, score in enumerate(scores):
            line = {"update": update, "mode": "sampled", "task": f"test/{index}", "score": score, "success": False}
            RunFolder(runs / f"r3l-s{seed}").append("evaluation.jsonl", line)
    (section,) = shown_of(runs)
    of = next(of for of in section.contenders if of.short == "r3l")
    assert of.curve is not None
    assert of.curve.at["updates"] == [0, 2.5, 4]
    # 200 tokens after two updates of seed 0, 320 after three of seed 1; evaluation is not counted.
    assert of.curve.at["generated_tokens"] == [0, (200 + 320) / 2, (400 + 420) / 2]
    assert of.curve.at["trained_tokens"] == [0, 520, 820]
    assert of.curve.at["env_steps"] == [0, (14 + 21) / 2, 28] and of.curve.at["seconds"] == [0, 7.5, 12]
    assert [found.value for found in of.curve.values["score"]] == [0, (1.5 + 2) / 8, 0.875]
    assert of.curve.values["score"][-1] == of.row.values["score"]
    grpo = next(of for of in section.contenders if of.short == "grpo")
    assert grpo.curve is not None and set(grpo.curve.at) == {"updates"}, "what was not recorded is not made up"


def test_seeds_with_fewer_evaluations_decide_where(runs: Path) -> None:
    for update in (1, 2, 3):
        for index in range(4):
            line = {"update": update, "mode": "sampled", "task": f"test/{index}", "score": update / 4, "success": False}
            RunFolder(runs / "r3l-s0").append("evaluation.jsonl", line)
            if update == 3:
                RunFolder(runs / "r3l-s1").append("evaluation.jsonl", {**line, "score": 0.25})
    found = curve(
        [read_past(record, "sampled") for record in read_below([str(runs)]).records if "/r3l-s" in record.path]
    )
    assert found is not None
    assert [of.value for of in found.values["score"]] == [0, (0.75 + 0.25) / 2, 0.875]


def test_an_evaluation_that_lacks_tasks_is_no_point(runs: Path) -> None:
    (record,) = read_below([str(runs / "r3l-s0")]).records
    line = {"update": 2, "mode": "sampled", "task": "test/0", "score": 1.0, "success": True}
    RunFolder(runs / "r3l-s0").append("evaluation.jsonl", line)
    assert [point.update for point in read_past(record, "sampled").points] == [0, 4]


def test_rates_are_pooled_over_what_was_counted(runs: Path) -> None:
    pasts = [read_past(record, "sampled") for record in read_below([str(runs)]).records if "/r3l-s" in record.path]
    found = history(pasts)
    assert found.updates == [1, 2, 3, 4]
    # Two retries of seed 0 and three of seed 1 at four attempts each; every update alike.
    assert found.rates["retry_rate"] == pytest.approx([(0.5 + 0.75) / 2] * 4)
    assert found.rates["retry_improved"] == [0.5] * 4 and found.rates["no_signal"] == [0.5] * 4
    assert found.pivots == [8, 0, 4 * 1 + 4 * 2]
    assert history([]).updates == [] and history([]).pivots == []


def test_long_histories_are_told_in_few_stretches(tmp_path: Path) -> None:
    run = record(tmp_path / "run", [1.0, 1.0, 1.0, 1.0])
    retell(run, [spent(update, update, retries=4 if update <= 12 else 0) for update in range(1, 96)])
    (found,) = read_below([str(tmp_path)]).records
    told = history([read_past(found, "sampled")])
    assert told.updates == [9, 19, 28, 38, 47, 57, 66, 76, 85, 95]
    assert told.rates["retry_rate"][:3] == [1.0, 0.3, 0.0]
    assert told.rates["retry_improved"][:3] == [0.5, 0.5, None]


def test_figures_read_the_same_numbers(runs: Path) -> None:
    (section,) = shown_of(runs)
    data = reported(runs).data
    figure = data["sections"][section.anchor]
    assert [row["name"] for row in figure["rows"]] == ["r3l", "r3l w/o credit", "grpo"]
    assert [row["plain"] for row in figure["rows"]] == [True, False, True]
    for row, of in zip(figure["rows"], section.contenders, strict=True):
        estimate = of.row.values["score"]
        assert row["values"]["score"] == pytest.approx([estimate.value, estimate.low, estimate.high], abs=1e-4)
    assert [(bound["name"], bound["kind"]) for bound in figure["bounds"]] == [
        ("oracle", "ceiling"),
        ("random", "floor"),
    ]
    # The floor does not count; of the four tasks the first is hardest: 0, .5 and .5 with each seed.
    assert figure["tasks"] == ["test/0", "test/1", "test/2", "test/3"]
    panels = {panel["name"]: panel["values"]["score"] for panel in figure["panels"]}
    assert panels == {
        "r3l": [0.5, 1, 1, 1],
        "r3l w/o credit": [0.5, 0.5, 1, 1],
        "grpo": [0, 0.5, 0.5, 1],
        "warm start": [0] * 4,
    }
    (ablation,) = figure["ablations"]
    assert ablation["of"] == "r3l" and [bar["name"] for bar in ablation["bars"]] == ["r3l w/o credit"]
    assert ablation["bars"][0]["values"]["score"][0] == -0.125
    assert data["colours"] == {"grpo": -1, "r3l": 0}
    assert figure["cost"] in ("env_steps", "generated_tokens", "seconds") and figure["axis"] == "updates"


def test_what_is_not_there_is_said_in_words(tmp_path: Path, runs: Path) -> None:
    bare = tmp_path / "bare"
    record(bare / "grpo", [1.0, 0.0, 0.0, 0.0], None, config__method={"name": "grpo", "group_size": 8})
    text = reported(bare).text
    assert "evaluated after training only, so there are no curves" in text
    assert "No ablation was run" in text and "recorded nothing of their exploration" in text
    assert "Nothing was retried" in text and "the records of these runs hold no trees" in text
    agents = tmp_path / "agents"
    record_agent(agents / "oracle", "oracle", "expert", [1.0, 1.0, 1.0, 1.0])
    text = reported(agents).text
    assert "No policy was trained" in text and "Nothing was trained here" in text
    assert main(["bare", "--mode", "greedy", "--out", "report.html", "--quiet"]) == 0


# Branches


def test_every_step_has_its_words_and_its_weight() -> None:
    group, terms = by_r3l()
    found = encode(
        read_group(json.dumps(lines_of((group, terms))[0]).encode(), "here"), Speech(TOKENIZER.backend_tokenizer)
    )
    attempts = {attempt["name"]: attempt for attempt in found["attempts"]}
    assert list(attempts) == ["a0", "a1", "a0.r0"] and attempts["a0.r0"]["base"] == 0
    assert (attempts["a0"]["return"], attempts["a0.r0"]["return"], attempts["a0.r0"]["pivot"]) == (0.5, 1.0, 1)

    def weight(name: str, step: int) -> float | None:
        terms = found["terms"].get(str(attempts[name]["turns"][step]))
        return None if terms is None else sum(term[2] for term in terms)

    # The failed attempt gets -1/3 behind the mask, the solved one 3, and the retry 3 as distilled and 1 as imitated.
    assert weight("a0", 0) is None and weight("a0.r0", 0) is None
    assert [weight("a0", step) for step in range(1, 6)] == pytest.approx([-1 / 3] * 5)
    assert [weight("a1", step) for step in range(4)] == [3.0] * 4
    assert [weight("a0.r0", step) for step in range(1, 6)] == [4.0] * 5
    guided = found["terms"][str(attempts["a0.r0"]["turns"][1])]
    assert sorted((label, elsewhere) for label, _, _, elsewhere in guided) == [("distilled", True), ("guided", False)]
    said = found["tokens"][str(attempts["a0"]["turns"][0])]
    assert "".join(said).startswith("go east") and len(said) > 1
    state = found["states"][1]
    assert state[:2] == [0, "go east"] and state[2].startswith("Room") and state[3:] == [0.0, True]
    leaf = found["leaves"][str(attempts["a1"]["leaf"])]
    assert leaf["rubrics"] == (("hold the key", True, 1.0), ("open the door", True, 1.0))
    look = found["reflections"][0]
    assert (look["of"], look["pivot"], look["outcome"], look["valid"]) == (0, 1, "failure", True)
    assert "CAUSE" in look["text"] and "".join(found["tokens"][str(look["turns"][0])]).startswith(look["text"])


def test_tokens_are_the_text_cut_into_pieces(tmp_path: Path) -> None:
    speech = Speech(TOKENIZER.backend_tokenizer)
    for text in ("go east", "  go\n\n east.", "naïve 🗝 über", ""):
        ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        pieces = speech.pieces(ids)
        assert pieces is not None and "".join(pieces) == text and len(pieces) == len(ids)
    assert speech.pieces([10**6]) is None, "a token of another tokenizer"
    run = record(tmp_path / "run", [1.0, 1.0, 1.0, 1.0])
    assert "ships no tiny policy" in speech_of(run).missing and speech_of(run).pieces([1]) is None
    plant(run.path, 1, [])
    assert speech_of(run).pieces(TOKENIZER("go east")["input_ids"]) is not None
    (run.path / "policy" / "tokenizer.json").write_text("{}")
    assert "cannot be read" in speech_of(run).missing


def test_groups_with_something_to_see_are_shown_first_and_no_more_than_there_is_room_for(runs: Path) -> None:
    plain, retried, vain = lines_of(by_grpo(), by_r3l(), by_r3l())
    vain["attempts"][2]["return"] = vain["attempts"][0]["return"]
    for seed in (0, 1):
        for update in (1, 2, 3, 4, 5):
            plant(runs / f"r3l-s{seed}", update, [plain, vain, retried])
    sections_of = shown_of(runs)
    shown = collect(sections_of, Choice(None, 1, 10_000))
    assert [(one.about["seed"], one.about["update"]) for one in shown.groups] == [
        (0, 1),
        (0, 3),
        (0, 5),
        (1, 1),
        (1, 3),
        (1, 5),
    ]
    assert {(one.about["retries"], one.about["mended"]) for one in shown.groups} == {(1, 1)}
    assert shown.notes == ["4 runs recorded, or published, without trees"]
    every = collect(sections_of, Choice((2, 9), 3, 10_000))
    told = [(one.about["seed"], one.about["update"], one.about["retries"], one.about["mended"]) for one in every.groups]
    assert told == [(seed, 2, retries, mended) for seed in (0, 1) for retries, mended in ((1, 1), (1, None), (0, None))]
    steps = shown.groups[0].about["steps"]
    few = collect(sections_of, Choice((2,), 2, 2 * steps))
    assert [(one.about["seed"], one.about["retries"]) for one in few.groups] == [(0, 1), (1, 1)], (
        "as many runs as possible"
    )
    assert any("there is room for" in note for note in few.notes)
    assert collect(sections_of, Choice(None, 0, 10_000)).groups == []


def test_damaged_trees_are_named_and_leave_the_rest_as_it_is(runs: Path) -> None:
    good, bad = lines_of(by_r3l(), by_r3l())
    plant(runs / "r3l-s0", 1, [good])
    del bad["states"][0]["observation"]
    plant(runs / "r3l-s1", 1, [bad])
    read = reported(runs)
    assert len(read.groups) == 1
    assert "u000001.jsonl.gz, line 1: states.0.observation: Field required" in read.text
    (runs / "r3l-s1" / "trees" / "u000001.jsonl.gz").write_bytes(b"no gzip")
    assert "u000001.jsonl.gz cannot be read" in reported(runs).text


# The page


def test_nothing_that_was_recorded_is_taken_for_a_part_of_the_page(runs: Path) -> None:
    group, _ = lines_of(by_r3l(), by_r3l())
    for state in group["states"]:
        state["observation"] = state["feedback"] = NASTY
        state["rubrics"] = [[NASTY, False, 1.0]]
    for state in group["states"][1:]:
        state["action"] = NASTY
    for attempt in group["attempts"]:
        attempt["guidance"] = NASTY
    for look in group["reflections"]:
        look["text"] = look["problem"] = look["guidance"] = NASTY
    group["task_type"] = NASTY
    plant(runs / "r3l-s0", 1, [group])
    record(runs / "odd", [1.0, 1.0, 1.0, 1.0], config__method={"name": SHOWN, "group_size": 8})
    plain = ReadBack(runs.parent / "plain.html") if main([str(runs), "-o", "plain.html", "--quiet"]) else reported(runs)
    assert len(plain.scripts) == 1 + 1 + 1 + 5, "data, group, library and scripts of ours"
    assert SHOWN in plain.text
    (read,) = plain.groups
    assert read["states"][0][2] == SHOWN and read["states"][1][1] == SHOWN and read["type"] == SHOWN
    assert read["attempts"][2]["told"] == SHOWN and read["reflections"][0]["text"] == SHOWN
    assert not re.search(r"alert\(1\)</script>", Path("report.html").read_text(encoding="utf-8"))
    assert SHOWN in {row["name"] for row in plain.data["sections"]["toy-v0-1"]["rows"]}


def test_the_page_asks_for_nothing_and_runs_nothing_but_its_own_scripts(runs: Path) -> None:
    plant(runs / "r3l-s0", 1, lines_of(by_r3l()))
    read = reported(runs)
    assert {link[0] for link in read.links} == {"#"}
    page = Path("report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", page)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and policy[1].startswith("default-src 'none'; ")
    assert len(re.findall(r"'sha256-", policy[1].replace("&#39;", "'"))) == 6 and "unsafe-eval" not in policy[1]


def test_the_same_records_give_the_same_bytes(runs: Path) -> None:
    plant(runs / "r3l-s0", 1, lines_of(by_r3l()))
    reported(runs)
    first = Path("report.html").read_bytes()
    reported(*sorted(runs.iterdir(), reverse=True))
    assert Path("report.html").read_bytes() == first
    assert set(re.findall(rb"20\d\d-\d\d-\d\d", first)) == {b"2026-01-01"}, "no date but that of the newest record"


def test_only_reports_are_overwritten(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = Path("mine.html")
    mine.write_text("<!doctype html>\n<p>mine")
    assert "nothing was overwritten" in refused([runs, "-o", mine], capsys)
    assert mine.read_text() == "<!doctype html>\n<p>mine"
    assert "cannot be written" in refused([runs, "--out", runs], capsys)
    for _ in range(2):
        assert main([str(runs / "grpo-s0"), "-o", "new/report.html"]) == 0
        assert capsys.readouterr().out == "1 run, 0 recorded trees, 0.1 MB: new/report.html\n"


def test_runs_that_cannot_be_read_are_listed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "begun", [1.0, 1.0], complete=False)
    (runs / "grpo-s1" / "evaluation.jsonl").unlink()
    RunFolder(runs / "r3l-s1").append("timings.jsonl", {"update": 5, "explore": "long"})
    text = reported(runs).text
    assert "runs/begun: incomplete, 3 updates so far" in text
    assert "runs/grpo-s1: damaged" in text and "runs/r3l-s1: damaged" in text
    (section,) = reported(runs).data["sections"].values()
    assert {row["name"]: row["seeds"] for row in section["rows"]} == {"r3l": 1, "r3l w/o credit": 2, "grpo": 1}


def test_what_is_asked_for_must_be_there(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give numbers of updates" in refused([runs, "--updates", "last"], capsys)
    Path("empty").mkdir()
    assert "no complete run below empty" in refused(["empty"], capsys)
    assert "is not a folder" in refused(["nowhere"], capsys)


def test_without_the_library_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    comparison(Path("runs"))
    assert "pip install 'r3lbench[report]'" in refused(["runs"], capsys)
    assert not Path("report.html").exists()
