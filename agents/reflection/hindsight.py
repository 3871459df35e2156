"""What an attempt met and what it did not, for a revision of it (HeRL, arXiv 2603.20046)."""

from __future__ import annotations

from typing import ClassVar

from r3lbench.agent import Sees
from r3lbench.reflection import FAILURE, SUCCESS, Case, Question, Reflection, Reflector
from r3lbench.registry import register_reflector
from r3lbench.tools import legible

from .wording import bullets, fill


@register_reflector("hindsight")
class HindsightReflector(Reflector):
    """The draft with the rubrics that it meets and those that it does not; no model writes it (HeRL)."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.RUBRICS})
    speaks: ClassVar[bool] = False

    def question(self, case: Case) -> Question:
        """Never asked."""
        raise NotImplementedError("the hindsight reflector asks nothing")

    def read(self, text: str, case: Case) -> Reflection:
        """Never read."""
        raise NotImplementedError("the hindsight reflector reads nothing")

    def judge(self, case: Case) -> Reflection:
        """Criteria and draft, for a revision from the start; a plain success where nothing is unmet."""
        met = [rubric for rubric in case.rubrics if rubric.satisfied]
        unmet = [rubric for rubric in case.rubrics if not rubric.satisfied]
        if not unmet:
            return Reflection("", valid=True, outcome=SUCCESS)
        if self.style == "compact":
            names = {kind: ", ".join(rubric.name for rubric in of) for kind, of in (("met", met), ("unmet", unmet))}
            told = fill("hindsight_compact", satisfied=names["met"] or "nothing", unmet=names["unmet"])
        else:
            told = fill("hindsight", draft=_draft(case), satisfied=bullets(met), unmet=bullets(unmet))
        return Reflection("", valid=True, outcome=FAILURE, pivot=0, guidance=told)


def _draft(case: Case) -> str:
    """The one answer of a single turn, or the steps of an episode with what they led to."""
    if case.steps == 1:
        return legible(case.turns[0].text)
    steps = zip(case.turns, case.observations[1:], strict=True)
    return "\n".join(f"Step {step}: {legible(turn.text)}\n-> {seen}" for step, (turn, seen) in enumerate(steps))
