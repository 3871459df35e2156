"""Text environments whose every state can be snapshotted and restored.

An author writes what happens (`start`, `act`) and what it is worth (`score`, `success`); this class turns that into a
Gymnasium environment with a step limit that rewinds, a task panel, uniform `info`, and snapshots that obey one law: for
any actions a and b, ``reset; a; s = snapshot(); b`` gives the same transcript as ``restore(s); b``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium

from r3lbench.errors import BadSnapshot, EpisodeOver, SnapshotDiverged, StaleHandle, UnknownName
from r3lbench.nature import Fidelity, Isolation
from r3lbench.rubric import Rubric
from r3lbench.snapshot import NativeHandle, Snapshot, digest_of
from r3lbench.spaces import UnicodeText
from r3lbench.tasks import Task, TaskPanel, parse_task_id
from r3lbench.teaching import Demonstrator, Diagnosis

if TYPE_CHECKING:
    from r3lbench.episode import Trajectory

MAX_ACTION_LENGTH = 8_192
"""Longest text in the action space, in characters. Longer actions are still taken, and judged by the environment."""
MAX_OBSERVATION_LENGTH = 1_000_000
"""Longest text in the observation space, in characters."""


@dataclass(frozen=True)
class Outcome:
    """What one action led to.

    Attributes:
        observation: The text shown next.
        reward: Finite, inside the environment's ``reward_range``.
        terminated: The task has ended (by success or by failure).
        valid: False when the action was not understood or not possible; the environment then did its own no-op.
    """

    observation: str
    reward: float = 0.0
    terminated: bool = False
    valid: bool = True


@dataclass
class _Episode:
    """What the base class keeps of the running episode."""

    task: Task
    actions: list[str] = field(default_factory=list)
    observation: str = ""
    valid: bool = True
    terminated: bool = False
    truncated: bool = False


class TextEnv(gymnasium.Env[str, str]):
    """A task given and played in text.

    Implement ``panel``, ``start``, ``act``, ``score`` and ``success``; the rest has defaults. ``capture`` and
    ``reinstate`` add the fast way back. Everything but ``reset``/``step``/``render``/``close`` is reached through
    ``env.unwrapped`` when the environment was made by ``gymnasium.make``. A constructor takes ``**options`` and hands
    them to this one, because Gymnasium passes ``render_mode``.

    Args:
        max_steps: Episodes are truncated after this many steps. The limit lives here and not in a wrapper, which
            would not rewind when a state is restored.
        admissible_in_info: Put ``admissible_actions()`` into every ``info``.
        render_mode: ``"ansi"`` makes ``render`` return the present observation.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - the type is Gymnasium's
    name: ClassVar[str] = "TextEnv-v0"
    """Versioned name; a change of behaviour is a new version."""
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    """Splits that ``panel`` accepts; the first is the default of ``reset``, the last is held out."""
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Bounds of a single step's reward."""
    fidelity: ClassVar[Fidelity] = Fidelity.EXACT
    isolation: ClassVar[Isolation] = Isolation.NONE
    instances: ClassVar[int] = 64
    """Most instances that are played side by side in worker processes; fewer where one costs a lot of memory."""
    kind: ClassVar[str] = "other"
    """Sort of task, for lists: web, game, grid, reasoning, retrieval, instructions, ..."""
    extra: ClassVar[str | None] = None
    """Extra that brings its dependencies; None where the base install does."""
    instructions: ClassVar[str] = ""
    """How actions are written, for an agent that has never seen the environment."""

    def __init__(self, *, max_steps: int, admissible_in_info: bool = False, render_mode: str | None = None) -> None:
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}")
        self.max_steps = max_steps
        self.admissible_in_info = admissible_in_info
        self.render_mode = render_mode
        self.action_space = UnicodeText(MAX_ACTION_LENGTH)
        self.observation_space = UnicodeText(MAX_OBSERVATION_LENGTH)
        self.replayed_steps = 0
        """Steps taken again by ``restore`` because no native handle was at hand, since construction."""
        self._running: _Episode | None = None
        self._panels_made: dict[str, TaskPanel] = {}
        self._instance = object()

    # What an author writes

    @abstractmethod
    def panel(self, split: str) -> TaskPanel:
        """The tasks of ``split``, the same for every instance with the same settings."""

    @abstractmethod
    def start(self, task: Task) -> str:
        """Enter the task's initial state and return its first observation."""

    @abstractmethod
    def act(self, action: str) -> Outcome:
        """Apply any text as the next action. What cannot be understood is a no-op with ``valid=False``."""

    @abstractmethod
    def score(self) -> float:
        """Progress of the present state, in [0, 1]."""

    @abstractmethod
    def success(self) -> bool:
        """Whether the present state solves the task."""

    def feedback(self) -> str:
        """What a person would be told about the present state's worth."""
        return f"score {self.score():.2f}, {'solved' if self.success() else 'not solved'}"

    def rubrics(self) -> tuple[Rubric, ...]:
        """Milestones of the present state; at least the task itself."""
        return (Rubric("solve the task", self.success()),)

    def admissible_actions(self) -> tuple[str, ...]:
        """Actions that would be valid now, as far as the environment can list them."""
        return ()

    def expert_action(self) -> str | None:
        """The oracle's next action from the present state; None when there is no oracle or nothing left to do."""
        return None

    def task_type(self) -> str:
        """Kind of the running task, in the words of the environment's paper; empty where all tasks are of one kind."""
        return ""

    def value(self) -> float | None:
        """Highest expected score that can still be reached from the present state within the steps that are left.

        In [0, 1]; None when the environment does not know it exactly. A grid world does, and a method's credit can be
        judged by it.
        """
        return None

    def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """Where a trajectory of this environment went wrong; None when the environment cannot tell."""
        return None

    def demonstrators(self) -> tuple[Demonstrator, ...]:
        """Ways to play for a warm start, experts and flawed ones."""
        return ()

    def capture(self) -> Any | None:
        """A process-local copy of the present state for ``reinstate``; None when only replay leads back."""
        return None

    def reinstate(self, payload: Any) -> None:
        """Return to a state that ``capture`` gave out; the task has been set by the caller.

        Raises:
            StaleHandle: The payload can no longer be used; the actions are then replayed.
        """
        raise NotImplementedError(f"{self.name} gave out a native handle but cannot take it back")

    @property
    def native_owner(self) -> Hashable:
        """Who may use this instance's native handles: this instance alone, unless overridden."""
        return self._instance

    def canonical(self, observation: str) -> str:
        """The part of an observation that restoring must reproduce."""
        return observation

    # What everyone uses

    @property
    def task(self) -> Task:
        """The task of the running episode."""
        return self._episode().task

    @property
    def observation(self) -> str:
        """The text last shown."""
        return self._episode().observation

    @property
    def actions(self) -> tuple[str, ...]:
        """Actions taken since ``reset``."""
        return tuple(self._episode().actions)

    @property
    def elapsed_steps(self) -> int:
        """Steps taken since ``reset``."""
        return len(self._episode().actions)

    @property
    def action_valid(self) -> bool:
        """Whether the last action was understood; true before the first."""
        return self._episode().valid

    @property
    def terminated(self) -> bool:
        """Whether the task has ended."""
        return self._episode().terminated

    @property
    def truncated(self) -> bool:
        """Whether the step limit has been reached."""
        return self._episode().truncated

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self.terminated or self.truncated

    def resolve(self, task_id: str) -> Task:
        """The task behind ``"<split>/<index>"``.

        Raises:
            UnknownName: No such split or index.
        """
        split, index = parse_task_id(task_id)
        if split not in self.splits:
            raise UnknownName(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}")
        return self._panel(split)[index]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seeds the choice of the task when none is named.
            options: ``{"task": "<split>/<index>"}``, or ``{"split": name}`` to draw from that split. Without either a
                task is drawn from the first split.

        Raises:
            UnknownName: No such option, split or task.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        task_id, split = given.pop("task", None), given.pop("split", self.splits[0])
        if given:
            raise UnknownName(f"unknown reset options {sorted(given)}; known are 'task' and 'split'")
        if task_id is None:
            if split not in self.splits:
                raise UnknownName(f"{self.name} has no split {split!r}; it has {', '.join(self.splits)}")
            task_id = f"{split}/{int(self.np_random.integers(len(self._panel(split))))}"
        return self._begin(self.resolve(task_id))

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply one action.

        Raises:
            EpisodeOver: The episode has ended, or none has begun.
            TypeError: The action is not text.
        """
        episode = self._episode()
        if self.done:
            raise EpisodeOver(f"the episode of {self.name} {episode.task.id} is over; call reset() or restore()")
        if not isinstance(action, str):
            raise TypeError(f"an action is a str, got {type(action).__name__}")
        outcome = self.act(action)
        low, high = self.reward_range
        if not (math.isfinite(outcome.reward) and low <= outcome.reward <= high):
            raise ValueError(f"{self.name} gave reward {outcome.reward}, outside its range [{low}, {high}]")
        episode.actions.append(action)
        episode.observation = outcome.observation
        episode.valid = outcome.valid
        episode.terminated = outcome.terminated
        episode.truncated = not outcome.terminated and len(episode.actions) >= self.max_steps
        return outcome.observation, float(outcome.reward), episode.terminated, episode.truncated, self._info()

    def snapshot(self) -> Snapshot:
        """Save the present state. Taking a snapshot changes nothing."""
        episode = self._episode()
        payload = self.capture()
        return Snapshot(
            env=self.name,
            panel=self._panel(episode.task.split).hash,
            task=episode.task.id,
            actions=tuple(episode.actions),
            digest=self.digest(),
            native=None if payload is None else NativeHandle(self.native_owner, (payload, *self._flags())),
        )

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Return to a saved state, of this or any other instance with the same settings.

        The native handle is used when this instance owns it, and the actions are replayed otherwise.

        Returns:
            The state's observation and info.

        Raises:
            BadSnapshot: The snapshot belongs to another environment, version, panel or data.
            SnapshotDiverged: The state reached looks different from the recorded one. The environment then needs a
                ``reset``.
        """
        if snapshot.env != self.name:
            raise BadSnapshot(f"the snapshot is of {snapshot.env}; this is {self.name}")
        task = self.resolve(snapshot.task)
        if snapshot.panel != self._panel(task.split).hash:
            raise BadSnapshot(
                f"the snapshot was taken on other tasks or settings of {self.name}: panel {snapshot.panel[:12]}, "
                f"here {self._panel(task.split).hash[:12]}"
            )
        if not self._reinstated(task, snapshot):
            self._replay(task, snapshot)
        if self.digest() != snapshot.digest:
            self._running = None
            raise SnapshotDiverged(
                f"{self.name} {snapshot.task}: after {snapshot.elapsed_steps} steps the state looks different from "
                "the recorded one; was it recorded by another version?"
            )
        return self.observation, self._info()

    def digest(self) -> str:
        """Digest of what an agent would see: canonical observation, validity, score, end and steps."""
        episode = self._episode()
        return digest_of(
            self.canonical(episode.observation),
            episode.valid,
            round(self.score(), 9),
            episode.terminated,
            episode.truncated,
            len(episode.actions),
        )

    def render(self) -> str | None:
        """The present observation in mode ``"ansi"``; None otherwise."""
        return self.observation if self.render_mode == "ansi" else None

    # Inside

    def _panel(self, split: str) -> TaskPanel:
        """The split's panel, made once: its hash is asked for at every snapshot."""
        if split not in self._panels_made:
            self._panels_made[split] = self.panel(split)
        return self._panels_made[split]

    def _begin(self, task: Task) -> tuple[str, dict[str, Any]]:
        self._running = None
        observation = self.start(task)
        self._running = _Episode(task, observation=observation)
        return observation, self._info()

    def _reinstated(self, task: Task, snapshot: Snapshot) -> bool:
        """Return by the native handle, if this instance owns it and can still use it."""
        native = snapshot.native
        if native is None or native.owner != self.native_owner:
            return False
        payload, *flags = native.payload
        self._running = _Episode(task, list(snapshot.actions), *flags)
        try:
            self.reinstate(payload)
        except StaleHandle:
            return False
        return True

    def _replay(self, task: Task, snapshot: Snapshot) -> None:
        self._begin(task)
        for position, action in enumerate(snapshot.actions):
            if self.done:
                self._running = None
                raise SnapshotDiverged(
                    f"{self.name} {task.id}: the episode ended after {position} of {len(snapshot.actions)} actions"
                )
            self.step(action)
            self.replayed_steps += 1

    def _episode(self) -> _Episode:
        if self._running is None:
            raise EpisodeOver(f"no episode of {self.name} is running; call reset() or restore() first")
        return self._running

    def _flags(self) -> tuple[str, bool, bool, bool]:
        episode = self._episode()
        return episode.observation, episode.valid, episode.terminated, episode.truncated

    def _info(self) -> dict[str, Any]:
        episode = self._episode()
        info: dict[str, Any] = {
            "task": episode.task.id,
            "success": bool(self.success()),
            "score": float(self.score()),
            "action_valid": episode.valid,
            "elapsed_steps": len(episode.actions),
            "feedback": self.feedback(),
        }
        if self.admissible_in_info:
            info["admissible_actions"] = self.admissible_actions()
        return info
