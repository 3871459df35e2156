"""Milestones of a task that can be checked in any state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rubric:
    """A named, checkable milestone of a task.

    Attributes:
        name: What is asked for, in words a reflection can quote.
        satisfied: Whether the present state meets it.
        weight: Share in a weighted mean of rubrics; non-negative.
    """

    name: str
    satisfied: bool
    weight: float = 1.0


def weighted_share(rubrics: Sequence[Rubric]) -> float:
    """Weighted share of satisfied rubrics, in [0, 1]; 0 when the weights sum to 0."""
    total = math.fsum(rubric.weight for rubric in rubrics)
    met = math.fsum(rubric.weight for rubric in rubrics if rubric.satisfied)
    return met / total if total > 0 else 0.0
