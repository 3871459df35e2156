"""The environment's own diagnosis as a reflection: an upper bound for reflectors, and the teacher of the warm start."""

from __future__ import annotations

import json
from typing import ClassVar

from r3lbench.agent import Sees, diagnosis_json
from r3lbench.reflection import SUCCESS, Case, Question, Reflection, Reflector
from r3lbench.registry import register_reflector

from .report import guidance_of


@register_reflector("oracle")
class OracleReflector(Reflector):
    """The environment's own diagnosis, worded as a report; no model writes it."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.REWARD, Sees.GROUND_TRUTH})
    speaks: ClassVar[bool] = False

    def question(self, case: Case) -> Question:
        """Never asked."""
        raise NotImplementedError("the oracle reflector asks nothing")

    def read(self, text: str, case: Case) -> Reflection:
        """Never read."""
        raise NotImplementedError("the oracle reflector reads nothing")

    def judge(self, case: Case) -> Reflection:
        """The diagnosis as a reflection; not valid where the environment has none."""
        diagnosis = case.diagnosis
        if diagnosis is None:
            return Reflection("", valid=False, problem="the environment has no diagnosis")
        report = diagnosis_json(diagnosis)
        told = diagnosis.outcome != SUCCESS and diagnosis.pivot is not None
        return Reflection(
            json.dumps(report, ensure_ascii=False),
            valid=True,
            outcome=diagnosis.outcome,
            pivot=diagnosis.pivot,
            guidance=guidance_of(report, compact=self.style == "compact") if told else "",
            fields=report,
        )
