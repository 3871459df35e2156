from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.episode import EpisodeTree, State, Trajectory
from r3lbench.rubric import Rubric
from tests.stage import EXPERT, Ledger
from tests.toy import Toy

ACTIONS = st.sampled_from([*EXPERT, "go west", "sing"])


def toy() -> Toy:
    env = Toy(rooms=3, max_steps=6)
    env.reset(options={"task": "train/0"})
    return env


def grow(tree: EpisodeTree, state: State, env: Toy | Ledger, *actions: str) -> State:
    """Play on from where ``env`` stands."""
    for action in actions:
        _, reward, _, _, _ = env.step(action)
        state = tree.grow(state, env, action, reward)
    return state


def test_all_attempts_share_the_root() -> None:
    first, second = toy(), toy()
    tree = EpisodeTree(first.task)
    root = tree.root(first)
    assert tree.root(second) is root
    assert (root.id, root.parent, root.action, root.reward, root.valid) == (0, None, None, 0.0, True)
    assert list(tree) == [root]


def test_a_trajectory_tells_what_happened() -> None:
    env = toy()
    tree = EpisodeTree(env.task)
    leaf = grow(tree, tree.root(env), env, "sing", *EXPERT)
    trajectory = Trajectory(tree, leaf)
    assert trajectory.task == env.task
    assert trajectory.actions == ("sing", *EXPERT)
    assert trajectory.steps == 5
    assert trajectory.rewards == (0.0, 0.5, 0.0, 0.0, 0.5)
    assert trajectory.ret == 1.0
    assert trajectory.score == 1.0
    assert trajectory.success
    assert trajectory.feedback == "score 1.00, solved"
    assert trajectory.rubrics == (Rubric("hold the key", True), Rubric("open the door", True))
    assert trajectory.observations[1].startswith("Nothing happens.")
    assert [state.valid for state in trajectory.states] == [True, False, True, True, True, True]
    assert [state.terminated for state in trajectory.states] == [False] * 5 + [True]


def test_the_return_of_many_small_rewards_is_their_exact_sum() -> None:
    env = Ledger(max_steps=10)
    env.reset(options={"task": "train/0"})
    tree = EpisodeTree(env.task)
    leaf = grow(tree, tree.root(env), env, *["0.1"] * 10)
    assert sum([0.1] * 10) != 1.0
    assert Trajectory(tree, leaf).ret == 1.0


def test_the_step_limit_is_seen_in_the_leaf() -> None:
    env = toy()
    tree = EpisodeTree(env.task)
    leaf = grow(tree, tree.root(env), env, *["sing"] * 6)
    assert leaf.truncated and not leaf.terminated
    assert not Trajectory(tree, leaf).success


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.lists(ACTIONS, max_size=4)), max_size=6))
def test_branches_from_anywhere_keep_every_path(branches: list[tuple[int, list[str]]]) -> None:
    env = toy()
    tree = EpisodeTree(env.task)
    tree.root(env)
    for origin, actions in branches:
        state = tree.states[origin % len(tree.states)]
        env.restore(state.snapshot)
        for action in actions:
            if not env.done:
                state = grow(tree, state, env, action)
    other = Toy(rooms=3, max_steps=6)
    for state in tree:
        assert tree.states[state.id] is state
        assert state.parent is None or state.parent < state.id
        trajectory = Trajectory(tree, state)
        assert trajectory.actions == state.snapshot.actions
        assert trajectory.states[0] is tree.states[0] and trajectory.states[-1] is state
        # Replayed anywhere else, the path shows the same.
        other.restore(state.snapshot.portable())
        assert (other.observation, other.score()) == (state.observation, state.score)


def test_a_state_is_recorded_without_what_its_path_already_says() -> None:
    env = toy()
    tree = EpisodeTree(env.task)
    state = grow(tree, tree.root(env), env, "take key")
    assert json.loads(json.dumps(state.to_json())) == {
        "id": 1,
        "parent": 0,
        "action": "take key",
        "observation": "Room 0. You see nothing. You hold a key.",
        "reward": 0.5,
        "valid": True,
        "terminated": False,
        "truncated": False,
        "score": 0.5,
        "success": False,
        "feedback": "score 0.50, not solved",
        "rubrics": [["hold the key", True, 1.0], ["open the door", False, 1.0]],
        "digest": state.digest,
    }


def test_taking_part_in_a_tree_changes_nothing_in_the_world() -> None:
    env, alone = toy(), toy()
    tree = EpisodeTree(env.task)
    grow(tree, tree.root(env), env, *EXPERT[:2])
    for action in EXPERT[:2]:
        alone.step(action)
    assert env.digest() == alone.digest()
    with pytest.raises(AttributeError):
        tree.states[0].reward = 1.0  # type: ignore[misc]
