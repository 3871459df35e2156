"""Methods compared across environments, in the page's terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from r3lbench.standings import Group, Kind, Row
from r3lbench.stats import Estimate
from r3lbench.suites import Standing, Suite, suites


@dataclass(frozen=True)
class Overall:
    """A suite, and what its methods came to together; ablations are held against their own method only.

    Attributes:
        anchor: Its place in the page.
        suite: Environments and standings.
        methods: Those that are no ablations, best first.
        rivals: By label, the differences of the others to the first; None where they share no seed with it.
    """

    anchor: str
    suite: Suite
    methods: Sequence[Standing]
    rivals: Mapping[str, Estimate | None]

    @property
    def title(self) -> str:
        """What was played."""
        return f"{len(self.suite.groups)} environments together"

    @property
    def terms(self) -> str:
        """Which they are."""
        return f"policy {self.suite.policy} · {', '.join(group.env for group in self.suite.groups)}"

    @property
    def start(self) -> Standing | None:
        """Where training began."""
        return next((of for of in self.suite.standings if of.kind is Kind.WARM_START), None)


def overalls(groups: Iterable[Group], measure: str) -> list[Overall]:
    """One for every suite in which something was trained.

    Args:
        groups: As ``standings.compare`` made them.
        measure: What to average.
    """
    made = [_overall(f"together-{number}", suite) for number, suite in enumerate(suites(groups, measure), start=1)]
    return [of for of in made if of is not None]


def _overall(anchor: str, suite: Suite) -> Overall | None:
    methods = [of for of in suite.standings if of.kind is Kind.METHOD and of.name == method_of(of)]
    if not methods:
        return None
    best, *others = methods
    return Overall(anchor, suite, methods, _against(best, others, suite))


def method_of(standing: Standing) -> str:
    """A standing's method, whatever ablation of it."""
    return str((standing.rows[0].runs[0].method or {}).get("name"))


def _against(best: Standing, others: Sequence[Standing], suite: Suite) -> dict[str, Estimate | None]:
    """Differences to the best one, one comparison of as many as there are others."""
    compared = {_paths(row) for of in (best, *(of for of in others if of.name != best.name)) for row in of.rows}
    groups = [
        replace(
            group,
            reference=best.name,
            rows=tuple(row for row in group.rows if row.kind is not Kind.METHOD or _paths(row) in compared),
        )
        for group in suite.groups
    ]
    found = {of.label: of.against for again in suites(groups, suite.measure) for of in again.standings}
    return {of.label: found.get(of.label) for of in others}


def _paths(row: Row) -> tuple[str, ...]:
    return tuple(run.path for run in row.runs)
