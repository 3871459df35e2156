"""What an environment can teach: where an episode went wrong, and how experts and beginners play."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from r3lbench.env import TextEnv


@dataclass(frozen=True)
class Diagnosis:
    """Where an episode went wrong and an executable plan, in the terms of a reflection report.

    Attributes:
        summary: What happened, one sentence.
        outcome: ``"success"``, ``"success_but_inefficient"`` or ``"failure"``.
        root_cause: Why; None when flawless.
        suggestion: A plan that can be carried out from the pivot; None exactly when ``outcome`` is ``"success"``.
        pivot: 0-based step whose action should have been another; None exactly when ``outcome`` is ``"success"``.
    """

    summary: str
    outcome: str
    root_cause: str | None = None
    suggestion: str | None = None
    pivot: int | None = None


Player = Callable[["TextEnv"], tuple[str, bool]]
"""Chooses the next action in the environment's present state, and says whether it is worth imitating."""


@dataclass(frozen=True)
class Demonstrator:
    """A way to play that a warm start may learn from.

    Attributes:
        name: e.g. ``"expert"``, ``"careless"``.
        weight: Share of the episodes it plays in the mix.
        begin: Given the environment's generator for this episode, returns the player.
    """

    name: str
    weight: float
    begin: Callable[[np.random.Generator], Player]
