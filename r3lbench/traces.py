"""An update's groups read back from a run folder: what was done and said, and which turns got which weight.

``recording.group_json`` writes them. What is read is checked here, so that whoever goes through a group need not.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from r3lbench.errors import BadCheckpoint
from r3lbench.recording import RunFolder
from r3lbench.rollout.group import Ended


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


class _Node(_Read):
    id: int
    """Its place in the list."""
    parent: int | None
    """A smaller id; None at a root."""


class RecordedState(_Node):
    """A state of the world."""

    action: str | None
    """What led here; None at the root."""
    reward: float
    digest: str
    """Of what an agent saw here."""


class RecordedSegment(_Node):
    """A node of the token forest."""

    role: str
    sampled: bool
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class RecordedAttempt(_Read):
    """A way through the tree."""

    key: str
    base: str | None
    """Key of the attempt that it retries."""
    pivot: int
    ended: Ended
    leaf: int
    turns: tuple[tuple[int, int], ...]
    """For every step the nodes of the prompt and of the model's turn."""


class RecordedReflection(_Read):
    """A look back on an attempt."""

    of: str
    """Key of the attempt."""
    valid: bool
    pivot: int | None
    turns: tuple[int, ...] | None = None
    """Nodes of what the model wrote; None where it wrote nothing."""


class RecordedTerm(_Read):
    """Turns that were trained with one weight."""

    weight: float
    turns: tuple[int, ...]
    sampled_in: tuple[int, ...]
    """For every one of ``turns`` the node in which its tokens were sampled."""


class RecordedGroup(_Read):
    """Everything that was tried on a task, and what it was worth to the method."""

    key: str
    task: str
    states: tuple[RecordedState, ...] = Field(min_length=1)
    segments: tuple[RecordedSegment, ...]
    attempts: tuple[RecordedAttempt, ...]
    reflections: tuple[RecordedReflection, ...]
    terms: tuple[RecordedTerm, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _check_tree("states", self.states)
        _check_tree("segments", self.segments)
        if any(len(one.logprobs) != (len(one.token_ids) if one.sampled else 0) for one in self.segments):
            raise ValueError("a segment does not have a log-probability for each of its sampled tokens")
        if self.states[0].parent is not None or any(state.action is None for state in self.states[1:]):
            raise ValueError("a state besides the first has no parent or no action")
        if any(state.parent is None for state in self.states[1:]):
            raise ValueError("the states have more than one root")
        known: set[str] = set()
        for attempt in self.attempts:
            if attempt.base is not None and attempt.base not in known:
                raise ValueError(f"attempt {attempt.key} retries {attempt.base}, which is not there")
            if not 0 <= attempt.leaf < len(self.states) or len(attempt.turns) != len(self.path(attempt.leaf)) - 1:
                raise ValueError(f"attempt {attempt.key} does not have a turn for each of its steps")
            known.add(attempt.key)
        steps = {attempt.key: len(attempt.turns) for attempt in self.attempts}
        for reflection in self.reflections:
            if not 0 <= (reflection.pivot or 0) < max(1, steps.get(reflection.of, 0)):
                raise ValueError(f"a reflection on {reflection.of} names a step that the attempt does not have")
        nodes = [node for attempt in self.attempts for turn in attempt.turns for node in turn]
        nodes += [node for term in self.terms for node in (*term.turns, *term.sampled_in)]
        nodes += [node for reflection in self.reflections for node in reflection.turns or ()]
        if nodes and not 0 <= min(nodes) <= max(nodes) < len(self.segments):
            raise ValueError("a turn's tokens are not there")
        if any(len(term.turns) != len(term.sampled_in) for term in self.terms):
            raise ValueError("terms do not say where each of their turns was sampled; an earlier version recorded them")
        return self

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For every state the ids of those that its actions led to."""
        below: list[list[int]] = [[] for _ in self.states]
        for state in self.states[1:]:
            assert state.parent is not None
            below[state.parent].append(state.id)
        return tuple(map(tuple, below))

    def path(self, leaf: int) -> tuple[int, ...]:
        """The states from the root to ``leaf``, both included."""
        ids = [leaf]
        while (parent := self.states[ids[-1]].parent) is not None:
            ids.append(parent)
        return tuple(reversed(ids))


def _check_tree(what: str, nodes: Sequence[_Node]) -> None:
    for place, node in enumerate(nodes):
        if node.id != place or not (node.parent is None or 0 <= node.parent < place):
            raise ValueError(f"{what} are not numbered from 0 on, parents first")


def recorded_updates(folder: RunFolder) -> list[int]:
    """The updates whose groups are recorded, in order.

    Raises:
        BadCheckpoint: There are none, and why.
    """
    updates = sorted(int(file.name[1:7]) for file in (folder.path / "trees").glob("u??????.jsonl.gz"))
    if not updates and folder.result is not None:
        raise BadCheckpoint(f"{folder.path}: this record was published without its trees; repeat the run to have them")
    if not updates:
        raise BadCheckpoint(f"{folder.path}: no update of this run is recorded yet")
    return updates


def read_groups(folder: RunFolder, update: int) -> Iterator[RecordedGroup]:
    """An update's groups, in the order of the run.

    Raises:
        BadCheckpoint: The file cannot be read, or a group in it does not hold together.
    """
    file = folder.path / "trees" / f"u{update:06d}.jsonl.gz"
    for number, line in enumerate(read_lines(file), start=1):
        try:
            yield parse_group(line)
        except BadCheckpoint as error:
            raise BadCheckpoint(f"{file}, line {number}: {error}") from error


def parse_group(line: bytes) -> RecordedGroup:
    """A group from its line.

    Raises:
        BadCheckpoint: It does not hold together, and why.
    """
    try:
        return RecordedGroup.model_validate_json(line)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
        raise BadCheckpoint(reason) from error


def read_lines(file: Path) -> list[bytes]:
    """The lines of an update's file, a group each.

    Raises:
        BadCheckpoint: The file cannot be read.
    """
    try:
        return gzip.decompress(file.read_bytes()).splitlines()
    except OSError as error:
        raise BadCheckpoint(f"{file} cannot be read: {error}") from error
    except (EOFError, zlib.error) as error:
        raise BadCheckpoint(f"{file} is damaged: {error}") from error
