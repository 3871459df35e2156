"""How a command begins and ends: with flags, and with an exit status.

Whatever a person or the machine did, and no fault of ours, ends it with one line on standard error.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Protocol

from r3lbench.errors import R3LBenchError
from r3lbench.starting import INTERRUPTED, begin

REFUSED = 2
"""Exit status of what makes no sense or cannot be done here."""
_MACHINE = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EROFS: "the disk cannot be written to",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}


class Command(Protocol):
    """What ``python -m r3lbench.<name>`` calls."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Carry the command out by these flags, or by those of the process; returns the exit status."""


Work = Callable[[Sequence[str]], int | None]
"""Does something by flags; returns the exit status, None for 0."""


def entry_point(prog: str, afterwards: str = "nothing was written") -> Callable[[Work], Command]:
    """Make a command of work.

    Args:
        prog: What the command is called.
        afterwards: How things stand, or what to do, where it was broken off.
    """

    def decorate(work: Work) -> Command:
        @wraps(work)
        def main(argv: Sequence[str] | None = None) -> int:
            try:
                begin()
                status = work(sys.argv[1:] if argv is None else argv)
                sys.stdout.flush()
            except R3LBenchError as error:
                return _fail(error, prog)
            except BrokenPipeError:
                # Whoever read along has seen enough; Python is not to write what is left at its end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 1
            except OSError as error:
                if error.errno not in _MACHINE:
                    raise
                where = f"{error.filename}: " if error.filename else ""
                return _fail(OSError(f"{where}{_MACHINE[error.errno]}; {afterwards}"), prog)
            except KeyboardInterrupt:
                print(f"{prog}: interrupted; {afterwards}", file=sys.stderr)
                return INTERRUPTED
            return status or 0

        return main

    return decorate


def _fail(error: Exception, prog: str) -> int:
    """Print an error as one line on standard error."""
    print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
    return REFUSED
