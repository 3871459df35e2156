"""A saved state of an episode: a small portable value, plus an optional handle for speed.

The portable value is the recipe (environment, task, actions so far) and a digest of what an agent would see at its end.
It is plain JSON, safe to load from a stranger, and good in any process and on any machine. A *native handle* is
whatever lets the same environment return there at once (a tuple, a state id, an interpreter image); it travels with the
snapshot inside a process, is never written out, and is used only by the owner it names. Without it the actions are
replayed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from r3lbench.errors import BadSnapshot

_FORMAT = "r3lbench-snapshot-1"


@dataclass(frozen=True)
class NativeHandle:
    """A process-local way back to a state.

    Attributes:
        owner: What may use the handle; an environment compares it with its own ``native_owner``.
        payload: The state itself, opaque to everyone but the owner.
    """

    owner: Hashable
    payload: Any


@dataclass(frozen=True)
class Snapshot:
    """A state of an episode that can be restored exactly.

    Attributes:
        env: Versioned environment name, e.g. ``"WebShop-v0"``.
        panel: Hash of the task panel; it covers the environment's settings and data.
        task: Task id, ``"<split>/<index>"``.
        actions: The actions taken since ``reset``, in order.
        digest: Hex digest of what an agent would see in this state.
        native: Process-local handle, never serialised and not part of equality.
    """

    env: str
    panel: str
    task: str
    actions: tuple[str, ...]
    digest: str
    native: NativeHandle | None = field(default=None, compare=False, repr=False)

    @property
    def elapsed_steps(self) -> int:
        """Steps taken since ``reset``."""
        return len(self.actions)

    def portable(self) -> Snapshot:
        """The same snapshot without its native handle."""
        return replace(self, native=None)

    def to_bytes(self) -> bytes:
        """Serialise to ASCII JSON with a checksum; the native handle is left out."""
        body = {
            "format": _FORMAT,
            "env": self.env,
            "panel": self.panel,
            "task": self.task,
            "actions": list(self.actions),
            "digest": self.digest,
        }
        return _dump({**body, "checksum": hashlib.sha256(_dump(body)).hexdigest()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Inverse of ``to_bytes``.

        Raises:
            BadSnapshot: The bytes are not a snapshot, or were changed.
        """
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadSnapshot(f"not a snapshot: the bytes are not JSON ({error})") from error
        if not isinstance(body, dict) or body.get("format") != _FORMAT:
            raise BadSnapshot(f"not a snapshot: 'format' should be {_FORMAT!r}")
        canonical = _dump(body)
        checksum = body.pop("checksum", None)
        # Compared as bytes too: JSON can be written in many ways, of which to_bytes writes one.
        if canonical != data or checksum != hashlib.sha256(_dump(body)).hexdigest():
            raise BadSnapshot("the snapshot is corrupt: its checksum does not match; take it again")
        texts = (body.get("env"), body.get("panel"), body.get("task"), body.get("digest"))
        actions = body.get("actions")
        if (
            set(body) != {"format", "env", "panel", "task", "actions", "digest"}
            or not all(isinstance(text, str) for text in texts)
            or not isinstance(actions, list)
            or not all(isinstance(action, str) for action in actions)
        ):
            raise BadSnapshot(
                "the snapshot is malformed: env, panel, task, digest must be text, actions a list of text"
            )
        return cls(body["env"], body["panel"], body["task"], tuple(actions), body["digest"])

    def __getstate__(self) -> dict[str, Any]:
        """Copies sent to another process lose the handle, which means nothing there."""
        return {**self.__dict__, "native": None}


def digest_of(*parts: object) -> str:
    """Hex digest (128 bits) of JSON-able parts; tolerant of lone surrogates in text."""
    return hashlib.sha256(_dump(parts)).hexdigest()[:32]


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii")
