"""The episode tree: what happened in the world during a group of attempts at one task.

Nodes are environment states, edges are actions. All attempts of a group share the root; a retry from step k is a branch
that leaves its base at the state before step k. A trajectory is a path from the root to a leaf.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from r3lbench.env import TextEnv
from r3lbench.rubric import Rubric
from r3lbench.snapshot import Snapshot
from r3lbench.tasks import Task


@dataclass(frozen=True)
class State:
    """A node: the world after an action.

    Attributes:
        id: Position in the tree's list of states; a parent's is smaller than its children's.
        parent: The state before; None at the root.
        action: The action that led here; None at the root.
        observation: What the environment showed.
        reward: Reward of the action, 0.0 at the root.
        valid: Whether the action was understood.
        terminated: The task ended here.
        truncated: The step limit was reached here.
        score: Progress in [0, 1].
        success: Whether the task is solved here.
        feedback: What a person would be told here.
        rubrics: The milestones, as they stand here.
        snapshot: The way back to this state.
    """

    id: int
    parent: int | None
    action: str | None
    observation: str
    reward: float
    valid: bool
    terminated: bool
    truncated: bool
    score: float
    success: bool
    feedback: str
    rubrics: tuple[Rubric, ...]
    snapshot: Snapshot

    @property
    def digest(self) -> str:
        """Digest of what an agent sees here."""
        return self.snapshot.digest

    def to_json(self) -> dict[str, Any]:
        """The state as recorded; the snapshot follows from the task and the actions on the path."""
        return {
            "id": self.id,
            "parent": self.parent,
            "action": self.action,
            "observation": self.observation,
            "reward": self.reward,
            "valid": self.valid,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "score": self.score,
            "success": self.success,
            "feedback": self.feedback,
            "rubrics": [[rubric.name, rubric.satisfied, rubric.weight] for rubric in self.rubrics],
            "digest": self.digest,
        }


@dataclass
class EpisodeTree:
    """All states that the attempts at one task went through.

    Attributes:
        task: The task.
        task_type: Its kind, known once it has been begun; see ``TextEnv.task_type``.
        states: In the order in which they were reached first.
    """

    task: Task
    task_type: str = ""
    states: list[State] = field(default_factory=list)

    def root(self, env: TextEnv) -> State:
        """The state in which ``env`` stands after ``reset``; made once, shared by all attempts."""
        if self.states:
            return self.states[0]
        self.task_type = env.task_type()
        return self._add(env, None, None, 0.0)

    def grow(self, parent: State, env: TextEnv, action: str, reward: float) -> State:
        """Add the state in which ``env`` stands after ``action`` was taken in ``parent``."""
        return self._add(env, parent.id, action, reward)

    def path(self, leaf: State) -> tuple[State, ...]:
        """The states from the root to ``leaf``, both included."""
        states = [leaf]
        while states[-1].parent is not None:
            states.append(self.states[states[-1].parent])
        return tuple(reversed(states))

    def __iter__(self) -> Iterator[State]:
        return iter(self.states)

    def _add(self, env: TextEnv, parent: int | None, action: str | None, reward: float) -> State:
        snapshot = env.snapshot()
        state = State(
            id=len(self.states),
            parent=parent,
            action=action,
            observation=env.observation,
            reward=reward,
            valid=env.action_valid,
            terminated=env.terminated,
            truncated=env.truncated,
            score=float(env.score()),
            success=bool(env.success()),
            feedback=env.feedback(),
            rubrics=env.rubrics(),
            snapshot=snapshot,
        )
        self.states.append(state)
        return state


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A path from the root of an episode tree to a leaf."""

    tree: EpisodeTree
    leaf: State

    @property
    def task(self) -> Task:
        """The task attempted."""
        return self.tree.task

    @cached_property
    def states(self) -> tuple[State, ...]:
        """``steps + 1`` states, the initial one first."""
        return self.tree.path(self.leaf)

    @property
    def steps(self) -> int:
        """Number of actions."""
        return len(self.states) - 1

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions, in order."""
        return tuple(state.action for state in self.states[1:] if state.action is not None)

    @property
    def rewards(self) -> tuple[float, ...]:
        """Reward of each action."""
        return tuple(state.reward for state in self.states[1:])

    @property
    def observations(self) -> tuple[str, ...]:
        """``steps + 1`` observations: what was seen before each action, and at the end."""
        return tuple(state.observation for state in self.states)

    @property
    def ret(self) -> float:
        """Undiscounted return R(tau)."""
        return math.fsum(self.rewards)

    @property
    def score(self) -> float:
        """Progress at the end, in [0, 1]."""
        return self.leaf.score

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.leaf.success

    @property
    def feedback(self) -> str:
        """What a person would be told at the end."""
        return self.leaf.feedback

    @property
    def rubrics(self) -> tuple[Rubric, ...]:
        """The milestones at the end."""
        return self.leaf.rubrics
