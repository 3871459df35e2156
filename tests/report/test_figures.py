"""Figures are drawn from what was recorded, and end where the table does."""

from __future__ import annotations

import math
import re
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from r3lbench.recording import RunFolder
from r3lbench.report import main
from r3lbench.report.curves import curve, history, read_past
from r3lbench.results import read_below
from tests.recorded import record, record_agent
from tests.reported import (
    R3L_SETTINGS,
    WITHOUT_CREDIT,
    reported,
    retell,
    shown_of,
    spent,
)


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


def test_a_rate_counts_every_retry_once(tmp_path: Path) -> None:
    lines = [spent(1, 1, retries=1), spent(2, 2, retries=3)]
    lines[0]["explore"]["retry_improved"], lines[1]["explore"]["retry_improved"] = 1.0, 0.0
    for seed, line in enumerate(lines):
        retell(record(tmp_path / f"s{seed}", [1.0, 1.0, 1.0, 1.0], config__seed=seed), [{**line, "update": 1}])
    pasts = [read_past(found, "sampled") for found in read_below([str(tmp_path)]).records]
    assert history(pasts).rates["retry_improved"] == [1 / 4]


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


def test_an_ablation_is_held_against_the_method_with_the_same_other_settings(runs: Path) -> None:
    fast = {"config__method": R3L_SETTINGS, "config__optimiser__lr": 0.01}
    for seed in (0, 1):
        record(runs / f"fast-s{seed}", [1.0, 1.0, 1.0, 1.0], config__seed=seed, **fast)
        other = {"config__method": WITHOUT_CREDIT, "config__optimiser__lr": 0.1}
        record(runs / f"alone-s{seed}", [0.0] * 4, config__seed=seed, **other)
    (section,) = shown_of(runs)
    assert [(of.row.label, found["score"].value) for of, found in section.ablations["r3l"]] == [
        ("r3l w/o credit (optimiser.lr=0.001)", -0.125)
    ]
    for seed in (0, 1):
        record(runs / f"slow-s{seed}", [0.5] * 4, config__seed=seed, **fast | {"config__method": WITHOUT_CREDIT})
    (figure,) = reported(runs).data["sections"].values()
    (ablation,) = figure["ablations"]
    assert {bar["name"]: bar["values"]["score"][0] for bar in ablation["bars"]} == {
        "r3l w/o credit (optimiser.lr=0.01)": -0.5,
        "r3l w/o credit (optimiser.lr=0.001)": -0.125,
    }


def test_what_is_not_there_is_said_in_words(tmp_path: Path, runs: Path) -> None:
    bare = tmp_path / "bare"
    run = record(bare / "grpo", [1.0, 0.0, 0.0, 0.0], None, config__method={"name": "grpo", "group_size": 8})
    text = reported(bare).text
    assert "evaluated after training only, so there are no curves" in text
    assert "No ablation was run" in text and "recorded nothing of their exploration" in text
    assert "Nothing was retried" in text and "the records of these runs hold no trees" in text
    older = spent(1, 100, retries=2)
    del older["explore"]["pivots"]
    retell(run, [older])
    assert "did not record where retries begin" in reported(bare).text
    agents = tmp_path / "agents"
    record_agent(agents / "oracle", "oracle", "expert", [1.0, 1.0, 1.0, 1.0])
    text = reported(agents).text
    assert "No policy was trained" in text and "Nothing was trained here" in text
    assert main(["bare", "--mode", "greedy", "--out", "report.html", "--quiet"]) == 0


def test_methods_are_told_apart_with_every_common_colour_vision() -> None:
    style = resources.files("r3lbench.report").joinpath("page.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--(method-\d|ink): light-dark\((#\w{6}), (#\w{6})\)", style)
    assert len(pairs) == 9
    for colours in zip(*[pair[1:] for pair in pairs], strict=True):
        for vision in VISIONS:
            seen = [lab(vision @ linear(colour)) for colour in colours]
            assert min(math.dist(one, other) for one, other in combinations(seen, 2)) > 10


VISIONS = (
    np.eye(3),
    np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
)
"""Trichromats, protanopes, deuteranopes, tritanopes: Machado et al. 2009, of linear RGB."""


def linear(colour: str) -> NDArray[np.float64]:
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB, in which a distance of 2.3 is just noticed."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ colour.clip(0, 1) / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
