"""``python -m r3lbench.leaderboard results``: compare recorded runs, as a table, Markdown and CSV.

The same records give the same bytes.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.errors import BadData, R3LBenchError
from r3lbench.files import write_atomic
from r3lbench.power import POWER
from r3lbench.results import LEARNING, MEASURES, Findings, absolute_paths, read_below
from r3lbench.standings import COSTS, IQM, Group, Kind, Row, compare, in_words
from r3lbench.stats import Estimate

PROG = "r3lbench leaderboard"
NOT_SEPARABLE = "not separable"
_ROOMY = 140
"""Columns of a terminal on which intervals stand beside their values."""
_TITLE = "# Leaderboard"
_HAPPENINGS = {
    "updates": "updates",
    "no_signal": "groups without signal",
    "retry_rate": "retries per attempt",
    "reflection_valid": "reflections valid",
    "retry_improved": "retries improved",
    "pivot_share": "retries begin at",
    "kl_to_start": "KL to the start",
}
"""Titles of ``LEARNING``."""
_READING = """\
Means over seeds and tasks, first attempts only: no reflection, no retry and no memory while measuring. Brackets hold
the 95 % interval for other seeds and other tasks of the kind (docs/statistics.md); with one seed it speaks of the
choice of tasks only. Differences are paired by seed and task. The change in training is *not separable* from none
where its interval holds 0; two methods are where the p-value, corrected for all comparisons of the table (Holm), is not
below 5 %, and always with a single seed. *P(better)* is how probably a run of the method beats one of the reference on
a task, ties counted half. Costs are means over seeds, reflections and retries counted, evaluation not. *sees* lists
what agent and reflector are given beyond observations. The last table of a group says how its methods learned, over all
updates: groups in which every attempt has the same return teach nothing, *retries improved* beat the attempt they left,
*retries begin at* that share of its steps, and the divergence from the starting policy is that of the last update."""


class LeaderboardConfig(Strict):
    """Settings of a leaderboard."""

    paths: tuple[str, ...] = ("results",)
    """Folders that hold run folders, at any depth. May stand without the flag."""
    mode: Literal["sampled", "greedy"] = "sampled"
    """How actions were drawn in the evaluation that is compared."""
    measure: Literal["score", "success"] = "score"
    """What rows are sorted by and differences are of; the CSV file has both."""
    reference: str = "grpo"
    """Method that the others are compared with."""
    markdown: str | None = None
    """Write the tables to this file."""
    csv: str | None = None
    """Write all numbers to this file."""
    quiet: bool = False
    """Print nothing but errors."""


@dataclass(frozen=True)
class Grid:
    """A table in words; numbers stand on the right, ``texts`` on the left."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[str] = frozenset({"method", "agent", "sees"})

    @property
    def justified(self) -> list[str]:
        """``"left"`` or ``"right"`` for every column."""
        return ["left" if column in self.texts else "right" for column in self.columns]


def parse(argv: Sequence[str]) -> LeaderboardConfig:
    """A leaderboard's configuration from flags."""
    parsed: LeaderboardConfig = configuration.parse(
        LeaderboardConfig,
        argv,
        names={},
        prog=PROG,
        description="Compare recorded runs on equal tasks, from equal policies, at equal budgets.",
        positional="paths",
    )
    return parsed


def run(config: LeaderboardConfig) -> list[Group]:
    """Read, compare, print, write.

    Raises:
        BadData: There is nothing to compare, or a file in the way is not ours to overwrite.
    """
    console = make_console(quiet=config.quiet)
    findings = read_below(config.paths)
    for _, problem in findings.damaged:
        print(f"{PROG}: left out: {' '.join(problem.split())}", file=sys.stderr)
    for record in findings.records:
        for path in (*absolute_paths(record.config), *absolute_paths(record.manifest.policy.name)):
            print(f"{PROG}: {record.path} names a file of one machine: {path}; do not publish it so", file=sys.stderr)
    if not findings.records and not findings.incomplete:
        found = "only damaged runs" if findings.damaged else "no run folder (with a manifest.json)"
        raise BadData(f"{found} below {', '.join(config.paths)}")
    groups, left_out = compare(findings.records, mode=config.mode, measure=config.measure, reference=config.reference)
    notes = notes_on(findings, left_out)
    page = markdown(groups, notes, config.measure)
    if config.markdown is not None:
        _write(Path(config.markdown), page, _TITLE)
    if config.csv is not None:
        _write(Path(config.csv), table_of_all(groups), ",".join(_FIELDS[:_ALWAYS]))
    if console.is_terminal:
        show(console, groups, notes, config.measure)
    elif not config.quiet:
        sys.stdout.write(page)
    return groups


def notes_on(findings: Findings, left_out: Iterable[str]) -> list[str]:
    """One line about every run that is in no table."""
    return [
        *(f"{path}: incomplete, {updates} updates so far" for path, updates in findings.incomplete),
        *(f"{path}: damaged" for path, _ in findings.damaged),
        *left_out,
    ]


# Words


def heading(group: Group) -> str:
    """What sets the group apart, in short."""
    if group.policy is None:
        return f"{group.env}, no training"
    return f"{group.env}, policy {group.policy.name}, {budget(group)}"


def budget(group: Group) -> str:
    """The limits of a run, whichever was reached first."""
    words = [f"{limit:,} {name.replace('_', ' ')}" for name, limit in sorted(group.budget.items())]
    return " or ".join(words) or "no limit"


def description(group: Group) -> str:
    """What exactly was measured."""
    how = "the likeliest action always" if group.mode == "greedy" else f"sampled at temperature {group.temperature:g}"
    words = [
        f"Evaluated on {'all' if group.tasks == group.panel.tasks else 'the first'} {group.tasks} of "
        f"{group.panel.tasks} tasks of the split {group.split} (panel {group.panel.hash[:12]}), {how}."
    ]
    if group.options:
        words.append(f"Environment: {in_words(group.options)}.")
    if group.policy is not None:
        digest = f", weights {group.policy.digest[:12]}" if group.policy.digest else ""
        words.append(f"Policy {group.policy.name}: {_count(group.policy.parameters)} parameters{digest}.")
        options = f" with {in_words(group.agent_options)}" if group.agent_options else ""
        words.append(f"Agent {group.agent}{options}.")
    return " ".join(words)


def outcomes(group: Group, measure: str) -> Grid:
    """What the rows of a group came to."""
    trained = [row for row in group.rows if row.change is not None]
    rivals = [row for row in group.rows if row.against is not None]
    columns = ["agent" if group.policy is None else "method", "seeds", "success, %", "score"]
    if trained:
        columns.append(f"{measure}, change in training")
    if rivals:
        columns += [f"{measure} against {group.reference}", "P(better)"]
    rows = []
    for row in group.rows:
        cells = [_name(row), str(len(row.seeds)), _share(row.values["success"]), _interval(row.values["score"])]
        if trained:
            cells.append("" if row.change is None else _difference(row.change[measure], measure))
        if rivals:
            partly = f" ({row.paired} of {len(row.seeds)} seeds)" if 0 < row.paired < len(row.seeds) else ""
            if row.against is None:
                cells += ["", ""]
            else:
                against = row.against[measure]
                cells += [_difference(against, measure) + partly, f"{against.improvement.value:.2f}"]
        rows.append(tuple(cells))
    return Grid(tuple(columns), tuple(rows))


def resolution(group: Group, measure: str) -> str | None:
    """The smallest difference to the reference that the group would show; None where that is not known."""
    found = group.sensitivity.get(measure)
    if found is None:
        return None
    least = f"{100 * found.difference:.1f} points" if measure == "success" else f"{found.difference:.3f}"
    others = f"{found.comparisons} comparison{'s' if found.comparisons > 1 else ''}"
    return (
        f"With {found.seeds} seeds, {found.tasks} tasks and {others} a true difference in {measure} to "
        f"{group.reference} of {least} is found with a probability of {100 * POWER:.0f} %."
    )


def costs(group: Group) -> Grid | None:
    """What training cost and what was seen; None where nothing was trained."""
    columns = ("method", *(name.replace("_", " ") for name in COSTS), "sees")
    rows = [
        (row.label, *(_count(row.cost[name]) for name in COSTS), _privileges(row))
        for row in group.rows
        if row.cost is not None
    ]
    return Grid(columns, tuple(rows)) if rows else None


def happenings(group: Group) -> Grid | None:
    """How the methods learned; None where nothing was trained, or nothing was recorded of it."""
    rows = [(row.label, row.learning) for row in group.rows if row.learning is not None]
    told = [name for name in LEARNING if any(of[name] is not None for _, of in rows)]
    if not rows or told == ["updates"]:
        return None
    cells = [(label, *("" if of[name] is None else _spell(name, of[name]) for name in told)) for label, of in rows]
    return Grid(("method", *(_HAPPENINGS[name] for name in told)), tuple(cells))


def _spell(name: str, value: float | None) -> str:
    assert value is not None
    return f"{value:.0f}" if name == "updates" else f"{value:.3f}" if name == "kl_to_start" else f"{100 * value:.0f} %"


def _name(row: Row) -> str:
    return f"{row.label} ({row.kind})" if row.kind in (Kind.FLOOR, Kind.CEILING) else row.label


def _privileges(row: Row) -> str:
    return "; ".join(f"{who}: {', '.join(what) or 'nothing'}" for who, what in sorted(row.sees.items()))


def _interval(of: Estimate) -> str:
    return f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]"


def _share(of: Estimate) -> str:
    return f"{100 * of.value:.1f} [{100 * of.low:.1f}, {100 * of.high:.1f}]"


def _difference(of: Estimate, measure: str) -> str:
    if measure == "success":
        words = f"{100 * of.value:+.1f} [{100 * of.low:+.1f}, {100 * of.high:+.1f}]"
    else:
        words = f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"
    return words if of.separable else f"{words}, {NOT_SEPARABLE}"


def _count(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{value:,.0f}"


# Pages


def markdown(groups: Sequence[Group], notes: Sequence[str], measure: str) -> str:
    """The whole page."""
    parts = [_TITLE, _READING]
    for group in groups:
        parts += [f"## {heading(group)}", description(group), _markdown_table(outcomes(group, measure))]
        least = resolution(group, measure)
        parts += [] if least is None else [least]
        parts += [_markdown_table(grid) for grid in (costs(group), happenings(group)) if grid is not None]
    if notes:
        parts += ["## In no table", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(grid: Grid) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (grid.columns, *grid.rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(grid.columns))]

    left = [side == "left" for side in grid.justified]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if first else cell.rjust(width)
            for cell, width, first in zip(row, widths, left, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rules = [
        ":" + "-" * (width - 1) if first else "-" * (width - 1) + ":" for width, first in zip(widths, left, strict=True)
    ]
    return "\n".join([line(cells[0]), line(rules), *(line(row) for row in cells[1:])])


def show(console: Console, groups: Sequence[Group], notes: Sequence[str], measure: str) -> None:
    """The same on a terminal."""
    for group in groups:
        console.print(Text(heading(group), style="bold"))
        console.print(Text(description(group), style="dim"))
        least = resolution(group, measure)
        if least is not None:
            console.print(Text(least, style="dim"))
        for grid in (outcomes(group, measure), costs(group), happenings(group)):
            if grid is not None:
                console.print(_rich_table(grid, stacked=console.width < _ROOMY))
    for note in notes:
        console.print(Text(note, style="yellow"))


def _rich_table(grid: Grid, *, stacked: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, side in zip(grid.columns, grid.justified, strict=True):
        table.add_column(column, justify="left" if side == "left" else "right", overflow="fold")
    for row in grid.rows:
        table.add_row(*(_styled(cell, stacked=stacked) for cell in row))
    return table


def _styled(cell: str, *, stacked: bool) -> Text:
    """A difference in colour if it is one; an interval recedes, or stands below what it belongs to."""
    words = cell.replace(f", {NOT_SEPARABLE}", f"\n{NOT_SEPARABLE}")
    text = Text(words.replace(" [", "\n[") if stacked else words)
    if NOT_SEPARABLE in cell:
        text.stylize("dim")
    elif cell.startswith(("+", "-")):
        text.stylize("green" if cell.startswith("+") else "red")
    elif "[" in cell:
        text.stylize("dim", cell.index("["))
    return text


_ENDS = ("", "_low", "_high")
_FIELDS = (
    *("environment", "options", "split", "panel", "tasks", "mode", "temperature"),
    *("policy", "weights", "agent", "agent_options", "budget"),
    *("kind", "name", "switches", "seeds"),
    *(f"{measure}{part}{end}" for measure in MEASURES for part in ("", "_change", "_difference") for end in _ENDS),
    *(f"{name}{end}" for name in (IQM, *(f"{measure}_improvement" for measure in MEASURES)) for end in _ENDS),
    *(f"{measure}_p" for measure in MEASURES),
    *("reference", "paired_seeds", *COSTS, *LEARNING, "sees"),
)

_ALWAYS = 7
"""So many columns begin the file of every version, and tell it from other files."""


def table_of_all(groups: Sequence[Group]) -> str:
    """All numbers as CSV: one line a row, with what its group has in common."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        for row in group.rows:
            writer.writerow(_line(group, row))
    return buffer.getvalue()


def _line(group: Group, row: Row) -> dict[str, object]:
    policy = group.policy
    line: dict[str, object] = {
        "environment": group.env,
        "options": in_words(group.options),
        "split": group.split,
        "panel": group.panel.hash,
        "tasks": group.tasks,
        "mode": group.mode,
        "temperature": f"{group.temperature:g}",
        "policy": "" if policy is None else policy.name,
        "weights": "" if policy is None else policy.digest,
        "agent": group.agent,
        "agent_options": in_words(group.agent_options),
        "budget": budget(group) if policy is not None else "",
        "kind": row.kind.value,
        "name": row.name,
        "switches": in_words(row.switches),
        "seeds": " ".join(str(seed) for seed in row.seeds),
        "reference": group.reference if row.against is not None else "",
        "paired_seeds": row.paired if row.against is not None else "",
        "sees": _privileges(row),
    }
    for measure in MEASURES:
        for part, found in (("", row.values), ("_change", row.change), ("_difference", row.against)):
            if found is not None:
                line |= _ends(f"{measure}{part}", found[measure])
        if row.against is not None:
            of = row.against[measure]
            line |= _ends(f"{measure}_improvement", of.improvement)
            line[f"{measure}_p"] = "" if of.corrected is None else f"{of.corrected:.6f}"
    line |= _ends(IQM, row.values[IQM])
    if row.cost is not None:
        line |= {name: f"{row.cost[name]:.1f}" for name in COSTS}
    if row.learning is not None:
        line |= {name: f"{value:.4f}" for name, value in row.learning.items() if value is not None}
    return line


def _ends(name: str, of: Estimate) -> dict[str, str]:
    return {f"{name}{end}": f"{value:.6f}" for end, value in zip(_ENDS, (of.value, of.low, of.high), strict=True)}


def _write(path: Path, text: str, beginning: str) -> None:
    """Write a file anew, or over one of the same kind.

    Raises:
        BadData: Something else is there, or it cannot be written.
    """
    try:
        if path.exists() and not path.read_text(encoding="utf-8").startswith(beginning):
            raise BadData(f"{path} exists and was not made by this command; nothing was overwritten")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be written: {error}") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    try:
        run(parse(sys.argv[1:] if argv is None else argv))
    except R3LBenchError as error:
        return configuration.fail(error, PROG)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
