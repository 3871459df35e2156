"""A run that is killed at any moment and resumed ends as if nobody had disturbed it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.end_to_end.conftest import Arguments, Whole
from tests.end_to_end.processes import Processes, record

KILLED = -signal.SIGKILL

# Where a run stands just before a change to a file: the change, and which one of its kind.
MOMENTS = {
    "before anything is written": ("open .manifest.json.tmp", 0),
    "before the manifest has its name": ("os.rename .manifest.json.tmp", 0),
    "during the first evaluation": ("open evaluation.jsonl", 2),
    "before the first checkpoint has its name": ("os.rename checkpoints/.u000000.tmp", 0),
    "right after metrics are written": ("os.mkdir trees", 0),
    "before a tree has its name": ("os.rename trees/.u000002.jsonl.gz.tmp", 0),
    "during an evaluation between updates": ("open evaluation.jsonl", 6),
    "while a checkpoint is written": ("open checkpoints/.u000002.tmp/.state.json.tmp", 0),
    "between updates": ("open metrics.jsonl", 2),
    "while an old checkpoint is deleted": ("os.remove checkpoints/.u000000.old/model.safetensors", 0),
    "during the last evaluation": ("open evaluation.jsonl", 10),
    "while the policy is exported": ("open .policy.tmp/config.json", 0),
    "before the summary has its name": ("os.rename .result.json.tmp", 0),
}
FEWER = ("during the first evaluation", "right after metrics are written", "while a checkpoint is written")


def go_on(processes: Processes, arguments: list[str], folder: Path, *, at: int | None = None) -> int:
    """Resume a run, or begin it where the kill came before there was one."""
    begun = (folder / "manifest.json").exists()
    return processes.run(["--resume", str(folder), "--quiet"] if begun else arguments, folder=folder, at=at)[0]


@pytest.mark.parametrize(
    ("method", "moment"), [("r3l", moment) for moment in MOMENTS] + [("grpo", moment) for moment in FEWER]
)
def test_a_killed_run_goes_on_to_the_same_end(
    method: str, moment: str, whole: Whole, processes: Processes, arguments: Arguments, tmp_path: Path
) -> None:
    change, which = MOMENTS[moment]
    at = [position for position, made in enumerate(whole.changes(method)) if made == change][which]
    run = tmp_path / "run"
    status, changes = processes.run(arguments(method, run), folder=run, at=at)
    assert (status, changes) == (KILLED, whole.changes(method)[: at + 1])
    assert not (run / "result.json").exists()
    assert go_on(processes, arguments(method, run), run) == 0
    assert record(run) == record(whole.folder(method))
    assert (run / "result.json").exists()


@pytest.mark.parametrize(("method", "share"), [("grpo", 0.5), ("r3l on its own", 0.3), ("r3l on its own", 0.8)])
def test_a_run_killed_after_some_time_goes_on_to_the_same_end(
    method: str, share: float, whole: Whole, processes: Processes, arguments: Arguments, tmp_path: Path
) -> None:
    whole.folder(method)
    run = tmp_path / "run"
    # Whichever moment that is, and even if the run has ended before: the outcome is one.
    processes.run(arguments(method, run), folder=run, after=share * whole.seconds[method])
    assert go_on(processes, arguments(method, run), run) == 0
    assert record(run) == record(whole.folder(method))


def test_a_run_killed_again_and_again_comes_to_the_same_end(
    whole: Whole, processes: Processes, arguments: Arguments, tmp_path: Path
) -> None:
    run, kills = tmp_path / "run", 0
    # From one checkpoint to the next there are fewer changes than that, so every attempt gets somewhere.
    while go_on(processes, arguments("r3l", run), run, at=40) == KILLED:
        kills += 1
        assert kills < 10
    assert kills > 1
    assert record(run) == record(whole.folder("r3l"))


def test_a_complete_run_is_left_as_it_is(whole: Whole, processes: Processes) -> None:
    run = whole.folder("grpo")
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in run.rglob("*") if file.is_file()}
    status, changes = processes.run(["--resume", str(run)], folder=run)
    assert (status, changes) == (0, [])
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in run.rglob("*") if file.is_file()} == before


def test_the_command_itself_is_killed_and_resumed(
    whole: Whole, arguments: Arguments, command: Command, tmp_path: Path
) -> None:
    """No server, no counting: two processes, a signal from outside."""
    run = tmp_path / "run"
    first = command("run", *arguments("grpo", run), cwd=tmp_path)
    while not (run / "metrics.jsonl").exists() and first.poll() is None:
        time.sleep(0.001)
    first.kill()
    first.communicate()
    # On a busy machine the run may be faster than this test; then there is nothing left to do.
    assert first.returncode in (KILLED, 0)
    second = command("run", "--resume", run, "--quiet", cwd=tmp_path)
    assert second.communicate() == ("", "")
    assert second.returncode == 0
    assert record(run) == record(whole.folder("grpo"))
