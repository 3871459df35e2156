"""``python -m r3lbench.leaderboard results``: compare recorded runs, as a table, Markdown, CSV, LaTeX and a page.

The same records give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from r3lbench import config as configuration
from r3lbench import webpage
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig, BadData, UnknownName
from r3lbench.files import write_atomic
from r3lbench.formats import LATEX, MARKDOWN, document, latex, markdown, show
from r3lbench.registry import unknown
from r3lbench.results import Findings, Record, absolute_paths, read_below
from r3lbench.spreadsheet import BEGINNING, spreadsheet
from r3lbench.standings import Group, Kind, Row, compare
from r3lbench.suites import Standing, Suite, suites
from r3lbench.verdict import Verdict

PROG = "r3lbench leaderboard"
REFERENCE = "grpo"
"""What methods are compared with unless another is asked for; where it was not run, nothing is compared."""


class LeaderboardConfig(Strict):
    """Settings of a leaderboard."""

    paths: tuple[str, ...] = ("results",)
    """Folders that hold run folders, at any depth. May stand without the flag."""
    mode: Literal["sampled", "greedy"] = "sampled"
    """How actions were drawn in the evaluation that is compared."""
    measure: Literal["score", "success"] = "score"
    """What rows are sorted by and differences are of; the CSV file has both."""
    reference: str = REFERENCE
    """Method that the others are compared with."""
    sort: Literal[
        "measure",
        "score",
        "success",
        "score_iqm",
        "area",
        "env_steps",
        "generated_tokens",
        "trained_tokens",
        "seconds",
        "name",
    ] = "measure"
    """What rows are sorted by: results from the highest on, costs from the lowest."""
    envs: tuple[str, ...] = ()
    """Show these environments only."""
    methods: tuple[str, ...] = ()
    """Show these methods only, with or without their ablations' names; numbers stay those of all that is compared."""
    policies: tuple[str, ...] = ()
    """Show what these policies were trained or evaluated from only."""
    verified_only: bool = False
    """Leave out every record that was not verified."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Of pass@k, where tasks were played more than once; powers of two if none is given."""
    markdown: str | None = None
    """Write the tables to this file."""
    csv: str | None = None
    """Write all numbers to this file."""
    latex: str | None = None
    """Write the tables to this file, for a document that uses the packages booktabs and graphicx."""
    html: str | None = None
    """Write a page that opens from disk to this file."""
    quiet: bool = False
    """Print nothing but errors."""


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
        BadConfig: More attempts at a task are asked for than any evaluation made.
        BadData: There is nothing to compare, or a file in the way is not ours to overwrite.
        UnknownName: Nothing of a name that is asked for is recorded.
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
    records, unverified = verified(findings.records) if config.verified_only else (findings.records, [])
    if config.verified_only and not records:
        raise BadData("none of these records is verified; see r3lbench verify --write")
    _check_attempts(records, config.mode, config.k)
    sort = config.measure if config.sort == "measure" else config.sort
    groups, left_out = compare(records, mode=config.mode, measure=sort, reference=config.reference, k=config.k)
    groups = within(groups, config.envs, config.policies)
    check_reference(groups, config.reference)
    groups, averaged = showing(groups, suites(groups, config.measure), config.methods)
    page = document(averaged, groups, notes_on(findings, [*unverified, *left_out]), config.measure)
    for file, text, beginning in (
        (config.markdown, markdown(page), MARKDOWN),
        (config.csv, spreadsheet(averaged, groups), BEGINNING),
        (config.latex, latex(page), LATEX),
        (config.html, webpage.webpage(page), webpage.BEGINNING),
    ):
        if file is not None:
            _write(Path(file), text, beginning)
    if console.is_terminal:
        show(console, page)
    elif not config.quiet:
        sys.stdout.write(markdown(page))
    return groups


def verified(records: Iterable[Record]) -> tuple[list[Record], list[str]]:
    """The records that were verified, and one line about each of the others."""
    kept = [record for record in records if record.verdict is Verdict.VERIFIED]
    return kept, [f"{of.path}: {of.verdict.value}" for of in records if of.verdict is not Verdict.VERIFIED]


def _check_attempts(records: Iterable[Record], mode: str, k: Sequence[int]) -> None:
    played = (len(record.episodes[mode]["steps"][0]) for record in records if mode in record.episodes)
    if k and max(k) > (most := max(played, default=0)):
        raise BadConfig(
            f"--k {max(k)}: no task was played so often in mode {mode}, the most is {most}; "
            "see r3lbench evaluate --episodes-per-task"
        )


def check_reference(groups: Iterable[Group], name: str) -> None:
    """Make sure that the method that others are compared with was run; the default need not have been.

    Raises:
        UnknownName: It was not.
    """
    if name != REFERENCE:
        _known("method", [name], (row.name for group in groups for row in group.rows if row.kind is Kind.METHOD))


def within(groups: Sequence[Group], envs: Iterable[str], policies: Iterable[str]) -> list[Group]:
    """The groups of some environments and policies; of all where none are named.

    Raises:
        UnknownName: Nothing of that name is recorded.
    """
    environments = _known("environment", envs, (name for group in groups for name in (group.name, group.env)))
    trained = _known("policy", policies, (name for group in groups for name in group.policies))
    return [
        group
        for group in groups
        if (not environments or {group.name, group.env} & environments) and (not trained or group.policies & trained)
    ]


def showing(
    groups: Sequence[Group], averaged: Sequence[Suite], methods: Iterable[str]
) -> tuple[list[Group], list[Suite]]:
    """The same with the rows of some methods only, beside what bounds them; numbers are those of the whole comparison.

    Raises:
        UnknownName: No such method is recorded.
    """
    of_groups = [row for group in groups for row in group.rows if row.kind is Kind.METHOD]
    wanted = _known("method", methods, (name for row in of_groups for name in row.called))
    if not wanted:
        return list(groups), list(averaged)

    def shown(row: Row | Standing) -> bool:
        return row.kind is not Kind.METHOD or bool(row.called & wanted)

    played = [group for group in groups if any(row.kind is Kind.METHOD and shown(row) for row in group.rows)]
    return (
        [replace(group, rows=tuple(filter(shown, group.rows))) for group in played],
        [replace(suite, standings=tuple(filter(shown, suite.standings))) for suite in averaged],
    )


def _known(kind: str, wanted: Iterable[str], recorded: Iterable[str]) -> frozenset[str]:
    names, known = frozenset(wanted), set(recorded)
    for name in sorted(names - known):
        raise UnknownName(unknown(f"recorded {kind}", name, known) if known else f"no {kind} is recorded, nor {name!r}")
    return names


def notes_on(findings: Findings, left_out: Iterable[str]) -> list[str]:
    """One line about every run that is in no table."""
    return [
        *(f"{path}: incomplete, {updates} updates so far" for path, updates in findings.incomplete),
        *(f"{path}: damaged" for path, _ in findings.damaged),
        *left_out,
    ]


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


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Read, compare, print, write."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
