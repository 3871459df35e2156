"""Recorded play, played again by its actions: episodes of an evaluation, and the trees of a run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from r3lbench.env import TextEnv
from r3lbench.episode import EpisodeTree, State, Trajectory
from r3lbench.errors import EpisodeOver, R3LBenchError, SnapshotDiverged, UnknownName
from r3lbench.nature import Fidelity
from r3lbench.rollout.group import Attempt, Ended
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.snapshot import Snapshot
from r3lbench.traces import RecordedGroup
from r3lbench.verdict import Check

Episode = tuple[str, tuple[str, ...]]
"""Id of a task, and the actions."""
Attempts = Mapping[Episode, Attempt | R3LBenchError]
"""What came of playing episodes again, or what kept them from being played."""


def play_again(envs: EnvPool, episodes: Iterable[Episode], done: Callable[[], None]) -> Attempts:
    """Play episodes by their actions.

    Args:
        envs: Where.
        episodes: Which; those that are the same are played once.
        done: Called after each.
    """
    waves = Waves(None)
    distinct = sorted(set(episodes))

    async def play(place: int, episode: Episode) -> Attempt | R3LBenchError:
        task, actions = episode
        async with envs.seat(waves, f"{place:08d}", "replay") as seat:
            try:
                await seat.reset(task)
                tree = EpisodeTree(seat.env.task)
                state = tree.root(seat.env)
                for action in actions:
                    reward = await seat.step(action)
                    state = tree.grow(state, seat.env, action, reward)
            except (EpisodeOver, UnknownName) as error:
                return error
        done()
        return Attempt("", Trajectory(tree, state), (), ended(state))

    async def all_of_them() -> list[Attempt | R3LBenchError]:
        return await waves.gather(play(place, episode) for place, episode in enumerate(distinct))

    return dict(zip(distinct, asyncio.run(all_of_them()), strict=True))


def ended(leaf: State) -> Ended:
    """Why an attempt is over that has come to this state."""
    if leaf.terminated:
        return Ended.TERMINATED
    return Ended.TRUNCATED if leaf.truncated else Ended.CONTEXT


def revisit(env: TextEnv, group: RecordedGroup) -> Iterator[tuple[int, State]]:
    """Go to every state of a tree by its actions, depth first; yields its id and what the environment makes of it.

    States behind the end of an episode are left out.

    Raises:
        R3LBenchError: There is no such task, or a state cannot be restored.
    """
    tree = EpisodeTree(env.resolve(group.task))
    reached: dict[int, State] = {}
    coming = [0]
    while coming:
        told = group.states[coming.pop()]
        if told.parent is None or told.action is None:
            env.reset(options={"task": group.task})
            state = tree.root(env)
        else:
            before = reached[told.parent]
            if env.actions != before.snapshot.actions:
                env.restore(before.snapshot)
            if env.done:
                continue
            reward = env.step(told.action)[1]
            state = tree.grow(before, env, told.action, reward)
        reached[told.id] = state
        yield told.id, replace(state, id=told.id, parent=told.parent)
        coming.extend(reversed(group.children[told.id]))


def agrees(env: TextEnv, state: State, digest: str) -> bool:
    """Whether the environment takes a state for the one that was recorded with ``digest``."""
    if state.digest == digest:
        return True
    own = state.snapshot
    try:
        env.restore(Snapshot(own.env, own.panel, own.task, own.actions, digest))
    except SnapshotDiverged:
        env.restore(own)
        return False
    return True


def check_tree(check: Check, place: str, line: Mapping[str, Any], told: RecordedGroup, env: TextEnv) -> None:
    """Go to every state of a group, and see whether it is as recorded and what the attempts came to.

    Args:
        check: Where differences are noted.
        place: File and line.
        line: The group's line.
        told: The same.
        env: An instance, for the duration.

    Raises:
        R3LBenchError: A state cannot be reached.
    """
    states: dict[int, State] = {}
    same_words = env.fidelity is Fidelity.EXACT
    for number, state in revisit(env, told):
        states[number] = state
        if number == 0:
            found = {"task_key": env.task.key, "task_type": env.task_type()}
            check.compare(place, {name: line.get(name) for name in found}, found)
        recorded = line["states"][number]
        found = state.to_json()
        if not same_words and env.canonical(recorded["observation"]) == env.canonical(state.observation):
            found["observation"] = recorded["observation"]
        if agrees(env, state, recorded["digest"]):
            found["digest"] = recorded["digest"]
        check.compare(place, recorded, found, "states", number)
    for number in range(len(told.states)):
        if number not in states:
            check.differ(f"{place} states.{number}", "recorded behind the end of an episode")
    if len(states) == len(told.states):
        _check_attempts(check, place, line, told, states)


def _check_attempts(
    check: Check, place: str, line: Mapping[str, Any], told: RecordedGroup, states: Mapping[int, State]
) -> None:
    by_key = {attempt.key: attempt for attempt in told.attempts}
    for index, attempt in enumerate(told.attempts):
        path, leaf = told.path(attempt.leaf), states[attempt.leaf]
        found = {
            "return": math.fsum(states[number].reward for number in path[1:]),
            "score": leaf.score,
            "success": leaf.success,
            "ended": ended(leaf).value,
        }
        recorded = {name: line["attempts"][index].get(name) for name in found}
        check.compare(place, recorded, found, "attempts", index)
        base, pivot = by_key.get(attempt.base or ""), attempt.pivot
        if base is None:
            if pivot:
                check.differ(f"{place} attempts.{index}.pivot", "a first attempt begins at the start")
        elif (
            not 0 <= pivot < max(1, len(base.turns))
            or path[: pivot + 1] != told.path(base.leaf)[: pivot + 1]
            or attempt.turns[:pivot] != base.turns[:pivot]
        ):
            check.differ(f"{place} attempts.{index}", f"does not share the first {pivot} steps of {base.key}")
