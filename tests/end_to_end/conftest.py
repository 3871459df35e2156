"""Toy runs that the tests of this folder compare with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import Processes

Arguments = Callable[..., list[str]]
METHODS = {
    "grpo": ("--method", "grpo", "--method.group-size", "3"),
    # The oracle's reports make retries certain; the policy's own reflections are seldom valid, but they are sampled.
    "r3l": ("--method", "r3l", "--method.group-size", "4", "--method.reflection", "oracle"),
    "r3l on its own": ("--method", "r3l", "--method.group-size", "4"),
}


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    running = Processes(tmp_path_factory.mktemp("logs"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def arguments(toy_policy: Path) -> Arguments:
    """The command line of a short run: three updates, checkpoints before the first and after the second and third."""

    def of(method: str, out: Path, *more: str) -> list[str]:
        return [
            *("--env", "toy", "--policy", str(toy_policy), *METHODS[method], "--out", str(out), "--threads", "1"),
            *("--tasks-per-update", "2", "--budget.updates", "3", "--checkpoint-every", "2", "--evaluation.every", "2"),
            *("--quiet", *more),
        ]

    return of


class Whole:
    """Runs that nobody disturbed, one for each method."""

    def __init__(self, processes: Processes, arguments: Arguments, folder: Path) -> None:
        self._processes, self._arguments, self._folder = processes, arguments, folder
        self._changes: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def folder(self, method: str) -> Path:
        folder = self._folder / method.replace(" ", "-")
        if method not in self._changes:
            began = time.monotonic()
            status, self._changes[method] = self._processes.run(self._arguments(method, folder), folder=folder)
            assert status == 0
            self.seconds[method] = time.monotonic() - began
        return folder

    def changes(self, method: str) -> list[str]:
        """The changes to files that the run makes."""
        self.folder(method)
        return self._changes[method]


@pytest.fixture(scope="session")
def whole(processes: Processes, arguments: Arguments, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(processes, arguments, tmp_path_factory.mktemp("whole"))
