"""What runs inside a worker process: instances of one environment, which answer messages until nobody asks any more.

A message is JSON behind its length, over a socket of its own, because games print wherever they like. Nothing is
unpickled, and nothing that is not JSON leaves: an environment's native handles stay here, in a bounded store, and are
known outside by number. This module is imported in every worker, so it imports little.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any

from r3lbench.env import TextEnv
from r3lbench.episode import EpisodeTree, State, Trajectory
from r3lbench.rubric import Rubric
from r3lbench.snapshot import NativeHandle, Snapshot

HANDLES = 64
"""Native handles kept for each instance, the latest used: an episode's worth. By instance and not by worker, so that
which of them are still there does not depend on the number of workers."""
QUESTIONS = ("admissible_actions", "canonical", "expert_action", "task_type", "value")
"""What may be asked about the present state beyond what every answer holds."""
TRAITS = ("name", "splits", "reward_range", "fidelity", "isolation", "kind", "extra", "instructions")
"""What an environment says of itself, for its stand-in."""
_GRACE = 2.0
"""Seconds that a worker has to close its environments once nobody asks any more."""
_LONGEST_LOG = 1 << 20
_HEAD = struct.Struct("!Q")

Message = dict[str, Any]


def pack(message: Message) -> bytes:
    """A message as it is sent."""
    data = json.dumps(message).encode("ascii")
    return _HEAD.pack(len(data)) + data


def send(channel: socket.socket, data: bytes, deadline: float | None = None) -> None:
    """Write a packed message.

    Raises:
        TimeoutError: The deadline (``time.monotonic``) has passed.
        OSError: The other side is gone.
    """
    channel.settimeout(_left(deadline))
    channel.sendall(data)


def receive(channel: socket.socket, deadline: float | None = None) -> Message:
    """Read a message.

    Raises:
        TimeoutError: The deadline (``time.monotonic``) has passed.
        EOFError: The other side has closed.
        OSError: The other side is gone.
    """
    (length,) = _HEAD.unpack(_exactly(channel, _HEAD.size, deadline))
    message: Message = json.loads(_exactly(channel, length, deadline))
    return message


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    data = bytearray()
    while len(data) < count:
        channel.settimeout(_left(deadline))
        piece = channel.recv(min(count - len(data), 1 << 20))
        if not piece:
            raise EOFError("closed")
        data += piece
    return bytes(data)


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def load(target: str) -> type[TextEnv]:
    """The class behind ``"module:Class"``."""
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    cls: type[TextEnv] = reduce(getattr, attribute.split("."), found)
    return cls


def serve() -> None:
    """Answer until told to close; the last two arguments are the socket's number and the folder for temporary files."""
    number, folder = sys.argv[-2:]
    channel = socket.socket(fileno=int(number))
    threading.Thread(target=_watch, args=(channel.fileno(), folder), daemon=True).start()
    instances: dict[int, Instance] = {}
    origin: Message = {}
    try:
        while True:
            question = receive(channel)
            verb = question.pop("verb")
            if verb == "close":
                break
            if verb == "begin":
                origin = question
                _limit_memory(question["memory"])
                send(channel, pack({"result": None}))
            else:
                send(channel, _answered(instances, origin, verb, question))
    except (EOFError, OSError):
        # Whoever asked is gone, perhaps killed: nobody else will tidy up.
        _close_all(instances)
        _leave_nothing(folder)
    _close_all(instances)


def _answered(instances: dict[int, Instance], origin: Message, verb: str, question: Message) -> bytes:
    try:
        number = question.pop("instance")
        if verb == "drop":
            if number in instances:
                instances.pop(number).env.close()
            return pack({"result": None})
        if number not in instances:
            instances[number] = Instance(load(origin["target"])(**origin["options"] | _tuples(origin)))
        return pack({"result": instances[number].answer(verb, **question)})
    except MemoryError:
        return pack({"lost": "it ran out of memory"})
    except Exception as error:  # noqa: BLE001 - whatever happens here is for the asking side to raise
        kinds = [kind.__name__ for kind in type(error).__mro__]
        return pack({"error": {"kinds": kinds, "message": str(error), "traceback": traceback.format_exc()}})


def _tuples(origin: Message) -> dict[str, tuple[Any, ...]]:
    """Options that were tuples before they became JSON, so that what is hashable here is what is hashable there."""
    return {name: tuple(origin["options"][name]) for name in origin["tuples"]}


@dataclass
class Instance:
    """An environment and the native handles that it gave out."""

    env: TextEnv
    handles: OrderedDict[int, NativeHandle] = field(default_factory=OrderedDict)
    given: int = 0

    def answer(self, verb: str, max_steps: int | None = None, also: Sequence[str] = (), **details: Any) -> Any:
        """Carry out a verb.

        Args:
            verb: ``"facts"``, ``"panel"``, ``"start"``, ``"act"``, ``"restore"``, ``"answer"`` or ``"diagnose"``.
            max_steps: The step limit, as it is set outside.
            also: Questions to answer about the state that is reached.
            details: The verb's own.
        """
        if max_steps is not None:
            self.env.max_steps = max_steps
        match verb:
            case "facts":
                traits = {name: getattr(self.env, name) for name in TRAITS}
                return {
                    "traits": traits,
                    "max_steps": self.env.max_steps,
                    "admissible_in_info": self.env.admissible_in_info,
                }
            case "panel":
                panel = self.env.panel(details["split"])
                return {"env": panel.env, "split": panel.split, "keys": list(panel.keys), "settings": panel.settings}
            case "start":
                _shorten_log()
                self.env.reset(options={"task": details["task"]})
                return self._state(also)
            case "act":
                _, reward, *_ = self.env.step(details["action"])
                return {"reward": reward, "action": self.env.actions[-1], **self._state(also)}
            case "restore":
                before = self.env.replayed_steps
                self.env.restore(self._snapshot(**details))
                return {"replayed": self.env.replayed_steps - before, **self._state(also)}
            case "answer":
                return self._answer(details["question"], *details["arguments"])
            case "diagnose":
                diagnosis = self.env.diagnose(self._trajectory(**details))
                return None if diagnosis is None else asdict(diagnosis)
        raise ValueError(f"unknown verb {verb!r}")

    def _state(self, also: Sequence[str]) -> Message:
        """Everything that can be seen of the present state, so that nobody need ask twice."""
        env = self.env
        snapshot = env.snapshot()
        handle = None
        if snapshot.native is not None:
            self.given += 1
            handle, self.handles[self.given] = self.given, snapshot.native
            if len(self.handles) > HANDLES:
                self.handles.popitem(last=False)
        return {
            "observation": env.observation,
            "valid": env.action_valid,
            "terminated": env.terminated,
            "truncated": env.truncated,
            "score": float(env.score()),
            "success": bool(env.success()),
            "feedback": env.feedback(),
            "rubrics": [[rubric.name, rubric.satisfied, rubric.weight] for rubric in env.rubrics()],
            "digest": snapshot.digest,
            "handle": handle,
            "answers": {question: self._answer(question) for question in also},
        }

    def _answer(self, question: str, *arguments: str) -> Any:
        if question not in QUESTIONS:
            raise ValueError(f"unknown question {question!r}")
        return getattr(self.env, question)(*arguments)

    def _snapshot(self, task: str, panel: str, actions: Sequence[str], digest: str, handle: int | None) -> Snapshot:
        native = None
        if handle is not None and handle in self.handles:
            native = self.handles[handle]
            self.handles.move_to_end(handle)
        return Snapshot(self.env.name, panel, task, tuple(actions), digest, native)

    def _trajectory(
        self, task: str, panel: str, actions: Sequence[str], states: Sequence[Mapping[str, Any]]
    ) -> Trajectory:
        tree = EpisodeTree(self.env.resolve(task))
        for position, state in enumerate(states):
            seen = {name: value for name, value in state.items() if name not in ("id", "parent", "digest", "rubrics")}
            tree.states.append(
                State(
                    id=position,
                    parent=position - 1 if position else None,
                    rubrics=tuple(Rubric(*rubric) for rubric in state["rubrics"]),
                    snapshot=Snapshot(self.env.name, panel, task, tuple(actions[:position]), state["digest"]),
                    **seen,
                )
            )
        return Trajectory(tree, tree.states[-1])


def _limit_memory(gibibytes: float) -> None:
    if gibibytes:
        most = int(gibibytes * (1 << 30))
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _shorten_log() -> None:
    """Begin the log anew when it is long: some games complain at every step."""
    if os.fstat(2).st_size > _LONGEST_LOG:
        os.ftruncate(2, 0)


def _close_all(instances: dict[int, Instance]) -> None:
    while instances:
        try:
            instances.popitem()[1].env.close()
        except Exception:  # noqa: BLE001 - the others are closed all the same; the log tells
            traceback.print_exc()


def _watch(channel: int, folder: str) -> None:
    """End everything when nobody asks any more, even if an environment hangs in the middle of a step."""
    poller = select.poll()
    # No events asked for: only the other side's end is told.
    poller.register(channel, 0)
    poller.poll()
    time.sleep(_GRACE)
    _leave_nothing(folder)


def _leave_nothing(folder: str) -> None:
    """Remove the worker's temporary files, and end whatever was started from here, and this process."""
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)
