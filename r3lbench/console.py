"""What a person sees while a command works: tables and bars on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from pydantic import BaseModel
from rich import box
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from r3lbench.phases import Path, Seconds, spans


def make_console(*, quiet: bool) -> Console:
    """A console on standard output; lines are never wrapped when it is not a terminal."""
    console = Console(quiet=quiet, highlight=False)
    if not console.is_terminal:
        console = Console(quiet=quiet, highlight=False, width=200, no_color=True)
    return console


_BAR = 40
"""Columns of a bar that stands for the whole."""


class RunProgress:
    """Shows a training run.

    Args:
        console: Where.
    """

    _COLUMNS = (
        ("update", 6),
        ("success", 7),
        ("score", 6),
        ("retries", 7),
        ("retry+", 6),
        ("valid", 6),
        ("loss", 8),
        ("entropy", 7),
        ("tokens", 9),
        ("env steps", 9),
        ("seconds", 7),
    )

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Progress | None = None
        self._headed = False
        self._task: Any = None

    def __enter__(self) -> RunProgress:
        """Start the bars on a terminal."""
        if self.console.is_terminal and not self.console.quiet:
            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
            # From the start on, so that a long first update is seen to be under way.
            self._task = self._bars.add_task("training, % of the budget", total=100)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bars."""
        if self._bars is not None:
            self._bars.stop()

    def evaluating(self, update: int, mode: str, tasks: int) -> Callable[[], None]:
        """Show a bar over the panel's tasks."""
        if self._bars is None:
            return lambda: None
        bars = self._bars
        bar = bars.add_task(f"evaluating ({mode}) after update {update}", total=tasks)
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1
            bars.advance(bar)
            if count == tasks:
                bars.remove_task(bar)

        return tick

    def evaluated(self, update: int, mode: str, means: dict[str, float]) -> None:
        """Print the means."""
        self._headed = False
        line = (
            f"[bold]evaluation[/bold] after update {update:<4} {mode:<8} success {_share(means['success'])}   "
            f"score {means['score']:.3f}   steps {means['steps']:.1f}   invalid actions {_share(means['invalid'])}   "
            f"({means['tasks']:.0f} tasks)"
        )
        self.console.print(line)

    def updated(self, metrics: dict[str, Any], timings: dict[str, Any], spent: float) -> None:
        """Print a row, and move the bar over updates."""
        if not self._headed:
            self.console.print(Text("  ".join(name.rjust(width) for name, width in self._COLUMNS), style="dim"))
            self._headed = True
        explore, learn = metrics["explore"], metrics["learn"]
        cost = metrics["cost"]
        cells = (
            f"{metrics['update']}",
            _share(explore["success"]),
            _number(explore["score"]),
            f"{explore['retries']:.0f}",
            _share(explore["retry_improved"]),
            _share(explore["reflection_valid"]),
            f"{learn['loss']:+.4f}",
            f"{learn['entropy']:.3f}",
            f"{_total(cost, 'generated_tokens'):,}",
            f"{_total(cost, 'env_steps'):,}",
            f"{timings['explore'] + timings['learn'] + timings['record']:.1f}",
        )
        row = "  ".join(cell.rjust(width) for cell, (_, width) in zip(cells, self._COLUMNS, strict=True))
        self.console.print(row)
        if self._bars is not None:
            self._bars.update(self._task, completed=int(100 * spent))


def summary_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Group:
    """A plain table under its title; the first column is left-aligned, the others are numbers."""
    table = Table(box=box.SIMPLE_HEAD)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return Group(Text(title, style="bold"), table)


def phase_table(title: str, spent: Mapping[Path, Seconds], *, least: float, plain: bool = False) -> Group:
    """Where time went: a bar for each phase, under that of the phase which it lies in.

    Args:
        title: Above it.
        spent: By phase.
        least: Phases that are a smaller share of the whole, in [0, 1], are left out.
        plain: Draw with ASCII.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("phase", no_wrap=True)
    table.add_column("", width=_BAR, no_wrap=True, style="cyan")
    for column in ("share", "wall s", "CPU s"):
        table.add_column(column, justify="right", no_wrap=True)
    for span in spans(spent):
        if span.share >= least:
            begin, end = round(_BAR * span.begin), round(_BAR * (span.begin + span.share))
            bar = " " * begin + ("#" if plain else "█") * (end - begin)
            name = "  " * (len(span.path) - 1) + span.path[-1]
            table.add_row(name, bar, _share(span.share), f"{span.spent.wall:,.1f}", f"{span.spent.cpu:,.1f}")
    return Group(Text(title, style="bold"), table)


def settings_table(kind: str, model: type[BaseModel], defaults: Mapping[str, Any]) -> Table:
    """The flags of a plug-in.

    Args:
        kind: As in ``--method.pivotal-credit``.
        model: Its settings.
        defaults: What its name stands for, over the model's own defaults.
    """
    table = Table(title="Settings", box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("flag", no_wrap=True)
    table.add_column("default", no_wrap=True)
    table.add_column("meaning")
    for name, field in model.model_fields.items():
        if name != "name":
            default = defaults.get(name, field.get_default(call_default_factory=True))
            meaning = " ".join((field.description or "").split())
            table.add_row(f"--{kind}.{name.replace('_', '-')}", str(default), Text(meaning))
    return table


def before_after(evaluation: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """Rows of the closing table: measure, before, after, difference."""
    rows = []
    for mode in evaluation["before"]:
        before, after = evaluation["before"][mode], evaluation["after"][mode]
        for measure in ("success", "score"):
            change = after[measure] - before[measure]
            rows.append([f"{measure}, {mode}", f"{before[measure]:.3f}", f"{after[measure]:.3f}", f"{change:+.3f}"])
    return rows


@contextmanager
def counting(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that the result moves by one; nothing where the console is no terminal."""
    if console.quiet or not console.is_terminal:
        yield lambda: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        bar = bars.add_task(what, total=total)
        yield lambda: bars.advance(bar)


def working(console: Console, what: str) -> AbstractContextManager[Any]:
    """A spinner for a step that takes a while; a plain line when the console is no terminal."""
    if console.quiet:
        return nullcontext()
    if not console.is_terminal:
        console.print(Text(what))
        return nullcontext()
    return console.status(Text(what))


def _total(cost: Mapping[str, Mapping[str, int]], name: str) -> int:
    return sum(counts.get(name, 0) for purpose, counts in cost.items() if purpose != "evaluate")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
