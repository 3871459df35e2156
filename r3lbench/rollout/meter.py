"""What a run has cost so far, by purpose.

Every method is charged for everything it does: reflections and retries count like first attempts. Evaluation is counted
apart, because it is the same for all methods and no part of learning.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

EVALUATION = "evaluate"
COUNTS = (
    "env_steps",
    "replayed_steps",
    "generated_tokens",
    "prefilled_tokens",
    "reused_tokens",
    "recomputed_tokens",
    "trained_tokens",
    "lost_workers",
)
"""Environment steps; steps replayed to restore a state; tokens sampled; context tokens computed; context tokens whose
keys and values were at hand; those of the computed ones that had been computed before and dropped for want of room, to
a block of 16 (counted only where it happened); tokens that went through the model in training; environment workers that
had to be replaced (likewise)."""


@dataclass
class Meter:
    """Counts per purpose (``"attempt"``, ``"reflect"``, ``"retry"``, ``"train"``, ``"evaluate"``)."""

    counts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def add(self, purpose: str, **amounts: int) -> None:
        """Add to the counts of a purpose; names as in ``COUNTS``."""
        for name, amount in amounts.items():
            if name not in COUNTS:
                raise KeyError(name)
            self.counts[purpose][name] += int(amount)

    def total(self, name: str) -> int:
        """A count over all purposes but evaluation."""
        return sum(amounts.get(name, 0) for purpose, amounts in self.counts.items() if purpose != EVALUATION)

    def to_json(self) -> dict[str, dict[str, int]]:
        """Plain nested dictionaries, sorted."""
        return {purpose: dict(sorted(self.counts[purpose].items())) for purpose in sorted(self.counts)}

    def load_json(self, counts: dict[str, dict[str, Any]]) -> None:
        """Set all counts, as when a run resumes."""
        self.counts.clear()
        for purpose, amounts in counts.items():
            self.add(purpose, **amounts)
