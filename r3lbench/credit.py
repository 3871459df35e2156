"""``python -m r3lbench.credit RUN...``: was the right step blamed? Answered by going back to the recorded states.

How often a reflection names the step at which a task was lost, and how well the credit that a method gave to steps
ranks with what they truly changed. docs/credit.md defines every number. The same records give the same bytes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.assessment import Assessment, Judged, Measure, assess, judge
from r3lbench.config import Strict
from r3lbench.console import counting, make_console
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.files import make_room, to_json, write_atomic
from r3lbench.revisiting import PastRun
from r3lbench.traces import RecordedGroup, read_groups, recorded_updates
from r3lbench.valuing import BestValues, PolicyValues, Value, Valuer, choose

PROG = "r3lbench credit"
FORMAT = "r3lbench-credit-1"

with warnings.catch_warnings():
    # The flag is --json, like the leaderboard's --csv; pydantic keeps a deprecated method of that name.
    warnings.simplefilter("ignore", UserWarning)

    class CreditConfig(Strict):
        """Settings of a measurement."""

        runs: tuple[str, ...] = ()
        """Folders of runs, finished or under way. May stand without the flag."""
        value: Literal["auto", "exact", "expert", "policy"] = "auto"
        """What a state is worth. exact: the best score within reach, where the environment knows it; expert: what its
        expert reaches from there; policy: the mean return of the trained policy from there; auto: the first that there
        is."""
        rollouts: int = Field(8, ge=1)
        """Continuations sampled from each state for --value policy."""
        updates: str | None = None
        """Which updates, e.g. 1,10,20; all if None."""
        every: int | None = Field(None, ge=1)
        """Of the updates, those that are multiples of this number."""
        groups: int | None = Field(None, ge=1)
        """Of every update so many groups, the first in the run's own shuffled order; all if None."""
        json: str | None = None  # type: ignore[assignment]
        """Write all numbers to this file."""
        threads: int = Field(0, ge=0)
        """CPU threads of the model for --value policy; 0: PyTorch's choice."""
        quiet: bool = False
        """Print nothing but errors."""


@dataclass(frozen=True)
class Measured:
    """A run and what came out.

    Attributes:
        path: Its folder, as given.
        env: Versioned environment name.
        method: Name, and the switches that are not the default.
        seed: Of the run.
        value: What states were valued by.
        rollouts: Continuations from each state, if sampled.
        updates: By number.
        whole: All of these updates together.
    """

    path: str
    env: str
    method: str
    seed: int
    value: Value
    rollouts: int | None
    updates: Mapping[int, Assessment]
    whole: Assessment

    def to_json(self) -> dict[str, Any]:
        """As written to a file."""
        return {
            "run": self.path,
            "env": self.env,
            "method": self.method,
            "seed": self.seed,
            "value": self.value.value,
            "rollouts": self.rollouts,
            "updates": [{"update": update, **of.to_json()} for update, of in self.updates.items()],
            "whole": self.whole.to_json(),
        }


def parse(argv: Sequence[str]) -> CreditConfig:
    """The configuration from flags."""
    parsed: CreditConfig = configuration.parse(
        CreditConfig,
        argv,
        names={},
        prog=PROG,
        description="Measure on recorded runs whether reflections and credit find the steps that mattered.",
        positional="runs",
    )
    return parsed


def run(config: CreditConfig) -> list[Measured]:
    """Measure, print, write.

    Raises:
        R3LBenchError: Something a user can mend.
    """
    console = make_console(quiet=config.quiet)
    if not config.runs:
        raise BadConfig("name the folder of a run, e.g. r3lbench credit runs/webshop-r3l-tiny-s0")
    file = None if config.json is None else Path(config.json)
    if file is not None:
        make_room(file, FORMAT)
    # All are looked at before any is measured, which may take long.
    chosen = [(one := PastRun.open(Path(path)), choice(config, one)) for path in config.runs]
    measured = [measure(one, updates, config, console) for one, updates in chosen]
    if file is not None:
        write_atomic(file, to_json({"format": FORMAT, "runs": [one.to_json() for one in measured]}, indent=2))
    show(console, measured)
    return measured


def measure(of: PastRun, updates: Sequence[int], config: CreditConfig, console: Console) -> Measured:
    """Go back to the states of one run.

    Raises:
        R3LBenchError: Its record is damaged, or does not lead to the same states here.
    """
    groups = {update: list(islice(read_groups(of.folder, update), config.groups)) for update in updates}
    tasks = [group.task for read in groups.values() for group in read]
    if not tasks:
        raise R3LBenchError(f"{of.path}: these updates hold no group")
    judged: dict[int, list[Judged]] = {}
    with closing(of.environments()) as envs:
        with envs.borrow() as env:
            of.check_tasks(env, tasks)
            how = choose(env, tasks[0], None if config.value == "auto" else Value(config.value))
        valuer: Valuer = BestValues(envs, how)
        if how is Value.POLICY:
            valuer = PolicyValues(of.rollout(envs, threads=config.threads), config.rollouts)
        with counting(console, str(of.path), len(tasks)) as tick:
            for update, read in groups.items():
                judged[update] = [_judged(group, valuer, of.path, tick) for group in read]
    return Measured(
        path=str(of.path),
        env=str(of.folder.manifest["env"]),
        method=of.method,
        seed=of.made.seed,
        value=how,
        rollouts=config.rollouts if how is Value.POLICY else None,
        updates={update: assess(found) for update, found in judged.items()},
        whole=assess([group for found in judged.values() for group in found]),
    )


def _judged(group: RecordedGroup, valuer: Valuer, path: Path, tick: Callable[[], None]) -> Judged:
    try:
        judged = judge(group, valuer(group))
    except R3LBenchError as error:
        raise R3LBenchError(f"{path}: {error}") from error
    tick()
    return judged


def choice(config: CreditConfig, of: PastRun) -> list[int]:
    """The updates to look into.

    Raises:
        BadConfig: One of them is not recorded, or none is left.
    """
    present = chosen = recorded_updates(of.folder)
    if config.updates is not None:
        if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", config.updates):
            raise BadConfig(f"--updates {config.updates}: give numbers with commas between them, e.g. 1,10,20")
        chosen = sorted({int(update) for update in config.updates.split(",")})
        if missing := [update for update in chosen if update not in present]:
            raise BadConfig(
                f"--updates: {of.path} has recorded the updates {present[0]} to {present[-1]}; update {missing[0]} is "
                "not among them"
            )
    if config.every is not None:
        chosen = [update for update in chosen if update % config.every == 0]
        if not chosen:
            raise BadConfig(f"--every {config.every}: no update of {of.path} is a multiple of it")
    return chosen


# Words


PIVOT_COLUMNS = (("exact", "exact, %"), ("within_one", "within 1, %"), ("in_time", "in time, %"), ("offset", "k - k*"))
CREDIT_COLUMNS = (
    ("pooled", "rank, pooled"),
    ("in_groups", "in groups"),
    ("in_attempts", "in attempts"),
    ("sign", "sign, %"),
    ("decisive", "decisive punished, %"),
    ("innocent", "innocent punished, %"),
)
_SHARES = {"exact", "within_one", "in_time", "sign", "decisive", "innocent"}


def show(console: Console, measured: Sequence[Measured]) -> None:
    """Two tables: what reflections found, and whom credit blamed. One run is shown by updates, several by run."""
    if len(measured) == 1:
        (only,) = measured
        rows = [(str(update), of) for update, of in only.updates.items()] if len(only.updates) > 1 else []
        rows.append(("all" if rows else ", ".join(map(str, only.updates)), only.whole))
        head, title = "update", f"{only.method} on {only.env}, seed {only.seed}, {_by(only)}: {only.path}"
    else:
        rows = [(f"{one.method} {one.path}", one.whole) for one in measured]
        head, title = "run", "; ".join(dict.fromkeys(f"{one.env}, {_by(one)}" for one in measured))
    tables = {"Credit of steps against their true advantages": _credits(head, rows)}
    if any(of.counts["reflections"] for _, of in rows):
        tables = {"Pivots of failed attempts [95 % interval] (by chance)": _pivots(head, rows)} | tables
    console.print(Text(title, style="bold"))
    for name, lines in tables.items():
        table = _table(name, lines, stacked=False)
        fits = console.measure(table).maximum <= console.width
        console.print(table if fits else _table(name, lines, stacked=True))
    if unvalued := sum(of.counts["unvalued"] for _, of in rows[-1:]):
        console.print(Text(f"{unvalued} attempts have a state whose value is not known, and are left out"))


def _by(measured: Measured) -> str:
    return f"{measured.value} values" + (f" of {measured.rollouts} rollouts" if measured.rollouts else "")


def _pivots(head: str, rows: Sequence[tuple[str, Assessment]]) -> list[list[str]]:
    lines = [[head, "failed", "reflections", "invalid", "no step", *(title for _, title in PIVOT_COLUMNS)]]
    for name, of in rows:
        counts = [of.counts["failed"], of.counts["reflections"], of.counts["invalid"], of.counts["without_step"]]
        cells = [_cell(kind, of.pivots[kind], of.chance[kind]) for kind, _ in PIVOT_COLUMNS]
        lines.append([name, *(f"{count:,}" for count in counts), *cells])
    return lines


def _credits(head: str, rows: Sequence[tuple[str, Assessment]]) -> list[list[str]]:
    lines = [[head, "steps", *(title for _, title in CREDIT_COLUMNS)]]
    for name, of in rows:
        lines.append([name, f"{of.counts['steps']:,}", *(_cell(kind, of.credit[kind]) for kind, _ in CREDIT_COLUMNS)])
    return lines


def _cell(kind: str, of: Measure, chance: float | None = None) -> str:
    if of.value is None or of.low is None or of.high is None:
        return "-"
    scale, form = (100, ".1f") if kind in _SHARES else (1, "+.2f")
    words = f"{scale * of.value:{form}} [{scale * of.low:{form}}, {scale * of.high:{form}}]"
    return words if chance is None else f"{words} ({scale * chance:{form}})"


def _table(title: str, lines: Sequence[Sequence[str]], *, stacked: bool) -> Table:
    """Intervals stand beside their values, or below them."""
    table = Table(title=Text(title), title_justify="left", title_style="", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(lines[0]):
        table.add_column(column, justify="left" if position == 0 else "right", overflow="fold")
    for line in lines[1:]:
        cells = [Text(cell.replace(" [", "\n[").replace("] (", "]\n(") if stacked else cell) for cell in line]
        for cell in cells:
            if "[" in cell.plain:
                cell.stylize("dim", cell.plain.index("["))
        table.add_row(*cells)
    return table


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Measure recorded runs."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
