"""Which process of a run had which of its groups, and what an update passed through the model by that.

Tasks are drawn in the run's order, and its processes take those of a draw in turns. A method that turns groups down has
more drawn, so that the groups which are recorded stand in several draws, with gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from r3lbench.baseline import Baseline
from r3lbench.lines import UpdateLine
from r3lbench.opening import Record
from r3lbench.run import RunConfig
from r3lbench.tasks import TaskPanel
from r3lbench.tokens import Term
from r3lbench.training import schedule
from r3lbench.training.packing import counts
from r3lbench.training.trainer import MOST_DRAWS
from r3lbench.verdict import Check

PASSED = ("model_tokens", "model_tokens_unshared")
"""What passed through the model in training."""


def turns_down(method: Baseline) -> bool:
    """Whether a method may turn groups down, of which nothing is recorded but their costs."""
    return type(method).keep is not Baseline.keep


def remembers(method: Baseline) -> bool:
    """Whether a method carries something from one update to the next."""
    return type(method).end_update is not Baseline.end_update


@dataclass
class Draws:
    """A run's tasks in the order in which they were drawn, gone through update by update.

    Attributes:
        made: The run's settings.
        panel: Of training.
        drawn: How many tasks were drawn so far; None where that is not known.
    """

    made: RunConfig
    panel: TaskPanel
    drawn: int | None = 0

    def places(self, update: int, kept: Collection[str]) -> dict[str, int]:
        """Where in the draw that it is of each group of an update stands that was kept.

        Args:
            update: The next one.
            kept: The keys of these groups.

        Returns:
            By key the place, from 0. The processes of a run take the groups of a draw in turns.
        """
        found: dict[str, int] = {}
        times: Counter[str] = Counter()
        for _ in range(MOST_DRAWS if turns_down(self.made.method) else 1):
            if self.drawn is None:
                break
            wanted = self.made.tasks_per_update - len(found)
            tasks = schedule.tasks_from(self.panel, self.made.seed, self.drawn, wanted)
            self.drawn += wanted
            for place, task in enumerate(tasks):
                times[task.id] += 1
                key = group_key(update, task.id, times[task.id])
                if key in kept:
                    found[key] = place
        return found

    def pass_over(self) -> None:
        """Leave an update out whose groups are not known, nor how many were turned down."""
        known = self.drawn is not None and not turns_down(self.made.method)
        self.drawn = (self.drawn or 0) + self.made.tasks_per_update if known else None


def group_key(update: int, task: str, times: int) -> str:
    """What a group is called: by the task, and by how many times the update has drawn it so far if more than once."""
    return f"u{update}/{task}" + (f"+{times}" if times > 1 else "")


def learned(
    check: Check, record: Record, line: UpdateLine, terms: Sequence[Sequence[Term]], places: Sequence[int | None]
) -> dict[str, float]:
    """What the optimiser went through in an update, by the terms of its groups.

    Processes share prefixes each among its own groups, so what passed through the model depends on their number. A run
    may have gone on with others than it began with: then there are as many as account for what is recorded.

    Args:
        check: Where it is noted if the number is not that of the manifest.
        record: The run.
        line: What is recorded of the update.
        terms: Of every group.
        places: Of every group, see ``Draws``; None where it is not known.
    """
    made = record.made
    assert isinstance(made, RunConfig)
    settings = made.optimiser
    # Versions that did not know how to share prefixes did not.
    able = "share_prefixes" in record.manifest.config.get("optimiser", {}) and "unshared" not in record.manifest.policy

    def as_of(own: Iterable[Sequence[Term]]) -> dict[str, float]:
        return counts(
            [term for of in own for term in of],
            made.method.loss,
            budget=settings.micro_batch_tokens,
            share_prefixes=settings.share_prefixes and able,
            minibatches=settings.minibatches,
            epochs=settings.epochs,
        )

    def passed(processes: int) -> dict[str, float]:
        dealt: list[list[Sequence[Term]]] = [[] for _ in range(processes)]
        for of, place in zip(terms, places, strict=True):
            dealt[(place or 0) % processes].append(of)
        parts = [as_of(own) for own in dealt]
        return {name: sum(part[name] for part in parts) for name in PASSED}

    one, told, most = as_of(terms), record.manifest.hardware.processes, made.tasks_per_update
    # Of more processes than groups some have none.
    begun_with, known = min(told or 1, most), None not in places
    for processes in dict.fromkeys([begun_with, *range(1, most + 1)]) if known else [1]:
        found = passed(processes)
        if found["model_tokens"] == line.learn.get("model_tokens"):
            if told is not None and processes != begun_with:
                check.notes.append(f"update {line.update} was made by {processes} processes; the run began with {told}")
            return one | found
    if not known and told != 1:
        check.notes.append(f"update {line.update}: which process had which group, and so {PASSED[0]}, is not known")
        return {name: count for name, count in one.items() if name not in PASSED}
    return one | passed(begun_with)
