"""A report in a browser: it opens at once, draws everything, is played from the keyboard, and fits on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.report import main
from tests.browser import CHROMIUM, Browser, browser
from tests.reported import by_r3l, comparison, lines_of, plant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine (apt-get install chromium)"),
]
MANY = 10_000
"""Steps in the report's largest group."""


def long_group(attempts: int, steps: int) -> dict[str, Any]:
    """A group of so many attempts, each with so many steps, of which every second is a retry of the one before."""
    group, _ = lines_of(by_r3l(), by_r3l())
    root, step = group["states"][:2]
    states: list[dict[str, Any]] = [root]
    tried: list[dict[str, Any]] = []
    for number in range(attempts):
        parent = 0
        for at in range(steps):
            state = {**step, "id": len(states), "parent": parent, "observation": f"attempt {number}, state {at}"}
            parent = len(states)
            states.append(state)
        base = tried[-1]["key"] if number % 2 else None
        attempt = {**group["attempts"][0], "key": f"{group['key']}/a{number}", "base": base, "leaf": parent}
        tried.append({**attempt, "turns": [group["attempts"][0]["turns"][0]] * steps})
    return {**group, "states": states, "attempts": tried, "reflections": []}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods and an ablation with two seeds, a group to read, and one with ten thousand steps."""
    pytest.importorskip("plotly", reason="a report's charts need plotly")
    folder = tmp_path_factory.mktemp("report")
    runs = comparison(folder / "runs")
    plant(runs / "r3l-s0", 1, [long_group(40, MANY // 40)])
    plant(runs / "r3l-s1", 1, lines_of(by_r3l()))
    file = folder / "report.html"
    assert main([str(runs), "--out", str(file), "--steps", str(MANY + 100), "--quiet"]) == 0
    return file


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser, report: Path) -> Iterator[Browser]:
    """The report, opened; nothing may complain, and nothing else may be asked for."""
    chromium.complaints.clear()
    chromium.requests.clear()
    chromium.open(report)
    yield chromium
    chromium.value("1")  # whatever was said until now is heard
    assert chromium.complaints == []
    asked = {address.partition("#")[0] for address in chromium.requests if not address.startswith("data:")}
    assert asked == {report.resolve().as_uri()}


def show_branches(page: Browser, group: int = 1) -> None:
    page.value(
        f"document.getElementById('branches').scrollIntoView({{behavior: 'instant'}}); report.viewer.show({group}), 0"
    )
    page.wait("document.querySelectorAll('#viewer .card').length > 0")


def test_ten_thousand_steps_open_without_being_read(page: Browser) -> None:
    # What takes time is counted: parsed groups, elements made, figures drawn, and the library, which is large.
    assert json.loads(page.value("document.getElementById('group-0').textContent"))["states"][MANY][0] == MANY - 1
    assert page.value("document.querySelectorAll('*').length") < 700
    assert page.value("report.charts.drawn.size") == 0 and page.value("window.Plotly === undefined")
    assert page.value("document.getElementById('viewer').children.length") == 0
    show_branches(page, 0)
    assert page.value("document.querySelectorAll('[role=treeitem]').length") == 40
    assert page.value("document.querySelectorAll('#viewer .card').length") < 200, (
        "steps are made when they are scrolled to"
    )
    page.value("document.querySelector('.end').scrollIntoView({behavior: 'instant'})")
    page.wait("document.querySelectorAll('#viewer .card').length > 120")


def test_every_figure_is_drawn_when_it_is_looked_at_or_printed(page: Browser) -> None:
    page.value("document.querySelector('[data-figure=curves]').scrollIntoView({behavior: 'instant'})")
    page.wait("report.charts.drawn.size > 0")
    page.value("dispatchEvent(new Event('beforeprint'))")
    marks = ".scatterlayer .trace, .barlayer .trace, .heatmaplayer image"
    drawn = page.value(
        f"[...document.querySelectorAll('.chart')].map(place => place.querySelectorAll('{marks}').length)"
    )
    assert len(drawn) == 9 and all(drawn)
    # Curves of GRPO and R3L, each with a band; the ablation is asked for, and taken away.
    lines = "document.querySelectorAll('[data-figure=curves] .chart .scatterlayer .trace').length"
    assert page.value(lines) == 4
    page.value("[...document.querySelectorAll('.legend button')].find(b => b.textContent === 'r3l w/o credit').click()")
    assert page.value(lines) == 6
    page.value("document.querySelectorAll('details.numbers').forEach(details => details.open = true)")
    page.wait("document.querySelectorAll('details.numbers table').length === 9")
    ends = "[...document.querySelectorAll('[data-figure=curves] .numbers tr')].map(row => row.textContent)"
    assert any(row.startswith("r3l") and "0.875 [" in row for row in page.value(ends))


def test_choices_redraw_and_dark_is_dark(page: Browser) -> None:
    page.value("dispatchEvent(new Event('beforeprint'))")
    title = "document.querySelector('[data-figure=curves] .chart .g-ytitle').textContent"
    assert page.value(title) == "score"
    page.value("document.querySelector('[data-choice=measure]').value = 'success'")
    page.value("document.querySelector('[data-choice=measure]').dispatchEvent(new Event('change'))")
    assert page.value(title) == "success"
    paper = "getComputedStyle(document.body).backgroundColor"
    words = "document.querySelector('[data-figure=curves] .chart .g-ytitle text').style.fill"
    light, written = page.value(paper), page.value(words)
    page.value("document.getElementById('theme').click()")
    assert page.value(paper) != light and page.value(words) != written, "figures are drawn in the colours of the page"
    assert page.value("getComputedStyle(document.body).colorScheme") == "dark"


def test_tables_are_sorted_from_the_keyboard(page: Browser) -> None:
    table = "document.querySelector('#toy-v0-1 .sortable')"
    names = f"[...{table}.querySelectorAll('tbody th')].map(cell => cell.firstChild.textContent.trim())"
    assert page.value(names) == ["oracle", "r3l", "r3l w/o credit", "grpo", "random", "warm start"]
    page.value(f"{table}.querySelectorAll('thead button')[3].focus()")
    page.press("Enter", "Enter")
    assert page.value(f"{table}.querySelectorAll('thead th')[3].getAttribute('aria-sort')") == "ascending"
    assert page.value(names) == ["warm start", "random", "grpo", "r3l w/o credit", "r3l", "oracle"]
    page.value(f"{table}.querySelectorAll('thead button')[2].focus()")
    page.press("Enter")
    assert page.value(names)[0] == "oracle", "100 is more than 75"
    page.value(f"{table}.querySelectorAll('thead button')[5].focus()")
    page.press("Enter")
    assert page.value(names)[:2] == ["r3l", "r3l w/o credit"], "empty cells come last"


def test_curves_are_drawn_together_or_one_by_one_and_as_wide_as_there_is_room(page: Browser) -> None:
    page.value("dispatchEvent(new Event('beforeprint'))")
    chart = "document.querySelector('[data-figure=curves] .chart')"
    assert page.value(f"{chart}.querySelectorAll('.cartesianlayer .subplot').length") == 1
    page.value("document.querySelector('[data-choice=apart]').click()")
    # A panel each for R3L and GRPO: a band and a line of its own, and the other's line.
    assert page.value(f"{chart}.querySelectorAll('.cartesianlayer .subplot').length") == 2
    assert page.value(f"{chart}.querySelectorAll('.scatterlayer .trace').length") == 6
    wide = page.value(f"{chart}.querySelector('.main-svg').clientWidth")
    page.resize(700, 900)
    page.wait(f"{chart}.querySelector('.main-svg').clientWidth < {wide}")
    assert page.value(f"{chart}.querySelector('.main-svg').clientWidth === {chart}.clientWidth")


def test_branches_open_where_a_retry_from_within_helped(page: Browser) -> None:
    page.value("document.getElementById('branches').scrollIntoView({behavior: 'instant'})")
    page.wait("document.querySelectorAll('#viewer .card').length > 0")
    assert page.value("document.querySelectorAll('[role=treeitem]').length") == 3, "the second group, not the first"
    assert page.value("[...document.querySelectorAll('#viewer .shared')].map(note => note.textContent)") == [
        "step 0 as in a0"
    ]
    assert page.value("document.querySelector('#viewer .leaves').textContent") == "r0 leaves here"
    page.value("document.getElementById('previous').click()")
    assert page.value("document.querySelectorAll('[role=treeitem]').length") == 40
    page.value("document.querySelector('[data-branches]').click()")
    assert page.value("document.querySelectorAll('[role=treeitem]').length") == 3


def test_branches_are_walked_with_the_arrows(page: Browser) -> None:
    show_branches(page)
    names = "[...document.querySelectorAll('[role=treeitem] .name')].map(name => name.textContent)"
    assert page.value(names) == ["a0", "a0.r0", "a1"]
    page.value("document.querySelector('[role=treeitem][tabindex=\"0\"]').focus()")
    chosen = "document.querySelector('[role=treeitem][aria-selected=true] .name').textContent"
    focused = "document.activeElement.getAttribute('aria-label')"
    page.press("ArrowDown")
    assert page.value(chosen) == "a0.r0"
    page.press("ArrowDown", "ArrowDown")
    assert page.value(chosen) == "a1", "the last"
    page.press("Home", "ArrowRight")
    assert page.value(focused) == "a0, step 0"
    page.press("ArrowDown", "ArrowDown")
    assert page.value(focused) == "a0, step 2"
    page.press("ArrowRight")
    assert page.value(focused) == "a0.r0, step 2"
    page.press("ArrowUp", "ArrowUp")
    assert page.value(focused) == "reflection: go back to step 1"
    page.press("Escape")
    assert page.value("document.activeElement.getAttribute('role')") == "treeitem"


def test_tokens_are_shaded_by_their_weight_and_leaves_hold_rubrics(page: Browser) -> None:
    show_branches(page)
    card = "[...document.querySelectorAll('#viewer .card')].find(card => card.getAttribute('aria-label') === '{}')"
    masked, failed, mended = (card.format(name) for name in ("a0, step 0", "a0, step 1", "a0.r0, step 1"))
    assert page.value(f"{masked}.querySelector('.token').classList.contains('masked')")
    assert "var(--less)" in page.value(f"{failed}.querySelector('.token').style.background")
    assert "var(--more)" in page.value(f"{mended}.querySelector('.token').style.background")
    assert page.value(f"{masked}.querySelector('.worth').textContent") == "not trained"
    assert page.value(f"{failed}.querySelector('.worth').textContent") == "weight: base -0.333"
    worth = "weight +4: distilled +3 (as if unguided), guided +1 (likelihood)"
    assert page.value(f"{mended}.querySelector('.worth').textContent") == worth
    leaf = page.value(f"{card.format('a0.r0, how it ended')}.textContent")
    assert "✓ solved" in leaf and "✓ open the door" in leaf and "return1" in leaf
    assert "✗ open the door" in page.value(f"{card.format('a0, how it ended')}.textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_scrolls_down_only(page: Browser, report: Path, dark: bool) -> None:
    page.open(report, width=360, height=740, dark=dark)
    page.value("dispatchEvent(new Event('beforeprint'))")
    page.value("document.querySelectorAll('details').forEach(details => details.open = true)")
    show_branches(page)
    page.wait("document.querySelectorAll('details.numbers table').length === 9")
    assert page.value("document.documentElement.scrollWidth") <= 360
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in paper.strip("rgb()").split(",")) < 200) == dark
