"""The numbers behind the figures, as the page reads them: plain JSON values, short enough to be many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r3lbench.report.branches import Recorded
from r3lbench.report.curves import AXES
from r3lbench.report.sections import Contender, Section
from r3lbench.report.strips import colours
from r3lbench.results import MEASURES
from r3lbench.standings import COSTS
from r3lbench.stats import Estimate

_DIGITS = 5
"""Significant digits; more cannot be seen."""


def figures(sections: Sequence[Section], recorded: Recorded, *, measure: str, reference: str) -> dict[str, Any]:
    """The numbers behind all figures, and the viewer's list.

    Args:
        sections: The comparisons.
        recorded: What the viewer has to show.
        measure: What is shown first.
        reference: Name of the method that others are compared with.
    """
    return {
        "measure": measure,
        "colours": colours(sections, reference),
        "sections": {section.anchor: _figures(section) for section in sections if section.contenders},
        "recorded": [shown.about for shown in recorded.groups],
    }


def _figures(section: Section) -> dict[str, Any]:
    known = [axis for axis in AXES if any(of.curve is not None and axis in of.curve.at for of in section.contenders)]
    preferred = _budget_axis(section)
    start = section.warm_start
    return {
        "axes": known,
        "axis": preferred if preferred in known else next(iter(known), ""),
        "costs": list(COSTS),
        "cost": _telling_cost(section),
        "rows": _rows(section.contenders),
        "bounds": [
            {"name": row.label, "kind": row.kind.value, "values": _numbers(row.values)} for row in section.bounds
        ],
        "start": None if start is None else _numbers(start.values),
        "ablations": [
            {
                "of": method,
                "bars": [
                    {
                        "name": of.short,
                        "values": _numbers(against),
                        "separable": {measure: found.separable for measure, found in against.items()},
                    }
                    for of, against in bars
                ],
            }
            for method, bars in section.ablations.items()
        ],
        "tasks": [name for _, name in section.tasks],
        "panels": _panels(section),
    }


def _budget_axis(section: Section) -> str:
    """The axis of the budget, which ends where the runs had to."""
    return next((axis for axis in AXES if axis in section.group.budget), AXES[0])


def _telling_cost(section: Section) -> str:
    """The cost in which rows differ most, relative to its mean: not the one that the budget made equal."""

    def spread(name: str) -> float:
        costs = [of.row.cost[name] for of in section.contenders if of.row.cost is not None]
        mean = math.fsum(costs) / len(costs)
        return (max(costs) - min(costs)) / mean if mean else 0.0

    counted = [name for name in COSTS if name != "trained_tokens"]
    return max(counted, key=spread)


def _rows(contenders: Iterable[Contender]) -> list[dict[str, Any]]:
    ranks: dict[str, int] = {}
    rows = []
    for of in contenders:
        # The plain row of a method is its first, whatever rank its variants have.
        variant = 0 if of.plain else ranks.setdefault(of.method, 0) + 1
        ranks[of.method] = max(ranks.get(of.method, 0), variant)
        rows.append(
            {
                "name": of.short,
                "method": of.method,
                "variant": variant,
                "plain": of.plain,
                "seeds": len(of.row.seeds),
                "values": _numbers(of.row.values),
                "cost": None if of.row.cost is None else {name: _short(value) for name, value in of.row.cost.items()},
                "curve": None
                if of.curve is None
                else {
                    "at": {axis: [_short(value) for value in values] for axis, values in of.curve.at.items()},
                    "values": {
                        measure: [_ends(found) for found in points] for measure, points in of.curve.values.items()
                    },
                },
                "updates": of.history.updates,
                "rates": {
                    name: [None if value is None else _short(value) for value in values]
                    for name, values in of.history.rates.items()
                },
                "pivots": of.history.pivots,
            }
        )
    return rows


def _panels(section: Section) -> list[dict[str, Any]]:
    order = [place for place, _ in section.tasks]
    told: list[tuple[str, Mapping[str, Sequence[float]]]] = [
        (of.short, {measure: section.panel(of, measure) for measure in MEASURES}) for of in section.contenders
    ]
    start = {measure: panel for measure in MEASURES if (panel := section.start_panel(measure)) is not None}
    if start:
        told.append(("warm start", start))
    return [
        {"name": name, "values": {measure: [_short(panel[task]) for task in order] for measure, panel in of.items()}}
        for name, of in told
    ]


def _numbers(values: Mapping[str, Estimate]) -> dict[str, list[float]]:
    return {measure: _ends(found) for measure, found in values.items()}


def _ends(of: Estimate) -> list[float]:
    return [_short(of.value), _short(of.low), _short(of.high)]


def _short(value: float) -> float:
    if value == 0 or not math.isfinite(value):
        return 0.0
    rounded = round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))
    return int(rounded) if rounded == int(rounded) else rounded
