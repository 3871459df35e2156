from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection.report import KEYS, ReportReflector, guidance_of, parse_report
from r3lbench.reflection import Reflection
from r3lbench.rollout.group import Attempt, Group
from tests.stage import EXPERT, Stage, play, read, report, stage

STEPS = 5
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def written(**changes: Any) -> str:
    """A report on a failure with some keys changed; ``...`` leaves a key out."""
    fields = {**json.loads(report(2)), **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...})


def reflected(text: str, style: str = "full", base: tuple[str, ...] = ("sing",) * STEPS) -> Reflection:
    """What is read from an answer about an attempt of five steps."""
    at = stage({"a0": base, "a0?0": [text]}, style=style)
    return play(attempt_and_reflection(at))[2]


async def attempt_and_reflection(at: Stage) -> tuple[Group, Attempt, Reflection]:
    group = at.group()
    attempt = (await group.attempt())[0]
    return group, attempt, await group.reflect(attempt)


# Reports that can be read


def test_a_report_names_outcome_pivot_and_plan() -> None:
    parsed = parse_report(report(2), steps=STEPS)
    assert tuple(parsed) == KEYS
    assert parsed["trajectory_outcome"] == "failure"
    assert parsed["improvement_suggestion"] == "PLAN"
    assert parsed["retry_from_step"] == 2


@pytest.mark.parametrize(
    ("step", "pivot"),
    [(0, 0), (4, 4), ("3", 3), (" 3 ", 3), ("+1", 1), (2.0, 2), (2.9, 2), (-0.5, 0), ("0", 0), ("03", 3)],
)
def test_a_pivot_is_whatever_can_be_cast_to_a_step(step: Any, pivot: int) -> None:
    parsed = parse_report(written(retry_from_step=step), steps=STEPS)
    assert parsed["retry_from_step"] == pivot
    assert type(parsed["retry_from_step"]) is int


@pytest.mark.parametrize(
    "around",
    ["{}", "Here it is:\n```json\n{}\n```\nGood luck!", "<think>hm</think>{}", "\ufeff {} \n\n", "} {}"],
)
def test_prose_around_the_object_is_passed_over(around: str) -> None:
    assert parse_report(around.replace("{}", report(1)), steps=STEPS)["retry_from_step"] == 1


def test_nested_objects_and_keys_beyond_the_five_are_kept() -> None:
    text = written(root_cause_analysis={"why": [{"why": "no key"}]}, confidence=0.5)
    parsed = parse_report(text, steps=STEPS)
    assert parsed["root_cause_analysis"] == {"why": [{"why": "no key"}]}
    assert parsed["confidence"] == 0.5


@pytest.mark.parametrize("step", [None, 3, "late", 99, True])
def test_a_success_has_no_pivot_whatever_it_says(step: Any) -> None:
    text = written(trajectory_outcome="success", retry_from_step=step, improvement_suggestion=None)
    assert parse_report(text, steps=STEPS)["retry_from_step"] is None
    left_out = written(trajectory_outcome="success", retry_from_step=..., improvement_suggestion=...)
    assert tuple(parse_report(left_out, steps=STEPS)) == KEYS


def test_the_root_cause_may_be_null_but_not_missing() -> None:
    assert parse_report(written(root_cause_analysis=None), steps=STEPS)["root_cause_analysis"] is None
    with pytest.raises(ValueError, match="without root_cause_analysis"):
        parse_report(written(root_cause_analysis=...), steps=STEPS)


# Reports that cannot

NESTED = "[" * 100_000
REFUSED = {
    "": "no JSON object",
    "I would open the door.": "no JSON object",
    "} nothing {": "no JSON object",
    "[1, 2]": "no JSON object",
    '{"trajectory_summary": ': "no JSON object",
    '{"trajectory_summary": }': "not JSON",
    "{'trajectory_summary': 'single quotes'}": "not JSON",
    f"{report(1)} or {report(2)}": "not JSON",
    "{" + '"a": {' * 50_000 + "}": "not JSON",
    '{"a": ' + NESTED + "}": "not JSON",
    "{}": "without trajectory_summary, root_cause_analysis, trajectory_outcome",
    written(trajectory_summary=...): "without trajectory_summary",
    written(trajectory_outcome=...): "without trajectory_outcome",
    written(trajectory_outcome="Failure"): "unknown outcome 'Failure'",
    written(trajectory_outcome=None): "unknown outcome None",
    written(trajectory_outcome=["failure"]): "unknown outcome",
    written(trajectory_outcome={}): "unknown outcome",
    written(improvement_suggestion=None): "needs improvement_suggestion",
    written(improvement_suggestion=...): "needs improvement_suggestion",
    written(retry_from_step=None): "needs improvement_suggestion and retry_from_step",
    written(retry_from_step=...): "needs improvement_suggestion and retry_from_step",
    written(retry_from_step=True): "not a number: True",
    written(retry_from_step=False): "not a number: False",
    written(retry_from_step=[2]): "not a number",
    written(retry_from_step={"step": 2}): "not a number",
    written(retry_from_step="two"): "not a whole number: 'two'",
    written(retry_from_step="2.0"): "not a whole number",
    written(retry_from_step=""): "not a whole number",
    written(retry_from_step=float("nan")): "not a whole number",
    written(retry_from_step=float("inf")): "not a whole number",
    written(retry_from_step=-1): "outside the episode's 5 steps",
    written(retry_from_step=STEPS): "outside the episode's 5 steps",
    written(retry_from_step=10**30): "outside",
    written(retry_from_step="9" * 5000): "not a whole number",
    '{"retry_from_step": ' + "9" * 5000 + "}": "not JSON",
}


@pytest.mark.parametrize("text", sorted(REFUSED), ids=lambda text: text[:40])
def test_what_is_no_report_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[text]):
        parse_report(text, steps=STEPS)


@pytest.mark.parametrize("text", ["", "no", written(retry_from_step=9), "{" * 500, written(trajectory_outcome="?")])
def test_a_reflection_that_cannot_be_read_asks_for_nothing_and_keeps_its_tokens(text: str) -> None:
    reflection = reflected(text)
    assert not reflection.valid and not reflection.asks_for_retry
    assert (reflection.text, reflection.outcome, reflection.pivot, reflection.guidance) == (text, "", None, "")
    assert reflection.problem
    assert reflection.sample is not None


@pytest.mark.parametrize("depth", [100, 400, 800, 900, 940, 960, 980, 990, 1000, 5000, 100_000])
@pytest.mark.parametrize("style", ["full", "compact"])
def test_a_report_nested_to_any_depth_does_no_harm(depth: int, style: str) -> None:
    text = written(root_cause_analysis="HERE").replace('"HERE"', "[" * depth + "]" * depth)
    at = stage({"a0": ["sing"] * STEPS})
    group, attempt, _ = play(attempt_and_reflection(at))
    case_like: Any = type("Steps", (), {"steps": attempt.steps})()
    reflection = ReportReflector(style=style).read(text, case_like)
    assert reflection.valid == bool(reflection.guidance) != bool(reflection.problem)
    assert reflection.valid or depth > 100
    assert group.attempts == [attempt]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from(["failure", "success", 0, 3]), max_size=5))
def test_any_object_is_a_report_or_refused(fields: dict[str, Any]) -> None:
    try:
        parsed = parse_report(json.dumps(fields), steps=STEPS)
    except ValueError:
        return
    assert parsed["trajectory_outcome"] in ("success", "success_but_inefficient", "failure")
    pivot = parsed["retry_from_step"]
    assert (pivot is None) == (parsed["trajectory_outcome"] == "success")
    assert pivot is None or (type(pivot) is int and 0 <= pivot < STEPS)
    assert pivot is None or guidance_of(parsed, compact=False)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_report_or_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_report(text, steps=STEPS)


# The question


def test_the_full_question_shows_the_whole_transcript_in_a_conversation_of_its_own() -> None:
    at = stage({"a0": ["sing", *EXPERT], "a0?0": [report(0)]}, agent=ChatAgent(rules=True))
    group, attempt, reflection = play(attempt_and_reflection(at))
    assert reflection.sample is not None
    asked = read(group, reflection.sample.turns[0])
    assert asked.startswith("<|system|>You review episodes")
    system, _, question = asked.partition("<|user|>")
    assert all(key in system for key in KEYS)
    assert "You solve a task in a text environment" in question  # the rules that the agent had
    for step, turn in enumerate(attempt.turns):
        assert f"Step {step}\n[environment] " in question
        assert f"Step {step}: {attempt.trajectory.observations[step]}\n[agent] {turn.text}" in question
    assert f"[end of episode] {attempt.trajectory.observations[-1]}\nFeedback: score 1.00, solved." in question
    assert "step limit" not in question


def test_the_question_says_that_the_limit_was_reached() -> None:
    at = stage({"a0": ["sing"] * 6})
    group, _, reflection = play(attempt_and_reflection(at))
    assert reflection.sample is not None
    assert "not solved. The step limit was reached." in read(group, reflection.sample.turns[0])


def test_the_compact_question_continues_the_episode_so_that_nothing_is_read_twice() -> None:
    at = stage({"a0": EXPERT, "a0?0": [report(None, outcome="success", plan=None)]}, style="compact")
    group, attempt, reflection = play(attempt_and_reflection(at))
    assert reflection.sample is not None
    (request,) = at.requests("a0?0")
    assert list(request.token_ids)[: group.forest.nodes[attempt.turns[-1].node or 0].end] == group.forest.token_ids(
        attempt.turns[-1].node
    )
    told = read(group, attempt.turns[-1].node) + "<|user|>Feedback: score 1.00, solved. Reflect.<|assistant|>"
    assert read(group, reflection.sample.turns[0]).startswith(told)


def test_a_reflection_may_be_as_long_as_the_reflector_allows() -> None:
    at = stage({"a0": EXPERT, "a0?0": [report(1)]}, reflectors={"report": ReportReflector(max_tokens=9)})
    _, _, reflection = play(attempt_and_reflection(at))
    assert at.requests("a0?0")[0].sampling.max_tokens == 9
    assert not reflection.valid


# Guidance


def test_full_guidance_carries_the_report_and_compact_guidance_its_plan() -> None:
    full, compact = reflected(report(2)), reflected(report(2), style="compact")
    assert json.loads(full.guidance[full.guidance.index("{") : full.guidance.rindex("}") + 1]) == dict(full.fields)
    assert compact.guidance == "Guidance: PLAN"
    assert (full.pivot, compact.pivot, full.outcome) == (2, 2, "failure")


def test_a_success_gives_no_guidance() -> None:
    praise = reflected(report(None, outcome="success", plan=None))
    assert praise.valid and not praise.asks_for_retry
    assert (praise.guidance, praise.pivot) == ("", None)


def test_text_that_looks_like_a_format_is_left_alone() -> None:
    plan = "use {report} and {0} and %s"
    assert plan in guidance_of(parse_report(report(1, plan=plan), steps=STEPS), compact=False)
    assert guidance_of(parse_report(report(1, plan=plan), steps=STEPS), compact=True).endswith(plan)
