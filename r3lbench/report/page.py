"""The page itself: words and tables as HTML, the numbers behind figures as JSON, one file that asks for nothing else.

What an environment or a model wrote is never part of the page's code: text passes through the template's escaping or
through JSON in which no tag can end, and scripts run only if they are those that this package ships (by their digest).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from r3lbench.formats import cell
from r3lbench.grids import Grid, about, across, apart, costs, happenings, outcomes, protocols
from r3lbench.report.branches import Recorded
from r3lbench.report.figures import figures
from r3lbench.report.overall import Overall
from r3lbench.report.sections import Section
from r3lbench.report.strips import Strip, colours, overall_strips, strips
from r3lbench.report.words import Words, missing, overall_words, words
from r3lbench.webpage import sort_key

BEGINNING = "<!doctype html>\n<!-- r3lbench report -->\n"
"""So every report begins."""
_STYLES = ("page.css", "viewer.css")
_SCRIPTS = ("paint.js", "figures.js", "charts.js", "viewer.js", "page.js")


@dataclass(frozen=True)
class Page:
    """Everything a report shows.

    Attributes:
        overalls: What methods came to over several environments.
        sections: The comparisons.
        recorded: Groups for the branch viewer.
        notes: One line about every run that is in no table.
        newest: Date of the newest record.
        runs: How many there are.
        mode: How actions were drawn.
        measure: What rows are sorted by.
        reference: Name of the method that others are compared with.
    """

    overalls: Sequence[Overall]
    sections: Sequence[Section]
    recorded: Recorded
    notes: Sequence[str]
    newest: str
    runs: int
    mode: str
    measure: str
    reference: str


@dataclass(frozen=True)
class Card:
    """A comparison at a glance.

    Attributes:
        anchor: Of what is told more of it.
        title: What was played.
        terms: Under which terms.
        said: What it came to.
        strips: Its methods, best first.
        marks: Where training began, floor and ceiling, in per cent of the scale.
    """

    anchor: str
    title: str
    terms: str
    said: Words
    strips: Sequence[Strip]
    marks: Sequence[float]


def render(page: Page, library: str) -> bytes:
    """The page as a file.

    Args:
        page: What it shows.
        library: Source of plotly.js.
    """
    scripts = [_source(name) for name in _SCRIPTS]
    groups = [section.group for section in page.sections]
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.from_string(_source("page.html")).render(
        page=page,
        tables={section.anchor: _tables(section) for section in page.sections},
        cards={card.anchor: card for card in _cards(page)},
        together={of.anchor: (about(of.suite), across(of.suite)) for of in page.overalls},
        apart={section.anchor: apart(section.group, groups) or "" for section in page.sections},
        cell=cell,
        sort_key=sort_key,
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


def _cards(page: Page) -> list[Card]:
    """What speaks of several environments first."""
    numbers = colours(page.sections, page.reference)
    cards = []
    for of in page.overalls:
        marks = [] if of.start is None else [round(100 * of.start.value.value, 1)]
        cards.append(Card(of.anchor, of.title, of.terms, overall_words(of), overall_strips(of, numbers), marks))
    for section in page.sections:
        said = words(section)
        if said is not None:
            marks = [round(100 * row.values[section.measure].value, 1) for row in section.marks]
            cards.append(Card(section.anchor, section.title, section.terms, said, strips(section, numbers), marks))
    return cards


def _tables(section: Section) -> dict[str, Grid | None]:
    """The tables of the leaderboard, by their place; None where there is none."""
    return {
        "results": outcomes(section.group, section.measure),
        "protocols": protocols(section.group, section.measure),
        "costs": costs(section.group),
        "learned": happenings(section.group),
    }
