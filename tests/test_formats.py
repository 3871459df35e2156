"""The same comparison as Markdown, CSV, LaTeX and a page; and what is recorded beside its records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.leaderboard import main
from r3lbench.results import absolute_paths, read_below
from tests.browser import CHROMIUM, browser
from tests.conftest import ROOT
from tests.recorded import comparison, record


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A comparison in ``runs`` below the current folder."""
    monkeypatch.chdir(tmp_path)
    return comparison(Path("runs"))


def test_the_same_records_give_the_same_bytes_in_any_order(runs: Path) -> None:
    def written(name: str) -> list[str]:
        flags = {"--markdown": "md", "--csv": "csv", "--latex": "tex", "--html": "html"}
        return ["--quiet", *(word for flag, kind in flags.items() for word in (flag, f"{name}.{kind}"))]

    assert main([str(runs), *written("a")]) == 0
    paths = sorted((str(path) for path in runs.iterdir()), reverse=True)
    assert main([*written("b"), *paths, str(runs)]) == 0
    for name in ("md", "csv", "tex", "html"):
        assert Path(f"a.{name}").read_bytes() == Path(f"b.{name}").read_bytes()


def test_only_its_own_files_are_overwritten(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes.md").write_text("mine\n")
    for flag in ("--markdown", "--csv", "--latex", "--html"):
        assert main([str(runs), flag, "notes.md", "--quiet"]) == 2
        assert "nothing was overwritten" in capsys.readouterr().err
    assert Path("notes.md").read_text() == "mine\n"
    for _ in range(2):
        assert main([str(runs), "--markdown", "new/board.md", "--quiet"]) == 0
    assert Path("new/board.md").read_text().startswith("# Leaderboard\n")


def test_markdown_cells_hold_their_bars(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "bar", [1.0, 0.0, 0.0, 0.0], config__method={"name": "a|b"})
    assert main([str(runs)]) == 0
    tables = [part.splitlines() for part in capsys.readouterr().out.split("\n\n") if part.startswith("|")]
    assert all("a\\|b" in "".join(rows) for rows in tables)
    assert [{row.replace("\\|", "").count("|") for row in rows} for rows in tables] == [{9}, {7}]


def test_latex_escapes_what_it_must(runs: Path) -> None:
    record(runs / "odd", [1.0, 0.0, 0.0, 0.0], config__method={"name": "a_b%c&d#e$f{g}~h^i\\j"})
    assert main([str(runs), "--latex", "out.tex", "--quiet"]) == 0
    text = Path("out.tex").read_text()
    assert r"a\_b\%c\&d\#e\$f\{g\}\textasciitilde{}h\textasciicircum{}i\textbackslash{}j" in text
    for part in ("table", "tabular"):
        assert text.count(f"\\begin{{{part}}}") == text.count(f"\\end{{{part}}}") == 2
    assert len({line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")}) == 2
    assert r"\toprule" in text and r"\emph" not in text and "$-$0." in text


def test_the_page_asks_for_nothing_and_shows_names_as_text(runs: Path) -> None:
    record(runs / "odd", [1.0, 0.0, 0.0, 0.0], config__method={"name": "<script>alert(1)</script>"})
    assert main([str(runs), "--html", "out.html", "--quiet"]) == 0
    page = Path("out.html").read_text()
    assert page.startswith("<!doctype html>\n<!-- r3lbench leaderboard -->")
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page and re.findall(r"https?:|src=|@import|url\(|href=\"[^#]", page) == []
    assert page.count("<table>") == 2 and 'class="left  not verified"' in page


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


def test_paths_of_one_machine_are_pointed_out(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(runs / "mine", [1.0, 1.0, 1.0, 1.0], config__seed=7, config__policy={"name": "/data/models/tiny"})
    assert main([str(runs), "--quiet"]) == 0
    assert "runs/mine names a file of one machine: /data/models/tiny" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_sorts_changes_its_colours_and_fits_a_phone(runs: Path, tmp_path: Path) -> None:
    assert main([str(runs), "--html", "out.html", "--quiet"]) == 0
    names = "[...document.querySelectorAll('tbody')[0].rows].map(row => row.cells[0].textContent.split(' ')[0])"
    with browser(tmp_path / "profile") as page:
        page.open(Path("out.html"), width=390, height=844)
        assert page.value(names) == ["oracle", "r3l", "grpo", "random", "warm"]
        head = "[...document.querySelectorAll('thead button')].find(one => one.textContent.startsWith('{}'))"
        page.value(head.format("success") + ".click()")
        # Of equal ones the order stays.
        assert page.value(names) == ["oracle", "r3l", "grpo", "random", "warm"]
        page.value(head.format("success") + ".click()")
        assert page.value(names) == ["random", "warm", "grpo", "r3l", "oracle"]
        page.value(head.format("score against") + ".click()")
        assert page.value(names)[0] == "r3l", "what is empty comes last"
        page.value(head.format("method") + ".click()")
        assert page.value(names) == ["grpo", "oracle", "r3l", "random", "warm"]
        assert page.value("document.documentElement.scrollWidth") == 390
        paper = "getComputedStyle(document.body).backgroundColor"
        light = page.value(paper)
        page.value("document.getElementById('theme').click()")
        assert page.value(paper) != light
        assert page.complaints == [] and {address.split(":")[0] for address in page.requests} == {"file"}
