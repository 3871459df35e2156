"""Recorded results read back: found below a folder, checked, reduced to what a comparison needs.

What cannot be trusted is refused with the reason: a panel of which tasks are missing, a task evaluated more often than
the others, a summary that its own evaluation contradicts.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from r3lbench.errors import BadCheckpoint, BadData, UnknownName
from r3lbench.recording import RunFolder
from r3lbench.rollout.meter import EVALUATION
from r3lbench.tasks import parse_task_id
from r3lbench.verdict import Verdict, verdict_on

MEASURES = ("success", "score")
WARM_START, TRAINED = "before", "after"
"""When a run was evaluated: before its first update, and after its last. A mere evaluation has the latter only."""
LEARNING = ("updates", "no_signal", "retry_rate", "reflection_valid", "retry_improved", "pivot_share", "kl_to_start")
"""Updates; shares of groups whose returns are all equal, of retries per first attempt, of reflections that could be
read, and of retries that beat the attempt they left; where in the attempt retries begin; divergence from the start."""
_ABSOLUTE = re.compile(r"(/[^/\s]+/|~/|[A-Za-z]:[\\/])")


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class PanelInfo(_Read):
    """A split's tasks, as a manifest names them."""

    tasks: int
    """How many there are."""
    hash: str
    """Of environment, split, settings and all keys."""
    settings: dict[str, Any]
    """What decides the meaning of the tasks."""


class PolicyInfo(_Read):
    """A policy, as a manifest names it; all empty for agents without a model."""

    name: str = ""
    digest: str = ""
    """Of its weights; empty where they are many files."""
    parameters: int = 0


class Training(_Read):
    """How a policy was trained, as its sender says."""

    description: str
    cost: dict[str, float] = {}


class Elsewhere(_Read):
    """A model that was not at hand; see docs/submitting.md."""

    kind: str
    """hosted: it played here and spoke behind a server. imported: it played elsewhere; what it cost, what it was given
    and how it was trained is told and was not seen."""
    training: Training | None = None


class Manifest(_Read):
    """What was run."""

    created: str
    config: dict[str, Any]
    env: str
    panels: dict[str, PanelInfo]
    policy: PolicyInfo
    sees: dict[str, tuple[str, ...]]
    """What agent and reflectors were given beyond observations."""
    elsewhere: Elsewhere | None = None
    """Of a model that was not at hand."""


class Result(_Read):
    """What came of it."""

    updates: int
    seconds: float
    """Of exploring and learning."""
    cost: dict[str, dict[str, int]]
    """Counts by purpose, see ``rollout.meter``."""
    evaluation: dict[Literal["before", "after"], dict[str, dict[str, float]]]
    """Means by time (``WARM_START``, ``TRAINED``), mode and measure."""
    improvement: Improvement | None = None
    """Rounds of self-improvement after the first attempts, where there were any."""


class Improvement(_Read):
    """Test-time self-improvement, as a result sums it up."""

    sees: tuple[str, ...]
    """What the reflector was given beyond observations."""
    rounds: dict[str, list[_Round]]
    """By mode; round 0 are the first attempts."""


class _Round(_Read):
    success: float
    score: float
    cost: dict[str, dict[str, int]]
    """Counts of this round alone, by purpose."""

    @property
    def spent(self) -> dict[str, int]:
        """Counts over all purposes."""
        totals: Counter[str] = Counter()
        for counts in self.cost.values():
            totals.update(counts)
        return dict(totals)


class _Line(_Read):
    update: int = 0
    round: int = 0
    mode: str
    task: str
    success: bool
    score: float = Field(ge=0, le=1)
    steps: int = 0


class _Update(_Read):
    update: int
    explore: dict[str, Any] = {}
    learn: dict[str, Any] = {}
    cost: dict[str, dict[str, int]] = {}


class _Timing(_Read):
    update: int
    explore: float = 0.0
    learn: float = 0.0


Panel = Mapping[str, Sequence[float]]
"""By measure: one number a task, in the order of the tasks, episodes averaged."""
Episodes = Mapping[str, Sequence[Sequence[float]]]
"""By measure: for every task, in their order, what each of its episodes came to. Also of ``"steps"``."""


@dataclass(frozen=True)
class Point:
    """An evaluation on the way, or at either end.

    Attributes:
        share: Of the budget, the part that was used up by then, from 0 to 1.
        panel: What the policy came to.
    """

    share: float
    panel: Panel


@dataclass(frozen=True)
class Record:
    """A complete run, or a mere evaluation.

    Attributes:
        path: Where it was found.
        manifest: What was run.
        result: What came of it.
        split: The split it was evaluated on.
        tasks: How many tasks of it, from the first.
        panels: Results by time and mode.
        episodes: The same episode by episode, by mode, after training.
        rounds: Results of every round of self-improvement by mode, the first attempts aside.
        points: By mode, every evaluation of a run that has a budget, in order.
        learning: How it learned, see ``LEARNING``; None where there is nothing to say.
        verdict: Whether it was verified, see ``r3lbench verify``.
    """

    path: str
    manifest: Manifest
    result: Result
    split: str
    tasks: int
    panels: Mapping[tuple[str, str], Panel]
    episodes: Mapping[str, Episodes]
    rounds: Mapping[str, Sequence[Panel]]
    points: Mapping[str, Sequence[Point]]
    learning: Mapping[str, float | None]
    verdict: Verdict

    @property
    def config(self) -> dict[str, Any]:
        """All settings."""
        return self.manifest.config

    @property
    def seed(self) -> int:
        """Of everything that was drawn."""
        return int(self.config["seed"])

    @property
    def attempts(self) -> int:
        """How often every task was played after training."""
        return max((len(of["score"][0]) for of in self.episodes.values()), default=0)

    @property
    def method(self) -> dict[str, Any] | None:
        """The method's settings; None for a mere evaluation."""
        return self.config.get("method")

    @property
    def policy(self) -> PolicyInfo | None:
        """What was trained or played; None for agents without a model."""
        return self.manifest.policy if self.manifest.policy.name else None

    @property
    def panel(self) -> PanelInfo:
        """The panel it was evaluated on."""
        return self.manifest.panels[self.split]


@dataclass(frozen=True)
class Findings:
    """Everything below some folders.

    Attributes:
        records: The complete ones, by path.
        incomplete: (path, updates done) of runs without a result.
        damaged: (path, what is wrong) of the others.
    """

    records: tuple[Record, ...]
    incomplete: tuple[tuple[str, int], ...]
    damaged: tuple[tuple[str, str], ...]


def read_below(paths: Iterable[str]) -> Findings:
    """Read every run folder that is, or lies below, one of the paths.

    Raises:
        BadData: A path does not exist.
    """
    records, incomplete, damaged = [], [], []
    for path in sorted(run_folders(paths)):
        try:
            folder = RunFolder.open(path)
            if folder.result is None:
                incomplete.append((path.as_posix(), len(folder.metrics())))
            else:
                records.append(read(folder))
        except BadCheckpoint as error:
            damaged.append((path.as_posix(), str(error)))
    return Findings(tuple(records), tuple(incomplete), tuple(damaged))


def run_folders(paths: Iterable[str]) -> list[Path]:
    """Folders with a manifest, each once; links are not followed, and a run is not searched for others."""
    found: dict[Path, Path] = {}
    for given in paths:
        if not Path(given).is_dir():
            raise BadData(f"{given} is not a folder; give folders that hold recorded runs, e.g. results or runs")
        for parent, folders, files in os.walk(given):
            folders.sort()
            if "manifest.json" in files:
                folders.clear()
                found.setdefault(Path(parent).resolve(), Path(parent))
    return list(found.values())


def read(folder: RunFolder) -> Record:
    """Read a complete record.

    Raises:
        BadCheckpoint: It is damaged, or contradicts itself; the message names the file.
    """
    path = folder.path
    manifest = validated(Manifest, folder.manifest, path / "manifest.json")
    result = validated(Result, folder.result, path / "result.json")
    if not isinstance(manifest.config.get("seed"), int):
        raise BadCheckpoint(f"{path / 'manifest.json'} is damaged: config.seed is missing")
    file = path / "evaluation.jsonl"
    lines: dict[tuple[int, str], list[_Line]] = defaultdict(list)
    for line in validated(list[_Line], folder.evaluations(), file):
        lines[line.update, line.mode].append(line)
    updated = {WARM_START: 0, TRAINED: result.updates}
    told = {(when, mode): means for when, modes in result.evaluation.items() for mode, means in modes.items()}
    needed = {(updated[when], mode) for when, mode in told}
    played = {at: _episodes(lines[at], file) for at in sorted({*lines, *needed})}
    panels: dict[tuple[str, str], Panel] = {}
    for (when, mode), means in told.items():
        panels[when, mode] = _means(played[updated[when], mode][1])
        _check_means(panels[when, mode], means, path, f"{when} ({mode})", file.name)
    splits, counts = {split for split, _ in played.values()}, {len(of["score"]) for _, of in played.values()}
    if len(splits) != 1 or len(counts) != 1 or not splits <= set(manifest.panels):
        raise BadCheckpoint(f"{file} is damaged: evaluations on one panel of one size expected")
    split, count = splits.pop(), counts.pop()
    wanted = manifest.config.get("evaluation", {}).get("tasks") or manifest.panels[split].tasks
    if count != min(wanted, manifest.panels[split].tasks):
        raise BadCheckpoint(f"{file} is damaged: {count} of {wanted} tasks evaluated")
    updates = validated(list[_Update], folder.metrics(), path / "metrics.jsonl")
    return Record(
        path=path.as_posix(),
        manifest=manifest,
        result=result,
        split=split,
        tasks=count,
        panels=panels,
        episodes={mode: of for (update, mode), (_, of) in played.items() if update == result.updates},
        rounds=_rounds(folder, result, count),
        points=_points(manifest, played, updates, folder),
        learning=_learning(updates),
        verdict=verdict_on(folder),
    )


def _rounds(folder: RunFolder, result: Result, tasks: int) -> dict[str, list[Panel]]:
    """What the rounds of self-improvement came to, checked against their summary."""
    file = folder.path / "improvement.jsonl"
    lines: dict[tuple[str, int], list[_Line]] = defaultdict(list)
    for line in validated(list[_Line], folder.improvements(), file):
        lines[line.mode, line.round].append(line)
    rounds: dict[str, list[Panel]] = {}
    for mode, told in ({} if result.improvement is None else result.improvement.rounds).items():
        rounds[mode] = [_means(_episodes(lines[mode, number], file)[1]) for number in range(1, len(told))]
        for number, (panel, means) in enumerate(zip(rounds[mode], told[1:], strict=True), start=1):
            if len(panel["score"]) != tasks:
                raise BadCheckpoint(f"{file} is damaged: {tasks} tasks a round expected")
            told_means = means.model_dump(include=set(MEASURES))
            _check_means(panel, told_means, folder.path, f"of round {number} ({mode})", file.name)
    return rounds


def _points(
    manifest: Manifest,
    played: Mapping[tuple[int, str], tuple[str, Episodes]],
    updates: Sequence[_Update],
    folder: RunFolder,
) -> dict[str, list[Point]]:
    """Every evaluation by mode; none where there is no budget, or it is not known what had been spent."""
    limits = {name: limit for name, limit in (manifest.config.get("budget") or {}).items() if limit}
    if not limits:
        return {}
    seconds, shares = 0.0, {0: 0.0}
    timings: list[_Timing] = validated(list[_Timing], folder.timings(), folder.path / "timings.jsonl")
    took = {line.update: line.explore + line.learn for line in timings}
    for line in updates:
        seconds += took.get(line.update, 0.0)
        spent: dict[str, float] = {"updates": line.update, "seconds": seconds}
        for purpose, counts in line.cost.items():
            if purpose != EVALUATION:
                spent |= {name: spent.get(name, 0) + count for name, count in counts.items()}
        shares[line.update] = max(min(1.0, spent.get(name, 0) / limit) for name, limit in limits.items())
    points: dict[str, list[Point]] = defaultdict(list)
    for (update, mode), (_, episodes) in played.items():
        if update in shares:
            points[mode].append(Point(shares[update], _means(episodes)))
    return dict(points)


def _learning(updates: Sequence[_Update]) -> dict[str, float | None]:
    """Means over what was counted, so that an update with few retries says little; the divergence as of the end."""

    def mean(share: str, per: str) -> float | None:
        weighted = [(of.explore.get(share), of.explore.get(per)) for of in updates]
        told = [(value, weight) for value, weight in weighted if value is not None and weight]
        return math.fsum(value * weight for value, weight in told) / sum(weight for _, weight in told) if told else None

    last = updates[-1].learn if updates else {}
    return {
        "updates": float(len(updates)),
        "no_signal": mean("no_signal", "groups"),
        "retry_rate": mean("retry_rate", "groups"),
        "reflection_valid": mean("reflection_valid", "reflections"),
        "retry_improved": mean("retry_improved", "retries"),
        "pivot_share": mean("pivot_share", "retries"),
        "kl_to_start": last.get("kl_to_start"),
    }


def absolute_paths(value: Any) -> Iterator[str]:
    """Texts in JSON values that name files from the root of some machine; a record to be published holds none."""
    if isinstance(value, str):
        if _ABSOLUTE.match(value):
            yield value
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from absolute_paths(value[key])
    elif isinstance(value, Sequence):
        for item in value:
            yield from absolute_paths(item)


def _episodes(lines: Sequence[_Line], file: Path) -> tuple[str, Episodes]:
    """The split, and by measure the episodes of every task, which are the first of the split."""
    by_task: dict[tuple[str, int], list[_Line]] = defaultdict(list)
    try:
        for line in lines:
            by_task[parse_task_id(line.task)].append(line)
    except UnknownName as error:
        raise BadCheckpoint(f"{file} is damaged: {error}") from error
    tasks = sorted(by_task)
    split = tasks[0][0] if tasks else ""
    if not tasks or tasks != [(split, index) for index in range(len(tasks))]:
        raise BadCheckpoint(f"{file} is damaged: tasks are missing; those from the first on expected")
    if len({len(episodes) for episodes in by_task.values()}) != 1:
        raise BadCheckpoint(f"{file} is damaged: some tasks were evaluated more often than others")
    return split, {
        measure: [[float(getattr(line, measure)) for line in by_task[task]] for task in tasks]
        for measure in (*MEASURES, "steps")
    }


def _means(episodes: Episodes) -> Panel:
    return {
        measure: [math.fsum(of) / len(of) for of in by_task]
        for measure, by_task in episodes.items()
        if measure in MEASURES
    }


def _check_means(panel: Panel, means: Mapping[str, float], path: Path, when: str, file: str) -> None:
    for measure, values in panel.items():
        if not math.isclose(math.fsum(values) / len(values), means.get(measure, math.nan), abs_tol=1e-9):
            raise BadCheckpoint(f"{path}: {measure} {when} in result.json is not the mean of {file}")


def validated(model: Any, value: Any, file: Path) -> Any:
    """JSON values of a record as what they should be.

    Raises:
        BadCheckpoint: They are not; the message names the file and the place in it.
    """
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadCheckpoint(f"{file} is damaged: {where}: {first['msg']}") from error
