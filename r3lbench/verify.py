"""``python -m r3lbench.verify RUN...``: is a record what it says?

Every episode is played again, every state of every tree is gone to, every group is explored again by its method with
the model's recorded replies, and what the record says of all this is recomputed. docs/verify.md says how far that goes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field
from rich.console import Console
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.checking import check_evaluation, check_manifest, check_result
from r3lbench.config import Strict
from r3lbench.console import counting, make_console
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.files import make_room, to_json, write_atomic
from r3lbench.opening import Record, World, course_of, opened, read
from r3lbench.recording import SEAL, RunFolder, revision
from r3lbench.results import run_folders
from r3lbench.tracing import Rehearsed, check_metrics, check_trees, tree_of
from r3lbench.verdict import FORMAT, MOST, Check, Verdict, Verification, check_seal

PROG = "r3lbench verify"
NAMES = ("seal", "manifest", "evaluation", "result", "metrics", "trees", "method")
"""Checks, in the order in which they are told."""
STATUS = {Verdict.VERIFIED: 0, Verdict.FAILED: 1, Verdict.OPEN: 3}
"""Exit status; 2 is for a command that makes no sense."""
_MARKS = {Verdict.VERIFIED: ("✓", "green"), Verdict.FAILED: ("✗", "bold red"), Verdict.OPEN: ("?", "yellow")}

with warnings.catch_warnings():
    # The flag is --json, like that of the other commands; pydantic keeps a deprecated method of that name.
    warnings.simplefilter("ignore", UserWarning)

    class VerifyConfig(Strict):
        """Settings of a verification."""

        runs: tuple[str, ...] = ()
        """Folders of runs and evaluations, or folders that hold such. May stand without the flag."""
        tasks: int | None = Field(None, ge=1)
        """Have a quick look: play the first so many tasks of the evaluation only, and leave trees aside; what is not
        looked at counts as not verified. All if None."""
        ask_outside: bool = False
        """Also play environments with recorded settings that may ask somebody outside, such as a judge's server, in
        your name and with your keys."""
        write: bool = False
        """Lay verification.json beside every record that is sealed; the leaderboard reads it."""
        json: str | None = None  # type: ignore[assignment]
        """Write all findings to this file."""
        quiet: bool = False
        """Print nothing but errors."""


def parse(argv: Sequence[str]) -> VerifyConfig:
    """A verification's configuration from flags."""
    parsed: VerifyConfig = configuration.parse(
        VerifyConfig,
        argv,
        names={},
        prog=PROG,
        description="Play recorded runs again, recompute what they say, and report every difference.",
        positional="runs",
    )
    return parsed


def run(config: VerifyConfig) -> list[Verification]:
    """Verify, print, write.

    Raises:
        R3LBenchError: There is nothing to verify, or a file in the way is not ours to overwrite.
    """
    console = make_console(quiet=config.quiet)
    if not config.runs:
        raise BadConfig("name the folder of a run, e.g. r3lbench verify runs/webshop-r3l-tiny-s0")
    if config.write and config.tasks is not None:
        raise BadConfig("--write is for whole verifications; leave out --tasks")
    folders = [RunFolder(path) for path in sorted(run_folders(config.runs))]
    if not folders:
        raise BadConfig(f"no run folder (with a manifest.json) below {', '.join(config.runs)}")
    file = None if config.json is None else Path(config.json)
    if file is not None:
        make_room(file, FORMAT)
    found = []
    for folder in folders:
        found.append(verify(folder, console, tasks=config.tasks, ask_outside=config.ask_outside))
        show(console, found[-1])
        if config.write and (folder.path / SEAL).is_file():
            found[-1].write()
    if len(found) > 1:
        count = {verdict: sum(one.verdict is verdict for one in found) for verdict in Verdict}
        console.print(Text(", ".join(f"{number} {verdict}" for verdict, number in count.items() if number)))
    if file is not None:
        runs = [{"run": one.folder.path.as_posix(), **one.to_json()} for one in found]
        write_atomic(file, to_json({"format": FORMAT, "runs": runs}, indent=2))
    return found


def verify(folder: RunFolder, console: Console, *, tasks: int | None = None, ask_outside: bool = False) -> Verification:
    """Answer all questions about a record; the other arguments are settings of ``VerifyConfig``."""
    checks = {name: Check(name) for name in NAMES} | {"seal": check_seal(folder)}
    record = read(folder, checks)
    if record is None:
        return Verification(folder, tuple(checks.values()))
    try:
        with opened(record, checks["manifest"], ask_outside=ask_outside) as world:
            _check(record, world, checks, console, tasks)
    except R3LBenchError as error:
        # A judge that does not answer, say. The other records are still to be looked at.
        for check in checks.values():
            check.cannot = check.cannot or ("" if check.said else str(error))
    return Verification(folder, tuple(checks.values()), record.manifest.revision)


def _check(
    record: Record, world: World | None, checks: Mapping[str, Check], console: Console, tasks: int | None
) -> None:
    course = course_of(record)
    recorded = record.method is not None and (record.folder.path / "trees").is_dir()
    trees = recorded and tasks is None
    episodes = len({(line.task, line.actions) for line in [*(record.episodes or ()), *(record.drafts or ())]})
    groups = sum(len(line.tasks) for line in record.updates or () if trees and tree_of(record, line).is_file())
    rehearsed: Mapping[int, Rehearsed] = {}
    check_manifest(checks["manifest"], record, world)
    if world is None:
        for name in ("evaluation", "metrics", "trees", "method"):
            checks[name].cannot = checks["manifest"].cannot or "its settings make no environment here"
    with counting(console, str(record.folder.path), episodes + groups) as tick:
        attempts = check_evaluation(checks["evaluation"], record, course, world, tick, first=tasks)
        if trees:
            rehearsed = check_trees(checks["trees"], checks["method"], record, world, tick)
    check_result(checks["result"], record, course, attempts)
    check_metrics(checks["metrics"], record, course, world, rehearsed)
    for name in ("metrics", "trees", "method"):
        if record.method is None:
            checks[name].absent = "nothing was trained"
        elif name != "metrics" and not recorded:
            checks[name].absent = "not in this record"
        elif name != "metrics" and not trees:
            checks[name].cannot = "trees were not asked for"


def show(console: Console, found: Verification) -> None:
    """A line per check, and the differences."""
    console.print(Text.assemble((str(found.folder.path), "bold"), ": ", (found.verdict, _MARKS[found.verdict][1])))
    for check in found.checks:
        mark, style = ("-", "dim") if check.absent else _MARKS[check.verdict]
        cannot = f"cannot be checked here: {check.cannot}" if check.cannot else ""
        words = "; ".join(filter(None, [check.said, check.absent, cannot, *check.notes]))
        console.print(Text.assemble("  ", (mark, style), f" {check.name:<11}", words))
        for one in check.differences[:MOST]:
            console.print(Text.assemble("      ", (one.place, "bold"), f": {one.words}"), soft_wrap=True)
        if len(check.differences) > MOST:
            console.print(f"      and {len(check.differences) - MOST:,} more")
    if found.verdict is Verdict.FAILED and found.made_at != (here := revision()):
        console.print(f"  made at revision {found.made_at}, verified at {here}: what changed in between differs, too")


@entry_point(PROG)
def main(argv: Sequence[str]) -> int:
    """Verify recorded runs."""
    return STATUS[Verdict.of([one.verdict for one in run(parse(argv))])]


if __name__ == "__main__":
    raise SystemExit(main())
