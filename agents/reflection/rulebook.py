"""A rulebook for the next attempt, in place of its system prompt (ERL, arXiv 2602.13949)."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import ClassVar

from r3lbench.agent import Message, Sees
from r3lbench.reflection import FAILURE, Case, Question, Reflection, Reflector
from r3lbench.registry import register_reflector

from .report import ReportReflector
from .wording import fill

_OPENED, _CLOSED = re.compile("<prompt>", re.IGNORECASE), re.compile("</prompt>", re.IGNORECASE)


@register_reflector("rulebook")
class RulebookReflector(Reflector):
    """General rules drawn from one attempt and from those before it, written by the agent's own model (ERL).

    Notes of the method: ``memory``, the rulebook so far, and ``statistics``, how attempts fare. An answer without a
    ``<prompt>`` block is not valid, and the rulebook in use stays. In the compact wording it is the report that small
    policies know, whose plan stands for the rules.
    """

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.REWARD})
    replaces_prompt: ClassVar[bool] = True

    def question(self, case: Case) -> Question:
        """The rulebook so far, how attempts fare, the record of this one, and its end."""
        if self.style == "compact":
            return self._report.question(case)
        asked = fill(
            "rulebook_request",
            memory=case.notes.get("memory") or "There is none yet.",
            statistics=case.notes.get("statistics", ""),
            trace=_trace(case),
            reward=f"{sum(case.rewards):g}",
            outcome="solved" if case.success else "not solved",
            feedback=case.feedback,
            economy=_economy(case),
        )
        return Question([Message("system", fill("rulebook")), Message("user", asked)], continues=False)

    def example(self, case: Case) -> str:
        """A rulebook."""
        return self._report.example(case) if self.style == "compact" else "<prompt>\n(the rules)\n</prompt>"

    def read(self, text: str, case: Case) -> Reflection:
        """The first ``<prompt>`` block, in any case of letters."""
        if self.style == "compact":
            report = self._report.read(text, case)
            told = report.valid and report.guidance
            return (
                Reflection(text, valid=True, outcome=FAILURE, pivot=0, guidance=report.guidance)
                if told
                else Reflection(text, valid=False, problem=report.problem or "a report without a plan")
            )
        # Not one pattern for the whole: where many blocks are opened and none is closed it would try them all.
        opened = _OPENED.search(text)
        closed = opened and _CLOSED.search(text, opened.end())
        rules = text[opened.end() : closed.start()].strip() if opened and closed else ""
        if not rules:
            return Reflection(text, valid=False, problem="no <prompt> block")
        return Reflection(text, valid=True, outcome=FAILURE, pivot=0, guidance=rules)

    @property
    def _report(self) -> ReportReflector:
        return ReportReflector(style="compact", max_tokens=self.max_tokens)


def _trace(case: Case) -> str:
    """Every step with what was seen, done, earned and whether it had an effect."""
    lines = []
    for step, (turn, reward, valid) in enumerate(zip(case.turns, case.rewards, case.valid, strict=True)):
        last = step == case.steps - 1
        comment = "the action was understood" if valid else "the action was not understood or not possible"
        lines.append(
            f"Step {step}\nseen: {case.observations[step]}\ndone: {turn.action}\nreward {reward:g}; {comment}; "
            f"{'the episode ended' if last else 'the episode went on'}"
        )
    return "\n\n".join(lines)


def _economy(case: Case) -> str:
    """How the steps were spent, in a sentence."""
    idle = sum(not valid for valid in case.valid)
    trailing = sum(1 for _ in takewhile(lambda valid: not valid, reversed(case.valid)))
    end = f"after its {case.steps} steps the step or context limit was reached" if case.truncated else "it then ended"
    return (
        f"{idle} of {case.steps} actions had no effect, the last {trailing} of them in a row; the last action was "
        f"{case.turns[-1].action!r}; {end}; the final state was: {case.observations[-1]}"
    )
