"""Stopping a process at its n-th change to the files of a folder.

Python announces every file that it opens, renames or removes; one listener per process counts those below a folder and,
at the chosen one, does something drastic before the change is made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHANGES = {"open": None, "os.mkdir": 2, "os.rename": 2, "os.remove": 1, "os.rmdir": 1}
"""Announcements, and which of their arguments is the folder that a relative path starts from."""


class Interrupted(BaseException):
    """No handler for errors may catch it, as none could catch a kill."""


@dataclass
class Watch:
    """Counts changes below ``folder``, tells of each, and calls ``act`` at the ``at``-th (from 0; None: never)."""

    folder: Path
    at: int | None
    act: Callable[[], Any]
    seen: int = 0
    tell: Callable[[str, Path], Any] = lambda event, path: None

    def hears(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _CHANGES or not isinstance(arguments[0], str | os.PathLike):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        path = _folder_of(event, arguments) / arguments[0]
        if self.folder not in path.parents:
            return
        self.seen += 1
        self.tell(event, path)
        if self.seen - 1 == self.at:
            self.act()


def _folder_of(event: str, arguments: tuple[Any, ...]) -> Path:
    position = _CHANGES[event]
    descriptor = -1 if position is None else arguments[position]
    return Path.cwd() if descriptor < 0 else Path(f"/proc/self/fd/{descriptor}").readlink()


_watches: list[Watch] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _watches:
        watch.hears(event, arguments)


def watch(folder: Path, at: int | None, act: Callable[[], Any]) -> Watch:
    """Begin to watch; the process cannot stop listening, so use it where the process ends soon."""
    if not _watches:
        sys.addaudithook(_listen)
    _watches.append(Watch(folder, at, act))
    return _watches[-1]


@contextmanager
def interrupted(folder: Path, at: int | None) -> Iterator[Watch]:
    """Raise ``Interrupted`` out of the block before its ``at``-th change below ``folder``, and swallow it."""

    def stop() -> None:
        raise Interrupted

    watched = watch(folder, at, stop)
    try:
        yield watched
    except Interrupted:
        pass
    finally:
        watched.at = None
