"""Lessons say what the agent and the reflector will say, and weigh what should be learned."""

from __future__ import annotations

import json

import numpy as np
import pytest

from r3lbench.agent import Turn
from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection.report import ReportReflector
from r3lbench.engines.template import ChatTemplate
from r3lbench.episode import EpisodeTree, Trajectory
from r3lbench.policies.imitation import WeightedSequence
from r3lbench.policies.lessons import Played, Teacher, report_of
from r3lbench.policies.tokenizer import build_tokenizer
from tests.toy import Toy

TEMPLATE = ChatTemplate(build_tokenizer(["go east go west take key open door You are in a Room"] * 3))


@pytest.fixture
def teacher() -> Teacher:
    return Teacher(Toy(), ChatAgent(), ReportReflector(style="compact"))


def careless(teacher: Teacher, seed: int = 0) -> Played:
    """An episode with at least one impossible action."""
    player = teacher.env.demonstrators()[1]
    rng = np.random.default_rng(seed)
    for index in range(8):
        played = teacher.play(teacher.env.panel("train")[index], player, rng)
        if not all(played.worth) and played.trajectory.steps > 3:
            return played
    raise AssertionError("no careless episode went wrong")


def text(lesson: WeightedSequence, weight: float | None = None) -> str:
    """The lesson's text, or the part that has a weight."""
    pairs = zip(lesson.token_ids, lesson.loss_weights, strict=True)
    return str(TEMPLATE.tokenizer.decode([token for token, has in pairs if weight is None or has == weight]))


def test_a_play_lesson_is_the_agents_conversation_and_skips_mistakes(teacher: Teacher) -> None:
    played = careless(teacher)
    lesson = teacher.play_lesson(played, TEMPLATE)
    expected = "".join(
        f"<|user|>Step {step}: {observation}<|assistant|>{action}<|end|>"
        for step, (observation, action) in enumerate(
            zip(played.trajectory.observations, played.trajectory.actions, strict=False)
        )
    )
    assert text(lesson) == expected
    good = [turn.text for turn, worth in zip(played.turns, played.worth, strict=True) if worth]
    bad = [turn.text for turn, worth in zip(played.turns, played.worth, strict=True) if not worth]
    assert text(lesson, 1.0) == "".join(f"{action}<|end|>" for action in good)
    assert text(lesson, 0.0) == "".join(f"{action}<|end|>" for action in bad) != ""


def test_a_reflection_lesson_continues_the_episode_and_teaches_the_report(teacher: Teacher) -> None:
    played = careless(teacher)
    diagnosis = teacher.diagnose(played)
    assert diagnosis is not None
    lesson = teacher.reflection_lesson(played, diagnosis, TEMPLATE)
    assert text(lesson).startswith(text(teacher.play_lesson(played, TEMPLATE)))
    assert f"<|user|>Feedback: {played.trajectory.feedback}. Reflect.<|assistant|>" in text(lesson)
    answer = text(lesson, 1.0).removesuffix("<|end|>")
    assert answer == report_of(diagnosis)
    assert json.loads(answer)["retry_from_step"] == diagnosis.pivot


def test_a_retry_lesson_leaves_at_the_pivot_with_guidance_and_teaches_only_what_follows(teacher: Teacher) -> None:
    played = careless(teacher)
    diagnosis = teacher.diagnose(played)
    assert diagnosis is not None and diagnosis.pivot is not None
    retry = teacher.retry(played, diagnosis)
    assert retry is not None and retry.trajectory.success
    lesson = teacher.play_lesson(retry, TEMPLATE)
    own = retry.turns[diagnosis.pivot :]
    guided = f"<|system|>Guidance: {diagnosis.suggestion}<|assistant|>{own[0].text}<|end|>"
    assert text(lesson).count("Guidance") == 1
    assert guided in text(lesson)
    assert text(lesson, 1.0) == "".join(f"{turn.text}<|end|>" for turn in own)


def test_a_flawless_episode_has_no_retry(teacher: Teacher) -> None:
    expert = teacher.env.demonstrators()[0]
    played = teacher.play(teacher.env.panel("train")[0], expert, np.random.default_rng(0))
    diagnosis = teacher.diagnose(played)
    assert diagnosis is not None and diagnosis.outcome == "success"
    assert teacher.retry(played, diagnosis) is None


def test_the_policys_own_tokens_are_kept_as_sampled(teacher: Teacher) -> None:
    env = teacher.env
    env.reset(options={"task": "train/0"})
    tree = EpisodeTree(env.task)
    root = tree.root(env)
    prompt = tuple(teacher.agent.opening(teacher._view))
    env.step("hm")
    leaf = tree.grow(root, env, "hm", 0.0)
    spelled = tuple(TEMPLATE.tokenizer("h").input_ids + TEMPLATE.tokenizer("m").input_ids + [TEMPLATE.end_id])
    played = Played(Trajectory(tree, leaf), (Turn("hm", "hm", prompt),), (spelled,), (False,))
    assert teacher.play_lesson(played, TEMPLATE).token_ids[-len(spelled) :] == spelled
