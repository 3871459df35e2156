"""The run folder: a record that describes itself.

::

    manifest.json        what was run: revision, packages, hardware, configuration, panels, privileges
    metrics.jsonl        one line per update; depends on seed and machine only, never on the clock
    timings.jsonl        one line per update: seconds by phase
    evaluation.jsonl     one line per evaluated task: update, mode, task, what it came to, its actions
    improvement.jsonl    one line per task and round of self-improvement, where an evaluation was asked for any
    trees/u000001.jsonl.gz   one line per group: episode tree, token forest, attempts, reflections, terms
    checkpoints/         the last two, to resume from
    policy/              the trained policy as a Hugging Face folder
    result.json          the summary; its presence means that the run is complete
    SHA256SUMS           of every file but the checkpoints, as sha256sum writes and checks them
    verification.json    what a verification came to, see ``verify``; outside the seal
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import r3lbench
from r3lbench.agent import Agent, Sees
from r3lbench.errors import BadCheckpoint, R3LBenchError
from r3lbench.files import append_line, gzip_lines, sha256_of, to_json, write_atomic
from r3lbench.locking import LOCK
from r3lbench.registry import REFLECTORS
from r3lbench.rollout.group import Attempt, Group
from r3lbench.tasks import TaskPanel
from r3lbench.tokens import Term

FORMAT = 1
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "gymnasium", "pydantic", "rapidfuzz")
_MANIFEST = "manifest.json"
SEAL = "SHA256SUMS"
"""Digests of a complete record's files."""
VERIFICATION = "verification.json"
"""What was found out about a complete record later."""
_GROWING = ("metrics.jsonl", "timings.jsonl", "evaluation.jsonl")


@dataclass(frozen=True)
class RunFolder:
    """Writes and reads one run's record."""

    path: Path

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any]) -> RunFolder:
        """Begin a record.

        Raises:
            R3LBenchError: The folder holds something already, or cannot be written; nothing is overwritten.
        """
        cls.check_vacant(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_atomic(path / _MANIFEST, to_json(manifest, indent=2))
        except OSError as error:
            raise R3LBenchError(f"no run can be recorded in {path}: {error.strerror}") from error
        return cls(path)

    @staticmethod
    def check_vacant(path: Path) -> None:
        """Make sure that a new record can begin in ``path``.

        Raises:
            R3LBenchError: The folder holds something already.
        """
        # A manifest that a kill left half-written is no record, and neither is a lock.
        none = {f".{_MANIFEST}.tmp", LOCK}
        if path.exists() and not path.is_dir():
            raise R3LBenchError(f"{path} is a file; give another --out")
        if path.exists() and not {file.name for file in path.iterdir()} <= none:
            raise R3LBenchError(f"{path} is not empty; continue it with --resume {path}, or give another --out")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a record.

        Raises:
            BadCheckpoint: It is none.
        """
        folder = cls(path)
        _ = folder.manifest
        return folder

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run."""
        manifest = self._read(_MANIFEST)
        parts = [manifest.get(part) for part in ("config", "panels", "policy")]
        if manifest.get("format") != FORMAT or not all(isinstance(part, dict) for part in parts):
            raise BadCheckpoint(f"{self.path / _MANIFEST} is not a manifest of a run (format {FORMAT})")
        return manifest

    def names(self, kinds: Iterable[str]) -> dict[str, str]:
        """By kind (``"env"``, ``"policy"``, ...) the name of what the run was made with.

        Raises:
            BadCheckpoint: The manifest does not say.
        """
        tables = {kind: self.manifest["config"].get(kind) for kind in kinds}
        names = {kind: table.get("name") if isinstance(table, dict) else None for kind, table in tables.items()}
        if "method" in tables and "method" not in self.manifest["config"]:
            raise BadCheckpoint(f"{self.path} is the record of an evaluation: nothing was trained in it")
        if unsaid := [kind for kind, name in names.items() if not isinstance(name, str)]:
            raise BadCheckpoint(f"{self.path / _MANIFEST} does not say which {', '.join(unsaid)} it was made with")
        return {kind: str(name) for kind, name in names.items()}

    @property
    def result(self) -> dict[str, Any] | None:
        """The summary; None while the run is not complete."""
        return self._read("result.json") if (self.path / "result.json").is_file() else None

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def metrics(self) -> list[dict[str, Any]]:
        """One dictionary per update."""
        return list(self._lines("metrics.jsonl"))

    def evaluations(self) -> list[dict[str, Any]]:
        """One dictionary per evaluated task."""
        return list(self._lines("evaluation.jsonl"))

    def improvements(self) -> list[dict[str, Any]]:
        """One dictionary per task and round of self-improvement after the first attempts."""
        return list(self._lines("improvement.jsonl"))

    def timings(self) -> list[dict[str, Any]]:
        """One dictionary per update."""
        return list(self._lines("timings.jsonl"))

    def append(self, name: str, value: Mapping[str, Any]) -> None:
        """Append a line to one of the growing files."""
        append_line(self.path / name, value)

    def write_groups(self, update: int, groups: Iterable[Mapping[str, Any]]) -> None:
        """Record an update's groups (see ``group_json``) with both trees."""
        folder = self.path / "trees"
        folder.mkdir(exist_ok=True)
        write_atomic(folder / f"u{update:06d}.jsonl.gz", gzip_lines(groups))

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write the summary, and seal the record."""
        write_atomic(self.path / "result.json", to_json(result, indent=2))
        self.seal()

    def seal(self) -> None:
        """Write down the digest of every file, so that any later change shows."""
        lines = [f"{sha256_of(self.path / name)}  {name}\n" for name in self.files()]
        write_atomic(self.path / SEAL, "".join(lines).encode())

    def files(self) -> list[str]:
        """The files that a seal speaks of, sorted: all but itself, the checkpoints and what was found out later."""
        files = (file for file in self.path.rglob("*") if file.is_file() and not file.name.startswith("."))
        names = sorted(file.relative_to(self.path).as_posix() for file in files)
        return [name for name in names if name not in (SEAL, VERIFICATION) and not name.startswith("checkpoints/")]

    def offsets(self) -> dict[str, int]:
        """Sizes of the growing files, for a checkpoint."""
        return {name: (self.path / name).stat().st_size if (self.path / name).exists() else 0 for name in _GROWING}

    def rewind(self, offsets: Mapping[str, int], update: int) -> None:
        """Cut off what was written after a checkpoint.

        Raises:
            BadCheckpoint: A file is shorter than it was; nothing has been cut then.
        """
        present = self.offsets()
        for name in _GROWING:
            if present[name] < offsets.get(name, 0):
                raise BadCheckpoint(
                    f"{self.path / name} is shorter than at the last checkpoint; the run cannot be resumed"
                )
        for name in _GROWING:
            if present[name] > offsets.get(name, 0):
                write_atomic(self.path / name, (self.path / name).read_bytes()[: offsets.get(name, 0)])
        for tree in sorted((self.path / "trees").glob("u*.jsonl.gz")):
            if int(tree.name[1:7]) > update:
                tree.unlink()

    def _read(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.path / name).read_bytes())
        except OSError as error:
            raise BadCheckpoint(f"{self.path} is not a run folder: {name} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise BadCheckpoint(f"{self.path / name} is damaged: {error}") from error
        if not isinstance(value, dict):
            raise BadCheckpoint(f"{self.path / name} is damaged: an object was expected")
        return value

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        file = self.path / name
        if not file.exists():
            return
        lines = file.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n") and self.result is None:
            # A kill came while it was written; to resume cuts it off.
            lines.pop()
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise BadCheckpoint(f"{file} is damaged in line {number}: {error}") from error


def group_json(group: Group, terms: Sequence[Term]) -> dict[str, Any]:
    """A group as recorded."""
    return {
        "key": group.key,
        "task": group.task.id,
        "task_key": group.task.key,
        "task_type": group.tree.task_type,
        "states": [state.to_json() for state in group.tree],
        "segments": group.forest.to_json(),
        "attempts": [_attempt_json(attempt) for attempt in group.attempts],
        "reflections": [{"of": of.key, **reflection.to_json()} for of, reflection in group.reflections],
        "terms": [term.to_json() for term in terms],
    }


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "key": attempt.key,
        "base": None if attempt.base is None else attempt.base.key,
        "pivot": attempt.pivot,
        "guidance": attempt.guidance,
        "diverged": attempt.diverged,
        "ended": attempt.ended.value,
        "leaf": attempt.trajectory.leaf.id,
        "return": attempt.ret,
        "score": attempt.score,
        "success": attempt.success,
        "turns": [[turn.prompt_node, turn.node] for turn in attempt.turns],
    }


def panels_json(panels: Mapping[str, TaskPanel]) -> dict[str, Any]:
    """The tasks of every split as recorded in a manifest."""
    return {
        split: {"tasks": len(panel), "hash": panel.hash, "settings": panel.settings} for split, panel in panels.items()
    }


def privileges_json(agent: Agent, reflectors: Iterable[str] = ()) -> dict[str, list[Sees]]:
    """What an agent and the reflectors of these names are given beyond observations, as recorded in a manifest."""
    sees = {"agent": sorted(agent.sees)}
    return sees | {f"reflector {name}": sorted(REFLECTORS.load(name).sees) for name in reflectors}


def provenance(processes: int = 1) -> dict[str, Any]:
    """Where and with what a run is made, and by how many processes together."""
    import torch  # takes a second, which those who only read records need not wait for

    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "r3lbench": r3lbench.__version__,
        "revision": revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "hardware": {
            "machine": platform.machine(),
            "system": platform.system(),
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "processes": processes,
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def revision() -> str | None:
    """Git revision of the checkout this package runs from, with ``+`` when it has changes; None outside of one."""
    source = Path(__file__).resolve().parent
    git = ["git", "-C", str(source)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        tracked = [*git, "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, capture_output=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty.stdout.strip() else "")


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
