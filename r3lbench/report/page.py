"""The page itself: words and tables as HTML, the numbers behind figures as JSON, one file that asks for nothing else.

What an environment or a model wrote is never part of the page's code: text passes through the template's escaping or
through JSON in which no tag can end, and scripts run only if they are those that this package ships (by their digest).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from r3lbench.grids import NOT_SEPARABLE, Grid, costs, happenings, outcomes
from r3lbench.report.branches import Recorded
from r3lbench.report.figures import figures
from r3lbench.report.sections import Section
from r3lbench.report.strips import colours, strips
from r3lbench.report.words import missing, words

BEGINNING = "<!doctype html>\n<!-- r3lbench report -->\n"
"""So every report begins."""
_STYLES = ("page.css", "viewer.css")
_SCRIPTS = ("paint.js", "figures.js", "charts.js", "viewer.js", "page.js")
_CELL = re.compile(r"([^\[(]+?)(?: (\[[^\]]*\]))?(?:((?:, | \().*))?")
_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+")
_SIZES = {"k": 1e3, "M": 1e6, "G": 1e9}


@dataclass(frozen=True)
class Page:
    """Everything a report shows.

    Attributes:
        sections: The comparisons.
        recorded: Groups for the branch viewer.
        notes: One line about every run that is in no table.
        newest: Date of the newest record.
        runs: How many there are.
        mode: How actions were drawn.
        measure: What rows are sorted by.
        reference: Name of the method that others are compared with.
    """

    sections: Sequence[Section]
    recorded: Recorded
    notes: Sequence[str]
    newest: str
    runs: int
    mode: str
    measure: str
    reference: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: What it says first.
        interval: Its interval in brackets; may be empty.
        rest: What follows.
        key: What it is sorted by; empty for nothing, which comes last.
        tone: ``"up"`` or ``"down"`` for a difference that is one, ``"open"`` for one that may be none, or empty.
    """

    value: str
    interval: str
    rest: str
    key: str
    tone: str


def render(page: Page, library: str) -> bytes:
    """The page as a file.

    Args:
        page: What it shows.
        library: Source of plotly.js.
    """
    scripts = [_source(name) for name in _SCRIPTS]
    numbers = colours(page.sections, page.reference)
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.from_string(_source("page.html")).render(
        page=page,
        tables={section.anchor: _tables(section) for section in page.sections},
        words={section.anchor: words(section) for section in page.sections},
        strips={section.anchor: strips(section, numbers) for section in page.sections},
        missing={section.anchor: missing(section) for section in page.sections},
        recorded_in={shown.about["section"] for shown in page.recorded.groups},
        policy=" ".join(f"'sha256-{_digest(script)}'" for script in (library, *scripts)),
        library=library,
        styles=[_source(name) for name in _STYLES],
        scripts=scripts,
        data=_json(figures(page.sections, page.recorded, measure=page.measure, reference=page.reference)),
        groups=[_json(shown.content) for shown in page.recorded.groups],
    )
    return (BEGINNING + text).encode("utf-8", "replace")


def _source(name: str) -> str:
    return resources.files("r3lbench.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON in which nothing can be taken for a tag, safe inside a script element."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _tables(section: Section) -> dict[str, tuple[tuple[str, ...], list[list[Cell]], list[str]] | None]:
    """Columns, rows and alignment of each table of the leaderboard; None where there is none."""
    grids: Mapping[str, Grid | None] = {
        "results": outcomes(section.group, section.measure),
        "costs": costs(section.group),
        "learned": happenings(section.group),
    }
    return {name: None if grid is None else _cells(grid) for name, grid in grids.items()}


def _cells(grid: Grid) -> tuple[tuple[str, ...], list[list[Cell]], list[str]]:
    return grid.columns, [[cell_of(text) for text in row] for row in grid.rows], grid.justified


def cell_of(text: str) -> Cell:
    """A cell of the leaderboard, taken apart: ``"+0.1 [+0.0, +0.2], not separable"``, or ``"name (settings)"``."""
    found = _CELL.fullmatch(text)
    value, interval, rest = (part or "" for part in found.groups()) if found else (text, "", "")
    tone = ""
    if interval and value.startswith(("+", "-")):
        tone = "open" if NOT_SEPARABLE in rest else "up" if value.startswith("+") else "down"
    return Cell(value, interval, rest.removeprefix(", "), _key(value), tone)


def _key(value: str) -> str:
    number = _NUMBER.match(value)
    if number is None:
        return value.lower()
    return repr(float(number[0].replace(",", "")) * _SIZES.get(value[number.end() :].strip()[:1], 1.0))
