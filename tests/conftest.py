"""What tests of several folders share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Command = Callable[..., "subprocess.Popen[str]"]


def pytest_configure() -> None:
    """Shells start what runs in the background deaf to Ctrl-C, and so would be all that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def toy_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small policy for the toy environment, as a folder; not to be written to."""
    from tests.toy_policy import make_toy_policy  # imports torch, which most tests do without

    return make_toy_policy(tmp_path_factory.mktemp("policy") / "toy")


@pytest.fixture(scope="session")
def python_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """PYTHONPATH of processes in which the toy environment is an installed plug-in."""
    site = tmp_path_factory.mktemp("site")
    package = site / "toy-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[r3lbench.environments]\ntoy = tests.toy\n")
    return os.pathsep.join((str(site), str(ROOT)))


@pytest.fixture(scope="session")
def command(python_path: str) -> Command:
    """Start ``python -m r3lbench.<name>`` in a new process in which the toy environment is an installed plug-in."""

    def start(name: str, *arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", f"r3lbench.{name}", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": python_path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
