"""A comparison at a glance: every method as a dot with its interval, on one scale from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r3lbench.grids import NOT_SEPARABLE
from r3lbench.report.overall import Overall, method_of
from r3lbench.report.sections import Section
from r3lbench.report.words import interval
from r3lbench.stats import Estimate


@dataclass(frozen=True)
class Strip:
    """One line.

    Attributes:
        name: Of the row.
        value: What it came to, with its interval.
        standing: ``"highest"``, ``"not separable"`` from that, ``"behind"``, or empty where that is not known.
        colour: Number of its method's colour; negative for that of text.
        middle: Place of the mean, in per cent of the scale.
        low: Of the interval's lower end.
        width: Of the interval.
    """

    name: str
    value: str
    standing: str
    colour: int
    middle: float
    low: float
    width: float


def colours(sections: Sequence[Section], reference: str) -> dict[str, int]:
    """A number for every method, the same everywhere in the page; the reference has the colour of text, -1."""
    methods = sorted({of.method for section in sections for of in section.contenders} - {reference})
    return {reference: -1} | {method: place for place, method in enumerate(methods)}


def strips(section: Section, numbers: Mapping[str, int]) -> list[Strip]:
    """The methods, best first; their ablations and variants have figures of their own.

    Args:
        section: The comparison.
        numbers: As ``colours`` made them.
    """
    if section.headline is None:
        return []
    best, rivals, measure = section.headline.best, section.headline.rivals, section.measure
    found = {name: None if of is None else of[measure] for name, of in rivals.items()}
    return [
        _strip(of.short, of.row.values[measure], measure, _standing(of.short, found), numbers[of.method])
        for of in section.contenders
        if of is best or of.plain
    ]


def overall_strips(of: Overall, numbers: Mapping[str, int]) -> list[Strip]:
    """The same across environments."""
    return [
        _strip(one.label, one.value, "score", _standing(one.label, of.rivals), numbers[method_of(one)])
        for one in of.methods
    ]


def _standing(name: str, rivals: Mapping[str, Estimate | None]) -> str:
    if name not in rivals:
        return "highest"
    found = rivals[name]
    return "" if found is None else "behind" if found.separable else NOT_SEPARABLE


def _strip(name: str, of: Estimate, measure: str, standing: str, colour: int) -> Strip:
    low, middle, high = (round(100 * min(max(end, 0.0), 1.0), 2) for end in (of.low, of.value, of.high))
    return Strip(name, interval(of, measure), standing, colour, middle, low, round(high - low, 2))
