"""Test-time self-improvement: a policy revises its own drafts, round after round, and nothing is learned.

Round 0 is the evaluation's first attempt. In every later round a reflector looks at the latest draft of each task that
is not solved, and the policy plays again from the step that the reflector names: from the start, in the light of what
the draft met and what it did not (HeRL, arXiv 2603.20046) or under rules in place of its system prompt (ERL, arXiv
2602.13949); from the failure step with a report (R3L, arXiv 2601.03715). A round reads the latest draft alone: what
earlier rounds were told is not in its context.

The environment says whether a task is solved, so a round compares with one more attempt at what failed (pass@k), and
not with a first attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r3lbench.rollout.evaluation import Score, group_of
from r3lbench.rollout.group import Attempt, Group, Placement, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.waves import Waves
from r3lbench.tasks import Task


@dataclass(frozen=True)
class Draft:
    """Where an episode stands after a round.

    Attributes:
        attempt: The latest draft, without the guidance that it was played with.
        best: The highest score of its drafts so far, in [0, 1].
        retried: Whether this round played it.
        valid: Whether this round's reflection could be read; None where nobody reflected, as on what is solved.
    """

    attempt: Attempt
    best: float
    retried: bool = False
    valid: bool | None = None

    @property
    def score(self) -> Score:
        """What the latest draft came to."""
        return Score.of(self.attempt)

    def to_json(self) -> dict[str, Any]:
        """As recorded."""
        return {**self.score.to_json(), "retried": self.retried, "valid": self.valid}


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Attributes:
        drafts: In the order of the tasks; the episodes of a task follow one another.
        cost: Of this round alone, by purpose: ``"evaluate"`` in round 0, ``"reflect"`` and ``"retry"`` in the others.
    """

    drafts: tuple[Draft, ...]
    cost: dict[str, dict[str, int]]

    @property
    def reflected(self) -> int:
        """How many drafts were reflected on."""
        return sum(draft.valid is not None for draft in self.drafts)

    @property
    def valid(self) -> int:
        """How many of the reflections could be read."""
        return sum(draft.valid is True for draft in self.drafts)

    @property
    def retried(self) -> int:
        """How many drafts were played."""
        return sum(draft.retried for draft in self.drafts)

    def spent(self, name: str) -> int:
        """One of the meter's counts, over all purposes."""
        return sum(counts.get(name, 0) for counts in self.cost.values())


async def improve(
    rollout: Rollout,
    tasks: Sequence[Task],
    mode: str,
    *,
    rounds: int,
    reflector: str = "hindsight",
    episodes: int = 1,
    done: Callable[[], None] = lambda: None,
) -> list[Round]:
    """Play every task as ``evaluate`` does, then revise what is not solved.

    A task's draws depend on seed, mode, task, episode and round only.

    Args:
        rollout: As for ``evaluate``. Its meter is charged with the first attempts and nothing else.
        tasks: Which tasks.
        mode: Name of the way of drawing, that of reflections included.
        rounds: How many rounds follow the first attempts, at least 0.
        reflector: Name of the reflector. Where its answer cannot be read or asks for no retry, the draft stands.
        episodes: How often each task is played; every episode is revised by itself.
        done: Called once per episode and round.

    Returns:
        Round 0 and those that follow.
    """
    own = _metered(rollout)
    groups = [group_of(own, task, mode) for task in tasks]

    async def first(group: Group) -> list[tuple[Group, Draft]]:
        attempts = await group.attempt(episodes)
        for _ in attempts:
            done()
        return [(group, Draft(attempt, attempt.score)) for attempt in attempts]

    async def next_of(group: Group, draft: Draft) -> tuple[Group, Draft]:
        revised = await _revised(group, draft, reflector)
        done()
        return group, revised

    standing = [line for lines in await own.waves.gather(first(group) for group in groups) for line in lines]
    for purpose, amounts in own.meter.to_json().items():
        rollout.meter.add(purpose, **amounts)
    played = [Round(tuple(draft for _, draft in standing), own.meter.to_json())]
    for _ in range(rounds):
        own = _metered(rollout)
        for group in groups:
            group.rollout = own
        standing = await own.waves.gather(next_of(group, draft) for group, draft in standing)
        played.append(Round(tuple(draft for _, draft in standing), own.meter.to_json()))
    return played


async def _revised(group: Group, draft: Draft, reflector: str) -> Draft:
    """The draft that takes this one's place, or this one where it stands."""
    latest = draft.attempt
    if latest.success:
        return replace(draft, retried=False, valid=None)
    reflection = await group.reflect(latest, reflector)
    if not reflection.asks_for_retry or reflection.pivot is None:
        return replace(draft, retried=False, valid=reflection.valid)
    replaces = group.rollout.reflectors(reflector).replaces_prompt
    placement = Placement.SYSTEM if replaces else Placement.PIVOT
    retry = await group.retry(latest, at=reflection.pivot, guidance=reflection.guidance, placement=placement)
    return Draft(group.unguided(retry), max(draft.best, retry.score), retried=True, valid=True)


def _metered(rollout: Rollout) -> Rollout:
    """The same with a meter of its own."""
    meter = Meter()
    return replace(rollout, meter=meter, waves=Waves(rollout.waves.engine, meter))
