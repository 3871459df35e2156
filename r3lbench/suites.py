"""Methods compared across environments.

Every environment has scores of its own, so they are put on one scale first: 0 is random play, 1 the environment's
expert, both as recorded, and taken as known. A method's result is the mean over environments, each counting the same.
Tasks belong to an environment, and their variances add up; seeds are paired, so that what counts is how far the means
over all environments of two seeds differ (``stats.mean_of_means``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r3lbench.crossed import Array
from r3lbench.results import TRAINED, WARM_START, Record
from r3lbench.settings import as_key, called, in_words
from r3lbench.standings import Group, Kind, Row, table_of
from r3lbench.stats import UNIT, Comparison, Estimate, comparisons_of_means, mean_of_means, normalised
from r3lbench.verdict import Verdict


@dataclass(frozen=True)
class Standing:
    """A method on all environments of a suite.

    Attributes:
        rows: Of every environment; methods, or the warm start.
        name: Of the method.
        switches: Of the method, where they are not the default.
        seeds: With which it was run on all of them.
        value: The mean over environments of its normalised results.
        by_environment: The same of each.
        against: The paired difference to the reference, as one of the table's; None where there is nothing to pair.
    """

    rows: tuple[Row, ...]
    name: str
    switches: Mapping[str, Any]
    seeds: tuple[int, ...]
    value: Estimate
    by_environment: tuple[float, ...]
    against: Comparison | None

    @property
    def kind(self) -> Kind:
        """A method, or the warm start."""
        return self.rows[0].kind

    @property
    def called(self) -> frozenset[str]:
        """The names under which it can be asked for."""
        return self.rows[0].called

    @property
    def verdict(self) -> Verdict:
        """What is known of its runs."""
        return Verdict.of([run.verdict for row in self.rows for run in row.runs if run.seed in self.seeds])

    @property
    def label(self) -> str:
        """Name and switches."""
        return f"{self.name} ({in_words(self.switches)})" if self.switches else self.name


@dataclass(frozen=True)
class Suite:
    """Environments on which the same methods were run, from policies of one name.

    Attributes:
        policy: That name.
        groups: One an environment.
        bounds: Floor and ceiling of each.
        measure: What was normalised.
        reference: Name of the method that others are compared with.
        standings: Best first.
        left_out: One line about everything that was not averaged, and why.
    """

    policy: str
    groups: tuple[Group, ...]
    bounds: tuple[tuple[float, float], ...]
    measure: str
    reference: str
    standings: tuple[Standing, ...]
    left_out: tuple[str, ...]


_Method = tuple[str, str]
"""Its name and its switches as text, whatever else was tuned for an environment."""


def suites(groups: Iterable[Group], measure: str) -> list[Suite]:
    """A suite for every policy name under which methods were run on two or more environments.

    Of several groups of an environment the one with the most rows counts. The environments are those that let the most
    results stand in the table, methods times environments; of equally many the most environments.

    Args:
        groups: As ``compare`` returns them.
        measure: What to average.
    """
    by_policy: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        if group.policy is not None:
            by_policy[group.policy.name].append(group)
    found = [_suite(policy, of, measure) for policy, of in sorted(by_policy.items())]
    return [suite for suite in found if suite is not None]


def _suite(policy: str, groups: Sequence[Group], measure: str) -> Suite | None:
    left_out: list[str] = []
    chosen: dict[str, tuple[Group, tuple[float, float]]] = {}
    for group in sorted(groups, key=lambda group: -len(group.rows)):
        bounds = _bounds(group, measure)
        if bounds is not None and group.env in chosen:
            left_out.append(f"{group.env} under other terms, of which there are fewer rows")
        elif bounds is not None:
            chosen[group.env] = group, bounds
    unbounded = sorted({group.env for group in groups} - set(chosen))
    left_out += [f"{env}, where no floor and a ceiling above it are recorded" for env in unbounded]
    rows = {env: _rows(group, left_out) for env, (group, _) in sorted(chosen.items())}
    where: dict[_Method, set[str]] = defaultdict(set)
    for env, by_method in rows.items():
        for method in by_method:
            where[method].add(env)
    envs = _environments(where.values())
    if len(envs) < 2:
        return None
    left_out += [f"{env}, on which few methods were run" for env in rows if env not in envs]
    lacking: dict[str, list[str]] = defaultdict(list)
    for method, on in sorted(where.items()):
        if missing := [env for env in envs if env not in on]:
            lacking[", ".join(missing)].append(_spelled(method))
    left_out += [f"{', '.join(methods)}, not run on {missing}" for missing, methods in sorted(lacking.items())]
    scales = [chosen[env][1] for env in envs]
    everywhere = {method: [rows[env][method] for env in envs] for method, on in where.items() if on >= set(envs)}
    standings = _standings(everywhere, scales, measure, groups[0], left_out)
    starts = [row for env in envs for row in chosen[env][0].rows if row.kind is Kind.WARM_START]
    if len(starts) == len(envs) and (seeds := _seeds(starts)):
        tables = _tables(starts, seeds, (WARM_START, groups[0].mode), measure, scales)
        standings.append(_standing(starts, ("warm start", {}), seeds, tables, _possible(scales), None))
    return Suite(
        policy=policy,
        groups=tuple(chosen[env][0] for env in envs),
        bounds=tuple(scales),
        measure=measure,
        reference=groups[0].reference,
        standings=tuple(sorted(standings, key=lambda of: (-of.value.value, of.kind, of.label))),
        left_out=tuple(left_out),
    )


def _bounds(group: Group, measure: str) -> tuple[float, float] | None:
    """Floor and ceiling of a group, where both are recorded and one is above the other."""
    floor, ceiling = (
        next((row.values[measure].value for row in group.rows if row.kind is kind), None)
        for kind in (Kind.FLOOR, Kind.CEILING)
    )
    return None if floor is None or ceiling is None or ceiling <= floor else (floor, ceiling)


def _rows(group: Group, left_out: list[str]) -> dict[_Method, Row]:
    """The group's methods; which of several configurations is meant cannot be known."""
    found: dict[_Method, list[Row]] = defaultdict(list)
    for row in group.rows:
        if row.kind is Kind.METHOD:
            name, switches = called(row.runs[0].method or {})
            found[name, as_key(switches)].append(row)
    left_out += [
        f"{_spelled(of)}, with {len(rows)} configurations on {group.env}" for of, rows in found.items() if len(rows) > 1
    ]
    return {method: rows[0] for method, rows in found.items() if len(rows) == 1}


def _environments(where: Iterable[set[str]]) -> list[str]:
    """Those of one of the methods, so that methods that were run on all of them, times their number, are the most."""
    of_methods = [frozenset(on) for on in where]
    candidates = sorted(set(of_methods), key=sorted)
    best = max(
        (on for on in candidates if len(on) > 1),
        key=lambda on: (sum(other >= on for other in of_methods) * len(on), len(on)),
        default=frozenset(),
    )
    return sorted(best)


def _standings(
    rows: Mapping[_Method, Sequence[Row]],
    scales: Sequence[tuple[float, float]],
    measure: str,
    like: Group,
    left_out: list[str],
) -> list[Standing]:
    seeds = {method: _seeds(of) for method, of in rows.items()}
    left_out += [
        f"{_spelled(method)}, without a seed common to all environments"
        for method, of in sorted(seeds.items())
        if not of
    ]

    def tables(method: _Method, of: Sequence[int]) -> list[Array]:
        return _tables(rows[method], of, (TRAINED, like.mode), measure, scales)

    possible = _possible(scales)
    most = possible[1] - possible[0]
    known = {method: tables(method, of) for method, of in sorted(seeds.items()) if of}
    against: dict[_Method, Comparison] = {}
    rival = min((method for method in known if method[0] == like.reference), key=lambda of: len(of[1]), default=None)
    if rival is not None:
        both = {method: [seed for seed in seeds[method] if seed in seeds[rival]] for method in known if method != rival}
        both = {method: shared for method, shared in both.items() if shared}
        pairs = [(tables(method, shared), tables(rival, shared)) for method, shared in both.items()]
        others = [of for method, of in known.items() if method != rival]
        found = comparisons_of_means(pairs, known[rival], others)
        against = {method: of.between((-most, most)) for method, of in zip(both, found, strict=True)}
    names = {method: called(rows[method][0].runs[0].method or {}) for method in known}
    return [
        _standing(rows[method], names[method], seeds[method], of, possible, against.get(method))
        for method, of in known.items()
    ]


def _standing(
    rows: Sequence[Row],
    name: tuple[str, dict[str, Any]],
    seeds: Sequence[int],
    tables: Sequence[Array],
    possible: tuple[float, float],
    against: Comparison | None,
) -> Standing:
    return Standing(
        rows=tuple(rows),
        name=name[0],
        switches=name[1],
        seeds=tuple(seeds),
        value=mean_of_means(tables).between(possible),
        by_environment=tuple(float(table.mean()) for table in tables),
        against=against,
    )


def _possible(scales: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The least and the greatest mean over environments that there can be: below the floors, above the ceilings."""
    low, high = np.mean([normalised(UNIT, *scale) for scale in scales], axis=0)
    return float(low), float(high)


def _seeds(rows: Sequence[Row]) -> list[int]:
    """Those with which there is a run on every environment."""
    return sorted(set.intersection(*(set(row.seeds) for row in rows)))


def _tables(
    rows: Sequence[Row], seeds: Sequence[int], at: tuple[str, str], measure: str, scales: Sequence[tuple[float, float]]
) -> list[Array]:
    """Normalised results, a table an environment."""
    tables = []
    for row, (floor, ceiling) in zip(rows, scales, strict=True):
        by_seed: dict[int, Record] = {run.seed: run for run in row.runs}
        tables.append(normalised(table_of([by_seed[seed] for seed in seeds], *at, measure), floor, ceiling))
    return tables


def _spelled(method: _Method) -> str:
    name, switches = method
    return name if switches == "{}" else f"{name} {switches}"
