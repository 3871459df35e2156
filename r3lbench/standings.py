"""Which results can be compared, and how they compare.

A group holds what was measured on the same tasks, from the same policy, under the same budget; nothing else is ever
put side by side. Inside a group a row is one configuration of a method with all its seeds. The floor and the ceiling
(agents without a model) join every group of their panel.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from r3lbench.power import Sensitivity, sensitivity
from r3lbench.protocols import Trial, trials
from r3lbench.registry import AGENTS, ENVIRONMENTS
from r3lbench.results import LEARNING, MEASURES, TRAINED, WARM_START, PanelInfo, PolicyInfo, Record
from r3lbench.rollout.meter import EVALUATION
from r3lbench.settings import as_key, called, in_words, limits, non_default, others, player
from r3lbench.stats import (
    CHANGE,
    UNIT,
    Comparison,
    Estimate,
    area_under_curve,
    comparisons,
    difference,
    estimate,
    iqm,
)
from r3lbench.verdict import Verdict

COSTS = ("env_steps", "generated_tokens", "trained_tokens", "seconds")
"""Means over seeds; counts without evaluation, seconds of exploring and learning."""
IQM = "score_iqm"
"""The interquartile mean of the score, among a row's values."""
SORTS = ("score", "success", IQM, "area", *COSTS, "name")
"""What rows can be sorted by."""


class Kind(StrEnum):
    """What a row stands for."""

    METHOD = "method"
    """A policy trained by a method."""
    WARM_START = "warm start"
    """The policy that all methods of the group began from."""
    EVALUATED = "evaluated"
    """A policy evaluated only."""
    FLOOR = "floor"
    """An agent without a model."""
    CEILING = "ceiling"
    """An agent without a model that asks the environment's expert."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        kind: What it stands for.
        name: Of the method, agent or policy.
        switches: Settings that set it apart: the method's where they are not the default, others where rows of the
            group differ.
        runs: What it is made of, by seed.
        values: By measure, the mean over seeds and tasks; and the ``IQM``.
        change: By measure, the paired difference to the same runs' warm start; None for what was not trained.
        against: By measure, the paired difference to the reference, as one of the group's; None where there is nothing
            to pair.
        paired: Seeds shared with the reference.
        cost: By name (``COSTS``), the mean over seeds; None for what was not trained.
        learning: By name (``LEARNING``), the mean over seeds; None for what was not trained.
        area: By measure, the mean height of the learning curve over the budget; None where runs were not evaluated on
            the way, or ended before the budget did.
        sees: What agent and reflectors are given beyond observations.
    """

    kind: Kind
    name: str
    switches: Mapping[str, Any]
    runs: tuple[Record, ...]
    values: Mapping[str, Estimate]
    sees: Mapping[str, Sequence[str]]
    change: Mapping[str, Estimate] | None = None
    against: Mapping[str, Comparison] | None = None
    paired: int = 0
    cost: Mapping[str, float] | None = None
    learning: Mapping[str, float | None] | None = None
    area: Mapping[str, Estimate] | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def verdict(self) -> Verdict:
        """What is known of its runs."""
        return Verdict.of([run.verdict for run in self.runs])

    @property
    def called(self) -> frozenset[str]:
        """The names under which a method can be asked for: its own, and that of an ablation if it is one."""
        return frozenset({self.name, *(str((run.method or {}).get("name", self.name)) for run in self.runs)})

    @property
    def label(self) -> str:
        """Name and switches."""
        return f"{self.name} ({in_words(self.switches)})" if self.switches else self.name


@dataclass(frozen=True)
class Group:
    """Rows that may be compared.

    Attributes:
        name: Of the environment's plug-in.
        env: Its versioned name.
        options: The environment's settings that are not the default.
        split: Split evaluated on.
        tasks: How many tasks of it.
        panel: The whole split.
        mode: How actions were drawn, ``"sampled"`` or ``"greedy"``.
        temperature: Of sampled evaluation.
        policy: What training began from; None for a group of mere evaluations.
        agent: Name of the trained agent; empty for a group of mere evaluations.
        agent_options: Its settings that are not the default.
        budget: What every run could spend: name to limit, unlimited ones left out.
        reference: Name of the method that others are compared with.
        rows: Best first, or as asked for.
        trials: Other ways to use the policies of the group than a first attempt.
        sensitivity: By measure, what the comparisons with the reference can tell apart; None where that is not known.
    """

    name: str
    env: str
    options: Mapping[str, Any]
    split: str
    tasks: int
    panel: PanelInfo
    mode: str
    temperature: float
    policy: PolicyInfo | None
    agent: str
    agent_options: Mapping[str, Any]
    budget: Mapping[str, float]
    reference: str
    rows: tuple[Row, ...]
    trials: tuple[Trial, ...]
    sensitivity: Mapping[str, Sensitivity | None]

    @property
    def policies(self) -> frozenset[str]:
        """Names of the policies that were trained or evaluated."""
        return frozenset(run.manifest.policy.name for row in self.rows for run in row.runs if run.policy is not None)


def compare(
    records: Iterable[Record],
    *,
    mode: str = "sampled",
    measure: str = "score",
    reference: str = "grpo",
    k: Sequence[int] = (),
) -> tuple[list[Group], list[str]]:
    """Put records into groups, and rows into order.

    Args:
        records: Complete ones.
        mode: Way of drawing actions; agents without a model were recorded in one only, which is taken.
        measure: What rows are sorted by, one of ``SORTS``.
        reference: Name of a method; its configuration with the fewest switches is what others are compared with.
        k: Of pass@k, see ``protocols.trials``.

    Returns:
        The groups, and one line about each record that is left out.
    """
    notes: list[str] = []
    runs: dict[str, list[Record]] = defaultdict(list)
    bounds: dict[str, list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.manifest.created, record.path), reverse=True):
        if record.policy is None:
            bounds[_arena(record)].append(record)
        elif (TRAINED, mode) not in record.panels:
            notes.append(f"{record.path}: not evaluated in mode {mode}")
        else:
            runs[_key(record)].append(record)
    played = {_arena(group[0]) for group in runs.values()}
    together = [(group, bounds[_arena(group[0])]) for group in runs.values()]
    together += [([], group) for arena, group in bounds.items() if arena not in played]
    groups = [_group(group, limits, mode, reference, k, notes) for group, limits in together]
    groups = [replace(group, rows=_sorted(group.rows, measure)) for group in groups]
    return sorted(groups, key=_place), sorted(set(notes))


def _sorted(rows: Iterable[Row], by: str) -> tuple[Row, ...]:
    """The highest results and the lowest costs first; what has none comes last."""

    def value(row: Row) -> float | None:
        if by in COSTS:
            return None if row.cost is None else row.cost[by]
        found = row.area if by == "area" else row.values
        return None if found is None else -found["score" if by == "area" else by].value

    if by == "name":
        return tuple(sorted(rows, key=lambda row: (row.label, row.kind)))
    return tuple(sorted(rows, key=lambda row: (value(row) is None, value(row) or 0.0, row.kind, row.label)))


def _arena(record: Record) -> str:
    """What any two results must have in common to be compared."""
    options = non_default(ENVIRONMENTS, record.config.get("env"))
    return as_key([record.manifest.env, options, record.split, record.panel.hash, record.tasks])


def _key(record: Record) -> str:
    """What two results of policies must have in common, besides."""
    temperature = record.config.get("evaluation", {}).get("temperature")
    if record.method is None or record.policy is None:
        return _arena(record) + as_key([temperature])
    started_from = record.policy.digest or record.policy.name
    agent = record.config.get("agent") or {}
    return _arena(record) + as_key(
        [temperature, started_from, agent.get("name"), non_default(AGENTS, agent), limits(record.config)]
    )


def _place(group: Group) -> tuple[Any, ...]:
    policy = ("", "") if group.policy is None else (group.policy.name, group.policy.digest)
    return (
        group.env,
        group.policy is None,
        *policy,
        as_key([group.budget, group.options, group.agent_options, group.tasks]),
    )


def _group(
    runs: Sequence[Record], bounds: Sequence[Record], mode: str, reference: str, k: Sequence[int], notes: list[str]
) -> Group:
    first = runs[0] if runs else bounds[0]
    trained = [record for record in runs if record.method is not None]
    played = [record for record in runs if record.method is None]
    agent = first.config.get("agent") or {}
    methods, found = _methods(trained, mode, reference, notes)
    rows = [*methods, *_warm_start(trained, mode)]
    tried = trials(played if played or trained else bounds, mode, k)
    of_trials = {run.path for trial in tried for run in trial.runs}
    for evaluated in (played, bounds):
        of_agents, doubles = _evaluated(evaluated, mode)
        rows += of_agents
        notes += [words for path, words in doubles.items() if path not in of_trials]
    return Group(
        name=str((first.config.get("env") or {}).get("name", first.manifest.env)),
        env=first.manifest.env,
        options=non_default(ENVIRONMENTS, first.config.get("env")),
        split=first.split,
        tasks=first.tasks,
        panel=first.panel,
        mode=mode,
        temperature=float(first.config.get("evaluation", {}).get("temperature", 1.0)),
        policy=first.policy if trained else None,
        agent=str(agent.get("name", "")) if trained else "",
        agent_options=non_default(AGENTS, agent) if trained else {},
        budget=limits(first.config) if trained else {},
        reference=reference,
        rows=tuple(rows),
        trials=tuple(tried),
        sensitivity=found,
    )


def _methods(
    records: Sequence[Record], mode: str, reference: str, notes: list[str]
) -> tuple[list[Row], dict[str, Sensitivity | None]]:
    """A row for every configuration of every method, and by measure what can be told apart."""
    settings = {record.path: others(record.config) for record in records}
    varied = sorted(
        name
        for name in {name for of in settings.values() for name in of}
        # A record that is older than a setting says nothing about it.
        if len({as_key(of[name]) for of in settings.values() if name in of}) > 1
    )
    labels: dict[str, tuple[str, dict[str, Any]]] = {}
    members: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        method = record.method or {}
        name, switches = called(method)
        switches |= {name: settings[record.path].get(name) for name in varied}
        key = as_key([name, switches])
        labels[key] = name, switches
        members[key].append(record)
    doubles: dict[str, str] = {}
    seeds = {key: _by_seed(members[key], doubles) for key in labels}
    notes += doubles.values()
    candidates = sorted((len(switches), key) for key, (name, switches) in labels.items() if name == reference)
    against, found = _against(seeds, candidates[0][1], mode) if candidates else ({}, {})
    return [_method(*labels[key], list(seeds[key].values()), against.get(key), mode) for key in labels], found


def _against(
    seeds: Mapping[str, Mapping[int, Record]], reference: str, mode: str
) -> tuple[dict[str, dict[str, Comparison]], dict[str, Sensitivity | None]]:
    """Every configuration that has seeds of the reference against it, and by measure what can be told apart."""
    theirs = seeds[reference]
    both = {key: [seed for seed in ours if seed in theirs] for key, ours in seeds.items() if key != reference}
    both = {key: shared for key, shared in both.items() if shared}
    against: dict[str, dict[str, Comparison]] = {key: {} for key in both}
    found = {}
    for measure in MEASURES:
        pairs = [
            (
                table_of([seeds[key][seed] for seed in shared], TRAINED, mode, measure),
                table_of([theirs[seed] for seed in shared], TRAINED, mode, measure),
            )
            for key, shared in both.items()
        ]
        tables = {key: table_of(list(by_seed.values()), TRAINED, mode, measure) for key, by_seed in seeds.items()}
        of_reference = tables.pop(reference)
        for key, comparison in zip(both, comparisons(pairs, of_reference, list(tables.values())), strict=True):
            against[key][measure] = comparison.between(CHANGE)
        found[measure] = sensitivity(pairs, most=CHANGE[1])
    return against, found


def _method(
    name: str,
    switches: Mapping[str, Any],
    runs: Sequence[Record],
    against: Mapping[str, Comparison] | None,
    mode: str,
) -> Row:
    change = None
    if all((WARM_START, mode) in run.panels for run in runs):
        change = _changes(runs, mode)
    return Row(
        kind=Kind.METHOD,
        name=name,
        switches=switches,
        runs=tuple(runs),
        values=_estimates(runs, TRAINED, mode),
        sees=runs[0].manifest.sees,
        change=change,
        against=against,
        paired=0 if against is None else against[MEASURES[0]].seeds,
        cost=_mean_cost(runs),
        learning={name: _mean_of([run.learning[name] for run in runs]) for name in LEARNING},
        area=_areas(runs, mode),
    )


def _warm_start(records: Sequence[Record], mode: str) -> list[Row]:
    """The policy before training; runs with one seed measured the same, whatever their method."""
    by_seed: dict[int, Record] = {}
    for record in records:
        if (WARM_START, mode) in record.panels:
            by_seed.setdefault(record.seed, record)
    runs = [by_seed[seed] for seed in sorted(by_seed)]
    if not runs:
        return []
    sees = {"agent": runs[0].manifest.sees.get("agent", ())}
    return [Row(Kind.WARM_START, "warm start", {}, tuple(runs), _estimates(runs, WARM_START, mode), sees)]


def _evaluated(records: Sequence[Record], mode: str) -> tuple[list[Row], dict[str, str]]:
    """A row for every agent, or agent and policy, that was not trained here; by path, what is said of the others.

    Of several evaluations with one seed those count that played every task most often, of these the newest.
    """
    labels: dict[str, tuple[str, dict[str, Any]]] = {}
    members: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        name, switches = player(record.config, record.manifest.policy.name)
        key = as_key([name, switches, record.manifest.policy.digest])
        labels[key] = name, switches
        members[key].append(record)
    rows = []
    doubles: dict[str, str] = {}
    for key, (name, switches) in labels.items():
        by_seed = _by_seed(sorted(members[key], key=lambda record: -record.attempts), doubles)
        runs = list(by_seed.values())
        first, kind = runs[0], Kind.EVALUATED
        if first.policy is None:
            kind = Kind.CEILING if "expert" in first.manifest.sees.get("agent", ()) else Kind.FLOOR
            mode = next(of for when, of in first.panels if when == TRAINED)
        rows.append(Row(kind, name, switches, tuple(runs), _estimates(runs, TRAINED, mode), first.manifest.sees))
    return rows, doubles


def _by_seed(records: Iterable[Record], doubles: dict[str, str]) -> dict[int, Record]:
    """One record a seed, the first; of the others is said by path which one took their place."""
    kept: dict[int, Record] = {}
    for record in records:
        other = kept.setdefault(record.seed, record)
        if other is not record:
            than = "newer" if other.attempts == record.attempts else "of more attempts"
            doubles[record.path] = f"{record.path}: same configuration and seed as {other.path}, which is {than}"
    return dict(sorted(kept.items()))


def _estimates(runs: Sequence[Record], when: str, mode: str) -> dict[str, Estimate]:
    tables = {measure: table_of(runs, when, mode, measure) for measure in MEASURES}
    means = {measure: estimate(table, bounds=UNIT) for measure, table in tables.items()}
    return {**means, IQM: iqm(tables["score"], bounds=UNIT)}


def _changes(runs: Sequence[Record], mode: str) -> dict[str, Estimate]:
    tables = {measure: [table_of(runs, when, mode, measure) for when in (TRAINED, WARM_START)] for measure in MEASURES}
    return {measure: difference(*pair).between(CHANGE) for measure, pair in tables.items()}


def _areas(runs: Sequence[Record], mode: str) -> dict[str, Estimate] | None:
    """Mean heights of the learning curves, where every run was evaluated on the way and used its budget up."""
    curves = [run.points.get(mode, ()) for run in runs]
    if any(len(curve) < 3 or curve[-1].share < 1 for curve in curves):
        return None
    areas = {
        measure: [area_under_curve([at.share for at in of], [at.panel[measure] for at in of], 1.0) for of in curves]
        for measure in MEASURES
    }
    return {measure: estimate(np.stack(table), bounds=UNIT) for measure, table in areas.items()}


def table_of(records: Sequence[Record], when: str, mode: str, measure: str) -> list[Sequence[float]]:
    """Results of one measure, a row a record and a column a task."""
    return [record.panels[when, mode][measure] for record in records]


def _mean_cost(records: Sequence[Record]) -> dict[str, float]:
    totals: Counter[str] = Counter()
    for record in records:
        for purpose, counts in record.result.cost.items():
            if purpose != EVALUATION:
                totals.update(counts)
    sums = {**totals, "seconds": math.fsum(record.result.seconds for record in records)}
    return {name: sums.get(name, 0) / len(records) for name in COSTS}


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
