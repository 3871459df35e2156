"""Recorded runs as pandas data frames, for plots and statistics of one's own; docs/analysis.md says how.

Three tidy frames: a row per evaluated episode, per update, or per run. Each row says what it belongs to (run, method,
seed, ...) under the same column names, so that frames can be grouped and joined by them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from r3lbench.config import dotted
from r3lbench.errors import BadCheckpoint, BadConfig, BadData, MissingExtra, UnknownName
from r3lbench.recording import RunFolder
from r3lbench.registry import unknown
from r3lbench.results import Manifest, read, run_folders, validated
from r3lbench.rollout.meter import EVALUATION
from r3lbench.settings import called, in_words
from r3lbench.standings import COSTS
from r3lbench.tasks import parse_task_id

if TYPE_CHECKING:
    import pandas

Row = dict[str, Any]

_IDENTITY = ("run", "complete", "env", "method", "switches", "agent", "policy", "seed", "budget")
_PROGRESS = ("update", *COSTS, "budget_share")
_EPISODE = ("mode", "task", "task_index", "episode", "return", "score", "success", "steps", "invalid")
_FACTS = ("policy_digest", "parameters", "split", "panel", "created", "r3lbench", "revision", "stopped_by")


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Played(_Read):
    """A line of ``evaluation.jsonl``."""

    update: int
    mode: str
    task: str
    episode: int = 0
    ret: float = Field(alias="return")
    score: float
    success: bool
    steps: int
    invalid: int


class _Update(_Read):
    """A line of ``metrics.jsonl``."""

    update: int
    explore: dict[str, Any]
    learn: dict[str, Any]
    cost: dict[str, dict[str, int]]


class _Timing(_Read):
    """A line of ``timings.jsonl``, in seconds; a mere evaluation's has nothing of training in it."""

    update: int
    explore: float = 0.0
    learn: float = 0.0
    record: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class _Run:
    """What a run's record says, checked."""

    path: str
    told: Mapping[str, Any]
    """The manifest as it stands."""
    manifest: Manifest
    result: Mapping[str, Any] | None
    played: Sequence[_Played]
    updates: Mapping[int, _Update]
    timings: Mapping[int, _Timing]

    @classmethod
    def read(cls, path: Path) -> _Run:
        folder = RunFolder.open(path)
        if folder.result is not None:
            read(folder)  # refuses what contradicts itself
        updates = validated(list[_Update], folder.metrics(), path / "metrics.jsonl")
        timings = validated(list[_Timing], folder.timings(), path / "timings.jsonl")
        played = validated(list[_Played], folder.evaluations(), path / "evaluation.jsonl")
        # The lines of an update are written one after another; a run that is under way may lack the last.
        numbers = {of.update for of in updates} & {of.update for of in timings}
        needed = {of.update for of in [*played, *(updates if folder.result is not None else ())]} - {0}
        if lacking := needed - numbers:
            raise BadCheckpoint(f"{path}: metrics.jsonl or timings.jsonl lacks update {min(lacking)}")
        return cls(
            path=path.as_posix(),
            told=folder.manifest,
            manifest=validated(Manifest, folder.manifest, path / "manifest.json"),
            result=folder.result,
            played=played,
            updates={of.update: of for of in updates if of.update in numbers},
            timings={of.update: of for of in timings},
        )

    @cached_property
    def identity(self) -> Row:
        """What all rows of the run have in common, see ``_IDENTITY``."""
        config = self.manifest.config
        name, switches = called(config["method"]) if config.get("method") else (None, {})
        values = (
            self.path,
            self.result is not None,
            self.manifest.env,
            name,
            in_words(switches),
            (config.get("agent") or {}).get("name"),
            self.manifest.policy.name or None,
            config.get("seed"),
            in_words(self.limits),
        )
        return dict(zip(_IDENTITY, values, strict=True))

    @property
    def limits(self) -> dict[str, float]:
        """The budget."""
        limits = self.manifest.config.get("budget") or {}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def progress(self, update: int) -> Row:
        """What had been spent at the end of an update, evaluation aside; see ``_PROGRESS``."""
        cost = self.updates[update].cost if update else {}
        spent: dict[str, float] = {
            name: sum(counts.get(name, 0) for purpose, counts in cost.items() if purpose != EVALUATION)
            for name in COSTS
        }
        spent["seconds"] = self.timings[update].total if update else 0.0
        used = {"updates": update, **spent}
        shares = [min(1.0, used[name] / limit) if limit else 1.0 for name, limit in self.limits.items()]
        return {"update": update, **spent, "budget_share": max(shares, default=math.nan)}

    def panel(self, split: str) -> str:
        """The hash of a split's panel."""
        if split not in self.manifest.panels:
            raise BadCheckpoint(f"{self.path}: manifest.json names no panel of the split {split!r}")
        return self.manifest.panels[split].hash


def load_results(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    kind: Literal["evaluation", "updates", "runs"] = "evaluation",
    *,
    errors: Literal["raise", "skip"] = "raise",
) -> pandas.DataFrame:
    """Read every run that is, or lies below, one of the paths.

    Args:
        paths: A folder, or several.
        kind: ``"evaluation"``: a row per evaluated episode. ``"updates"``: a row per update, with its metrics.
            ``"runs"``: a row per run, with its result and what was run. docs/analysis.md lists the columns.
        errors: What becomes of a damaged record: ``"raise"``, or ``"skip"``, which leaves it out and puts the reason
            into ``attrs["damaged"]`` of the frame, by path.

    Returns:
        Rows by path, then as recorded. Runs that are not finished are among them; ``complete`` tells.

    Raises:
        BadData: A path is no folder, or no run lies there.
        BadCheckpoint: A record is damaged, or contradicts itself.
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("data frames need pandas: pip install 'r3lbench[analysis]'") from error
    if kind not in _ROWS:
        raise UnknownName(unknown("kind of frame", kind, _ROWS))
    if errors not in ("raise", "skip"):
        raise BadConfig(f"errors={errors!r}: a damaged record can be met with 'raise' or 'skip'")
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    folders = sorted(run_folders(os.fspath(path) for path in given))
    if not folders:
        raise BadData(f"there is no recorded run in {', '.join(map(str, given))}")
    make, columns = _ROWS[kind]
    rows: list[Row] = []
    damaged: dict[str, str] = {}
    for folder in folders:
        try:
            rows += make(_Run.read(folder))
        except BadCheckpoint as error:
            if errors == "raise":
                raise
            damaged[folder.as_posix()] = str(error)
    others = sorted({name for row in rows for name in row} - {*columns})
    frame = pandas.DataFrame(rows, columns=[*columns, *others])
    frame.attrs["damaged"] = damaged
    return frame


def _evaluation(run: _Run) -> list[Row]:
    rows = []
    for of in run.played:
        split, index = _place(run, of.task)
        at = {"split": split, "panel": run.panel(split), **run.progress(of.update)}
        values = (of.mode, of.task, index, of.episode, of.ret, of.score, of.success, of.steps, of.invalid)
        rows.append({**run.identity, **at, **dict(zip(_EPISODE, values, strict=True))})
    return rows


def _updates(run: _Run) -> list[Row]:
    rows = []
    for number, of in run.updates.items():
        numbers = dotted({"explore": of.explore, "learn": of.learn, "cost": of.cost})
        known = {name: math.nan if value is None else value for name, value in numbers.items()}
        seconds = {f"seconds.{phase}": getattr(run.timings[number], phase) for phase in ("explore", "learn", "record")}
        rows.append({**run.identity, **run.progress(number), **known, **seconds})
    return rows


def _runs(run: _Run) -> list[Row]:
    split = _place(run, run.played[0].task)[0] if run.played else None
    facts = (
        run.manifest.policy.digest or None,
        run.manifest.policy.parameters or None,
        split,
        None if split is None else run.panel(split),
        *(run.told.get(name) for name in ("created", "r3lbench", "revision")),
        None if run.result is None else run.result.get("stopped_by"),
    )
    means = {} if run.result is None else dotted(run.result["evaluation"])
    settings = {f"config.{path}": _plain(value) for path, value in dotted(run.manifest.config).items()}
    progress = run.progress(max(run.updates, default=0))
    return [{**run.identity, **dict(zip(_FACTS, facts, strict=True)), **progress, **means, **settings}]


_ROWS: dict[str, tuple[Callable[[_Run], list[Row]], tuple[str, ...]]] = {
    "evaluation": (_evaluation, (*_IDENTITY, "split", "panel", *_PROGRESS, *_EPISODE)),
    "updates": (_updates, (*_IDENTITY, *_PROGRESS)),
    "runs": (_runs, (*_IDENTITY, *_FACTS, *_PROGRESS)),
}


def _place(run: _Run, task: str) -> tuple[str, int]:
    try:
        return parse_task_id(task)
    except UnknownName as error:
        raise BadCheckpoint(f"{run.path}/evaluation.jsonl is damaged: {error}") from error


def _plain(value: Any) -> Any:
    """A setting as something that can be grouped by."""
    return json.dumps(value) if isinstance(value, list) else value
