"""One writer per run folder: who writes holds a lock, which the system gives back however the process ends."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from r3lbench.errors import R3LBenchError

LOCK = ".lock"
"""Name of the locked file in a run's folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for the duration of a block; it is made if need be.

    Raises:
        R3LBenchError: Another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab")
    except OSError as error:
        raise R3LBenchError(f"no run can be recorded in {folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise R3LBenchError(f"{folder} is being written by another process; wait for its end") from error
        try:
            yield
        finally:
            # Nobody waits for it: who finds it held goes away.
            (folder / LOCK).unlink()


def is_locked(folder: Path) -> bool:
    """Whether a process is writing a folder now."""
    if not (folder / LOCK).is_file():
        return False
    with (folder / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
