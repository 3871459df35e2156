from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.agent import Agent, Conversation, Turn
from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.oracle import OracleAgent
from r3lbench.agents.random import RandomAgent
from r3lbench.errors import R3LBenchError
from r3lbench.recording import group_json
from r3lbench.rollout.group import Attempt, Ended, Group
from tests.stage import EXPERT, TEMPLATE, Stage, by_chance, encode, play, read, stage
from tests.toy import Toy


def attempts(at: Stage, count: int = 1, key: str = "u1/train/0") -> tuple[Group, list[Attempt]]:
    """A group with first attempts."""
    group = at.group(key)
    return group, play(group.attempt(count))


# Playing


def test_an_attempt_plays_the_task_in_one_growing_conversation() -> None:
    at = stage({"a0": EXPERT})
    group, (attempt,) = attempts(at)
    assert attempt.trajectory.actions == EXPERT
    assert (attempt.ret, attempt.score, attempt.success, attempt.steps) == (1.0, 1.0, True, 4)
    assert (attempt.key, attempt.ended, attempt.base, attempt.pivot) == ("u1/train/0/a0", Ended.TERMINATED, None, 0)
    seen = attempt.trajectory.observations
    expected = "".join(
        f"<|user|>Step {step}: {seen[step]}<|assistant|>{action}<|end|>" for step, action in enumerate(EXPERT)
    )
    assert read(group, attempt.turns[-1].node) == expected


def test_what_is_recorded_is_what_was_sampled_in_the_context_it_was_sampled_in() -> None:
    at = stage(by_chance)
    group, members = attempts(at, 3)
    for attempt in members:
        speaker = attempt.key.rpartition("/")[2]
        for turn, request in zip(attempt.turns, at.requests(speaker), strict=True):
            assert turn.node is not None and turn.prompt_node is not None
            segment = group.forest.nodes[turn.node].segment
            assert segment.sampled and segment.token_ids == (*by_chance(request), TEMPLATE.end_id)
            assert group.forest.nodes[turn.node].parent == turn.prompt_node
            assert not group.forest.nodes[turn.prompt_node].segment.sampled
            assert tuple(group.forest.token_ids(turn.prompt_node)) == request.token_ids


def test_attempts_share_the_prompt_and_the_root_and_nothing_that_was_sampled() -> None:
    group, (first, second) = attempts(stage({"a0": EXPERT, "a1": EXPERT}), 2)
    assert first.turns[0].prompt_node == second.turns[0].prompt_node
    assert first.trajectory.states[0] is second.trajectory.states[0]
    assert not {turn.node for turn in first.turns} & {turn.node for turn in second.turns}
    assert group.bases == [first, second] and group.retries == []


def test_attempts_advance_together() -> None:
    at = stage({"a0": EXPERT, "a1": ["sing", *EXPERT], "a2": EXPERT})
    attempts(at, 3)
    assert [len(wave) for wave in at.waves] == [3, 3, 3, 3, 1]


def test_more_attempts_get_names_of_their_own() -> None:
    at = stage(by_chance)
    group = at.group()

    async def explore() -> None:
        await group.attempt(2)
        await group.attempt(1)

    play(explore())
    assert [attempt.key for attempt in group.attempts] == [f"u1/train/0/a{number}" for number in range(3)]


def test_a_temperature_is_for_one_call() -> None:
    at = stage({})
    group = at.group()

    async def explore() -> None:
        await group.attempt(1, temperature=0.3)
        await group.attempt(1)

    play(explore())
    assert {request.sampling.temperature for request in at.requests("a0")} == {0.3}
    assert {request.sampling.temperature for request in at.requests("a1")} == {1.0}


def test_a_request_stops_at_the_template_s_end_token_and_the_agent_s_limit() -> None:
    at = stage({"a0": EXPERT}, agent=ChatAgent(max_tokens=17))
    attempts(at)
    for request in at.requests("a0"):
        assert request.sampling.stop_ids == TEMPLATE.stop_ids
        assert request.sampling.max_tokens == 17
        assert request.purpose == "attempt"


# Ends


def test_the_step_limit_truncates() -> None:
    _, (attempt,) = attempts(stage({"a0": ["sing"] * 9}))
    assert (attempt.ended, attempt.steps, attempt.success) == (Ended.TRUNCATED, 6, False)


def test_a_reply_that_is_no_action_is_an_invalid_action_and_not_an_error() -> None:
    strange = ["", "\n\n", "take key\ngo east", "<|user|>", "\u00e9\u4e2d\x00{}"]
    _, (attempt,) = attempts(stage({"a0": strange}))
    assert [state.valid for state in attempt.trajectory.states[1:]] == [False] * 6
    assert attempt.ended is Ended.TRUNCATED


def test_a_reply_without_the_wanted_format_is_an_invalid_action() -> None:
    replies = ["take key", "<think>x</think><action>take key</action>", "<action>go east</action><action>sing</action>"]
    _, (attempt,) = attempts(stage({"a0": replies}, agent=ChatAgent(format="think")))
    assert attempt.trajectory.actions[:3] == ("", "take key", "")
    assert [state.valid for state in attempt.trajectory.states[1:4]] == [False, True, False]
    assert attempt.turns[1].text == replies[1]


def test_a_full_context_ends_an_episode_as_truncated() -> None:
    # Measured on the same play without a limit: the third turn is the first that does not fit.
    free = stage({"a0": EXPERT})
    attempts(free)
    room = [len(request.token_ids) + request.sampling.max_tokens for request in free.requests("a0")]
    at = stage({"a0": EXPERT}, context_limit=room[2] - 1)
    group, (attempt,) = attempts(at)
    assert (attempt.ended, attempt.steps) == (Ended.CONTEXT, 2)
    assert len(at.requests("a0")) == 2
    assert not attempt.success and attempt.ret == 0.5
    assert group.sample(attempt).term(1.0).turns == tuple(turn.node for turn in attempt.turns)
    _, (fits,) = attempts(stage({"a0": EXPERT}, context_limit=room[3]))
    assert fits.success


def test_a_turn_cut_off_by_length_is_closed_by_the_template() -> None:
    long = "go east and then go east and then go east"
    at = stage({"a0": [long, *EXPERT]}, agent=ChatAgent(max_tokens=6))
    group, (attempt,) = attempts(at)
    first, second = attempt.turns[:2]
    assert first.node is not None and second.prompt_node is not None
    said = group.forest.nodes[first.node].segment
    assert said.token_ids == tuple(encode(long)[:6]) and TEMPLATE.end_id not in said.token_ids
    added = group.forest.nodes[second.prompt_node].segment
    assert added.token_ids[0] == TEMPLATE.end_id and not added.sampled
    assert "go east and t<|end|><|user|>Step 1: Nothing happens." in read(group, second.node)
    assert attempt.success


# Agents without a model


@pytest.mark.parametrize("agent", [OracleAgent(), RandomAgent()])
def test_an_agent_without_a_model_plays_and_leaves_no_tokens(agent: Agent) -> None:
    at = stage(agent=agent)
    group, members = attempts(at, 3)
    assert at.waves == [] and group.forest.nodes == []
    assert all(state.valid for attempt in members for state in attempt.trajectory.states)
    assert all(attempt.success for attempt in members) or isinstance(agent, RandomAgent)
    with pytest.raises(R3LBenchError, match="no trained model"):
        group.sample(members[0])


def test_an_agent_that_speaks_needs_a_model() -> None:
    at = stage()
    at.rollout.template = None
    with pytest.raises(R3LBenchError, match="give a policy"):
        attempts(at)


def test_an_error_in_one_attempt_ends_the_group_and_gives_the_environments_back() -> None:
    class Breaks(Agent):
        async def act(self, conversation: Conversation) -> Turn:
            if conversation.view.step == 2:
                raise RuntimeError("broken")
            return Turn("go east", "go east")

    made: list[Toy] = []

    def make() -> Toy:
        made.append(Toy(rooms=3))
        return made[-1]

    at = stage(agent=Breaks(), make_env=make)
    with pytest.raises(RuntimeError, match="broken"):
        attempts(at, 2)
    group = at.group()
    count = len(made)
    with pytest.raises(RuntimeError, match="broken"):
        play(group.attempt(2))
    assert len(made) == count


# The same again


async def _busy(group: Group) -> None:
    """Attempts, reflections and retries, as chance would have it."""
    bases = await group.attempt(3)

    async def improve(base: Attempt) -> None:
        reflection = await group.reflect(base)
        if reflection.asks_for_retry and reflection.pivot is not None:
            await group.retry(base, at=reflection.pivot, guidance=reflection.guidance)

    await group.gather(improve(base) for base in bases)


def explored(keys: list[str], seed: int) -> dict[str, dict[str, Any]]:
    """What comes of several groups that explore side by side, as recorded."""
    at = stage(by_chance, seed=seed)
    groups = [at.group(key) for key in keys]
    play(at.rollout.waves.gather(_busy(group) for group in groups))
    return {group.key: json.loads(json.dumps(group_json(group, []))) for group in groups}


KEYS = ["u1/train/0", "u1/train/1", "u1/train/2", "u2/train/0", "u1/valid/1"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.permutations(KEYS), st.integers(1, 5))
def test_a_group_is_the_same_whoever_plays_beside_it(seed: int, keys: list[str], count: int) -> None:
    together = explored(keys[:count], seed)
    assert together == explored(keys[:count], seed)
    for key in keys[:count]:
        assert explored([key], seed)[key] == together[key]


def test_seed_update_and_task_make_different_draws() -> None:
    def actions(key: str, seed: int) -> list[str]:
        return [state["action"] for state in explored([key], seed)[key]["states"]]

    plays = [actions("u1/train/0", 0), actions("u1/train/0", 1), actions("u2/train/0", 0), actions("u1/train/1", 0)]
    assert all(first != second for place, first in enumerate(plays) for second in plays[:place])


def test_attempts_of_one_group_draw_on_their_own() -> None:
    at = stage(by_chance)
    attempts(at, 4)
    seeds = [request.seed for wave in at.waves for request in wave]
    assert len(set(seeds)) == len(seeds)


def test_a_method_s_own_chance_is_fixed_by_seed_group_and_purpose() -> None:
    def draw(seed: int, key: str, purpose: str) -> float:
        return float(stage(seed=seed).group(key).rng(purpose).random())

    assert draw(0, KEYS[0], "slot") == draw(0, KEYS[0], "slot")
    others = [draw(1, KEYS[0], "slot"), draw(0, KEYS[1], "slot"), draw(0, KEYS[0], "other")]
    assert draw(0, KEYS[0], "slot") not in others
