"""``python -m r3lbench.timings RUN...``: where the time of recorded runs went, phase by phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from r3lbench import config as configuration
from r3lbench import phases
from r3lbench.config import Strict
from r3lbench.console import make_console, phase_table
from r3lbench.entry import entry_point
from r3lbench.errors import BadCheckpoint, BadConfig
from r3lbench.phases import Path, Seconds, Told
from r3lbench.recording import RunFolder
from r3lbench.results import run_folders, validated

PROG = "r3lbench timings"
UPDATE = ("explore", "learn")
"""What an update consists of; the other phases measure it and keep it."""


class TimingsConfig(Strict):
    """Which runs, and what of them."""

    runs: tuple[str, ...] = ()
    """Folders of runs, or folders that hold such. May stand without the flag."""
    per_update: bool = False
    """Exploring and learning alone, the mean of all updates."""
    least: float = Field(0.001, ge=0, lt=1)
    """Leave out what is a smaller share of the whole."""
    markdown: bool = False
    """Print Markdown."""
    quiet: bool = False
    """Print nothing but errors."""


class _Line(BaseModel):
    """What is read of a line of ``timings.jsonl``, and of ``result.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    phases: Told = {}


def parse(argv: Sequence[str]) -> TimingsConfig:
    """The command's configuration from flags."""
    parsed: TimingsConfig = configuration.parse(
        TimingsConfig,
        argv,
        names={},
        prog=PROG,
        description="Show where the time of recorded runs went, phase by phase.",
        positional="runs",
    )
    return parsed


def spent(run: RunFolder, *, per_update: bool = False) -> dict[Path, Seconds]:
    """What a run spent, by phase; of one that is not complete, until the end of its last update.

    Args:
        run: The run.
        per_update: Exploring and learning alone, the mean of all updates.

    Raises:
        BadCheckpoint: Its record is damaged, or says nothing of phases.
    """
    lines: list[_Line] = validated(list[_Line], run.timings(), run.path / "timings.jsonl")
    if run.result is not None and not per_update:
        lines = [validated(_Line, run.result, run.path / "result.json")]
    told = [phases.from_json(line.phases) for line in lines]
    total = phases.total(told)
    if per_update:
        total = {path: Seconds().plus(of, 1 / len(told)) for path, of in total.items() if path[0] in UPDATE}
    if not total:
        raise BadCheckpoint(f"{run.path} says nothing of phases: no update was recorded, or by an earlier version")
    return total


def markdown(total: Mapping[Path, Seconds], *, least: float) -> str:
    """A table in Markdown; the arguments are those of ``phase_table``."""
    rows = ["| phase | share | wall, s | CPU, s |", "|:--|--:|--:|--:|"]
    for span in phases.spans(total):
        if span.share >= least:
            name, of = ".".join(span.path), span.spent
            rows.append(f"| {name} | {100 * span.share:.1f} % | {of.wall:,.2f} | {of.cpu:,.2f} |")
    return "\n".join(rows)


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Show where time went."""
    config = parse(argv)
    folders = [RunFolder.open(path) for path in sorted(run_folders(config.runs))]
    if not folders:
        raise BadConfig("name the folder of a run, e.g. r3lbench timings runs/webshop-r3l-tiny-s0")
    console = make_console(quiet=config.quiet)
    for run in folders:
        total = spent(run, per_update=config.per_update)
        if config.markdown:
            console.print(f"{run.path}\n\n{markdown(total, least=config.least)}\n", markup=False, soft_wrap=True)
        else:
            title = f"{run.path}{', mean of its updates' * config.per_update}"
            console.print(phase_table(title, total, least=config.least, plain=console.options.ascii_only))


if __name__ == "__main__":
    raise SystemExit(main())
