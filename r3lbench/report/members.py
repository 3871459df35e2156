"""Which records a row of a table was made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r3lbench.config import dotted
from r3lbench.registry import AGENTS, ENVIRONMENTS
from r3lbench.results import TRAINED, Record
from r3lbench.settings import called, non_default
from r3lbench.standings import Group, Kind, Row


@dataclass(frozen=True)
class Member:
    """A trained run, with what decides its place.

    Attributes:
        record: The run.
        terms: What its group has in common, as text.
        name: Of its method, or of the method's ablation.
        switches: The method's, besides.
        settings: All, by dotted name.
    """

    record: Record
    terms: str
    name: str
    switches: Mapping[str, Any]
    settings: Mapping[str, Any]


def members(records: Iterable[Record]) -> list[Member]:
    """The trained runs among some records, newest first."""
    trained = [record for record in records if record.method is not None]
    trained.sort(key=lambda record: (record.manifest.created, record.path), reverse=True)
    return [Member(of, _terms(of), *called(of.method or {}), dotted(of.config)) for of in trained]


def of_group(group: Group, known: Iterable[Member]) -> list[Member]:
    """Those that a group's rows were made from, and those that newer ones replaced there."""
    policy = group.policy
    if policy is None:
        return []
    terms = _text(
        [group.env, group.options, group.split, group.panel.hash, group.tasks, group.temperature],
        [policy.digest or policy.name, group.agent, group.agent_options, group.budget],
    )
    return [of for of in known if of.terms == terms and (TRAINED, group.mode) in of.record.panels]


def of_row(row: Row, known: Sequence[Member]) -> list[Record]:
    """The runs of one row by seed; ``known`` are those of its group."""
    by_seed: dict[int, Record] = {}
    for of in known:
        if row.kind is Kind.METHOD and _is_in(of, row):
            by_seed.setdefault(of.record.seed, of.record)
    return [by_seed[seed] for seed in sorted(by_seed)]


def _terms(record: Record) -> str:
    config, agent = record.config, record.config.get("agent") or {}
    policy = record.manifest.policy
    budget = {name: limit for name, limit in (config.get("budget") or {}).items() if limit is not None}
    options = non_default(ENVIRONMENTS, config.get("env"))
    temperature = float(config.get("evaluation", {}).get("temperature", 1.0))
    return _text(
        [record.manifest.env, options, record.split, record.panel.hash, record.tasks, temperature],
        [policy.digest or policy.name, str(agent.get("name", "")), non_default(AGENTS, agent), budget],
    )


def _is_in(of: Member, row: Row) -> bool:
    wanted = {key: of.switches.get(key, of.settings.get(key)) for key in row.switches}
    return of.name == row.name and set(of.switches) <= set(row.switches) and wanted == dict(row.switches)


def _text(*value: Any) -> str:
    return json.dumps(value, sort_keys=True)
