"""Whatever a model writes when it is asked to reflect: it is read or refused, counted, recorded, and stops nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.agent import Message
from r3lbench.baseline import Baseline
from r3lbench.baselines.critique_grpo import CritiqueGRPO
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.r3l import R3L
from r3lbench.baselines.reflect_grpo import ReflectGRPO
from r3lbench.files import to_json
from r3lbench.recording import group_json
from r3lbench.reflection import OUTCOMES, Case, Reflection
from r3lbench.registry import REFLECTORS
from r3lbench.rollout.group import Group
from r3lbench.tokens import Term
from r3lbench.training.report import explored
from tests.agents.reflection.test_reflectors import case_of
from tests.baselines.attempts import REFLECTION, credited, paying, shipped
from tests.stage import TEMPLATE, report

SPEAKING = [name for name in shipped("reflectors") if REFLECTORS.load(name).speaks]
READERS = {(name, style): REFLECTORS.load(name)(style=style) for name in SPEAKING for style in ("full", "compact")}
STEPS = 4
CASE: Case = case_of(REFLECTORS.load("report")(), *["sing"] * STEPS)


def written(**changes: Any) -> str:
    """A report with some keys changed."""
    return json.dumps({**json.loads(report(1)), **changes})


def rules(text: str) -> str:
    return f"<prompt>{text}</prompt>"


R, B = frozenset({"report"}), frozenset({"rulebook"})
NOBODY: frozenset[str] = frozenset()
MALFORMED: dict[str, tuple[str, frozenset[str]]] = {
    # Which of the two that want a format can read it; any words are a critique.
    "nothing": ("", NOBODY),
    "nothing but space": (" \n\t", NOBODY),
    "cut off in a key": (report(1)[:30], NOBODY),
    "cut off before the last brace": (report(1)[:-1], NOBODY),
    "cut off in a block": ("<prompt>Do not", NOBODY),
    "a block that closes first": ("</prompt>Do not<prompt>", NOBODY),
    "two reports": (report(1) + report(0), NOBODY),
    "two blocks": (rules("one") + rules("two"), B),
    "a block in a block": (rules(rules("one")), B),
    "an empty block": (rules(" \n"), NOBODY),
    "both": (REFLECTION, R | B),
    "a pivot in words": (written(retry_from_step="one"), NOBODY),
    "a pivot as text": (written(retry_from_step="1"), R),
    "a pivot with a fraction": (written(retry_from_step=1.5), R),
    "a pivot beyond the end": (written(retry_from_step=STEPS), NOBODY),
    "a pivot before the start": (written(retry_from_step=-1), NOBODY),
    "a pivot beyond all numbers": (written(retry_from_step=10**400), NOBODY),
    "a pivot that is no number": (written(retry_from_step=float("nan")), NOBODY),
    "a pivot at infinity": (written(retry_from_step=float("inf")), NOBODY),
    "a pivot at minus infinity": (written(retry_from_step=-float("inf")), NOBODY),
    "a pivot that is true": (written(retry_from_step=True), NOBODY),
    "a pivot that is a list": (written(retry_from_step=[1]), NOBODY),
    "no number elsewhere": (written(root_cause_analysis=float("nan"), more=float("inf")), R),
    "a list for words": (written(trajectory_summary=[1], improvement_suggestion={"do": ["this"]}), R),
    "a number for an outcome": (written(trajectory_outcome=3), NOBODY),
    "a list for an outcome": (written(trajectory_outcome=["failure"]), NOBODY),
    "a list for a report": (f"[{report(1)}, 2]", R),
    "keys that come twice": (report(1).replace("{", '{"retry_from_step": 99, '), R),
    "null bytes": ("\0" + report(1) + rules("\0") + "\0", R | B),
    "a null byte in a report": (written(improvement_suggestion="a\0b"), R),
    "a null byte in the report's way": (report(1).replace("failure", "fail\0ure"), NOBODY),
    "half a character": (written(improvement_suggestion="\ud800", trajectory_summary="\udfff"), R),
    "the other direction": (written(improvement_suggestion="\u202e\u0301\ufeff"), R),
    "words that look like a slot": (written(improvement_suggestion="$plan ${report} {0} %s"), R),
    "words of the template": (written(improvement_suggestion="<|end|><|system|>") + rules("Do <|end|><|user|>"), R | B),
    "nested deeper than can be read": ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", NOBODY),
    "opened and never closed": ("{" * 50_000 + "<prompt>" * 6_250, NOBODY),
    "a hundred kilobytes": ("so " * 33_334, NOBODY),
    "a plan of a hundred kilobytes": (report(1, plan="so " * 33_334) + rules("so"), R | B),
    "rules of a hundred kilobytes": (report(1) + rules("so " * 33_334), R | B),
}
METHODS: dict[str, tuple[Baseline, frozenset[str]]] = {
    "r3l": (R3L(group_size=2), R),
    "reflect_grpo": (ReflectGRPO(group_size=2), R),
    "erl": (ERL(group_size=1), B),
    "critique_grpo": (CritiqueGRPO(group_size=1), NOBODY),
}
"""Methods that let a model reflect, with the format that they want in the full wording."""


def test_all_reflectors_that_a_model_answers_are_here() -> None:
    assert {reflector for method, _ in METHODS.values() for reflector in method.reflectors} == set(SPEAKING)


def sound(reflection: Reflection, text: str) -> None:
    """A reflection that can be acted on and recorded, or a refusal with its reason."""
    assert reflection.text == text
    assert reflection.valid == (not reflection.problem)
    to_json(reflection.to_json())
    if not reflection.valid:
        assert not reflection.asks_for_retry and (reflection.outcome, reflection.pivot) == ("", None)
        return
    assert reflection.outcome in OUTCOMES
    assert reflection.asks_for_retry == bool(reflection.guidance) == (reflection.outcome != "success")
    if reflection.asks_for_retry:
        assert type(reflection.pivot) is int and 0 <= reflection.pivot < CASE.steps
        assert TEMPLATE.opening([Message("system", reflection.guidance)])


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize("reader", READERS, ids=" ".join)
def test_an_answer_is_read_or_refused_with_the_reason(reader: tuple[str, str], what: str) -> None:
    (name, style), (text, readable) = reader, MALFORMED[what]
    reflection = READERS[reader].read(text, CASE)
    sound(reflection, text)
    wanted = {"report"} if style == "compact" else {name}
    assert reflection.valid == (
        bool(wanted & readable) or ((name, style) == ("critique", "full") and bool(text.strip()))
    )


def played(method: Baseline, text: str, style: Any) -> tuple[Group, list[Term]]:
    """A group whose only failure is reflected on in these words."""
    replies = paying([0] * STEPS) | {"a0?0": [text], "a0.r0": ["0.5 end"]}
    long = {name: REFLECTORS.load(name)(style=style, max_tokens=1 << 20) for name in SPEAKING}
    _, group, terms = credited(method, replies, reflectors=long, context_limit=1 << 24)
    return group, terms


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize("name", METHODS)
def test_an_update_goes_on_and_counts_what_could_be_read(name: str, what: str) -> None:
    (method, wanted), (text, readable) = METHODS[name], MALFORMED[what]
    group, terms = played(method, text, "full")
    ((base, reflection),) = group.reflections
    assert base.ret == 0 and reflection.sample is not None
    valid = bool(wanted & readable if wanted else text.strip())
    metrics = explored([group], [terms])
    assert (metrics["reflections"], metrics["reflection_valid"]) == (1, valid)
    # ERL tries again by the prompt in use where no rules were written.
    assert metrics["retries"] == (valid or name == "erl")
    for retry in group.retries:
        assert retry.ret == 0.5 and group.distill(retry).turns
    assert all(term.tokens for term in terms)
    recorded = json.loads(to_json(group_json(group, terms)))
    assert [said["valid"] for said in recorded["reflections"]] == [reflection.valid]


@pytest.mark.parametrize("style", ["full", "compact"])
@pytest.mark.parametrize("name", METHODS)
def test_an_answer_that_was_cut_off_by_its_limit_is_counted_like_any_other(name: str, style: Any) -> None:
    method, wanted = METHODS[name]
    replies = paying([0] * STEPS) | {"a0?0": [REFLECTION]}
    short = {reflector: REFLECTORS.load(reflector)(style=style, max_tokens=20) for reflector in SPEAKING}
    _, group, terms = credited(method, replies, reflectors=short)
    readable = style == "full" and not wanted
    assert explored([group], [terms])["reflection_valid"] == readable
    assert json.loads(to_json(group_json(group, terms)))["reflections"][0]["valid"] == readable


# Any answer

PIECES = st.sampled_from(
    [REFLECTION, report(0), "{", "}", '"', "\\u0000", "\\ud800", "NaN", "<prompt>", "</prompt>", ","]
)
KEYS = tuple(json.loads(report(1)))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*OUTCOMES, "0", "2", 0, 2]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good answer with some cuts and insertions."""
    text = draw(st.sampled_from([REFLECTION, report(0), report(None, outcome="success", plan=None), rules("do")]))
    for _ in range(draw(st.integers(1, 4))):
        begin, length = draw(st.integers(0, len(text))), draw(st.integers(0, 40))
        text = text[:begin] + draw(PIECES | st.text(max_size=5)) + text[begin + length :]
    return text


@settings(deadline=None, max_examples=200)
@given(damaged() | st.dictionaries(st.sampled_from(KEYS), VALUES).map(lambda some: written(**some)))
def test_no_damage_and_no_values_break_a_reader(text: str) -> None:
    for reader in READERS.values():
        sound(reader.read(text, CASE), text)


@settings(deadline=None, max_examples=25)
@given(text=damaged(), name=st.sampled_from(sorted(METHODS)), style=st.sampled_from(["full", "compact"]))
def test_no_damage_breaks_an_update(text: str, name: str, style: str) -> None:
    group, terms = played(METHODS[name][0], text.encode("utf-8", "replace").decode(), style)
    counted = [reflection.valid for _, reflection in group.reflections]
    assert explored([group], [terms])["reflection_valid"] == sum(counted) / len(counted)
    assert to_json(group_json(group, terms))
