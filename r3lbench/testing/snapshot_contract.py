"""The snapshot law: for any actions a and b, ``reset; a; s = snapshot(); b`` equals ``restore(s); b``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from r3lbench.env import TextEnv
from r3lbench.errors import BadSnapshot, EpisodeOver, SnapshotDiverged, UnknownName
from r3lbench.snapshot import Snapshot
from r3lbench.testing.transcript import MOVES, Move, View, play, tasks_of, view, walk
from r3lbench.testing.under_test import EnvUnderTest

WAYS = (
    "in-the-same-instance",
    "in-another-instance",
    "after-other-resets",
    "twice",
    "through-bytes",
    "without-the-native-handle",
)


class SnapshotContract(EnvUnderTest):
    """What ``snapshot`` and ``restore`` promise."""

    @pytest.mark.parametrize("way", WAYS)
    def test_a_restored_state_continues_the_same_episode(self, way: str) -> None:
        with self.made() as env, self.made() as other:

            def holds(task: str, before: list[Move], after: list[Move], elsewhere: str) -> None:
                snapshot, actions, expected = _episode(env, task, before, after)
                if way == "after-other-resets":
                    env.reset(options={"task": elsewhere})
                    walk(env, after[:2])
                if way == "twice":
                    assert _continued(env, snapshot, actions) == expected
                if way == "through-bytes":
                    snapshot = Snapshot.from_bytes(snapshot.to_bytes())
                if way == "without-the-native-handle":
                    snapshot = snapshot.portable()
                assert _continued(other if way == "in-another-instance" else env, snapshot, actions) == expected

            self.law(holds, tasks_of(env), self.moves(), self.moves(), tasks_of(env))

    def test_a_restored_state_continues_the_same_episode_in_another_process(self) -> None:
        with self.made() as env, self.elsewhere() as elsewhere:

            def holds(task: str, before: list[Move], after: list[Move]) -> None:
                snapshot, actions, expected = _episode(env, task, before, after)
                assert elsewhere.restore(snapshot, actions) == expected

            self.law(holds, tasks_of(env), self.moves(), self.moves())

    def test_taking_a_snapshot_changes_nothing(self) -> None:
        with self.made() as env, self.made() as other:

            def holds(task: str, moves: list[Move]) -> None:
                env.reset(options={"task": task})
                seen: list[View] = []
                actions: list[str] = []
                for move in moves:
                    assert env.snapshot() == env.snapshot()
                    taken, views = walk(env, [move])
                    actions += taken
                    seen += views
                other.reset(options={"task": task})
                assert play(other, actions) == seen

            self.law(holds, tasks_of(env), self.moves())

    def test_a_snapshot_survives_bytes(self) -> None:
        with self.made() as env:

            def holds(task: str, before: list[Move]) -> None:
                snapshot, _, _ = _episode(env, task, before, [])
                again = Snapshot.from_bytes(snapshot.to_bytes())
                assert again == snapshot
                assert again.native is None
                assert again.elapsed_steps == len(again.actions) == env.elapsed_steps

            self.law(holds, tasks_of(env), self.moves())

    def test_changed_bytes_are_refused(self) -> None:
        with self.made() as env:
            data = _episode(
                env, f"{env.splits[0]}/0", [Move("junk", 0, "\u00e9\ud800"), Move("expert", 0, "look")], []
            )[0].to_bytes()

        def holds(position: int, flipped: int, cut: int, junk: bytes) -> None:
            changed = bytearray(data)
            changed[position] ^= flipped
            for damaged in (bytes(changed), data[:cut], data + junk + b" ", junk):
                with pytest.raises(BadSnapshot) as refusal:
                    Snapshot.from_bytes(damaged)
                _one_line(refusal.value)

        bounds = st.integers(0, len(data) - 1)
        self.law(holds, bounds, st.integers(1, 255), bounds, st.binary(max_size=20), examples=10 * self.examples)

    def test_a_snapshot_of_something_else_is_refused(self) -> None:
        with self.made() as env:
            snapshot, _, _ = _episode(env, f"{env.splits[0]}/0", [], [])
            for other, error in (
                (replace(snapshot, env="Other-v0"), BadSnapshot),
                (replace(snapshot, env=env.name[:-1] + "9"), BadSnapshot),
                (replace(snapshot, panel="0" * 64), BadSnapshot),
                (replace(snapshot, task="nowhere/0"), UnknownName),
                (replace(snapshot, task=f"{env.splits[0]}/{10**9}"), UnknownName),
                (replace(snapshot, task="../../etc/passwd"), UnknownName),
            ):
                with pytest.raises(error) as refusal:
                    env.restore(other)
                _one_line(refusal.value)
                assert env.snapshot() == snapshot, "a refused snapshot must leave the episode as it was"

    def test_a_changed_history_is_noticed_or_makes_no_difference(self) -> None:
        with self.made() as env, self.made() as other:

            def holds(task: str, before: list[Move], position: int, move: Move) -> None:
                snapshot, _, _ = _episode(env, task, before, [])
                assume(snapshot.actions)
                actions = list(snapshot.actions)
                actions[position % len(actions)] = move.action(env)
                forged = Snapshot.from_bytes(replace(snapshot, actions=tuple(actions), native=None).to_bytes())
                try:
                    other.restore(forged)
                except SnapshotDiverged as error:
                    _one_line(error)
                    with pytest.raises(EpisodeOver):
                        other.step("look")
                else:
                    assert other.digest() == snapshot.digest

            self.law(holds, tasks_of(env), self.moves(), st.integers(0, 99), MOVES)

    def moves(self) -> st.SearchStrategy[list[Move]]:
        """Strategy: what to do before or after a snapshot."""
        return st.lists(MOVES, max_size=self.longest)


def _episode(
    env: TextEnv, task: str, before: Sequence[Move], after: Sequence[Move]
) -> tuple[Snapshot, tuple[str, ...], list[View]]:
    """Play; returns the snapshot between, the actions after it, and the states from it on."""
    shown = view(env, *env.reset(options={"task": task}))
    for shown in walk(env, before)[1]:
        # Restoring returns a state, not the reward of the action that led to it.
        del shown["reward"]
    snapshot = env.snapshot()
    actions, following = walk(env, after)
    return snapshot, actions, [shown, *following]


def _continued(env: TextEnv, snapshot: Snapshot, actions: Sequence[str]) -> list[View]:
    before = env.replayed_steps
    first = view(env, *env.restore(snapshot))
    if snapshot.native is not None and snapshot.native.owner == env.native_owner:
        assert env.replayed_steps == before, "a native handle leads back without a replay"
    return [first, *play(env, actions)]


def _one_line(error: Exception) -> None:
    assert str(error) and "\n" not in str(error)
