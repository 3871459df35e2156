"""A section of the report: one comparison in words, tables and the numbers behind its figures."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from r3lbench.grids import budget, description, resolution
from r3lbench.report.curves import Curve, History, Past, curve, history
from r3lbench.results import TRAINED, WARM_START, Record
from r3lbench.standings import Group, Kind, Row, compare
from r3lbench.stats import Estimate


@dataclass(frozen=True)
class Contender:
    """A trained row with what its runs recorded on their way.

    Attributes:
        row: As in the table.
        method: The method's name without that of an ablation.
        short: A name that is unique in its group.
        plain: Whether its line is drawn unasked: the best row of each method that is no ablation.
        curve: Its evaluations; None where there is only one.
        history: What happened while exploring.
    """

    row: Row
    method: str
    short: str
    plain: bool
    curve: Curve | None
    history: History

    @property
    def runs(self) -> Sequence[Record]:
        """By seed."""
        return self.row.runs

    @property
    def ablation(self) -> bool:
        """Whether it is a named ablation of its method."""
        return self.row.name != self.method


@dataclass(frozen=True)
class Headline:
    """What a comparison of methods came to; ablations are held against their own method only.

    The others are compared with whichever ends highest as if it had been chosen before, corrected for their number.
    That the data have chosen it does no harm to the claim that is made, which is that another is not the best: see
    Edwards and Hsu 1983, *Multiple Comparisons With the Best Treatment*.

    Attributes:
        best: The method that ends highest.
        rivals: The other methods by their name in figures, with their difference to the best one; None where they share
            no seed with it, or are the same method with other settings.
        higher: Ablations that end higher still, by their name in figures.
    """

    best: Contender
    rivals: Mapping[str, Mapping[str, Estimate] | None]
    higher: Sequence[str]


@dataclass(frozen=True)
class Section:
    """One group of the leaderboard.

    Attributes:
        anchor: Its place in the page.
        group: Its rows.
        measure: What they are sorted by.
        contenders: The trained ones, best first.
        headline: Who is ahead; None where nothing was trained.
        ablations: By method, the differences of its ablations to it, all other settings alike, by row.
        tasks: (place, name) of every task, hardest first.
        resolution: The smallest difference that this comparison would show, in words; empty where that is not known.
    """

    anchor: str
    group: Group
    measure: str
    contenders: Sequence[Contender]
    headline: Headline | None
    ablations: Mapping[str, Sequence[tuple[Contender, Mapping[str, Estimate]]]]
    tasks: Sequence[tuple[int, str]]
    resolution: str

    @property
    def title(self) -> str:
        """What was played."""
        return self.group.env

    @property
    def terms(self) -> str:
        """Under which terms: policy, budget, split."""
        group = self.group
        if group.policy is None:
            return f"no training · split {group.split}"
        return f"policy {group.policy.name} · {budget(group)} · split {group.split}"

    @property
    def description(self) -> str:
        """What exactly was measured."""
        return description(self.group)

    @property
    def seeds(self) -> list[int]:
        """Number of seeds of the trained rows: the fewest and the most."""
        counts = {len(contender.row.seeds) for contender in self.contenders}
        return sorted({min(counts), max(counts)}) if counts else []

    @property
    def bounds(self) -> list[Row]:
        """Floor and ceiling."""
        return [row for row in self.group.rows if row.kind in (Kind.FLOOR, Kind.CEILING)]

    @property
    def reference(self) -> Row | None:
        """The row that the others are compared with; None where nothing is."""
        rows = [of.row for of in self.contenders if of.row.name == self.group.reference and of.row.against is None]
        return min(rows, key=lambda row: len(row.switches), default=None)

    @property
    def marks(self) -> list[Row]:
        """What results lie between: where training began, then floor and ceiling."""
        return [*([self.warm_start] if self.warm_start is not None else []), *reversed(self.bounds)]

    @property
    def warm_start(self) -> Row | None:
        """Where training began."""
        return next((row for row in self.group.rows if row.kind is Kind.WARM_START), None)

    def start_panel(self, measure: str) -> list[float] | None:
        """What the warm start came to on every task, the mean over seeds."""
        by_seed = {run.seed: run for contender in self.contenders for run in contender.runs}
        tables = [
            run.panels[WARM_START, self.group.mode][measure]
            for run in by_seed.values()
            if (WARM_START, self.group.mode) in run.panels
        ]
        return _means(tables) if tables else None

    def panel(self, contender: Contender, measure: str) -> list[float]:
        """What a contender came to on every task, the mean over seeds."""
        return _means([run.panels[TRAINED, self.group.mode][measure] for run in contender.runs])


def sections(groups: Iterable[Group], pasts: Mapping[str, Past], *, measure: str) -> list[Section]:
    """One section a group, in their order.

    Args:
        groups: As ``standings.compare`` made them.
        pasts: By path, what the trained runs recorded on their way.
        measure: What ``groups`` are sorted by.
    """
    anchors: Counter[str] = Counter()
    made = []
    for group in groups:
        slug = re.sub(r"[^a-z0-9]+", "-", group.env.lower()).strip("-")
        anchors[slug] += 1
        made.append(_section(f"{slug}-{anchors[slug]}", group, pasts, measure))
    return made


def _section(anchor: str, group: Group, pasts: Mapping[str, Past], measure: str) -> Section:
    contenders = _contenders(group, pasts)
    order = sorted(range(group.tasks), key=lambda task: (_ease(contenders, group, task), task)) if contenders else []
    return Section(
        anchor=anchor,
        group=group,
        measure=measure,
        contenders=contenders,
        headline=_headline(group, contenders, measure),
        ablations=_ablations(group, contenders, measure),
        resolution=resolution(group, measure) or "",
        tasks=[(task, f"{group.split}/{task}") for task in order],
    )


def _contenders(group: Group, pasts: Mapping[str, Past]) -> list[Contender]:
    rows = [row for row in group.rows if row.kind is Kind.METHOD]
    names = Counter(row.name for row in rows)
    drawn: set[str] = set()
    contenders = []
    for row in rows:
        method = str((row.runs[0].method or {}).get("name"))
        plain = row.name == method and method not in drawn
        if plain:
            drawn.add(method)
        short = row.name if names[row.name] == 1 else row.label
        past = [pasts[run.path] for run in row.runs]
        contenders.append(Contender(row, method, short, plain, curve(past), history(past)))
    return contenders


def _ease(contenders: Sequence[Contender], group: Group, task: int) -> float:
    """How well a task went on average."""
    panels = [run.panels[TRAINED, group.mode]["score"][task] for of in contenders for run in of.runs]
    return math.fsum(panels) / len(panels)


def _headline(group: Group, contenders: Sequence[Contender], measure: str) -> Headline | None:
    if not contenders:
        return None
    best, *others = [of for of in contenders if not of.ablation] or contenders
    # Its name has to stand for nothing but the best row.
    against = _against(best, [of for of in others if of.row.name != best.row.name], group, measure)
    return Headline(
        best=best,
        rivals={other.short: against.get(other.short) for other in others},
        higher=[of.short for of in contenders[: contenders.index(best)]],
    )


def _ablations(
    group: Group, contenders: Sequence[Contender], measure: str
) -> dict[str, list[tuple[Contender, Mapping[str, Estimate]]]]:
    found: dict[str, list[tuple[Contender, Mapping[str, Estimate]]]] = defaultdict(list)
    for full in contenders:
        # Of several configurations of a method that which differs in nothing else.
        like = (full.method, full.row.switches)
        parts = [of for of in contenders if of.ablation and (of.method, of.row.switches) == like]
        if parts and not full.ablation:
            against = _against(full, parts, group, measure)
            found[full.method] += [(of, against[of.short]) for of in parts if of.short in against]
    return {method: bars for method, bars in sorted(found.items()) if bars}


def _against(
    reference: Contender, others: Sequence[Contender], group: Group, measure: str
) -> dict[str, Mapping[str, Estimate]]:
    """Differences to another reference, one comparison of as many as there are others; by their names in figures."""
    together = [run for of in (reference, *others) for run in of.runs]
    groups, _ = compare(together, mode=group.mode, measure=measure, reference=reference.row.name)
    found = {_paths(row): row.against for of in groups for row in of.rows if row.against is not None}
    return {of.short: found[_paths(of.row)] for of in others if _paths(of.row) in found}


def _paths(row: Row) -> tuple[str, ...]:
    return tuple(run.path for run in row.runs)


def _means(tables: Sequence[Sequence[float]]) -> list[float]:
    return [math.fsum(column) / len(tables) for column in zip(*tables, strict=True)]
