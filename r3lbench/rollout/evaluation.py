"""First attempts on a fixed panel: how good a policy is, without reflection, retry or memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from r3lbench.rollout.group import Attempt, Group, Rollout
from r3lbench.snapshot import digest_of
from r3lbench.tasks import Task


@dataclass(frozen=True)
class Score:
    """What one evaluated task came to.

    ``actions`` is all it takes to play it again, and ``digest`` tells whether the same was done and shown.
    """

    task: str
    ret: float
    score: float
    success: bool
    steps: int
    invalid: int
    actions: tuple[str, ...] = ()
    digest: str = ""

    @classmethod
    def of(cls, attempt: Attempt) -> Score:
        """What an attempt came to."""
        episode = attempt.trajectory
        return cls(
            task=episode.task.id,
            ret=episode.ret,
            score=episode.score,
            success=episode.success,
            steps=episode.steps,
            invalid=sum(not state.valid for state in episode.states[1:]),
            actions=episode.actions,
            digest=digest_of(*((state.action, state.digest) for state in episode.states)),
        )

    def to_json(self) -> dict[str, Any]:
        """As recorded."""
        return {
            "task": self.task,
            "return": self.ret,
            "score": self.score,
            "success": self.success,
            "steps": self.steps,
            "invalid": self.invalid,
            "actions": list(self.actions),
            "digest": self.digest,
        }


async def evaluate(
    rollout: Rollout, tasks: Sequence[Task], mode: str, *, episodes: int = 1, done: Callable[[], None] | None = None
) -> list[Score]:
    """Play every task once, or several times.

    Draws depend on seed, mode, task and episode only, so two policies evaluated with one seed see the same random
    numbers.

    Args:
        rollout: With ``first_purpose="evaluate"`` and the mode's sampling.
        tasks: Which tasks.
        mode: Name of the way of drawing, part of the random streams' names.
        episodes: How often each task is played.
        done: Called when a task's episodes are over.

    Returns:
        In the order of the tasks; the episodes of a task follow one another.
    """

    async def play(task: Task) -> list[Score]:
        attempts = await group_of(rollout, task, mode).attempt(episodes)
        if done is not None:
            done()
        return [Score.of(attempt) for attempt in attempts]

    return [score for scores in await rollout.waves.gather(play(task) for task in tasks) for score in scores]


def group_of(rollout: Rollout, task: Task, mode: str) -> Group:
    """A task's group in an evaluation, whose key names its random streams."""
    return Group(task, f"evaluate/{mode}/{task.id}", rollout)


def summary(scores: Sequence[Score]) -> dict[str, float]:
    """Means over tasks: success rate, score, return, steps, and the share of invalid actions."""
    count = len(scores)
    steps = sum(score.steps for score in scores)
    return {
        "tasks": count,
        "success": sum(score.success for score in scores) / count,
        "score": math.fsum(score.score for score in scores) / count,
        "return": math.fsum(score.ret for score in scores) / count,
        "steps": steps / count,
        "invalid": sum(score.invalid for score in scores) / max(1, steps),
    }
