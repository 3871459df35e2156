"""The ordered, hashed list of tasks of one split.

A result can only be compared with another when both were measured on the same tasks in the same meaning. So a panel
fixes, for every index, the *key* of the task's content, and its hash covers the environment, its settings and all keys
in order. The mapping index -> task is a pure function of the settings: never of directory order, worker or clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from r3lbench.errors import UnknownName


@dataclass(frozen=True, order=True)
class Task:
    """One task of a split.

    Attributes:
        split: Name of the split, e.g. ``"train"``.
        index: Position in the split's panel, from 0.
        key: Identity of the task's content, the same on every machine (a name, a seed, or a content hash).
    """

    split: str
    index: int
    key: str

    @property
    def id(self) -> str:
        """``"<split>/<index>"``, the form that ``reset(options={"task": ...})`` takes."""
        return f"{self.split}/{self.index}"


@dataclass(frozen=True)
class TaskPanel:
    """The tasks of a split in canonical order.

    Attributes:
        env: Versioned environment name, e.g. ``"WebShop-v0"``.
        split: Name of the split.
        keys: Content key of every task, in order.
        settings: Whatever else decides what a task means (protocol, catalogue name and hash, ...); JSON values.
    """

    env: str
    split: str
    keys: Sequence[str]
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over environment, split, settings and all keys in order."""
        sha = hashlib.sha256()
        head = {"env": self.env, "split": self.split, "settings": self.settings}
        sha.update(json.dumps(head, sort_keys=True).encode())
        for key in self.keys:
            sha.update(b"\x00")
            sha.update(key.encode("utf-8", "surrogatepass"))
        return sha.hexdigest()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Task:
        if not 0 <= index < len(self.keys):
            raise UnknownName(
                f"{self.env} has no task {self.split}/{index}: the split has {len(self)} tasks, "
                f"{self.split}/0 to {self.split}/{len(self) - 1}"
            )
        return Task(self.split, index, self.keys[index])

    def __iter__(self) -> Iterator[Task]:
        return (self[index] for index in range(len(self)))


def parse_task_id(task_id: str) -> tuple[str, int]:
    """Split ``"<split>/<index>"`` into its parts.

    Raises:
        UnknownName: The text is not of that form.
    """
    split, slash, index = task_id.rpartition("/")
    # Python refuses to convert thousands of digits with an error of its own; no panel needs more than these.
    if not slash or not split or not index.isascii() or not index.isdecimal() or len(index) > 18:
        raise UnknownName(f"{task_id!r} is not a task id; write <split>/<index>, e.g. 'test/0'")
    return split, int(index)
