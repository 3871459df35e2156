"""What a state is worth, found out by going back to it.

The value V of a state is the outcome that is to be expected from there, what has been earned on the way included: the
score at the end of the episode, or its return. So the last state of an attempt is worth what the attempt came to, and
the true advantage of a step is V(after) - V(before), with no reward to be added.

- `exact`: the environment knows the highest score that can still be reached (``TextEnv.value``).
- `expert`: the score that the environment's expert reaches from there. It can be reached, so it is a lower bound.
- `policy`: the mean return of so many continuations sampled from the run's trained policy: an estimate of V^pi.

States are reached by the recorded actions, and each must look as it was recorded.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Protocol

from r3lbench.agent import Message, Turn, View
from r3lbench.env import TextEnv
from r3lbench.episode import State, Trajectory
from r3lbench.errors import BadCheckpoint, R3LBenchError, SnapshotDiverged
from r3lbench.rollout.group import Attempt, Group, Rollout
from r3lbench.rollout.pool import EnvPool
from r3lbench.snapshot import Snapshot
from r3lbench.tokens import Segment
from r3lbench.traces import RecordedGroup


class Value(StrEnum):
    """What stands for the worth of a state."""

    EXACT = "exact"
    EXPERT = "expert"
    POLICY = "policy"


Values = Sequence[float | None]
"""V of every state of a tree, by id; None where it could not be found out."""


class Valuer(Protocol):
    """Values the states of a group."""

    def __call__(self, group: RecordedGroup) -> Values:
        """V of every state."""


def choose(env: TextEnv, task: str, wanted: Value | None = None) -> Value:
    """What to value states by: as wanted, or else the surest that an environment offers, tried on one task.

    Raises:
        R3LBenchError: The environment does not offer it.
    """
    env.reset(options={"task": task})
    offered = [Value.EXACT] * (env.value() is not None) + [Value.EXPERT] * (env.expert_action() is not None)
    if wanted is None and not offered:
        raise R3LBenchError(f"{env.name} knows neither values nor an expert; give --value policy")
    if wanted in (Value.EXACT, Value.EXPERT) and wanted not in offered:
        others = ", ".join([*offered, Value.POLICY])
        raise R3LBenchError(f"--value {wanted}: {env.name} does not offer it; it can be {others}")
    return wanted or offered[0]


def visit(env: TextEnv, group: RecordedGroup) -> Iterator[int]:
    """Bring ``env`` into every state of a tree, depth first; yields their ids.

    Between two of them ``env`` may be taken elsewhere.

    Raises:
        SnapshotDiverged: A state looks different from the recorded one.
    """
    reached: dict[int, Snapshot] = {}
    coming = [0]
    while coming:
        state = group.states[coming.pop()]
        if state.parent is None or state.action is None:
            env.reset(options={"task": group.task})
        else:
            if env.actions != reached[state.parent].actions:
                env.restore(reached[state.parent])
            if env.done:
                raise _diverged(env, group, state.id)
            env.step(state.action)
        if env.digest() != state.digest:
            raise _diverged(env, group, state.id)
        if group.children[state.id]:
            reached[state.id] = env.snapshot()
        yield state.id
        coming.extend(reversed(group.children[state.id]))


def _diverged(env: TextEnv, group: RecordedGroup, state: int) -> SnapshotDiverged:
    return SnapshotDiverged(
        f"{group.key}: after {len(group.path(state)) - 1} recorded actions {env.name} looks different from the "
        "recorded state; was it recorded by another version, or with other data?"
    )


class BestValues:
    """Values that the environment itself knows: `exact` or `expert`.

    Args:
        envs: Where to go back to the states.
        how: Which of the two.
    """

    def __init__(self, envs: EnvPool, how: Value) -> None:
        self._envs = envs
        self._of = self._expert if how is Value.EXPERT else self._exact
        self._known: dict[tuple[str, ...], float | None] = {}

    def __call__(self, group: RecordedGroup) -> Values:
        """V of every state; states are the same if the same actions led there, for what is seen may hide more."""
        self._known.clear()
        values: list[float | None] = [None] * len(group.states)
        with self._envs.borrow() as env:
            for state in visit(env, group):
                values[state] = self._of(env)
        return values

    def _exact(self, env: TextEnv) -> float | None:
        if env.actions not in self._known:
            self._known[env.actions] = env.value()
        return self._known[env.actions]

    def _expert(self, env: TextEnv) -> float | None:
        """Let the expert play on; all states on its way are worth the same."""
        passed = []
        while (actions := env.actions) not in self._known:
            passed.append(actions)
            action = None if env.done else env.expert_action()
            if action is None:
                self._known[actions] = float(env.score())
                break
            env.step(action)
        self._known |= dict.fromkeys(passed, self._known[actions])
        return self._known[actions]


class PolicyValues:
    """V^pi by sampling: the mean return of continuations, in the conversation without any guidance.

    Args:
        rollout: With the run's agent and trained policy.
        continuations: How many are sampled from each state.
    """

    def __init__(self, rollout: Rollout, continuations: int) -> None:
        self._rollout = rollout
        self._continuations = continuations

    def __call__(self, group: RecordedGroup) -> Values:
        """V of every state; states are the same if the same actions and the same words led there.

        The streams of random numbers belong to the group and the state, so no other group changes anything. None for
        states behind a context that the policy cannot hold.
        """
        rebuilt, attempts = self._rebuilt(group)
        starts: dict[tuple[object, ...], tuple[Attempt, int]] = {}
        at: dict[int, tuple[object, ...]] = {}
        values: list[float | None] = [None] * len(group.states)
        for told, attempt in zip(group.attempts, attempts, strict=True):
            path = group.path(told.leaf)
            words = [
                rebuilt.forest.nodes[turn.node].segment.token_ids for turn in attempt.turns if turn.node is not None
            ]
            for step in range(len(words)):
                at[path[step]] = (attempt.trajectory.actions[:step], tuple(words[:step]))
                starts.setdefault(at[path[step]], (attempt, step))
            values[told.leaf] = attempt.ret
        means = dict(zip(starts, asyncio.run(self._continued(rebuilt, list(starts.values()))), strict=True))
        for state, key in at.items():
            values[state] = means[key]
        if self._rollout.waves.engine is not None:
            self._rollout.waves.engine.forget()
        return values

    async def _continued(self, group: Group, starts: Sequence[tuple[Attempt, int]]) -> list[float]:
        count = self._continuations
        retries = await group.gather(group.retry(attempt, at=step) for attempt, step in starts for _ in range(count))
        returns = [retry.ret for retry in retries]
        return [math.fsum(returns[first : first + count]) / count for first in range(0, len(returns), count)]

    def _rebuilt(self, recorded: RecordedGroup) -> tuple[Group, list[Attempt]]:
        """The group as it was, and its attempts as if nobody had been guided."""
        rollout = self._rollout
        states: dict[int, State] = {}
        heard: dict[int, tuple[Message, ...]] = {}
        with rollout.envs.borrow() as env:
            group = Group(env.resolve(recorded.task), f"value/{recorded.key}", rollout)
            view = View(env, rollout.agent.sees, type(rollout.agent).__name__)
            for number in visit(env, recorded):
                state = recorded.states[number]
                if state.parent is None or state.action is None:
                    states[number] = group.tree.root(env)
                    heard[number] = tuple(rollout.agent.opening(view))
                else:
                    states[number] = group.tree.grow(states[state.parent], env, state.action, state.reward)
                    heard[number] = (rollout.agent.hear(view),)
        for told in recorded.segments:
            segment = Segment(told.role, told.token_ids, sampled=told.sampled, logprobs=told.logprobs)
            if group.forest.add(told.parent, segment) != told.id:
                raise BadCheckpoint(f"{recorded.key}: segment {told.id} is recorded twice")
        return group, self._attempts(recorded, group, states, heard)

    def _attempts(
        self,
        recorded: RecordedGroup,
        group: Group,
        states: Mapping[int, State],
        heard: Mapping[int, tuple[Message, ...]],
    ) -> list[Attempt]:
        template = self._rollout.template
        assert template is not None
        guided: dict[str, Attempt] = {}
        plain: list[Attempt] = []
        for told in recorded.attempts:
            path = recorded.path(told.leaf)
            turns = tuple(
                Turn(
                    action=states[after].action or "",
                    text=template.decode(recorded.segments[node].token_ids),
                    prompt=heard[before],
                    prompt_node=prompt,
                    node=node,
                )
                for before, after, (prompt, node) in zip(path, path[1:], told.turns, strict=False)
            )
            trajectory = Trajectory(group.tree, states[told.leaf])
            base = None if told.base is None else guided[told.base]
            attempt = Attempt(f"value/{told.key}", trajectory, turns, told.ended, base, told.pivot)
            guided[told.key] = attempt
            nodes = group.distill(attempt).turns
            own = tuple(replace(turn, node=node) for turn, node in zip(turns, nodes, strict=False))
            plain.append(replace(attempt, turns=own, base=None))
        return plain
