from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from r3lbench.rollout.evaluation import Score, evaluate, summary
from r3lbench.rollout.meter import EVALUATION
from r3lbench.tasks import Task
from tests.stage import EXPERT, Stage, by_chance, play, stage

TASKS = 3


def tasks(at: Stage) -> list[Task]:
    with at.rollout.envs.borrow() as env:
        return list(env.panel("test"))[:TASKS]


def scored(reply: Any, mode: str = "sampled", seed: int = 0) -> tuple[Stage, list[Score]]:
    at = stage(reply, seed=seed)
    at.rollout = dataclasses.replace(at.rollout, first_purpose=EVALUATION)
    return at, play(evaluate(at.rollout, tasks(at), mode))


def test_every_task_is_played_once_and_scored_in_order() -> None:
    # The test panel: start 0 and key 2; start 1 and key 2; start 2 and key 2. The door is in room 2.
    at, scores = scored({"a0": ["go east", "sing", "take key", "open door"]})
    assert [score.task for score in scores] == ["test/0", "test/1", "test/2"]
    assert [score.to_json() for score in scores[1:2]] == [
        {
            "task": "test/1",
            "return": 1.0,
            "score": 1.0,
            "success": True,
            "steps": 4,
            "invalid": 1,
            "actions": ["go east", "sing", "take key", "open door"],
            "digest": scores[1].digest,
        }
    ]
    assert scores[0].success is False and scores[0].steps == 6
    assert [len(wave) for wave in at.waves][:4] == [3, 3, 3, 3]


def test_a_digest_tells_other_actions_and_other_observations_apart() -> None:
    # Neither of the two words is an action, so nothing but the word itself tells the episodes apart.
    one, other, same = (scored({"a0": ["go east", word, "take key"]})[1] for word in ("sing", "dance", "sing"))
    assert [score.digest for score in one] == [score.digest for score in same]
    for left, right in zip(one, other, strict=True):
        assert left.digest != right.digest and left.ret == right.ret
    assert len({score.digest for score in one}) == len(one)


def test_evaluation_is_charged_apart() -> None:
    at, scores = scored({"a0": EXPERT})
    assert set(at.meter.counts) == {EVALUATION}
    assert at.meter.counts[EVALUATION]["env_steps"] == sum(score.steps for score in scores)
    assert at.meter.total("env_steps") == at.meter.total("generated_tokens") == 0


def test_draws_depend_on_seed_mode_and_task_alone() -> None:
    _, scores = scored(by_chance)
    assert scored(by_chance)[1] == scores
    at = stage(by_chance)
    at.rollout = dataclasses.replace(at.rollout, first_purpose=EVALUATION)
    assert play(evaluate(at.rollout, tasks(at)[1:2], "sampled")) == scores[1:2]

    def seeds(mode: str, seed: int) -> set[int]:
        return {request.seed for wave in scored(by_chance, mode, seed)[0].waves for request in wave}

    assert seeds("sampled", 0).isdisjoint(seeds("greedy", 0))
    assert seeds("sampled", 0).isdisjoint(seeds("sampled", 1))


def test_whoever_waits_is_told_of_every_episode() -> None:
    told = []
    at = stage({"a0": EXPERT})
    play(evaluate(at.rollout, tasks(at), "greedy", done=lambda: told.append(1)))
    assert len(told) == TASKS


def test_means_are_over_tasks_and_the_invalid_share_over_steps() -> None:
    scores = [Score("test/0", 1.0, 1.0, True, 4, 0), Score("test/1", -0.1, 0.25, False, 6, 3)]
    assert summary(scores) == pytest.approx(
        {"tasks": 2, "success": 0.5, "score": 0.625, "return": 0.45, "steps": 5.0, "invalid": 0.3}
    )


def test_an_episode_without_steps_has_no_invalid_ones() -> None:
    assert summary([Score("test/0", 0.0, 0.0, False, 0, 0)])["invalid"] == 0
