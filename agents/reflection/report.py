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

from .wording import fill, transcript

KEYS = (
    "trajectory_summary",
    "root_cause_analysis",
    "trajectory_outcome",
    "improvement_suggestion",
    "retry_from_step",
)
"""Keys of a report."""


@register_reflector("report")
class ReportReflector(Reflector):
    """A JSON report with root cause, plan and retry step, written by the agent's own model (R3L)."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.REWARD})

    def question(self, case: Case) -> Question:
        """The transcript and the request for a report."""
        if self.style == "compact":
            return Question([Message("user", fill("report_compact", feedback=case.feedback))], continues=True)
        asked = fill("report_request", transcript=transcript(case))
        return Question([Message("system", fill("report")), Message("user", asked)], continues=False)

    def example(self, case: Case) -> str:
        """A report of a failure halfway."""
        words = ("(what happened)", "(why)", "failure", "(what to do instead)", case.steps // 2)
        return json.dumps(dict(zip(KEYS, words, strict=True)))

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
        return fill("report_guidance_compact", plan=report["improvement_suggestion"])
    return fill("report_guidance", report=json.dumps(report, indent=2, ensure_ascii=False))
