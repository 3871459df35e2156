"""A comparison in words: which method won, by how much, at what cost, and whether it can be told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from r3lbench.grids import NOT_SEPARABLE
from r3lbench.report.overall import Overall
from r3lbench.report.sections import Headline, Section
from r3lbench.standings import COSTS, Kind, Row
from r3lbench.stats import Estimate
from r3lbench.verdict import Verdict

_MOST_NAMES = 4


@dataclass(frozen=True)
class Words:
    """A comparison in words.

    Attributes:
        best: Name of the method that ends highest.
        verdict: What can be said of it; a sentence that begins with its name.
        facts: What else there is to say, by what it answers.
    """

    best: str
    verdict: str
    facts: Mapping[str, str]


def words(section: Section) -> Words | None:
    """Which method won, by how much, at what cost, and whether it can be told apart; None where nothing was trained."""
    headline = section.headline
    if headline is None:
        return None
    row, measure, reference = headline.best.row, section.measure, section.reference
    rivals = {name: of[measure] for name, of in headline.rivals.items() if of is not None}
    against = None if row.against is None else row.against[measure]
    beside = None if reference is row else reference
    spent = "Cost of a run" if beside is None else f"Cost of a run (× that of {beside.name})"
    facts = {
        "By how much": gain(against, section.group.reference, rivals, measure),
        spent: ", ".join(costs(row, beside)),
        "Measured with": f"{_seeds(section.seeds)}, {many(section.group.tasks, 'task')}",
        "Grey ticks": ", ".join(f"{_called(of)} {mean(of.values[measure].value, measure)}" for of in section.marks),
        "Mind that": " ".join(_cautions(headline, row.verdict, section.seeds)),
    }
    return Words(headline.best.short, verdict(rivals), {name: said for name, said in facts.items() if said})


def overall_words(of: Overall) -> Words:
    """The same across environments."""
    best, measure = of.methods[0], of.suite.measure
    rivals = {name: found for name, found in of.rivals.items() if found is not None}
    start = of.start
    facts = {
        "By how much": gain(best.against, of.suite.reference, rivals, "score"),
        "On each": ", ".join(
            f"{group.env} {value:.3f}" for group, value in zip(of.suite.groups, best.by_environment, strict=True)
        ),
        "Measured with": f"{many(len(best.seeds), 'seed')}; {measure} where 0 is random play and 1 the expert, every "
        "environment counting the same",
        "Grey ticks": "" if start is None else f"warm start {start.value.value:.3f}",
    }
    return Words(best.label, verdict(rivals), {name: said for name, said in facts.items() if said})


def _seeds(counts: Sequence[int]) -> str:
    return many(counts[0], "seed") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _cautions(headline: Headline, record: Verdict, seeds: Sequence[int]) -> list[str]:
    said = [f"{name}, an ablation, ends higher still." for name in headline.higher[:1]]
    said += ["Its records failed verification."] if record is Verdict.FAILED else []
    return said + (["With one seed, intervals speak of the choice of tasks only."] if seeds[0] == 1 else [])


def verdict(rivals: Mapping[str, Estimate]) -> str:
    """What can be said of the method that ends highest, from its differences to the others."""
    behind = [name for name, of in rivals.items() if of.separable]
    alike = [name for name, of in rivals.items() if not of.separable]
    if not rivals:
        return "has nothing to be compared with."
    if not alike:
        return f"won: it is told apart from {_named(behind)}."
    if all(of.seeds == 1 for of in rivals.values()):
        return "ends highest, but with a single seed nothing can be told apart: there is no winner."
    if not behind:
        return f"ends highest, but is not separable from {_named(alike)}: there is no winner."
    return f"ends highest: it is told apart from {_named(behind)}, but not separable from {_named(alike)}."


def _named(methods: Sequence[str]) -> str:
    if len(methods) > _MOST_NAMES:
        return f"{len(methods)} others"
    return " and ".join(filter(None, (", ".join(methods[:-1]), methods[-1])))


def gain(against: Estimate | None, reference: str, rivals: Mapping[str, Estimate], measure: str) -> str:
    """By how much the best is ahead of the reference, or of the next where it is the reference itself.

    Args:
        against: Its difference to the reference; None where there is none.
        reference: Name of the reference.
        rivals: Differences of the others to the best, best first.
        measure: What they are of.
    """
    if against is not None:
        return difference(against, measure, f"against {reference}")
    if not rivals:
        return ""
    name, found = next(iter(rivals.items()))
    turned = replace(found, value=-found.value, low=-found.high, high=-found.low)
    return difference(turned, measure, f"against {name}, the next")


def costs(row: Row, beside: Row | None) -> list[str]:
    """What a run cost, and how many times as much as one of another row."""
    own, theirs = row.cost or {}, (beside.cost if beside is not None else None) or {}
    return [
        f"{count(own[name])} {name.replace('_', ' ')}"
        + (f" (×{own[name] / theirs[name]:.2f})" if theirs.get(name) else "")
        for name in COSTS
        if name in own
    ]


def missing(section: Section) -> dict[str, str]:
    """By figure, why it is not there."""
    contenders = section.contenders
    reasons = {}
    if not contenders:
        return {}
    if all(of.curve is None for of in contenders):
        reasons["curves"] = "These runs were evaluated after training only, so there are no curves."
    if not section.ablations:
        reasons["ablations"] = "No ablation was run beside the method that it is an ablation of."
    if not any(of.history.updates for of in contenders):
        reasons["retries"] = "These runs recorded nothing of their exploration."
    if not any(of.history.pivots for of in contenders):
        retried = any(rate for of in contenders for rate in of.history.rates["retry_rate"])
        reasons["pivots"] = "These runs did not record where retries begin." if retried else "Nothing was retried."
    return reasons


def _called(row: Row) -> str:
    return row.name if row.kind is Kind.WARM_START else f"{row.label} ({row.kind})"


def mean(value: float, measure: str) -> str:
    """A mean."""
    return f"{100 * value:.1f} %" if measure == "success" else f"{value:.3f}"


def interval(of: Estimate, measure: str) -> str:
    """A mean with its interval."""
    if measure == "success":
        return f"{100 * of.value:.1f} % [{100 * of.low:.1f}, {100 * of.high:.1f}]"
    return f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]"


def difference(of: Estimate, measure: str, against: str) -> str:
    """A difference with its interval, to what, and whether it may be none."""
    if measure == "success":
        said = f"{100 * of.value:+.1f} points [{100 * of.low:+.1f}, {100 * of.high:+.1f}]"
    else:
        said = f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"
    return f"{said} {against}" + ("" if of.separable else f": {NOT_SEPARABLE}")


def count(value: float) -> str:
    """A number of things in three digits."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and letter != "k"):
            return f"{value / size:.3g} {letter}"
    return f"{value:,.0f}"


def many(number: int, what: str) -> str:
    """A number of things in words."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
