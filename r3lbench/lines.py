"""A record's files, read as strictly as they are written: what was not written by a run or an evaluation is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from r3lbench.phases import Told
from r3lbench.rollout.evaluation import Score
from r3lbench.rollout.meter import COUNTS
from r3lbench.verdict import Check


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _known(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    if unknown := sorted({name for amounts in counts.values() for name in amounts} - set(COUNTS)):
        raise ValueError(f"nothing is counted as {unknown[0]!r}")
    return counts


Cost = Annotated[dict[str, dict[str, NonNegativeInt]], AfterValidator(_known)]
"""Counts by purpose, see ``rollout.meter``."""


class Played(_Strict):
    """An episode."""

    mode: str
    task: str
    ret: float = Field(alias="return")
    score: float
    success: bool
    steps: int
    invalid: int
    actions: tuple[str, ...] | None = None
    digest: str | None = None
    """Both None in records of versions that did not keep them."""
    episode: int = 0

    @property
    def outcome(self) -> Score:
        """What the episode is said to have come to."""
        return Score(
            self.task,
            self.ret,
            self.score,
            self.success,
            self.steps,
            self.invalid,
            self.actions or (),
            self.digest or "",
        )


class EpisodeLine(Played):
    """A line of ``evaluation.jsonl``."""

    update: int

    @property
    def at(self) -> tuple[int, str, str, int]:
        """Update, mode, task and episode: what no two lines have in common."""
        return self.update, self.mode, self.task, self.episode


class DraftLine(Played):
    """A line of ``improvement.jsonl``."""

    round: int
    retried: bool
    valid: bool | None

    @property
    def at(self) -> tuple[str, int, str, int]:
        """Mode, round, task and episode: what no two lines have in common."""
        return self.mode, self.round, self.task, self.episode


class UpdateLine(_Strict):
    """A line of ``metrics.jsonl``."""

    update: int
    tasks: tuple[str, ...]
    explore: dict[str, Any]
    learn: dict[str, Any]
    cost: Cost


class TimingLine(_Strict):
    """A line of a run's ``timings.jsonl``, in seconds."""

    update: int
    explore: float
    learn: float
    record: float
    total: float
    """Of exploring and learning, earlier updates included."""
    phases: Told = {}
    """Since the line before; empty in records of versions that did not measure them."""


class MeasuringLine(_Strict):
    """The line of an evaluation's ``timings.jsonl``, in seconds."""

    update: Literal[0]
    evaluate: float


Intervals = dict[str, tuple[float, float]]
"""By measure the ends of an interval."""


class _Round(_Strict):
    model_config = ConfigDict(extra="allow")

    cost: Cost
    intervals: Intervals


class ImprovementPart(_Strict):
    """What rounds of self-improvement came to, by mode."""

    sees: tuple[str, ...]
    rounds: dict[str, tuple[_Round, ...]]


class ResultFile(_Strict):
    """``result.json``."""

    stopped_by: str
    updates: NonNegativeInt
    evaluation: dict[str, dict[str, dict[str, float]]]
    cost: Cost
    seconds: float
    phases: Told | None = None
    intervals: dict[str, Intervals] | None = None
    improvement: ImprovementPart | None = None


class _Hardware(_Strict):
    machine: str
    system: str
    cpu: str
    cores: int | None
    threads: int
    gpus: tuple[str, ...]
    processes: int | None = Field(None, ge=1)
    """That the run began with; None in records of versions that did not say."""


class ManifestFile(_Strict):
    """``manifest.json``."""

    format: Literal[1]
    created: AwareDatetime
    r3lbench: str
    revision: str | None
    python: str
    packages: dict[str, str | None]
    hardware: _Hardware
    config: dict[str, Any]
    env: str
    panels: dict[str, dict[str, Any]]
    policy: dict[str, str | int]
    sees: dict[str, tuple[str, ...]]
    reproducible: Literal[False] | None = None
    """None where the same command gives the same bytes."""
    elsewhere: dict[str, Any] | None = None
    """Of a model that is not at hand."""
    engine: dict[str, Any] | None = None
    """What sampled; None in records of versions that had but one."""


Read = TypeVar("Read", bound=BaseModel)


def read_lines(check: Check, file: Path, model: type[Read]) -> list[Read] | None:
    """A file of JSON lines, empty if it is not there; None, and differences, where it is not as it is written."""
    try:
        lines = file.read_bytes().splitlines() if file.exists() else []
    except OSError as error:
        check.differ(file.name, f"cannot be read: {error.strerror}")
        return None
    found = [_parsed(check, f"{file.name}:{number}", line, model) for number, line in enumerate(lines, start=1)]
    read = [line for line in found if line is not None]
    return read if len(read) == len(found) else None


def read_file(check: Check, file: Path, model: type[Read]) -> Read | None:
    """A file of JSON; None, and a difference, where it is not as it is written."""
    try:
        return _parsed(check, file.name, file.read_bytes(), model)
    except OSError as error:
        check.differ(file.name, f"cannot be read: {error.strerror}")
        return None


def _parsed(check: Check, place: str, text: bytes, model: type[Read]) -> Read | None:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        check.differ(f"{place} {where}".rstrip(), f"{first['msg']}")
        return None
