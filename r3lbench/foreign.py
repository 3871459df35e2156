"""Traces: play that was recorded by anything else, as JSON lines. docs/submitting.md describes them.

They come from strangers, so they are read strictly and a line at a time: nothing is longer than it can be, nothing is
there that is not asked for, and no setting leads anywhere on this machine or on the network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, StringConstraints, ValidationError

from r3lbench.agent import Sees
from r3lbench.env import MAX_ACTION_LENGTH
from r3lbench.errors import BadData
from r3lbench.rollout.evaluation import Score

LONGEST_LINE = 4 << 20
"""Most bytes of a line."""
TOLERANCE = 1e-6
"""Claimed numbers may be rounded so far."""

Line = tuple[int, bytes]
"""Number, from 1, and text."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\s][^\x00-\x1f\x7f]*$")]
Words = Annotated[str, StringConstraints(max_length=2000)]
Action = Annotated[str, StringConstraints(max_length=MAX_ACTION_LENGTH)]
Amount = Annotated[float, Field(ge=0)]
# No path and no address.
Word = Annotated[str, StringConstraints(max_length=80, pattern=r"^[^/\\:]*$")]
Scalar = Word | bool | int | float | None
Model = TypeVar("Model", bound=BaseModel)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Training(_Told):
    """How a policy was trained for this environment."""

    description: Words
    """Method, framework, data."""
    cost: dict[Literal["env_steps", "generated_tokens", "trained_tokens", "seconds"], Amount] = {}
    """What it took, as far as it was counted."""


class Header(_Told):
    """The first line: what was played, and who played it."""

    format: Literal["r3lbench-traces-1"]
    name: Name
    """What the row is called: the model's name, or the policy's."""
    description: Words
    """How it plays: version, prompt or scaffold, sampling."""
    environment: str
    """Short name, as of ``--env``."""
    env: dict[str, Scalar | tuple[Scalar, ...]] = {}
    """The environment's settings that are not its default."""
    split: str | None = None
    """The environment's held-out one if None."""
    panel: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Hash of the split's panel."""
    tasks: int | None = Field(None, ge=1)
    """The first so many tasks of the panel; all if None."""
    mode: Literal["sampled", "greedy"] = "sampled"
    """How actions were drawn."""
    temperature: float = Field(1.0, gt=0)
    """Of sampled play."""
    episodes_per_task: int = Field(1, ge=1, le=100)
    """How often each task was played; 1 for greedy play."""
    seed: int = Field(0, ge=0)
    """Of everything that was drawn. Several seeds are several files."""
    sees: tuple[Sees, ...]
    """What the player was given beyond observations."""
    training: Training | None
    """None: it was not trained for this environment."""
    url: Annotated[str, StringConstraints(max_length=300, pattern=r"^https?://[^\s@]+$")] | None = None
    """Where more is said."""


class Episode(_Told):
    """Any other line: the actions of an episode, and what it is said to have come to and cost."""

    task: Name
    episode: NonNegativeInt = 0
    actions: tuple[Action, ...]
    ret: float | None = Field(None, alias="return")
    score: float | None = None
    success: bool | None = None
    steps: int | None = None
    invalid: int | None = None
    generated_tokens: NonNegativeInt | None = None
    prefilled_tokens: NonNegativeInt | None = None

    def differs(self, found: Score) -> Iterator[str]:
        """What is claimed of the episode and is not so."""
        claims = {
            "return": (self.ret, found.ret),
            "score": (self.score, found.score),
            "success": (self.success, found.success),
            "steps": (self.steps, found.steps),
            "invalid": (self.invalid, found.invalid),
        }
        for name, (claim, is_so) in claims.items():
            if claim is not None and not math.isclose(claim, is_so, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                yield f"{name} is said to be {json.dumps(claim)}, and is {json.dumps(is_so)}"


def read_header(file: Path) -> Header:
    """The first line of a file.

    Raises:
        BadData: It cannot be read, or is no header.
    """
    return _parsed(Header, next(_lines(file), (1, b"")), file)


def read_episodes(file: Path, expected: Collection[tuple[str, int]]) -> list[tuple[int, Episode]]:
    """All other lines, with their numbers.

    Args:
        file: The file.
        expected: Task and number of every episode, each of which there is once.

    Returns:
        In the order in which they are expected.

    Raises:
        BadData: The file cannot be read, a line is no episode, or one is missing or not expected.
    """
    places = {at: place for place, at in enumerate(expected)}
    found: dict[tuple[str, int], tuple[int, Episode]] = {}
    lines = _lines(file)
    next(lines, None)
    for line in lines:
        episode = _parsed(Episode, line, file)
        at = episode.task, episode.episode
        spelled = f"{file}:{line[0]}: {episode.task}, episode {episode.episode},"
        if at not in places:
            raise BadData(f"{spelled} was not to be played: the first line says which tasks were, and how often")
        if at in found:
            raise BadData(f"{spelled} stands in line {found[at][0]} already")
        found[at] = line[0], episode
    if missing := [at for at in expected if at not in found]:
        task, number = missing[0]
        raise BadData(f"{file}: {len(missing)} episodes are missing, the first of them {task}, episode {number}")
    return sorted(found.values(), key=lambda of: places[of[1].task, of[1].episode])


def _lines(file: Path) -> Iterator[Line]:
    try:
        with file.open("rb") as stream:
            number = 0
            while text := stream.readline(LONGEST_LINE + 1):
                number += 1
                if len(text) > LONGEST_LINE:
                    raise BadData(f"{file}:{number}: longer than {LONGEST_LINE:,} bytes")
                yield number, text
    except OSError as error:
        raise BadData(f"{file} cannot be read: {error.strerror or error}") from error


def _parsed(model: type[Model], line: Line, file: Path) -> Model:
    try:
        return model.model_validate_json(line[1])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        wrong = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        if first["type"] == "json_invalid":
            # Of a single line the parser's line number says nothing.
            why = re.sub(r" at line \d+ column \d+$", "", first["ctx"]["error"])
            wrong = f"not a JSON object on a line of its own: {why}"
        raise BadData(f"{file}:{line[0]}: {wrong}") from error
