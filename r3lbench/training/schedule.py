"""What a run's seed and budget decide, whatever is learned: which tasks come next, when to measure, when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from r3lbench.config import BudgetConfig, EvaluationConfig
from r3lbench.engines.engine import seed_of
from r3lbench.rollout.meter import Meter
from r3lbench.tasks import Task, TaskPanel


def tasks_from(panel: TaskPanel, seed: int, cursor: int, count: int) -> list[Task]:
    """The next tasks in a run's own shuffled order of the training panel, epoch after epoch.

    Args:
        panel: Of training.
        seed: The run's.
        cursor: How many tasks were drawn before.
        count: How many are wanted.
    """
    tasks = []
    for position in range(cursor, cursor + count):
        epoch, index = divmod(position, len(panel))
        order = np.random.default_rng(seed_of(seed, "order", epoch)).permutation(len(panel))
        tasks.append(panel[int(order[index])])
    return tasks


def shares(limits: BudgetConfig, *, updates: int, meter: Meter, seconds: float) -> dict[str, float]:
    """Per limit of the budget, the share that is used up, in [0, 1]."""
    used = {
        "updates": updates,
        "env_steps": meter.total("env_steps"),
        "generated_tokens": meter.total("generated_tokens"),
        "seconds": seconds,
    }
    given = limits.model_dump()
    return {
        name: min(1.0, used[name] / given[name]) if given[name] else 1.0 for name in used if given[name] is not None
    }


def progress(of: Mapping[str, float]) -> float:
    """The share of the budget that is used up, in [0, 1], from those of its limits."""
    return max(of.values(), default=0.0)


def exhausted(of: Mapping[str, float]) -> str | None:
    """The limit that is used up, if one is."""
    return next((name for name, share in of.items() if share >= 1.0), None)


def evaluation_is_due(settings: EvaluationConfig, update: int, begun: float, now: float) -> bool:
    """Whether to evaluate between two updates.

    Args:
        settings: When to measure.
        update: The one that has just ended.
        begun: Share of the budget that was used up when it began.
        now: The share that is used up now.
    """
    parts = settings.points + 1
    passed = math.floor(now * parts) > math.floor(begun * parts)
    return passed or (settings.every > 0 and update % settings.every == 0)
