"""A leaderboard as a document, and the document as Markdown, as LaTeX, and on a terminal.

The same comparisons give the same bytes. A document's text marks with asterisks what is to be emphasised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r3lbench.grids import (
    NOT_SEPARABLE,
    Grid,
    about,
    across,
    apart,
    costs,
    description,
    evaluations,
    happenings,
    headings,
    outcomes,
    protocols,
    resolution,
)
from r3lbench.standings import Group
from r3lbench.suites import Suite

TITLE = "Leaderboard"
MARKDOWN, LATEX = f"# {TITLE}\n", f"% {TITLE}: "
"""How files of this command begin."""
READING = (
    "Means over seeds and tasks, first attempts only: no reflection, no retry and no memory while measuring. Other "
    "ways to use a policy have a table of their own, with their own cost. Brackets hold the 95 % interval for other "
    "seeds and other tasks of the kind (docs/statistics.md); with one seed it speaks of the choice of tasks only.",
    "Differences are paired by seed and task. The change in training is *not separable* from none where its interval "
    "holds 0; two methods are where the p-value, corrected for all comparisons of the table (Holm), is not below 5 %, "
    "and always with a single seed. *P(better)* is how probably a run of the method beats one of the reference on a "
    "task, ties counted half. *Area* is the mean height of the learning curve over the budget.",
    "Costs are means over seeds, reflections and retries counted, evaluation not. *Sees* lists what agent and "
    "reflector are given beyond observations. A *record* is verified where r3lbench verify has played its episodes "
    "again and found what it says, and failed where that came out otherwise. Of how methods learned: groups in which "
    "every attempt has the same return teach nothing, *retries improved* beat the attempt they left, *retries begin "
    "at* that share of its steps, and the divergence from the starting policy is that of the last update.",
)
"""How to read the tables."""
_GAP = 3
"""Between columns on a terminal."""
_PARTS = re.compile(r"([^\[(]+?)(?: (\[[^\]]*\]))?(?:((?:, | \().*))?")


@dataclass(frozen=True)
class Chapter:
    """A comparison: its title, what was compared, the tables, and what stands below the first."""

    title: str
    words: tuple[str, ...]
    grids: tuple[Grid, ...]
    below: str = ""


@dataclass(frozen=True)
class Document:
    """Everything that a leaderboard says; ``notes`` is one line about every run that is in no table."""

    chapters: tuple[Chapter, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table, taken apart.

    Attributes:
        value: What it says first.
        interval: Its interval in brackets; may be empty.
        rest: What follows, from its comma or parenthesis on; may be empty.
        tone: ``"up"`` or ``"down"`` for a difference that is one, ``"open"`` for one that may be none, or empty.
    """

    value: str
    interval: str
    rest: str
    tone: str


def document(suites: Sequence[Suite], groups: Sequence[Group], notes: Sequence[str], measure: str) -> Document:
    """Put everything in order: what speaks of several environments first."""
    chapters = [
        Chapter(f"Across environments, policy {suite.policy}", (about(suite),), (across(suite),)) for suite in suites
    ]
    for group, title in zip(groups, headings(groups), strict=True):
        words = (description(group), apart(group, groups))
        grids = (
            outcomes(group, measure),
            protocols(group, measure),
            costs(group),
            evaluations(group),
            happenings(group),
        )
        chapters.append(
            Chapter(
                title,
                tuple(filter(None, words)),
                tuple(grid for grid in grids if grid is not None),
                resolution(group, measure) or "",
            )
        )
    return Document(tuple(chapters), tuple(notes))


def cell(text: str) -> Cell:
    """Take a cell apart: ``"+0.1 [+0.0, +0.2], not separable"``, or ``"name (settings)"``."""
    found = _PARTS.fullmatch(text)
    value, interval, rest = (part or "" for part in found.groups()) if found else (text, "", "")
    tone = ""
    if interval and value.startswith(("+", "-")):
        tone = "open" if NOT_SEPARABLE in rest else "up" if value.startswith("+") else "down"
    return Cell(value, interval, rest, tone)


# Markdown


def markdown(of: Document) -> str:
    """The document as Markdown."""
    parts = [MARKDOWN.strip(), *READING]
    for chapter in of.chapters:
        parts += [f"## {chapter.title}", *chapter.words]
        for number, grid in enumerate(chapter.grids):
            parts += [f"*{grid.title}*"] if number else []
            parts.append(_markdown_table(grid))
            parts += [chapter.below] if chapter.below and not number else []
    if of.notes:
        parts += ["## In no table", "\n".join(f"- {note}" for note in of.notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(grid: Grid) -> str:
    cells = [[text.replace("|", "\\|") for text in row] for row in (grid.columns, *grid.rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(grid.columns))]
    left = [side == "left" for side in grid.justified]

    def line(row: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if first else text.rjust(width)
            for text, width, first in zip(row, widths, left, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rules = [
        ":" + "-" * (width - 1) if first else "-" * (width - 1) + ":" for width, first in zip(widths, left, strict=True)
    ]
    return "\n".join([line(cells[0]), line(rules), *(line(row) for row in cells[1:])])


# LaTeX


_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
)


def latex(of: Document) -> str:
    """The tables as LaTeX floats, for documents that use the packages booktabs and graphicx; wide ones are shrunk."""
    parts = [f"{LATEX}made by r3lbench leaderboard; needs \\usepackage{{booktabs,graphicx}}"]
    for number, chapter in enumerate(of.chapters, start=1):
        for part, grid in enumerate(chapter.grids, start=1):
            about_it = " ".join([*chapter.words, chapter.below]).strip() if part == 1 else ""
            caption = f"{_tex(chapter.title)}: {_tex(grid.title[0].lower() + grid.title[1:])}. {_tex(about_it)}".strip()
            parts.append(_latex_table(grid, caption, f"tab:leaderboard-{number}-{part}"))
    return "\n\n".join(parts) + "\n"


def _latex_table(grid: Grid, caption: str, label: str) -> str:
    def line(row: Sequence[str]) -> str:
        return f"    {' & '.join(_tex(text) for text in row)} \\\\"

    sides = "".join(side[0] for side in grid.justified)
    lines = [
        "\\begin{table}",
        "  \\centering\\small",
        f"  \\caption{{{caption}}}",
        f"  \\label{{{label}}}",
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"  \\begin{{tabular}}{{@{{}}{sides}@{{}}}}",
        "    \\toprule",
        line(grid.columns),
        "    \\midrule",
        *(line(row) for row in grid.rows),
        "    \\bottomrule",
        "  \\end{tabular}}",
        "\\end{table}",
    ]
    return "\n".join(lines)


def _tex(text: str) -> str:
    escaped = re.sub(r"\*([^*]+)\*", r"\\emph{\1}", text.translate(_SPECIAL))
    # The sign of a number is a minus, and no hyphen.
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)


# The terminal


def show(console: Console, of: Document) -> None:
    """The document on a terminal."""
    for chapter in of.chapters:
        console.print(Text(chapter.title, style="bold"))
        for words in (*chapter.words, chapter.below):
            if words:
                console.print(Text(words.replace("*", ""), style="dim"))
        for number, grid in enumerate(chapter.grids):
            if number:
                console.print(Text(grid.title, style="italic"))
            console.print(_rich_table(grid, console.width))
    for note in of.notes:
        console.print(Text(note, style="yellow"))


def _rich_table(grid: Grid, width: int) -> Table:
    """Intervals stand below their values where there is no room beside them; words and numbers are broken last."""
    columns = list(zip(grid.columns, *grid.rows, strict=True))
    stacked = sum(max(map(len, column)) + _GAP for column in columns) > width
    least = [_least(column, side, stacked=stacked) for column, side in zip(columns, grid.justified, strict=True)]
    # Columns of numbers have just that width, so that it is texts that wrap; none where not even that has room.
    fixed = stacked and sum(least) + _GAP * len(least) <= width
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, side, size in zip(grid.columns, grid.justified, least, strict=True):
        justify: Literal["left", "right"] = "left" if side == "left" else "right"
        table.add_column(column, justify=justify, width=size if fixed and side == "right" else None, overflow="fold")
    for row in grid.rows:
        table.add_row(*(_styled(text, stacked=stacked) for text in row))
    return table


def _least(column: Sequence[str], side: str, *, stacked: bool) -> int:
    """The width in which no word and no number of a column is broken."""
    cells = [_styled(text, stacked=stacked).plain for text in column[1:]]
    pieces = [piece for text in cells for piece in (text.split() if side == "left" else text.split("\n"))]
    return max(map(len, [*column[0].split(), *pieces]))


_STYLES = {"up": "green", "down": "red", "open": "dim"}


def _styled(text: str, *, stacked: bool) -> Text:
    """A difference in colour if it is one; an interval recedes, or stands below what it belongs to."""
    of = cell(text)
    rest = of.rest.replace(f", {NOT_SEPARABLE}", f"\n{NOT_SEPARABLE}")
    interval = of.interval and f"{chr(10) if stacked else ' '}{of.interval}"
    style = _STYLES.get(of.tone, "")
    return Text.assemble((of.value, style), (interval, style or "dim"), (rest, style))
