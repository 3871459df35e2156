"""The page asks for nothing, runs nothing but its own scripts, and overwrites nothing but reports."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from r3lbench.recording import RunFolder
from r3lbench.report import main
from tests.recorded import record
from tests.reported import (
    ReadBack,
    by_r3l,
    comparison,
    lines_of,
    plant,
    reported,
)

NASTY = "</script><script>alert(1)</script> <!-- & \"quoted\" 'so' <b>bold</b> ]]> \u2028 \ud800 \u202e end"
"""What an environment might echo: tags, half a character, and a mark that turns text around."""
SHOWN = NASTY.replace("\ud800", "?")


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*map(str, arguments)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    return errors


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
    assert "unknown recorded method 'gpro'" in refused([runs, "--reference", "gpro"], capsys)
    plant(runs / "r3l-s0", 3, lines_of(by_r3l()))
    assert "--updates 4,9: no run has trees of these updates" in refused([runs, "--updates", "9,4"], capsys)
    assert len(reported(runs, "--updates", "3,9").groups) == 1


def test_without_the_library_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    comparison(Path("runs"))
    assert "pip install 'r3lbench[report]'" in refused(["runs"], capsys)
    assert not Path("report.html").exists()
