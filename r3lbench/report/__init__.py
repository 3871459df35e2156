"""``python -m r3lbench.report results -o report.html``: recorded runs as one page that opens from disk.

Leaderboard, learning curves, costs, ablations, tasks, retries, and the episode trees with what each token was worth in
training. The page needs no network and no server, and the same records give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.entry import entry_point
from r3lbench.errors import BadCheckpoint, BadConfig, BadData, MissingExtra
from r3lbench.files import write_atomic
from r3lbench.leaderboard import REFERENCE, check_reference, notes_on
from r3lbench.report.branches import Choice, collect
from r3lbench.report.curves import Past, read_past
from r3lbench.report.overall import overalls
from r3lbench.report.page import BEGINNING, Page, render
from r3lbench.report.sections import sections
from r3lbench.report.words import many
from r3lbench.results import Findings, read_below
from r3lbench.standings import compare

__all__ = ["ReportConfig", "main", "parse", "run"]

PROG = "r3lbench report"


class ReportConfig(Strict):
    """Settings of a report."""

    paths: tuple[str, ...] = ("results",)
    """Folders that hold run folders, at any depth. May stand without the flag."""
    out: str = "report.html"
    """File to write; -o for short."""
    mode: Literal["sampled", "greedy"] = "sampled"
    """How actions were drawn in the evaluation that is compared."""
    measure: Literal["score", "success"] = "score"
    """What rows are sorted by and differences are of; figures can be switched to the other."""
    reference: str = REFERENCE
    """Method that the others are compared with."""
    updates: str | None = None
    """Updates whose recorded trees are shown, e.g. 1,10,20; the first, middle and last if None."""
    groups: int = Field(2, ge=0)
    """Of each of these updates so many groups, those with retries first; 0 shows no trees."""
    steps: int = Field(10_000, ge=0)
    """Most steps of recorded trees in the page, whose size grows by about half a kilobyte with each."""
    quiet: bool = False
    """Print nothing but errors."""


def parse(argv: Sequence[str]) -> ReportConfig:
    """A report's configuration from flags."""
    parsed: ReportConfig = configuration.parse(
        ReportConfig,
        ["--out" if argument == "-o" else argument for argument in argv],
        names={},
        prog=PROG,
        description="Show recorded runs on one page that opens from disk.",
        positional="paths",
    )
    return parsed


def run(config: ReportConfig) -> Path:
    """Read, compare, write.

    Raises:
        BadConfig: No run has trees of the updates that are asked for.
        BadData: There is nothing to show, or a file in the way is not ours to overwrite.
        MissingExtra: The charts' library is not installed.
        UnknownName: The method that others are to be compared with was not run.
    """
    out, wanted = Path(config.out), _updates(config.updates)
    _check_ours(out)
    library = plotting_library()
    findings, pasts = _with_pasts(read_below(config.paths), config.mode)
    if not findings.records:
        raise BadData(f"no complete run below {', '.join(config.paths)}")
    groups, left_out = compare(findings.records, mode=config.mode, measure=config.measure, reference=config.reference)
    check_reference(groups, config.reference)
    shown = sections(groups, pasts, measure=config.measure)
    recorded = collect(shown, Choice(wanted, config.groups, config.steps))
    page = Page(
        overalls=overalls(groups, config.measure),
        sections=shown,
        recorded=recorded,
        notes=notes_on(findings, left_out),
        newest=max(record.manifest.created for record in findings.records)[:10],
        runs=len(findings.records),
        mode=config.mode,
        measure=config.measure,
        reference=config.reference,
    )
    content = render(page, library)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, content)
    except OSError as error:
        raise BadData(f"{out} cannot be written: {error}") from error
    counts = f"{many(len(findings.records), 'run')}, {many(len(recorded.groups), 'recorded tree')}"
    make_console(quiet=config.quiet).print(f"{counts}, {len(content) / 1e6:.1f} MB: {out}", markup=False)
    return out


def _with_pasts(findings: Findings, mode: str) -> tuple[Findings, dict[str, Past]]:
    """What trained runs recorded on their way; those of which it cannot be read are damaged."""
    pasts: dict[str, Past] = {}
    damaged: list[tuple[str, str]] = []
    for record in findings.records:
        if record.method is not None:
            try:
                pasts[record.path] = read_past(record, mode)
            except BadCheckpoint as error:
                damaged.append((record.path, str(error)))
    unread = {path for path, _ in damaged}
    records = tuple(record for record in findings.records if record.path not in unread)
    return Findings(records, findings.incomplete, (*findings.damaged, *damaged)), pasts


def plotting_library() -> str:
    """The source of plotly.js, which the page carries.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtra("a report's charts need plotly: pip install 'r3lbench[report]'") from error
    source: str = get_plotlyjs()
    return source


def _updates(words: str | None) -> tuple[int, ...] | None:
    if words is None:
        return None
    if not re.fullmatch(r"\d+(,\d+)*", words.replace(" ", "")):
        raise BadConfig(f"--updates {words}: give numbers of updates, e.g. 1,10,20")
    return tuple(sorted({int(number) for number in words.split(",")}))


def _check_ours(path: Path) -> None:
    """Make sure that the file is new or a report.

    Raises:
        BadData: Something else is there.
    """
    try:
        if path.exists() and not path.read_bytes().startswith(BEGINNING.encode()):
            raise BadData(f"{path} exists and was not made by this command; nothing was overwritten")
    except OSError as error:
        raise BadData(f"{path} cannot be written: {error}") from error


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Read, compare, write."""
    run(parse(argv))
