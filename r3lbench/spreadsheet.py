"""A leaderboard's numbers as CSV: one line a row, with what its group has in common."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from r3lbench.grids import budget, privileges
from r3lbench.protocols import SPENT, Trial
from r3lbench.results import LEARNING, MEASURES
from r3lbench.settings import in_words
from r3lbench.standings import COSTS, IQM, Group, Row
from r3lbench.stats import Comparison, Estimate
from r3lbench.suites import Standing, Suite

FIRST_ATTEMPT = "first attempt"
_ENDS = ("", "_low", "_high")
_ALWAYS = ("environment", "options", "split", "panel", "tasks", "mode", "temperature")
BEGINNING = ",".join(_ALWAYS)
"""How files of every version begin, which tells them from other files."""
FIELDS = (
    *_ALWAYS,
    *("policy", "weights", "agent", "agent_options", "budget"),
    *("kind", "name", "switches", "protocol", "seeds", "record"),
    *(f"{measure}{part}{end}" for measure in MEASURES for part in ("", "_change", "_difference") for end in _ENDS),
    *(f"{name}{end}" for name in (IQM, *(f"{measure}_improvement" for measure in MEASURES)) for end in _ENDS),
    *(f"{measure}_p" for measure in MEASURES),
    *(f"{measure}_area{end}" for measure in MEASURES for end in _ENDS),
    *(f"{measure}_gain{end}" for measure in MEASURES for end in _ENDS),
    *(f"normalised{part}{end}" for part in ("", "_difference", "_improvement") for end in _ENDS),
    *("normalised_p", "reference", "paired_seeds", *COSTS, *(f"{name}_a_task" for name in SPENT), *LEARNING, "sees"),
)

_Line = dict[str, object]


def spreadsheet(suites: Sequence[Suite], groups: Sequence[Group]) -> str:
    """All numbers; what speaks of several environments comes last."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, FIELDS, lineterminator="\n")
    writer.writeheader()
    for group in groups:
        common = _common(group)
        writer.writerows(common | _of_row(group, row) for row in group.rows)
        writer.writerows(common | _of_trial(trial) for trial in group.trials)
    for suite in suites:
        writer.writerows(_of_standing(suite, of) for of in suite.standings)
    return buffer.getvalue()


def _common(group: Group) -> _Line:
    policy = group.policy
    return {
        "environment": group.env,
        "options": in_words(group.options),
        "split": group.split,
        "panel": group.panel.hash,
        "tasks": group.tasks,
        "mode": group.mode,
        "temperature": f"{group.temperature:g}",
        "policy": "" if policy is None else policy.name,
        "weights": "" if policy is None else policy.digest,
        "agent": group.agent,
        "agent_options": in_words(group.agent_options),
        "budget": budget(group) if policy is not None else "",
    }


def _entry(kind: str, of: Row | Trial | Standing, protocol: str = FIRST_ATTEMPT) -> _Line:
    return {
        "kind": kind,
        "name": of.name,
        "switches": in_words(of.switches),
        "protocol": protocol,
        "seeds": " ".join(str(seed) for seed in of.seeds),
        "record": of.verdict.value,
    }


def _of_row(group: Group, row: Row) -> _Line:
    line = _entry(row.kind.value, row) | _ends(IQM, row.values[IQM]) | {"sees": privileges(row.sees)}
    for measure in MEASURES:
        for part, found in (("", row.values), ("_change", row.change), ("_difference", row.against)):
            line |= {} if found is None else _ends(f"{measure}{part}", found[measure])
        line |= {} if row.area is None else _ends(f"{measure}_area", row.area[measure])
        line |= {} if row.against is None else _compared(measure, row.against[measure])
    if row.against is not None:
        line |= {"reference": group.reference, "paired_seeds": row.paired}
    if row.cost is not None:
        line |= {name: f"{row.cost[name]:.1f}" for name in COSTS}
    if row.learning is not None:
        line |= {name: f"{value:.4f}" for name, value in row.learning.items() if value is not None}
    return line


def _of_trial(trial: Trial) -> _Line:
    line = _entry("protocol", trial, trial.protocol) | {"sees": privileges(trial.sees)}
    for measure in MEASURES:
        line |= _ends(measure, trial.values[measure]) | _ends(f"{measure}_gain", trial.gain[measure])
    return line | {f"{name}_a_task": f"{amount:.1f}" for name, amount in trial.spent.items()}


def _of_standing(suite: Suite, of: Standing) -> _Line:
    first = suite.groups[0]
    line: _Line = {
        "environment": " + ".join(group.env for group in suite.groups),
        "split": " + ".join(group.split for group in suite.groups),
        "panel": " + ".join(group.panel.hash for group in suite.groups),
        "tasks": sum(group.tasks for group in suite.groups),
        "mode": first.mode,
        "temperature": f"{first.temperature:g}",
        "policy": suite.policy,
        "budget": " + ".join(budget(group) for group in suite.groups),
    }
    line |= _entry(f"{of.kind.value}, across environments", of) | _ends("normalised", of.value)
    if of.against is not None:
        line |= _ends("normalised_difference", of.against) | _compared("normalised", of.against)
        line |= {"reference": suite.reference, "paired_seeds": of.against.seeds}
    return line


def _compared(name: str, of: Comparison) -> _Line:
    p = "" if of.corrected is None else f"{of.corrected:.6f}"
    return _ends(f"{name}_improvement", of.improvement) | {f"{name}_p": p}


def _ends(name: str, of: Estimate) -> _Line:
    return {f"{name}{end}": f"{value:.6f}" for end, value in zip(_ENDS, (of.value, of.low, of.high), strict=True)}
