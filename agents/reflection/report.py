"""R3L's structured report: what happened, why, and from which step to try again (arXiv 2601.03715).

The model answers in JSON with five keys. The full wording is for instruction-tuned models: it opens a conversation of
its own with a numbered transcript. The compact one is for small policies: it asks at the end of the episode's own
conversation, so that everything already read is still at hand, and the guidance is the plan alone.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from r3lbench.agent import Message, Sees
from r3lbench.reflection import OUTCOMES, SUCCESS, Case, Question, Reflection, Reflector
from r3lbench.registry import register_reflector

KEYS = (
    "trajectory_summary",
    "root_cause_analysis",
    "trajectory_outcome",
    "improvement_suggestion",
    "retry_from_step",
)
"""Keys of a report."""

_INSTRUCTION = """\
You review episodes in which an agent tried to solve a task, so that its next try goes better.

Go from the symptom to its root: ask why the episode ended as it did, then why that came about, until you reach a \
decision that was the agent's to make. State a lesson that would help on other tasks of the kind: where it applies, \
what triggers the mistake, what goes wrong, what to do instead. It must be understandable without the transcript.

Answer with one JSON object and nothing else. Its keys:
- "trajectory_summary": what the agent did, in one or two sentences.
- "root_cause_analysis": the decision at the root of the problem and why it was wrong; null if nothing went wrong.
- "trajectory_outcome": "success" (solved, nothing to improve), "success_but_inefficient" (solved, with needless \
steps) or "failure".
- "improvement_suggestion": what to do differently from the retry step on, concretely; null if and only if the \
outcome is "success".
- "retry_from_step": the number of the earliest step at which another decision could have changed the outcome; 0 if \
the whole approach was wrong; null if the outcome is "success".

An example from another domain. Transcript: step 0, asked for the roots of x^2 - 5x + 6 = 0, the agent tries x = 1; \
step 1, it tries x = 2; ... step 5, it runs out of steps with one root found. Report:
{"trajectory_summary": "The agent tested integers one by one and found only the root 2 before the steps ran out.", \
"root_cause_analysis": "It guessed instead of using the structure of the equation: for a quadratic with small \
integer coefficients, factoring gives both roots at once.", "trajectory_outcome": "failure", \
"improvement_suggestion": "Find two numbers whose sum is 5 and whose product is 6, write (x - 2)(x - 3) = 0 and \
answer 2 and 3.", "retry_from_step": 0}"""

_REQUEST = "Write the report on this episode as one JSON object."

_GUIDANCE = """\
Here is an analysis of an earlier attempt at this very task:
{report}
Take its lessons to heart from here on. Do not mention the analysis in your replies."""


@register_reflector("report")
class ReportReflector(Reflector):
    """A JSON report with root cause, plan and retry step, written by the agent's own model (R3L)."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.REWARD})

    def question(self, case: Case) -> Question:
        """The transcript and the request for a report."""
        if self.style == "compact":
            return Question([Message("user", f"Feedback: {case.feedback}. Reflect.")], continues=True)
        lines = []
        for step, turn in enumerate(case.turns):
            told = "\n".join(message.content for message in turn.prompt)
            lines.append(f"Step {step}\n[environment] {told}\n[agent] {turn.text}")
        limit = " The step limit was reached." if case.truncated else ""
        lines.append(f"[end of episode] {case.observations[-1]}\nFeedback: {case.feedback}.{limit}")
        transcript = "\n\n".join(lines)
        return Question(
            [Message("system", _INSTRUCTION), Message("user", f"{transcript}\n\n{_REQUEST}")], continues=False
        )

    def read(self, text: str, case: Case) -> Reflection:
        """Parse and validate as R3L does; see ``parse_report``."""
        try:
            report = parse_report(text, steps=case.steps)
            pivot = report["retry_from_step"]
            guidance = "" if pivot is None else guidance_of(report, compact=self.style == "compact")
        except (ValueError, RecursionError) as error:
            # Python 3.12 and later read JSON that is nested deeper than they can write.
            return Reflection(text, valid=False, problem=str(error))
        outcome = report["trajectory_outcome"]
        return Reflection(text, valid=True, outcome=outcome, pivot=pivot, guidance=guidance, fields=report)


def parse_report(text: str, *, steps: int) -> dict[str, Any]:
    """Read a report.

    The text from the first ``{`` to the last ``}`` must be a JSON object with summary, root cause and a known outcome.
    Unless the outcome is ``success`` it must also suggest an improvement and name a step in ``[0, steps)``; the step
    may be written as text. Source: R3L's released validation, with the cast applied to the value that is used.

    Raises:
        ValueError: What is wrong with it.
    """
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        raise ValueError("no JSON object")
    try:
        report = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    missing = [key for key in KEYS[:3] if key not in report]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    outcome = report["trajectory_outcome"]
    if outcome not in OUTCOMES:
        raise ValueError(f"unknown outcome {outcome!r}")
    if outcome == SUCCESS:
        return {**dict.fromkeys(KEYS), **report, "retry_from_step": None}
    suggestion, step = report.get("improvement_suggestion"), report.get("retry_from_step")
    if suggestion is None or step is None:
        raise ValueError("a report of a failure needs improvement_suggestion and retry_from_step")
    if isinstance(step, bool) or not isinstance(step, int | str | float):
        raise ValueError(f"retry_from_step is not a number: {step!r}")
    try:
        pivot = int(step)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"retry_from_step is not a whole number: {step!r}") from error
    if not 0 <= pivot < steps:
        raise ValueError(f"retry_from_step {pivot} is outside the episode's {steps} steps")
    return {**dict.fromkeys(KEYS), **report, "retry_from_step": pivot}


def guidance_of(report: dict[str, Any], *, compact: bool) -> str:
    """What a retry is told: the whole report, or in compact form its plan alone."""
    if compact:
        return f"Guidance: {report['improvement_suggestion']}"
    return _GUIDANCE.format(report=json.dumps(report, indent=2, ensure_ascii=False))
