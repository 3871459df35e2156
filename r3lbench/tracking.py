"""``r3lbench run --track tensorboard``: a run's numbers also in TensorBoard, Weights & Biases or trackio.

What a tracker shows is a copy: the record in the run's folder is complete without it, is not touched by it, and does
not say that there was one. So a tracker that fails is given up with a line, and the run goes on. docs/tracking.md says
what is sent where.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from r3lbench.config import dotted
from r3lbench.errors import MissingExtra
from r3lbench.files import sha256_of
from r3lbench.recording import RunFolder
from r3lbench.rollout.meter import EVALUATION
from r3lbench.standings import COSTS

if TYPE_CHECKING:
    from r3lbench.training.trainer import Progress

TrackerName = Literal["tensorboard", "wandb", "trackio"]
FOLDER = "tracking"
"""Beside the run's folder: what trackers keep on disk."""
PROJECT = "r3lbench"
T = TypeVar("T")


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told at the start.

    Attributes:
        name: Of the run's folder.
        id: The same whenever the run is resumed, and wherever its folder has been moved to; another for any other run.
        config: Settings by dotted path; texts, numbers and truth values.
        modes: How actions are drawn in evaluations.
        folder: Where to keep files.
        update: Updates done; what was sent of later ones will be sent again.
    """

    name: str
    id: str
    config: Mapping[str, str | float | bool]
    modes: Sequence[str]
    folder: Path
    update: int

    @classmethod
    def of(cls, run: RunFolder, update: int) -> Tracked:
        """A run that is about to go on after so many updates."""
        path, config = run.path.resolve(), run.manifest["config"]
        return cls(
            name=path.name,
            id=sha256_of(path / "manifest.json")[:16],
            config={
                name: value if isinstance(value, str | float | bool | int) else json.dumps(value)
                for name, value in dotted(config).items()
            },
            modes=config["evaluation"]["modes"],
            folder=path.with_name(FOLDER),
            update=update,
        )

    @property
    def label(self) -> str:
        """A name that no other run has."""
        return f"{self.name}-{self.id[:8]}"


class Tracker(Protocol):
    """Takes numbers."""

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """Take numbers as of an update; called with updates in order, sometimes more than once for one."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files below ``tracking/``, which ``tensorboard --logdir`` reads."""

    def __init__(self, run: Tracked) -> None:
        board = importlib.import_module("torch.utils.tensorboard")
        summary = importlib.import_module("torch.utils.tensorboard.summary")
        # Of what a killed run sent after its last checkpoint, what comes later counts.
        self._writer = board.SummaryWriter(str(run.folder / run.label), purge_step=run.update + 1)
        measures = {f"evaluation/{mode}/{measure}": 0.0 for mode in run.modes for measure in ("success", "score")}
        for part in summary.hparams(dict(run.config), measures):
            self._writer.file_writer.add_summary(part)

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """A point of each curve, on disk when this returns."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, update)
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases: in files, to be sent by ``wandb sync``, unless ``WANDB_MODE`` says otherwise."""

    def __init__(self, run: Tracked) -> None:
        wandb = importlib.import_module("wandb")
        run.folder.mkdir(exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=run.id,
            resume="allow",
            config=dict(run.config),
            dir=str(run.folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
        )

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """A step; one that was sent before a kill is ignored, and would be the same."""
        self._run.log(dict(scalars), step=update)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


class Trackio:
    """A run of trackio, in its own database on this machine unless ``TRACKIO_SPACE_ID`` says otherwise."""

    def __init__(self, run: Tracked) -> None:
        trackio = importlib.import_module("trackio")
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=run.label,
            resume="allow",
            config=dict(run.config),
            embed=False,
        )

    def log(self, scalars: Mapping[str, float], update: int) -> None:
        """A step; one that was sent before a kill is there twice, and the same."""
        self._run.log(dict(scalars), step=update)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


TRACKERS: dict[str, Callable[[Tracked], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "trackio": Trackio,
}
"""By name, which is also that of the package and of the extra."""


def check_installed(name: TrackerName | None) -> None:
    """Make sure that a tracker can be had.

    Raises:
        MissingExtra: Its package is not installed.
    """
    if name is not None and importlib.util.find_spec(name) is None:
        raise MissingExtra(f"--track {name} needs the package {name}: pip install 'r3lbench[{name}]'")


class TrackingProgress:
    """A ``Progress`` that also tells a tracker, until that fails.

    Args:
        progress: Who is told first.
        name: Of the tracker.
        run: The run's record, begun.
        update: Updates done.
    """

    def __init__(self, progress: Progress, name: TrackerName, run: RunFolder, update: int) -> None:
        self._progress, self._name = progress, name
        self._tracker: Tracker | None = None
        self._tracker = self._try(lambda: TRACKERS[name](Tracked.of(run, update)))

    def close(self) -> None:
        """Close the tracker."""
        if (tracker := self._tracker) is not None:
            self._try(tracker.close)

    def evaluating(self, update: int, mode: str, tasks: int) -> Callable[[], None]:
        """Single episodes are not sent."""
        return self._progress.evaluating(update, mode, tasks)

    def evaluated(self, update: int, mode: str, means: dict[str, float]) -> None:
        """Send the means."""
        self._progress.evaluated(update, mode, means)
        self._log({f"evaluation/{mode}/{name}": value for name, value in means.items()}, update)

    def updated(self, metrics: dict[str, Any], timings: dict[str, Any], spent: float) -> None:
        """Send the update's numbers, the cost so far and the share of the budget that it is."""
        self._progress.updated(metrics, timings, spent)
        charged = [counts for purpose, counts in metrics["cost"].items() if purpose != EVALUATION]
        cost = {name: sum(counts.get(name, 0) for counts in charged) for name in COSTS}
        cost |= {"seconds": timings["total"], "budget_share": spent}
        tables = {"explore": metrics["explore"], "learn": metrics["learn"], "cost": cost}
        numbers = {f"{table}/{name}": value for table, values in tables.items() for name, value in values.items()}
        # The record also has counts by retry step and by label, and None where there was nothing to average.
        self._log({name: of for name, of in numbers.items() if isinstance(of, int | float)}, metrics["update"])

    def _log(self, scalars: Mapping[str, float], update: int) -> None:
        if (tracker := self._tracker) is not None:
            self._try(lambda: tracker.log(scalars, update))

    def _try(self, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, the run is worth more
            self._tracker = None
            reason = " ".join(str(error).split()) or type(error).__name__
            words = f"the tracker {self._name} is given up ({reason}); the run goes on and is recorded in full"
            print(f"r3lbench run: {words}", file=sys.stderr)
            return None


@contextmanager
def tracked(progress: Progress, name: TrackerName | None, run: RunFolder, update: int) -> Iterator[Progress]:
    """``progress``, with a tracker told as well if one is named; arguments as those of ``TrackingProgress``."""
    if name is None:
        yield progress
        return
    with closing(TrackingProgress(progress, name, run, update)) as both:
        yield both
