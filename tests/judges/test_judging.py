"""The contract of judges: strict verdicts, retries, errors instead of scores, and a memory on disk."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from r3lbench import judging
from r3lbench.errors import BadConfig, R3LBenchError, UnknownName
from r3lbench.judging import (
    JUDGES,
    Judge,
    JudgementFailed,
    Question,
    Reply,
    Verdict,
    make_judge,
    parse_verdict,
    register_judge,
    wording,
)
from r3lbench.memory import MemoryFailed

YES = '{"explanation": "it does", "criteria_met": true}'
NO = '{"criteria_met": false}'
Say = Callable[[Question, int], str | Reply]


class Told(Judge):
    """Says what it is told to."""

    def __init__(self, say: Say = lambda question, attempt: YES, *, name: str = "told/1", retries: int = 2) -> None:
        super().__init__(retries=retries, pause=0.0)
        self.say, self.name = say, name
        self.asked: list[tuple[str, int]] = []

    @property
    def identity(self) -> str:
        return self.name

    def replies(self, questions: Sequence[Question], attempt: int) -> list[Reply]:
        self.asked += [(question.criterion, attempt) for question in questions]
        said = [self.say(question, attempt) for question in questions]
        return [Reply(one, prompt_tokens=5, completion_tokens=2) if isinstance(one, str) else one for one in said]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R3LBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def question(criterion: str = "Is kind", answer: str = "Hello", prompt: str = "Greet me") -> Question:
    return Question(prompt, answer, criterion)


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (YES, Verdict(True, "it does")),
        (NO, Verdict(False)),
        (f"```json\n{YES}\n```", Verdict(True, "it does")),
        (f"\n```\n{NO}\n```\n", Verdict(False)),
    ],
)
def test_a_verdict_is_one_json_object(text: str, verdict: Verdict) -> None:
    assert parse_verdict(text) == verdict


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "true",
        "[true]",
        "null",
        '{"criteria_met": "true"}',
        '{"criteria_met": 1}',
        '{"criteria_met": null}',
        '{"explanation": "no decision"}',
        '{"criteria_met": true, "explanation": 3}',
        '{"criteria_met": true, "score": 5}',
        f"Sure! {YES}",
        f"{YES} {NO}",
        f"{YES}\nI hope this helps.",
        YES[:-1],
        "[" * 100_000,
    ],
)
def test_anything_else_is_no_verdict(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_verdict(text)
    assert len(str(refusal.value)) < 200


def test_verdicts_come_in_the_order_of_the_questions_and_equal_ones_are_asked_once() -> None:
    judge = Told(lambda one, attempt: YES if one.criterion == "a" else NO)
    verdicts = judge.judge([question("a"), question("b"), question("a")])
    assert [verdict.met for verdict in verdicts] == [True, False, True]
    assert judge.asked == [("a", 0), ("b", 0)]
    assert judge.judge([]) == []


def test_a_reply_that_is_no_verdict_is_asked_for_again() -> None:
    judge = Told(lambda one, attempt: YES if one.criterion == "a" or attempt == 2 else "perhaps")
    assert [verdict.met for verdict in judge.judge([question("a"), question("b")])] == [True, True]
    assert judge.asked == [("a", 0), ("b", 0), ("b", 1), ("b", 2)]
    usage = judge.usage
    assert (usage.questions, usage.remembered, usage.replies, usage.unusable) == (2, 0, 4, 2)
    assert (usage.prompt_tokens, usage.completion_tokens) == (20, 8)


@pytest.mark.parametrize("said", ["perhaps", Reply(None, "the line\nis dead")])
def test_no_verdict_in_the_end_is_an_error_in_one_line_and_never_a_score(said: str | Reply) -> None:
    judge = Told(lambda one, attempt: said)
    with pytest.raises(JudgementFailed) as failure:
        judge.judge([question("Is\nkind")])
    assert isinstance(failure.value, R3LBenchError)
    message = str(failure.value)
    assert "told/1, asked 3 times" in message and "'Is\\nkind'" in message and "\n" not in message
    assert len(judge.asked) == 3


def test_a_hopeless_question_is_asked_once() -> None:
    judge = Told(lambda one, attempt: Reply(None, "no such model", hopeless=True))
    with pytest.raises(JudgementFailed, match=r"asked once.*no such model"):
        judge.judge([question()])
    assert len(judge.asked) == 1


def test_verdicts_are_remembered_across_judges_by_the_whole_question(cache: Path) -> None:
    assert Told().judge([question()]) == [Verdict(True, "it does")]
    other = Told(lambda one, attempt: NO)
    assert other.judge([question(), question()]) == [Verdict(True, "it does")] * 2
    assert other.asked == [] and other.usage.remembered == 2
    for changed in (question(criterion="Is short"), question(answer="Bye"), question(prompt="Leave")):
        assert other.judge([changed]) == [Verdict(False)]
    assert len(other.asked) == 3
    assert Told(lambda one, attempt: NO, name="told/2").judge([question()]) == [Verdict(False)]
    assert len(files(cache)) == 5


def test_another_wording_of_questions_forgets_the_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    Told().judge([question()])
    monkeypatch.setattr(judging, "TEMPLATE", judging.TEMPLATE + 1)
    assert Told(lambda one, attempt: NO).judge([question()]) == [Verdict(False)]


@pytest.mark.parametrize("damage", [b"", b"\x00\xff", b"{}", b"[]", b'{"met": true}', None])
def test_a_damaged_entry_is_judged_again_and_mended(cache: Path, damage: bytes | None) -> None:
    Told().judge([question()])
    (file,) = files(cache)
    whole = file.read_bytes()
    # Without other damage: whole, but the entry of another question.
    file.write_bytes(whole.replace(file.stem.encode(), b"0" * 64) if damage is None else damage)
    judge = Told()
    assert judge.judge([question()]) == [Verdict(True, "it does")]
    assert len(judge.asked) == 1
    assert file.read_bytes() == whole and files(cache) == [file]


def test_verdicts_that_were_given_are_kept_when_another_fails() -> None:
    with pytest.raises(JudgementFailed):
        Told(lambda one, attempt: YES if one.criterion == "a" else "?").judge([question("a"), question("b")])
    judge = Told(lambda one, attempt: NO)
    assert [verdict.met for verdict in judge.judge([question("a"), question("b")])] == [True, False]


def test_the_error_names_the_question_that_failed_and_its_own_problem() -> None:
    said = {"a": "not this", "b": Reply(None, "no permission", hopeless=True), "c": YES}
    judge = Told(lambda one, attempt: said[one.criterion])
    with pytest.raises(JudgementFailed, match=r"criterion 'b': no permission"):
        judge.judge([question("a"), question("b"), question("c")])
    assert judge.usage.unusable == 2
    said["b"] = "nor that"
    with pytest.raises(JudgementFailed, match=r"criterion 'a': .*'not this'"):
        judge.judge([question("a"), question("b"), question("c")])
    assert ("c", 1) not in judge.asked, "the verdict that came was kept"


def test_an_unwritable_memory_is_named(cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(MemoryFailed, match="cannot be kept in"):
        Told().judge([question()])


def test_many_threads_may_ask_at_once(cache: Path) -> None:
    judge = Told()
    wanted = [question(f"criterion {number}") for number in range(20)]
    results: list[list[Verdict]] = []
    threads = [threading.Thread(target=lambda: results.append(judge.judge(wanted))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[Verdict(True, "it does")] * 20] * 8
    assert judge.usage.questions == 160
    assert len(files(cache)) == 20
    assert all(json.loads(file.read_bytes())["met"] is True for file in files(cache))


def test_the_wording_holds_the_question_as_it_is() -> None:
    said = wording(Question("Why {x}?", "Because {y} & <z>", 'Mentions "{z}"'))
    assert "Why {x}?" in said and "Because {y} & <z>" in said and 'Mentions "{z}"' in said
    assert '{"explanation": "one sentence", "criteria_met": true or false}' in said


def test_built_in_judges_are_known_and_others_are_offered_the_nearest() -> None:
    assert {"openai", "policy", "scripted"} <= set(JUDGES.names())
    with pytest.raises(UnknownName, match="did you mean 'scripted'"):
        make_judge("script")


def test_equal_options_share_one_judge_and_wrong_ones_are_refused() -> None:
    assert make_judge("scripted", model=None) is make_judge("scripted")
    with pytest.raises(BadConfig, match="the judge 'scripted' takes no model"):
        make_judge("scripted", model="x")
    with pytest.raises(BadConfig, match="cannot be negative"):
        Told(retries=-1)


def test_a_class_named_by_an_entry_point_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Registered(Told):
        pass

    point = EntryPoint("told_by_entry_point", "somewhere:Registered", JUDGES.group)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Registered)
    monkeypatch.setattr(JUDGES, "_announced", lambda: {point.name: point})
    monkeypatch.setattr(JUDGES, "_entries", {})
    assert JUDGES.load("told_by_entry_point") is Registered


def test_a_judge_can_be_registered_by_decorator_and_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JUDGES, "_entries", {})
    register_judge("told")(Told)
    register_judge("by_path", "r3lbench.judges.scripted:ScriptedJudge")
    assert isinstance(make_judge("told", retries=0), Told)
    assert make_judge("by_path").identity == "scripted/1"
    with pytest.raises(ValueError, match="is taken"):
        register_judge("told", "r3lbench.judges.scripted:ScriptedJudge")


def test_pauses_between_retries_double(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[Any] = []
    monkeypatch.setattr(judging.time, "sleep", slept.append)
    judge = Told(lambda one, attempt: "?", retries=3)
    judge.pause = 0.5
    with pytest.raises(JudgementFailed):
        judge.judge([question()])
    assert slept == [0.5, 1.0, 2.0]
