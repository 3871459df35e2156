"""Runs in processes of their own, some of which are killed.

Importing takes seconds and a run of the toy environment one, so a server imports once and forks a child for every run.
A child is a process like any other: it has its own memory and dies alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.interruptions import watch

ROOT = Path(__file__).parents[2]


class Processes:
    """The side of the tests."""

    def __init__(self, logs: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._logs = logs
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.processes"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def run(
        self, arguments: Sequence[str], *, folder: Path, at: int | None = None, after: float | None = None
    ) -> tuple[int, list[str]]:
        """Carry out ``r3lbench run`` with ``arguments``.

        Args:
            arguments: Its command line.
            folder: Where changes to files are counted.
            at: Die by SIGKILL before this change, from 0.
            after: Be killed by SIGKILL after so many seconds.

        Returns:
            The exit status (negative: of which signal it died) and the changes made, as ``"<event> <path>"``.
        """
        self._count += 1
        log = self._logs / f"{self._count}.log"
        order = {"arguments": list(arguments), "folder": str(folder), "at": at, "after": after, "log": str(log)}
        assert self._server.stdin is not None and self._server.stdout is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        status = int(self._server.stdout.readline())
        assert status in (0, -signal.SIGKILL), log.read_text()
        changes = log.with_suffix(".changes")
        return status, changes.read_text().splitlines() if changes.exists() else []

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


def record(run: Path) -> dict[str, bytes]:
    """What two equal runs must have in common, byte for byte: measures, trees, weights, and the optimiser's state."""
    kept = ("metrics.jsonl", "evaluation.jsonl", "trees/*", "policy/*", "checkpoints/*/*.safetensors")
    files = sorted(file for pattern in kept for file in run.glob(pattern))
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def _child(order: dict[str, Any]) -> int:
    import r3lbench.run

    log = Path(order["log"])
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    folder, changes = Path(order["folder"]), log.with_suffix(".changes").open("w", buffering=1)
    watched = watch(folder, order["at"], lambda: os.kill(os.getpid(), signal.SIGKILL))
    watched.tell = lambda event, path: print(event, path.relative_to(folder), file=changes)
    return r3lbench.run.main(order["arguments"])


def _serve() -> None:
    import transformers

    import r3lbench.run
    import tests.toy

    # Named, so that they are imported here and not in every child.
    _ = transformers.LlamaForCausalLM, transformers.PreTrainedTokenizerFast, r3lbench.run, tests.toy
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 70
            try:
                status = _child(order)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        deadline = time.monotonic() + order["after"] if order["after"] is not None else None
        finished, status = os.waitpid(child, 0 if deadline is None else os.WNOHANG)
        while not finished:
            if deadline is not None and time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                deadline = None
            time.sleep(0.002)
            finished, status = os.waitpid(child, os.WNOHANG)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
