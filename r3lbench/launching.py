"""Many runs side by side: where their processes are started, and what becomes of them.

A run is a process with a folder and a log. One that was killed is resumed, one that failed is left and named, and one
that another process is still writing, as after a kill of the sweep itself, is waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from r3lbench import config as configuration
from r3lbench.errors import BadConfig, MissingExtra
from r3lbench.locking import is_locked
from r3lbench.plans import Job
from r3lbench.recording import RunFolder

_UNRECORDED = ("resume", "out", "ablate", "quiet", "config", "track", "export")
"""Settings of a run that say nothing of what it learns."""
_MOST_KILLS = 3
"""So often a run that was killed is resumed without getting any further."""
_PAUSE = 0.2
"""Seconds between two looks at the processes."""


class Process(Protocol):
    """A started run."""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it is running."""

    def interrupt(self) -> None:
        """Ask it to end; it can be resumed."""


class Launcher(Protocol):
    """Starts processes."""

    def start(self, command: Sequence[str], log: Path) -> Process:
        """Start a command whose output is appended to ``log``."""

    def close(self) -> None:
        """Give back what was taken."""


class LocalLauncher:
    """Starts processes on this machine."""

    def start(self, command: Sequence[str], log: Path) -> Process:
        """In a session of its own, so that an interruption at the terminal reaches the sweep alone."""
        return _Local(command, log)

    def close(self) -> None:
        """Nothing was taken."""


class _Local:
    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


class RayLauncher:
    """Starts processes on a Ray cluster, or on one of its own on this machine when none is given.

    The folder of the runs must be the same on all of its machines.

    Args:
        slots: Runs side by side, on a cluster of its own.
        cpus: Cores that a run asks for.
        gpus: GPUs that a run asks for; may be a fraction.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(self, slots: int, *, cpus: float, gpus: float) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtra('the launcher ray needs Ray: pip install "r3lbench[ray]"') from error
        self._ray = ray
        given = os.environ.get("RAY_ADDRESS")
        own: dict[str, Any] = {} if given else {"num_cpus": max(1, round(slots * cpus)), "include_dashboard": False}
        ray.init(address=given, log_to_driver=False, configure_logging=False, **own)
        # A run that fails is looked at here, so Ray is not to try again by itself.
        self._call = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(_called)

    def start(self, command: Sequence[str], log: Path) -> Process:
        """As a task of the cluster."""
        here = {name: value for name in ("PYTHONPATH", "OMP_NUM_THREADS") if (value := os.environ.get(name))}
        called = self._call.remote(list(command), str(log.resolve()), str(Path.cwd()), here)
        return _Remote(self._ray, called)

    def close(self) -> None:
        """Leave the cluster; one of its own is shut down."""
        self._ray.shutdown()


class _Remote:
    def __init__(self, ray: Any, called: Any) -> None:
        self._ray = ray
        self._called = called

    def poll(self) -> int | None:
        done, _ = self._ray.wait([self._called], timeout=0)
        if not done:
            return None
        try:
            return int(self._ray.get(self._called))
        except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.RayTaskError) as error:
            # The worker that waited for the run is gone; so, as far as can be known, is the run.
            print(f"ray: {' '.join(str(error).split())}", file=sys.stderr)
            return -signal.SIGKILL

    def interrupt(self) -> None:
        self._ray.cancel(self._called)


def _called(command: list[str], log: str, folder: str, environment: dict[str, str]) -> int:
    """Run a command to its end; an interruption is passed on."""
    import os
    import subprocess

    with open(log, "ab") as file:  # noqa: PTH123 - runs on a machine that need not have this package's helpers
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            env={**os.environ, **environment},
        )
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(2)
            return process.wait()


class State(StrEnum):
    """Where a run stands."""

    WAITING = "waiting"
    RUNNING = "running"
    ELSEWHERE = "written by another process"
    DONE = "done"
    FAILED = "failed"


@dataclass
class Run:
    """A job and what became of it.

    Attributes:
        job: What is to be done.
        folder: Where its record is.
        state: Where it stands.
        status: Exit status of its last process.
        process: That process, while it is running.
    """

    job: Job
    folder: Path
    state: State = State.WAITING
    status: int = 0
    process: Process | None = None
    _kills: dict[int, int] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What its processes said."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def look(self) -> None:
        """Find out from the folder where it stands.

        Raises:
            BadConfig: A run of other settings is in its place.
        """
        check_settings(self.job, self.folder)
        self._find_out()

    def _find_out(self) -> None:
        begun = (self.folder / "manifest.json").is_file()
        done = begun and RunFolder(self.folder).result is not None
        elsewhere = is_locked(self.folder)
        self.state = State.ELSEWHERE if elsewhere else State.DONE if done else State.WAITING

    def start(self, launcher: Launcher) -> None:
        """Begin it, or go on with it."""
        begun = self.job.resumable and (self.folder / "manifest.json").is_file()
        flags = [*self.job.flags, "--out", str(self.folder)]
        if begun:
            # The record does not say who watches.
            flags = ["--resume", str(self.folder), "--track", str(self.job.command.parse(self.job.flags).track)]
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.process = launcher.start([sys.executable, "-m", self.job.command.__name__, *flags], self.log)
        self.state = State.RUNNING

    def ended(self) -> bool:
        """Look at its process; True once there is none any more."""
        assert self.process is not None
        status = self.process.poll()
        if status is None:
            return False
        self.process, self.status = None, status
        # Another process may have been there first, and then this one gave way.
        self._find_out()
        if self.state is State.WAITING and not self._is_worth_resuming():
            self.state = State.FAILED
        return True

    def _is_worth_resuming(self) -> bool:
        """Whether it was killed from outside, and gets on."""
        if self.status not in (-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGKILL, 128 + signal.SIGTERM):
            return False
        updates = len(RunFolder(self.folder).metrics()) if (self.folder / "manifest.json").is_file() else 0
        self._kills[updates] = self._kills.get(updates, 0) + 1
        return self._kills[updates] <= _MOST_KILLS


def carry_out(runs: Sequence[Run], launcher: Launcher, slots: int, show: Callable[[Sequence[Run]], None]) -> list[Run]:
    """Make all runs, so many at a time; returns those that failed.

    Args:
        runs: In the order in which to begin.
        launcher: Where.
        slots: How many side by side.
        show: Told about all runs from time to time.

    Raises:
        BadConfig: A run of other settings is in the place of one.
    """
    for run in runs:
        run.look()
    try:
        while any(run.state not in (State.DONE, State.FAILED) for run in runs):
            _move_on(runs, launcher, slots)
            show(runs)
            time.sleep(_PAUSE)
    except BaseException:
        for run in runs:
            if run.process is not None:
                run.process.interrupt()
        raise
    show(runs)
    return [run for run in runs if run.state is State.FAILED]


def _move_on(runs: Sequence[Run], launcher: Launcher, slots: int) -> None:
    for run in runs:
        if run.state is State.RUNNING:
            run.ended()
        elif run.state is State.ELSEWHERE:
            run.look()
    # What others are writing takes up this machine as well.
    busy = sum(run.state in (State.RUNNING, State.ELSEWHERE) for run in runs)
    for run in runs:
        if run.state is State.WAITING and busy < slots:
            run.start(launcher)
            busy += 1


def check_settings(job: Job, folder: Path) -> None:
    """Make sure that a record, if there is one, is the job's.

    Raises:
        BadConfig: It is one of other settings.
    """
    if not (folder / "manifest.json").is_file():
        return
    wanted, found = configuration.dump(job.command.parse(job.flags)), RunFolder(folder).manifest["config"]
    for name in sorted(found.keys() & wanted.keys() - set(_UNRECORDED)):
        if wanted[name] != found[name]:
            raise BadConfig(
                f"{folder} was made with other settings ({name}: {found[name]}, now {wanted[name]}); give another "
                "--out, or move it away"
            )
