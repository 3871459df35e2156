"""Imported before all else, so that Ctrl-C ends a command in one line while it is still being imported.

That takes a second or two, in which some packages turn a ``KeyboardInterrupt`` into other errors. So until a command
begins to work (``entry``) Ctrl-C ends the process at once: nothing is under way that could be lost. Other programs that
import this package are left alone.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

INTERRUPTED = 130
"""Exit status of what was ended by Ctrl-C."""


def begin() -> None:
    """From here on Ctrl-C is an exception, as usual."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(signal_number: int, frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"r3lbench: interrupted before it began\n")
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Whether this process is ``python -m r3lbench...`` or ``r3lbench ...``."""
    name = sys.argv[0] if sys.argv else ""
    # "-m" stands there as long as Python looks for the module. Worker processes are given the name of a script, too.
    return name == "-m" or (Path(name).name == "r3lbench" and name in sys.orig_argv)


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)
