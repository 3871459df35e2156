"""A comparison at a glance: every method as a dot with its interval, on one scale from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r3lbench.report.sections import Section
from r3lbench.report.words import interval
from r3lbench.standings import Row

_STANDINGS = {None: "", True: "behind", False: "not separable"}


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
    found = section.headline.rivals
    lines = []
    for of in section.contenders:
        against = found.get(of.short)
        standing = _STANDINGS[None if against is None else against[section.measure].separable]
        if of is section.headline.best or of.plain:
            best = of is section.headline.best
            lines.append(_strip(of.short, of.row, section.measure, "highest" if best else standing, numbers[of.method]))
    return lines


def _strip(name: str, row: Row, measure: str, standing: str, colour: int) -> Strip:
    of = row.values[measure]
    low, middle, high = (round(100 * end, 2) for end in (of.low, of.value, of.high))
    return Strip(name, interval(of, measure), standing, colour, middle, low, round(high - low, 2))
