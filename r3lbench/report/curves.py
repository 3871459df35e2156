"""How runs came to where they ended: what they were worth at every evaluation, and what was done between these."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from r3lbench.recording import RunFolder
from r3lbench.results import MEASURES, Panel, Record, validated
from r3lbench.rollout.meter import EVALUATION
from r3lbench.stats import UNIT, Estimate, estimate
from r3lbench.tasks import parse_task_id

AXES = ("generated_tokens", "env_steps", "trained_tokens", "seconds", "updates")
"""What a curve can be drawn against; without evaluation, seconds of exploring and learning."""
RATES = {
    "retry_rate": "groups",
    "reflection_valid": "reflections",
    "retry_improved": "retries",
    "no_signal": "groups",
}
"""Rates of an update, and what each is a mean over; see ``training.report.explored``."""
_MOST_STRETCHES = 10


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class _Evaluated(_Read):
    update: int
    mode: str
    task: str
    success: bool
    score: float


class Update(_Read):
    """A line of the metrics."""

    update: int
    cost: dict[str, dict[str, int]] = {}
    explore: dict[str, Any] = {}


class _Timing(_Read):
    update: int
    explore: float
    learn: float


@dataclass(frozen=True)
class Point:
    """An evaluation of one run.

    Attributes:
        update: The last update before it.
        share: Of the run's updates.
        at: What was spent until then, by axis; those that the run did not record are left out.
        panel: What it came to.
    """

    update: int
    share: float
    at: Mapping[str, float]
    panel: Panel


@dataclass(frozen=True)
class Past:
    """What a run recorded on its way.

    Attributes:
        points: Its evaluations that have all tasks, in order.
        updates: Its metrics.
    """

    points: Sequence[Point]
    updates: Sequence[Update]


@dataclass(frozen=True)
class Curve:
    """The evaluations of one row's runs, seeds together.

    Attributes:
        at: By axis, where each lies: means over seeds. Axes that a run did not record are left out.
        values: By measure, what each came to.
    """

    at: Mapping[str, Sequence[float]]
    values: Mapping[str, Sequence[Estimate]]


@dataclass(frozen=True)
class History:
    """What happened while exploring, seeds together.

    Attributes:
        updates: The last update of each stretch; all are of one length, give or take one.
        rates: By name (``RATES``), the rate of each stretch; None where there was nothing to count.
        pivots: Retries by the step at which they began.
    """

    updates: Sequence[int]
    rates: Mapping[str, Sequence[float | None]]
    pivots: Sequence[int]


def read_past(run: Record, mode: str) -> Past:
    """Read what a run recorded on its way.

    Raises:
        BadCheckpoint: A file is damaged.
    """
    folder = RunFolder(Path(run.path))
    updates: list[Update] = validated(list[Update], folder.metrics(), folder.path / "metrics.jsonl")
    timings: list[_Timing] = validated(list[_Timing], folder.timings(), folder.path / "timings.jsonl")
    lines: list[_Evaluated] = validated(list[_Evaluated], folder.evaluations(), folder.path / "evaluation.jsonl")
    by_update: dict[int, dict[int, list[_Evaluated]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        if line.mode == mode:
            by_update[line.update][parse_task_id(line.task)[1]].append(line)
    spent, last = _spent(updates, timings), max(1, run.result.updates)
    points = [
        Point(update, update / last, {**spent.get(update, {}), "updates": update}, _panel(tasks))
        for update, tasks in sorted(by_update.items())
        if len(tasks) == run.tasks
    ]
    return Past(points, updates)


def curve(pasts: Sequence[Past]) -> Curve | None:
    """Seeds are put side by side at equal shares of their updates; None for runs that were evaluated only once.

    The seed with the fewest evaluations says where: of the others' the nearest is taken, and none is made up.
    """
    fewest = min((past.points for past in pasts), key=len)
    if len(fewest) < 2:
        return None
    together = [
        [min(past.points, key=lambda point: abs(point.share - here.share)) for past in pasts] for here in fewest
    ]
    known = [axis for axis in AXES if all(axis in point.at for seeds in together for point in seeds)]
    return Curve(
        at={axis: [math.fsum(point.at[axis] for point in seeds) / len(seeds) for seeds in together] for axis in known},
        values={
            measure: [estimate([point.panel[measure] for point in seeds], bounds=UNIT) for seeds in together]
            for measure in MEASURES
        },
    )


def _panel(tasks: Mapping[int, Sequence[_Evaluated]]) -> Panel:
    return {
        measure: [
            math.fsum(getattr(line, measure) for line in tasks[task]) / len(tasks[task]) for task in sorted(tasks)
        ]
        for measure in MEASURES
    }


def _spent(updates: Sequence[Update], timings: Sequence[_Timing]) -> dict[int, dict[str, float]]:
    """By update, what had been spent when it ended; nothing at update 0."""
    axes = [axis for axis in AXES if axis not in ("updates", "seconds")]
    spent: dict[int, dict[str, float]] = {0: dict.fromkeys((*axes, "seconds"), 0.0)}
    for line in updates:
        if line.cost:
            of = [counts for purpose, counts in line.cost.items() if purpose != EVALUATION]
            spent[line.update] = {axis: float(sum(counts.get(axis, 0) for counts in of)) for axis in axes}
    seconds = 0.0
    for timing in timings:
        seconds += timing.explore + timing.learn
        spent.setdefault(timing.update, {})["seconds"] = seconds
    return spent


def history(pasts: Sequence[Past]) -> History:
    """Counts of all seeds, pooled over stretches of updates, of which there are at most ``_MOST_STRETCHES``."""
    lines = [line for past in pasts for line in past.updates if line.explore]
    longest = max((line.update for line in lines), default=0)
    stretches = min(longest, _MOST_STRETCHES)
    ends = [longest * (stretch + 1) // stretches for stretch in range(stretches)]
    bins = [[line for line in lines if before < line.update <= end] for before, end in pairwise([0, *ends])]
    pivots: Counter[int] = Counter()
    for line in lines:
        pivots.update({int(step): count for step, count in line.explore.get("pivots", {}).items()})
    return History(
        updates=ends,
        rates={name: [_pooled(of, name, per) for of in bins] for name, per in RATES.items()},
        pivots=[pivots[step] for step in range(max(pivots) + 1)] if pivots else [],
    )


def _pooled(lines: Sequence[Update], share: str, per: str) -> float | None:
    told = [(line.explore.get(share), line.explore.get(per)) for line in lines]
    counted = [(value, weight) for value, weight in told if value is not None and weight]
    return math.fsum(v * w for v, w in counted) / sum(w for _, w in counted) if counted else None
