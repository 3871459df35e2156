"""Self-improvement: round after round the latest draft is revised, and nothing else is read, charged or changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench import TextEnv
from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection.hindsight import HindsightReflector
from r3lbench.agents.reflection.rulebook import RulebookReflector
from r3lbench.rollout.evaluation import evaluate
from r3lbench.rollout.improvement import Round, improve
from r3lbench.rollout.meter import EVALUATION
from r3lbench.tasks import Task
from tests.stage import TOKENIZER, Ledger, Stage, by_chance, play, report, speaker_of, stage
from tests.toy import Toy

FIRST = ("go east", "sing", "take key", "open door")
"""Fails at test/0 (start 0, key 2) and solves test/1 (start 1, key 2) and test/2 (start 2, key 2); the door is in 2."""
HALF = ("go east", "go east", "take key")
REST = ("go east", "go east", "take key", "open door")
REFLECTORS = {"hindsight": HindsightReflector(style="compact"), "rulebook": RulebookReflector()}


def tasks(at: Stage, count: int = 3) -> list[Task]:
    with at.rollout.envs.borrow() as env:
        return list(env.panel("test"))[:count]


def improved(
    reply: Any,
    *,
    rounds: int,
    reflector: str = "hindsight",
    make_env: Callable[[], TextEnv] = lambda: Toy(rooms=3, max_steps=6),
    count: int = 3,
    **how: Any,
) -> tuple[Stage, list[Round]]:
    """The rounds on the first tasks of the test panel."""
    setting = {key: how.pop(key) for key in ("agent", "seed", "context_limit") if key in how}
    at = stage(reply, make_env=make_env, reflectors=REFLECTORS, **setting)
    at.rollout = dataclasses.replace(at.rollout, first_purpose=EVALUATION)
    chosen = tasks(at, count)
    return at, play(improve(at.rollout, chosen, "sampled", rounds=rounds, reflector=reflector, **how))


def column(rounds: list[Round], name: str, task: int = 0) -> list[Any]:
    """A score of one task, round after round."""
    return [getattr(of.drafts[task].score, name) for of in rounds]


def test_the_latest_draft_is_revised_until_the_task_is_solved() -> None:
    at, rounds = improved({"a0": FIRST, "a0.r0": HALF, "a0.r0.r0": REST}, rounds=3)
    assert [[draft.score.success for draft in of.drafts] for of in rounds] == [
        [False, True, True],
        [False, True, True],
        [True, True, True],
        [True, True, True],
    ]
    assert column(rounds, "score") == [0.0, 0.5, 1.0, 1.0] and column(rounds, "steps") == [6, 6, 4, 4]
    assert column(rounds, "actions")[2:] == [REST, REST]
    assert [draft.score for draft in rounds[3].drafts[1:]] == [draft.score for draft in rounds[0].drafts[1:]]
    assert [(of.reflected, of.valid, of.retried) for of in rounds] == [(0, 0, 0), (1, 1, 1), (1, 1, 1), (0, 0, 0)]
    assert [of.drafts[0].valid for of in rounds] == [None, True, True, None]
    assert {speaker_of(request) for wave in at.waves for request in wave} == {"a0", "a0.r0", "a0.r0.r0"}


def test_every_round_has_a_bill_of_its_own_and_only_first_attempts_are_charged_to_the_evaluation() -> None:
    at, rounds = improved({"a0": FIRST, "a0?0": [report(1)], "a0.r0": HALF[1:]}, rounds=2, reflector="report")
    assert at.meter.to_json() == rounds[0].cost and set(rounds[0].cost) == {EVALUATION}
    assert rounds[0].spent("env_steps") == 6 + 4 + 4
    assert set(rounds[1].cost) == {"reflect", "retry"}
    assert rounds[1].cost["retry"]["env_steps"] == rounds[1].spent("env_steps") == 6 - 1
    assert 0 < rounds[1].cost["reflect"]["generated_tokens"] < rounds[1].spent("generated_tokens")
    assert at.meter.total("env_steps") == at.meter.total("generated_tokens") == 0


def test_a_round_is_told_of_the_latest_draft_and_of_no_other() -> None:
    at, _ = improved({"a0": FIRST, "a0.r0": HALF, "a0.r0.r0": REST}, rounds=2, count=1)
    once, twice = (TOKENIZER.decode(at.requests(speaker)[0].token_ids) for speaker in ("a0.r0", "a0.r0.r0"))
    assert "Guidance: met: nothing; not met: hold the key, open the door" in once
    assert "Guidance: met: hold the key; not met: open the door" in twice
    assert once.count("Guidance") == twice.count("Guidance") == 1


def test_a_report_lets_the_next_draft_begin_at_the_step_it_names() -> None:
    replies = {"a0": FIRST, "a0?0": [report(1, plan="ONE")], "a0.r0": ["go east", "sing"]}
    replies |= {"a0.r0?0": [report(3, plan="TWO")], "a0.r0.r0": ["take key", "open door"]}
    at, rounds = improved(replies, rounds=2, reflector="report", count=1)
    first, second, third = (of.drafts[0].attempt for of in rounds)
    assert (second.pivot, third.pivot) == (1, 3) and third.base is second
    assert second.trajectory.states[:2] == first.trajectory.states[:2]
    assert third.trajectory.actions == ("go east", "go east", "sing", "take key", "open door") and third.success
    assert [int(request.key[-4:]) for request in at.requests("a0.r0.r0")] == [3, 4]
    # Neither the report on the second draft nor the third one reads what the second was told.
    asked, played = (TOKENIZER.decode(at.requests(of)[0].token_ids) for of in ("a0.r0?0", "a0.r0.r0"))
    assert "ONE" not in asked + played and "TWO" in played


def test_a_rulebook_takes_the_place_of_the_system_prompt() -> None:
    replies = {"a0": FIRST, "a0?0": ["<prompt>FIND IT</prompt>"], "a0.r0": REST}
    at, rounds = improved(replies, rounds=1, reflector="rulebook", agent=ChatAgent(rules=True), count=1)
    told = TOKENIZER.decode(at.requests("a0.r0")[0].token_ids)
    assert told.startswith("<|system|>FIND IT") and "You solve a task" not in told
    assert rounds[1].drafts[0].score.success


@pytest.mark.parametrize(("said", "valid"), [("no report", False), (report(None, outcome="success", plan=None), True)])
def test_where_no_retry_is_asked_for_the_draft_stands_and_is_reflected_on_again(said: str, valid: bool) -> None:
    replies = {"a0": FIRST, "a0?0": [said], "a0?1": [report(0)], "a0.r0": REST}
    _, rounds = improved(replies, rounds=2, reflector="report", count=1)
    stood, revised = (of.drafts[0] for of in rounds[1:])
    assert (stood.valid, stood.retried) == (valid, False) and stood.attempt is rounds[0].drafts[0].attempt
    assert (revised.valid, revised.retried, revised.score.success) == (True, True, True)
    assert "env_steps" not in rounds[1].cost.get("retry", {}) and rounds[1].spent("generated_tokens") > 0


def test_the_latest_draft_may_be_worse_than_the_best_so_far() -> None:
    replies = {"a0": ["0.5 end"], "a0?0": [report(0)], "a0.r0": ["0.25 end"], "a0.r0?0": [report(0)]}
    replies |= {"a0.r0.r0": ["0.4 end"]}
    _, rounds = improved(replies, rounds=2, reflector="report", make_env=Ledger, count=1)
    assert column(rounds, "score") == [0.5, 0.25, 0.4]
    assert [of.drafts[0].best for of in rounds] == [0.5, 0.5, 0.5]


def test_an_episode_that_had_no_room_for_a_step_stands() -> None:
    _, rounds = improved({}, rounds=2, reflector="report", context_limit=8, count=1)
    assert column(rounds, "steps") == [0, 0, 0]
    assert [(of.reflected, of.valid, of.retried) for of in rounds[1:]] == [(1, 0, 0)] * 2


def test_whoever_waits_is_told_of_every_episode_in_every_round() -> None:
    told: list[int] = []
    improved({"a0": FIRST}, rounds=2, episodes=2, done=lambda: told.append(1))
    assert len(told) == 3 * 2 * (1 + 2)


def test_round_0_is_what_an_evaluation_plays() -> None:
    at, rounds = improved(by_chance, rounds=2, reflector="report", episodes=2)
    plain = stage(by_chance)
    plain.rollout = dataclasses.replace(plain.rollout, first_purpose=EVALUATION)
    scores = play(evaluate(plain.rollout, tasks(plain), "sampled", episodes=2))
    assert [draft.score for draft in rounds[0].drafts] == scores
    assert at.meter.to_json() == plain.meter.to_json()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), episodes=st.integers(1, 2))
def test_laws_of_rounds(seed: int, episodes: int) -> None:
    _, rounds = improved(by_chance, rounds=3, reflector="report", seed=seed, episodes=episodes)
    for before, after in pairwise(rounds):
        for was, now in zip(before.drafts, after.drafts, strict=True):
            # A solved task keeps its score, what stands is the same draft, and the best is never lost.
            assert not (was.score.success and (now.retried or now.valid is not None))
            assert (now.attempt is was.attempt) != now.retried
            assert now.best == max(was.best, now.score.score)
        steps = sum(draft.score.steps - draft.attempt.pivot for draft in after.drafts if draft.retried)
        assert after.spent("env_steps") == steps
    # What a task comes to in a round depends neither on later rounds nor on other tasks.
    _, fewer = improved(by_chance, rounds=1, reflector="report", seed=seed, episodes=episodes, count=2)
    for of, same in zip(fewer, rounds, strict=False):
        shared = same.drafts[: len(of.drafts)]
        assert [(one.score, one.retried, one.valid) for one in of.drafts] == [
            (one.score, one.retried, one.valid) for one in shared
        ]
