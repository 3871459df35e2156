"""A group of attempts at one task, and the verbs by which a method explores: attempt, reflect, retry, distill.

A method never touches environments or models. It says what it wants next, and the group carries it out: it restores the
state before the failure, continues the very tokens of the base's prefix, and keeps both trees.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import numpy as np

from r3lbench.agent import Agent, ContextFull, Conversation, Message, Sees, Turn, View, Voice
from r3lbench.engines.engine import Sampling, seed_of
from r3lbench.engines.template import ChatTemplate
from r3lbench.episode import EpisodeTree, State, Trajectory
from r3lbench.errors import R3LBenchError, SnapshotDiverged
from r3lbench.reflection import Case, Looked, Reflection, Reflector
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool, Seat
from r3lbench.rollout.waves import Waves
from r3lbench.snapshot import Snapshot
from r3lbench.tasks import Task
from r3lbench.teaching import Diagnosis
from r3lbench.tokens import Sample, TokenForest

T = TypeVar("T")


class Ended(StrEnum):
    """Why an attempt is over."""

    TERMINATED = "terminated"
    """The task ended."""
    TRUNCATED = "truncated"
    """The step limit was reached."""
    CONTEXT = "context"
    """The next turn did not fit into the model's context."""


class Placement(StrEnum):
    """Where a retry finds its guidance."""

    PIVOT = "pivot"
    """Just before the model's turn at the pivot (R3L)."""
    SYSTEM = "system"
    """As the system prompt, in place of the original one (ERL); only for retries from the start."""

    def place(self, agent: Agent, messages: Sequence[Message], guidance: str, *, at: int) -> list[Message]:
        """What the agent is told before its move at step ``at``: the messages there, and guidance if there is any."""
        if not guidance:
            return list(messages)
        if self is Placement.SYSTEM:
            return agent.instructed(messages, guidance)
        return agent.guided(messages, guidance, at=at)


@dataclass(frozen=True, eq=False)
class Attempt:
    """One way through the task.

    Attributes:
        key: Identifies it among all attempts of the run, e.g. ``"u3/train/17/a0.r0"``.
        trajectory: What happened in the world.
        turns: The agent's moves; those before the pivot are the base's own.
        ended: Why it is over.
        base: The attempt this one retries; None for a first attempt.
        pivot: First step that is this attempt's own; 0 for a first attempt.
        guidance: What the retry was told; empty for a first attempt.
        diverged: The base's state could not be restored, so the retry began at the start.
    """

    key: str
    trajectory: Trajectory
    turns: tuple[Turn, ...]
    ended: Ended
    base: Attempt | None = None
    pivot: int = 0
    guidance: str = ""
    diverged: bool = False

    @property
    def ret(self) -> float:
        """Return R(tau)."""
        return self.trajectory.ret

    @property
    def score(self) -> float:
        """Score at the end, in [0, 1]."""
        return self.trajectory.score

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.trajectory.success

    @property
    def steps(self) -> int:
        """Number of actions, those before the pivot included."""
        return self.trajectory.steps


@dataclass
class Rollout:
    """What all groups of an update share.

    Attributes:
        agent: Who plays.
        envs: Where.
        waves: The way to the engine.
        template: How messages become tokens; None for agents that do not speak.
        seed: The run's seed.
        sampling: How actions are drawn.
        meter: What it costs.
        reflectors: Reflectors by name.
        first_purpose: Purpose of first attempts: ``"attempt"``, or ``"evaluate"``.
    """

    agent: Agent
    envs: EnvPool
    waves: Waves
    template: ChatTemplate | None
    seed: int
    sampling: Sampling
    meter: Meter
    reflectors: Callable[[str], Reflector]
    first_purpose: str = "attempt"

    def seat(self, key: str, purpose: str, snapshot: Snapshot | None = None) -> AbstractAsyncContextManager[Seat]:
        """An environment to play in for the duration of a block; see ``EnvPool.seat``."""
        return self.envs.seat(self.waves, key, purpose, snapshot)


@dataclass
class Group:
    """A task, everything tried on it, and the verbs to try more.

    Attributes:
        task: The task.
        key: Identifies the group in the run, e.g. ``"u3/train/17"``.
        rollout: Agent, environments, engine.
        tree: What happened in the world.
        forest: What the model saw and wrote.
        attempts: First attempts and retries, in the order in which they ended.
        reflections: (attempt, reflection) pairs, likewise.
    """

    task: Task
    key: str
    rollout: Rollout
    tree: EpisodeTree = field(init=False)
    forest: TokenForest = field(default_factory=TokenForest)
    attempts: list[Attempt] = field(default_factory=list)
    reflections: list[tuple[Attempt, Reflection]] = field(default_factory=list)
    _children: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin an empty tree."""
        self.tree = EpisodeTree(self.task)

    @property
    def bases(self) -> list[Attempt]:
        """First attempts."""
        return [attempt for attempt in self.attempts if attempt.base is None]

    @property
    def retries(self) -> list[Attempt]:
        """Retries."""
        return [attempt for attempt in self.attempts if attempt.base is not None]

    def reflection_on(self, attempt: Attempt) -> Reflection | None:
        """The last reflection on ``attempt``."""
        return next((reflection for of, reflection in reversed(self.reflections) if of is attempt), None)

    def rng(self, purpose: str) -> np.random.Generator:
        """A random stream of the group's own, for choices a method makes by chance."""
        return np.random.default_rng(seed_of(self.rollout.seed, self.key, purpose))

    async def gather(self, awaitables: Iterable[Awaitable[T]]) -> list[T]:
        """Do several things side by side."""
        return await self.rollout.waves.gather(awaitables)

    # The verbs

    async def attempt(self, n: int = 1, *, temperature: float | None = None) -> list[Attempt]:
        """Play the task ``n`` times from its start, side by side."""
        keys = [self._child(self.key, "a") for _ in range(n)]
        attempts = await self.gather(self._play(key, temperature) for key in keys)
        self.attempts.extend(attempts)
        return attempts

    async def reflect(
        self,
        attempt: Attempt,
        reflector: str = "report",
        *,
        temperature: float | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> Reflection:
        """Look back on an attempt.

        Args:
            attempt: The episode to reflect on.
            reflector: Name of a registered way to reflect.
            temperature: Of the answer; that of the actions if None.
            notes: What the method adds in words (a memory, statistics).
        """
        key = self._child(attempt.key, "?")
        how = self.rollout.reflectors(reflector)
        case = Case.of(
            attempt.trajectory,
            attempt.turns,
            how.sees,
            truncated=attempt.ended is not Ended.TERMINATED,
            notes=notes,
            looked=await self._look_back(attempt, how.sees),
        )
        if not attempt.turns:
            reflection = Reflection("", valid=False, problem="the episode has no steps")
        elif not how.speaks:
            reflection = how.judge(case)
        else:
            try:
                voice = self._voice("reflect", key, temperature)
                reflection = await self.rollout.agent.reflect(voice, case, how)
            except ContextFull as full:
                reflection = Reflection("", valid=False, problem=f"no room to reflect: {full}")
        self.reflections.append((attempt, reflection))
        return reflection

    async def diagnose(self, attempt: Attempt) -> Diagnosis | None:
        """Where an attempt went wrong, as the environment sees it; None where it cannot tell."""
        async with self.rollout.seat(attempt.key, "reflect") as seat:
            diagnosis = await seat.diagnose(attempt.trajectory)
        if lost := seat.costs.get("lost_workers"):
            self.rollout.meter.add("reflect", lost_workers=lost)
        return diagnosis

    async def retry(
        self,
        base: Attempt,
        *,
        at: int,
        guidance: str = "",
        placement: Placement = Placement.PIVOT,
        temperature: float | None = None,
    ) -> Attempt:
        """Play again from the state before step ``at`` of ``base``, with the base's own history as context.

        Args:
            base: The attempt to leave.
            at: 0-based step whose action is to be another one, ``0 <= at < base.steps``.
            guidance: What to tell the agent; empty for nothing.
            placement: Where to tell it.
            temperature: Of the actions; the rollout's if None.
        """
        if not 0 <= at < max(1, len(base.turns)):
            raise ValueError(f"retry at step {at} of an attempt with {len(base.turns)} steps")
        if placement is Placement.SYSTEM and at != 0:
            raise ValueError("a replaced system prompt is for retries from the start")
        key = self._child(base.key, "r")
        attempt = await self._play(key, temperature, base, at, guidance, placement)
        self.attempts.append(attempt)
        return attempt

    def sample(self, attempt: Attempt) -> Sample:
        """The model's turns of an attempt, in the contexts in which they were sampled."""
        nodes = tuple(turn.node for turn in attempt.turns if turn.node is not None)
        if len(nodes) != len(attempt.turns):
            raise R3LBenchError(f"the agent of {attempt.key} has no trained model, so there is nothing to train on")
        return Sample(self.forest, nodes, nodes)

    def distill(self, retry: Attempt) -> Sample:
        """A guided retry as if it had not been guided: the same turns under the unguided context.

        Turns that do not fit into the model's context there are left out: the system prompt that guidance replaced may
        have been a longer one.
        """
        engine, nodes = self.rollout.waves.engine, self.forest.nodes
        origins, turns = self.sample(retry).turns, self.unguided(retry).turns
        copied = zip((turn.node for turn in turns if turn.node is not None), origins, strict=False)
        fitting = [pair for pair in copied if engine is None or nodes[pair[0]].end <= engine.context_limit]
        return Sample(self.forest, tuple(copy for copy, _ in fitting), tuple(origin for _, origin in fitting))

    def unguided(self, attempt: Attempt) -> Attempt:
        """An attempt as if it had not been guided: the same moves, in contexts that hold no guidance.

        A retry of it, or a reflection on it, reads nothing of what it was told. Without turns below a base that had no
        room for its first one: what would have been read then is not known.
        """
        if attempt.base is None:
            return attempt
        base, pivot = self.unguided(attempt.base).turns, attempt.pivot
        if pivot >= len(base):
            return replace(attempt, turns=())
        turns = list(base[:pivot])
        for step, turn in enumerate(attempt.turns[pivot:], start=pivot):
            if step == pivot:
                prompt, read = base[step].prompt, base[step].prompt_node
            else:
                prompt, read = turn.prompt, self._copy(turns[-1].node, turn.prompt_node)
            turns.append(replace(turn, prompt=prompt, prompt_node=read, node=self._copy(read, turn.node)))
        return replace(attempt, turns=tuple(turns))

    # Inside

    async def _look_back(self, attempt: Attempt, sees: frozenset[Sees]) -> Looked:
        """What is declared and cannot be told without the states themselves."""
        if not attempt.turns:
            return Looked()
        diagnosis = await self.diagnose(attempt) if Sees.GROUND_TRUTH in sees else None
        if not sees & {Sees.ADMISSIBLE, Sees.EXPERT}:
            return Looked(diagnosis=diagnosis)
        admissible: list[tuple[str, ...]] = []
        expert: list[str | None] = []
        async with self.rollout.seat(attempt.key, "reflect") as seat:
            for state in attempt.trajectory.states[:-1]:
                await seat.restore(state.snapshot)
                admissible.append(seat.env.admissible_actions() if Sees.ADMISSIBLE in sees else ())
                expert.append(seat.env.expert_action() if Sees.EXPERT in sees else None)
            costs = seat.costs
        self.rollout.meter.add("reflect", **costs)
        return Looked(tuple(admissible), tuple(expert), diagnosis)

    def _copy(self, parent: int | None, origin: int | None) -> int | None:
        """The node below ``parent`` with the tokens of ``origin``; None for agents without a trained model."""
        if parent is None or origin is None:
            return None
        segment = self.forest.nodes[origin].segment
        present = self.forest.find(parent, segment)
        return self.forest.add(parent, segment) if present is None else present

    def _child(self, parent: str, mark: str) -> str:
        name = f"{parent}{'/' if mark == 'a' else '.' if mark == 'r' else ''}{mark}"
        self._children[name] = self._children.get(name, -1) + 1
        return f"{name}{self._children[name]}"

    def _voice(self, purpose: str, key: str, temperature: float | None) -> Voice:
        rollout = self.rollout
        if rollout.template is None:
            raise R3LBenchError("this agent needs a model; give a policy")
        sampling = self._sampling(temperature)
        return Voice(rollout.waves, rollout.template, self.forest, purpose, key, rollout.seed, sampling)

    def _sampling(self, temperature: float | None) -> Sampling:
        sampling = self.rollout.sampling
        return sampling if temperature is None else replace(sampling, temperature=temperature)

    async def _play(
        self,
        key: str,
        temperature: float | None,
        base: Attempt | None = None,
        at: int = 0,
        guidance: str = "",
        placement: Placement = Placement.PIVOT,
    ) -> Attempt:
        rollout, agent = self.rollout, self.rollout.agent
        purpose = rollout.first_purpose if base is None else "retry"
        snapshot = None if base is None else base.trajectory.states[at].snapshot
        async with rollout.seat(key, purpose, snapshot) as seat:
            diverged = False
            try:
                state = await self._enter(seat, base, at)
            except SnapshotDiverged:
                # As R3L's authors do when a replay fails: the retry begins at the start, and nothing is masked.
                state, at, diverged = await self._enter(seat, None, 0), 0, True
            view = View(seat.env, agent.sees, type(agent).__name__)
            conversation = Conversation(
                view=view,
                rng=np.random.default_rng(seed_of(rollout.seed, "play", key)),
                voice=self._voice(purpose, key, temperature) if agent.speaks else None,
                sampling=self._sampling(temperature),
            )
            turns = [] if base is None else list(base.turns[:at])
            if base is None or at >= len(base.turns):
                conversation.pending = agent.opening(view)
            else:
                conversation.resume(turns, base.turns[at].prompt)
            conversation.pending = placement.place(agent, conversation.pending, guidance, at=at)
            leaf, ended = await self._until_over(seat, state, conversation, turns)
            costs = seat.costs
        rollout.meter.add(purpose, env_steps=len(turns) - at, **costs)
        for usage in (turn.usage for turn in turns[at:] if turn.usage is not None):
            rollout.meter.add(
                purpose,
                generated_tokens=usage.written,
                prefilled_tokens=usage.prompt - usage.cached,
                reused_tokens=usage.cached,
            )
        trajectory = Trajectory(self.tree, leaf)
        return Attempt(key, trajectory, tuple(turns), ended, base, at, guidance, diverged)

    async def _enter(self, seat: Seat, base: Attempt | None, at: int) -> State:
        if base is None or at == 0:
            await seat.reset(self.task.id)
            return self.tree.root(seat.env)
        state = base.trajectory.states[at]
        await seat.restore(state.snapshot)
        return state

    async def _until_over(
        self, seat: Seat, state: State, conversation: Conversation, turns: list[Turn]
    ) -> tuple[State, Ended]:
        agent, env = self.rollout.agent, seat.env
        while not env.done:
            try:
                turn = await agent.act(conversation)
            except ContextFull:
                return state, Ended.CONTEXT
            reward = await seat.step(turn.action)
            state = self.tree.grow(state, env, turn.action, reward)
            turns.append(replace(turn, prompt=tuple(conversation.pending)))
            conversation.heard(turns[-1], agent.hear(conversation.view))
        return state, Ended.TERMINATED if env.terminated else Ended.TRUNCATED
