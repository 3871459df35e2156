"""Records to be verified, and how they are read, changed and judged here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r3lbench import run as training
from r3lbench.console import make_console
from r3lbench.files import gzip_lines, to_json
from r3lbench.recording import RunFolder
from r3lbench.verdict import Verification
from r3lbench.verify import verify

TREE, EPISODES, METRICS = "trees/u000001.jsonl.gz", "evaluation.jsonl", "metrics.jsonl"
Make = Callable[..., Path]
Copy = Callable[[str], Path]


def train(make: Make, method: str, *flags: str, env: str = "toy") -> Path:
    """A short run."""
    short = ("--tasks-per-update", "2", "--budget.updates", "2", "--evaluation.tasks", "2", "--threads", "1")
    return make(training, "--method", method, "--method.group-size", "4", *short, *flags, env=env)


def verified(folder: Path, *, tasks: int | None = None) -> Verification:
    return verify(RunFolder(folder), make_console(quiet=True), tasks=tasks)


def differences(found: Verification, name: str = "") -> list[str]:
    checks = [check for check in found.checks if name in ("", check.name)]
    return [f"{one.place}: {one.words}" for check in checks for one in check.differences]


def change(folder: Path, name: str, how: Callable[[list[Any]], Any]) -> None:
    """Change what a file holds, and seal the record anew as whoever did it would."""
    values = read(folder / name)
    how(values)
    write(folder / name, values)
    RunFolder(folder).seal()


def read(file: Path) -> list[Any]:
    """What a file holds: one value, or one a line."""
    if file.suffix == ".json":
        return [json.loads(file.read_bytes())]
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def write(file: Path, values: list[Any]) -> None:
    """The reverse."""
    if file.suffix == ".json":
        file.write_bytes(to_json(values[0], indent=2))
    else:
        file.write_bytes(gzip_lines(values) if file.suffix == ".gz" else b"".join(map(to_json, values)))
