"""The same environment in a fresh interpreter: another hash seed, optionally another order of directories.

What depends on the order of a set, a dictionary of sets or a folder differs there; so does what was kept in a module
variable. The other side is this module, run as a program that answers one JSON line with another.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from r3lbench.env import TextEnv
from r3lbench.snapshot import Snapshot
from r3lbench.testing.transcript import View, play, view

_SERVE = "from r3lbench.testing.elsewhere import serve; serve()"


class Elsewhere:
    """An environment in another process.

    Args:
        target: ``"module:Class"``, importable by name.
        options: Constructor arguments, JSON values.
        reverse_directories: Also list every directory backwards, which no order but a sorted one survives.
    """

    def __init__(self, target: str, options: Mapping[str, Any], *, reverse_directories: bool = False) -> None:
        paths = [os.path.abspath(path) for path in sys.path]  # noqa: PTH100 - entries may be "" or archives
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="ascii",
            env={**os.environ, "PYTHONHASHSEED": "20260", "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._ask(target=target, options=dict(options), reverse_directories=reverse_directories)

    def panel(self, split: str) -> dict[str, Any]:
        """``{"hash", "length", "keys"}`` of a split's panel there."""
        answer: dict[str, Any] = self._ask(verb="panel", split=split)
        return answer

    def reset(self, task: str) -> View:
        """The state after ``reset`` there."""
        answer: View = self._ask(verb="reset", task=task)
        return answer

    def restore(self, snapshot: Snapshot, actions: Iterable[str]) -> list[View]:
        """The restored state there, and the state after each of the actions."""
        saved = snapshot.to_bytes().decode("ascii")
        answer: list[View] = self._ask(verb="restore", snapshot=saved, actions=list(actions))
        return answer

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process elsewhere ended with status {self._process.wait()}; see its output on stderr"
        answer = json.loads(line)
        assert "error" not in answer, f"elsewhere:\n{answer['error']}"
        return answer["result"]


def serve() -> None:
    """Answer questions on standard input until it closes."""
    # Games and their interpreters print; what they print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    env: TextEnv | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if env is None:
                env = _make(**question)
                result: Any = env.name
            else:
                result = _answer(env, **question)
            answer = {"result": result}
        except Exception:  # noqa: BLE001 - whatever happens here is for the asking side to raise
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    if env is not None:
        env.close()


def _make(target: str, options: dict[str, Any], reverse_directories: bool) -> TextEnv:
    if reverse_directories:
        _reverse_directories()
    module, _, attribute = target.partition(":")
    env: TextEnv = getattr(importlib.import_module(module), attribute)(**options)
    return env


def _answer(env: TextEnv, verb: str, **question: Any) -> Any:
    if verb == "panel":
        panel = env.panel(question["split"])
        return {"hash": panel.hash, "length": len(panel), "keys": ends(panel.keys)}
    if verb == "reset":
        return view(env, *env.reset(options={"task": question["task"]}))
    snapshot = Snapshot.from_bytes(question["snapshot"].encode("ascii"))
    return [view(env, *env.restore(snapshot)), *play(env, question["actions"])]


def ends(keys: Any) -> list[str]:
    """A few keys from both ends, for a message that can be read; the panel's hash covers them all."""
    return [*keys[:3], *keys[-3:]]


def _reverse_directories() -> None:
    # glob, pathlib and os.walk all stand on these two.
    listdir, scandir = os.listdir, os.scandir

    def reversed_listdir(path: Any = None) -> list[Any]:
        return listdir(path)[::-1]

    class ReversedScandir:
        def __init__(self, path: Any = None) -> None:
            with scandir(path) as entries:
                self._entries = reversed(list(entries))

        def __iter__(self) -> ReversedScandir:
            return self

        def __next__(self) -> Any:
            return next(self._entries)

        def __enter__(self) -> ReversedScandir:
            return self

        def __exit__(self, *error: object) -> None:
            self.close()

        def close(self) -> None:
            """Nothing is held open."""

    os.listdir = reversed_listdir
    os.scandir = ReversedScandir  # type: ignore[assignment]
