"""Every command ends with an exit status, and where it was kept from its end with one line that says so."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r3lbench import starting
from r3lbench.__main__ import COMMANDS, MODULES
from r3lbench.__main__ import main as run
from r3lbench.entry import Command, entry_point
from r3lbench.errors import BadData
from tests.conftest import ROOT


def ending_with(outcome: int | BaseException | None) -> Command:
    """A command that comes to this."""

    @entry_point("r3lbench test", "go on with --resume")
    def main(argv: object) -> int | None:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return main


@pytest.mark.parametrize(("outcome", "status"), [(None, 0), (0, 0), (1, 1), (3, 3)])
def test_what_the_work_returns_is_the_status(
    outcome: int | None, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending_with(outcome)([]) == status
    assert capsys.readouterr() == ("", "")


def test_flags_are_those_given_or_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    @entry_point("r3lbench test")
    def main(argv: list[str]) -> int:
        return len(argv)

    monkeypatch.setattr(sys, "argv", ["test", "--a", "1", "--b"])
    assert (main(), main([]), main(["x"])) == (3, 0, 1)


@pytest.mark.parametrize(
    ("outcome", "status", "said"),
    [
        (BadData("two\n  lines"), 2, "two lines"),
        (KeyboardInterrupt(), 130, "interrupted; go on with --resume"),
        (OSError(errno.ENOSPC, "?", "runs/a"), 2, "runs/a: the disk is full; make room; go on with --resume"),
        (OSError(errno.EDQUOT, "?"), 2, "the disk quota is used up; make room; go on with --resume"),
        (PermissionError(errno.EACCES, "?", "/data/a"), 2, "/data/a: permission denied; go on with --resume"),
        (OSError(errno.EROFS, "?", "/a"), 2, "/a: the disk cannot be written to; go on with --resume"),
    ],
)
def test_what_a_person_or_the_machine_did_is_one_line(
    outcome: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending_with(outcome)([]) == status
    assert capsys.readouterr() == ("", f"r3lbench test: {said}\n")


@pytest.mark.parametrize("fault", [ValueError("?"), FileNotFoundError(errno.ENOENT, "?", "x"), SystemExit(0)])
def test_faults_of_our_own_keep_their_traceback(fault: BaseException) -> None:
    with pytest.raises(type(fault)):
        ending_with(fault)([])


def test_who_stops_reading_ends_the_command_without_a_word(tmp_path: Path) -> None:
    script = (
        "from r3lbench.entry import entry_point\n"
        "@entry_point('test')\n"
        "def main(argv):\n"
        "    for number in range(100_000):\n"
        "        print(number)\n"
        "raise SystemExit(main([]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"0\n"
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(timeout=60) == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("where", ["parse", "main"])
def test_ctrl_c_ends_every_command_in_one_line(
    command: str, where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"r3lbench.{MODULES.get(command, command)}.{where}", interrupted)
    assert run([command]) == 130
    errors = capsys.readouterr().err
    assert errors.startswith(f"r3lbench {command}: interrupted") and errors.count("\n") == 1


INTERRUPTING = """
import os, signal, sys

# Where tests are run in the background it may be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
"""
SCRIPT = "from r3lbench.__main__ import main\nraise SystemExit(main())\n"


@pytest.mark.parametrize("module", ["gymnasium", "tyro", "torch"])
@pytest.mark.parametrize("command", [("-m", "r3lbench.run"), ("r3lbench", "run")], ids=" ".join)
def test_ctrl_c_while_a_command_is_still_imported_is_one_line(
    command: tuple[str, ...], module: str, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    (tmp_path / "r3lbench").write_text(SCRIPT)
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "INTERRUPTED_AT": module}
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "r3lbench: interrupted before it began\n"


def test_once_it_works_ctrl_c_is_told_with_how_things_stand(capsys: pytest.CaptureFixture[str]) -> None:
    @entry_point("r3lbench test", "go on with --resume")
    def main(argv: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    before = signal.signal(signal.SIGINT, starting._end)
    try:
        assert main([]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == ("", "r3lbench test: interrupted; go on with --resume\n")


def test_programs_that_import_the_package_keep_their_own_ways(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    usual = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    script.write_text(f"import signal\n{usual}\nimport r3lbench\nassert {usual} is signal.default_int_handler\n")
    subprocess.run([sys.executable, script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
