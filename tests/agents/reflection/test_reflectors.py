"""What every reflector asks, what it makes of answers, and that no answer of a model can break it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection import wording
from r3lbench.policies.lessons import Teacher
from r3lbench.reflection import FAILURE, SUCCESS, Case, Reflection, Reflector
from r3lbench.registry import REFLECTORS
from r3lbench.teaching import Demonstrator, Player
from tests.toy import Toy

NAMES = ("critique", "hindsight", "oracle", "record", "report", "rulebook")
SPEAKING = ("critique", "report", "rulebook")
PROMPTS = Path(wording.__file__).parent / "prompts"


def player(*actions: str) -> Demonstrator:
    def begin(rng: np.random.Generator) -> Player:
        left = iter(actions)
        return lambda env: (next(left, "sing"), False)

    return Demonstrator("scripted", 1.0, begin)


def case_of(
    reflector: Reflector, *actions: str, notes: dict[str, str] | None = None, agent: ChatAgent | None = None
) -> Case:
    env = Toy(rooms=3, max_steps=4)
    teacher = Teacher(env, agent or ChatAgent(), reflector)
    played = teacher.play(env.panel("train")[0], player(*actions), np.random.default_rng(0))
    case = teacher.case(played)
    return case if notes is None else replace(case, notes=notes)


def asked(reflector: Reflector, *actions: str, notes: dict[str, str] | None = None) -> str:
    return "\n".join(m.content for m in reflector.question(case_of(reflector, *actions, notes=notes)).messages)


def test_all_reflectors_are_registered() -> None:
    assert set(NAMES) <= set(REFLECTORS.names())


@pytest.mark.parametrize("file", sorted(PROMPTS.glob("*.txt")), ids=lambda file: file.stem)
def test_every_template_is_used_and_has_the_slots_it_is_filled_with(file: Path) -> None:
    template = wording.template(file.stem)
    assert template.is_valid()
    code = "".join(source.read_text(encoding="utf-8") for source in sorted(PROMPTS.parent.glob("*.py")))
    uses = re.findall(rf'fill\(\s*"{file.stem}"(.*?)\)\s*\n|fill\("{file.stem}"\)', code, re.DOTALL)
    assert uses, f"{file.name} is used nowhere"
    for use in uses:
        assert set(template.get_identifiers()) <= set(re.findall(r"(\w+)=", use))


def test_a_slot_that_is_left_open_is_an_error() -> None:
    with pytest.raises(KeyError, match="reward"):
        wording.fill("critique_request", transcript="")


@pytest.mark.parametrize("style", ["full", "compact"])
@pytest.mark.parametrize("name", SPEAKING)
def test_the_example_of_a_reflector_is_an_answer_it_takes(name: str, style: str) -> None:
    reflector = REFLECTORS.load(name)(style=style)
    case = case_of(reflector, "sing")
    reflection = reflector.read(reflector.example(case), case)
    assert reflection.valid and reflection.asks_for_retry and reflection.guidance


@settings(deadline=None, max_examples=40)
@given(st.one_of(st.text(max_size=300), st.binary(max_size=100).map(lambda raw: raw.decode("latin-1"))))
def test_no_answer_breaks_a_reflector(text: str) -> None:
    for name in SPEAKING:
        for style in ("full", "compact"):
            reflector = REFLECTORS.load(name)(style=style)
            reflection = reflector.read(text, CASES[name])
            assert isinstance(reflection, Reflection) and (reflection.valid or reflection.problem)


CASES = {name: case_of(REFLECTORS.load(name)(), "sing", "take key") for name in SPEAKING}
TWO = json.dumps({"trajectory_outcome": "failure"}) * 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rulebook", "no block at all"),
        ("rulebook", "<prompt>   </prompt>"),
        ("rulebook", "<prompt>cut off"),
        ("critique", " \n\t"),
        ("report", TWO),
        ("report", '{"trajectory_summary": "'),
        ("report", "{" * 100_000),
    ],
)
def test_malformed_answers_are_invalid_and_say_why(name: str, text: str) -> None:
    reflection = REFLECTORS.load(name)().read(text, CASES[name])
    assert not reflection.valid and reflection.problem and not reflection.asks_for_retry


def test_the_first_block_of_a_rulebook_counts_whatever_its_letters_and_length() -> None:
    reflector = REFLECTORS.load("rulebook")()
    long = "rule " * 20_000
    for text, rules in (
        ("<PROMPT>one</Prompt> <prompt>two</prompt>", "one"),
        (f"well: <prompt>\n{long}\n</prompt>", long.strip()),
    ):
        assert reflector.read(text, CASES["rulebook"]).guidance == rules


def test_a_rulebook_is_asked_for_with_memory_statistics_record_and_economy() -> None:
    told = asked(
        REFLECTORS.load("rulebook")(), "take key", "sing", "sing", notes={"memory": "OLD", "statistics": "1 of 4."}
    )
    for part in (
        "may be wrong):\nOLD",
        "1 of 4.",
        "Step 0\nseen: You are in a corridor",
        "done: take key\nreward 0.5; the action was understood",
        "done: sing\nreward 0; the action was not understood",
        "ended with reward 0.5: not solved",
        "3 of 4 actions had no effect, the last 3 of them in a row; the last action was 'sing'",
        "limit was reached",
    ):
        assert part in told


def test_a_critique_is_asked_for_with_the_transcript_and_its_worth() -> None:
    told = asked(REFLECTORS.load("critique")(), "take key")
    assert "[agent] take key" in told and "The attempt earned 0.5" in told
    case = CASES["critique"]
    reflection = REFLECTORS.load("critique")().read("Open the door.", case)
    assert (reflection.outcome, reflection.pivot) == (FAILURE, 0) and "Open the door." in reflection.guidance


def test_small_policies_are_asked_for_the_report_they_know() -> None:
    for name in SPEAKING:
        reflector = REFLECTORS.load(name)(style="compact")
        question = reflector.question(CASES[name])
        assert question.continues and question.messages[0].content.endswith(". Reflect.")
        report = json.dumps(
            {
                "trajectory_summary": "",
                "root_cause_analysis": None,
                "trajectory_outcome": "failure",
                "improvement_suggestion": "go east",
                "retry_from_step": 1,
            }
        )
        reflection = reflector.read(report, CASES[name])
        assert reflection.guidance == "Guidance: go east"
        assert reflection.pivot == (1 if name == "report" else 0)


def test_hindsight_lists_what_is_met_and_what_is_not() -> None:
    reflector = REFLECTORS.load("hindsight")()
    reflection = reflector.judge(case_of(reflector, "take key", "go east"))
    assert "meets:\n- hold the key\n" in reflection.guidance and "not meet:\n- open the door" in reflection.guidance
    assert "Step 1: go east\n-> Room 1." in reflection.guidance
    solved = reflector.judge(case_of(reflector, "take key", "go east", "go east", "open door"))
    assert (solved.outcome, solved.guidance, solved.asks_for_retry) == (SUCCESS, "", False)
    compact = REFLECTORS.load("hindsight")(style="compact").judge(case_of(reflector, "take key"))
    assert compact.guidance == "Guidance: met: hold the key; not met: open the door"


def test_the_record_is_the_transcript_itself() -> None:
    reflector = REFLECTORS.load("record")()
    reflection = reflector.judge(case_of(reflector, "take key"))
    assert reflection.pivot == 0 and "[agent] take key" in reflection.guidance


def test_calls_of_the_tool_read_as_the_actions_they_ask_for() -> None:
    agent = ChatAgent(format="tools", rules=True)
    record, hindsight = REFLECTORS.load("record")(), REFLECTORS.load("hindsight")()
    told = record.judge(case_of(record, "take key", "sing", agent=agent)).guidance
    assert "[agent] act: take key\n" in told and "[agent] act: sing\n" in told and "tool_call" not in told
    assert "You solve a task" in told and told.count(Toy.instructions) == 1
    drafted = hindsight.judge(case_of(hindsight, "take key", "go east", agent=agent)).guidance
    assert "Step 1: act: go east\n-> Room 1." in drafted
