"""Comparisons in words: what a group is, what sets it apart from others, and its rows as tables of text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r3lbench.power import POWER
from r3lbench.protocols import SPENT
from r3lbench.results import LEARNING, Elsewhere, Record
from r3lbench.rollout.meter import EVALUATION
from r3lbench.settings import in_words
from r3lbench.standings import COSTS, Group, Kind, Row
from r3lbench.stats import Comparison, Estimate
from r3lbench.suites import Suite

NOT_SEPARABLE = "not separable"
_HAPPENINGS = {
    "updates": "updates",
    "no_signal": "groups without signal",
    "retry_rate": "retries per attempt",
    "reflection_valid": "reflections valid",
    "retry_improved": "retries improved",
    "pivot_share": "retries begin at",
    "kl_to_start": "KL to the start",
}
"""Titles of ``LEARNING``."""
_PLAYING = ("generated_tokens", "prefilled_tokens", "env_steps")
"""What playing costs."""
_FEW = 3
"""Two groups that differ in so many terms are plainly about different things, and nobody asks why."""


@dataclass(frozen=True)
class Grid:
    """A table in words; numbers stand on the right, ``texts`` on the left."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[str] = frozenset({"method", "agent", "played", "protocol", "sees", "trained", "record"})

    @property
    def justified(self) -> list[str]:
        """``"left"`` or ``"right"`` for every column."""
        return ["left" if column in self.texts else "right" for column in self.columns]


# What a group is


def heading(group: Group) -> str:
    """What sets the group apart, in short."""
    if group.policy is None:
        return f"{group.env}, no training"
    return f"{group.env}, policy {group.policy.name}, {budget(group)}"


def headings(groups: Sequence[Group]) -> list[str]:
    """The same of each of several groups; those that would be called alike say what tells them apart."""
    found = [heading(group) for group in groups]
    known = [terms(group) for group in groups]
    for term in known[0] if known else ():
        of_heading: dict[str, set[str]] = defaultdict(set)
        for name, of in zip(found, known, strict=True):
            of_heading[name].add(of[term])
        found = [
            f"{name}, {term} {of[term]}" if len(of_heading[name]) > 1 else name
            for name, of in zip(found, known, strict=True)
        ]
    return found


def budget(group: Group) -> str:
    """The limits of a run, whichever was reached first."""
    words = [f"{limit:,} {name.replace('_', ' ')}" for name, limit in sorted(group.budget.items())]
    return " or ".join(words) or "no limit"


def description(group: Group) -> str:
    """What exactly was measured."""
    how = "the likeliest action always" if group.mode == "greedy" else f"sampled at temperature {group.temperature:g}"
    words = [
        f"Evaluated on {'all' if group.tasks == group.panel.tasks else 'the first'} {group.tasks} of "
        f"{group.panel.tasks} tasks of the split {group.split} (panel {group.panel.hash[:12]}), {how}."
    ]
    if group.options:
        words.append(f"Environment: {in_words(group.options)}.")
    if group.policy is not None:
        digest = f", weights {group.policy.digest[:12]}" if group.policy.digest else ""
        words.append(f"Policy {group.policy.name}: {count(group.policy.parameters)} parameters{digest}.")
        options = f" with {in_words(group.agent_options)}" if group.agent_options else ""
        words.append(f"Agent {group.agent}{options}. {_when(group)}")
    return " ".join(words)


def _when(group: Group) -> str:
    between = {
        len(run.points.get(group.mode, ())) - 2 for row in group.rows if row.kind is Kind.METHOD for run in row.runs
    }
    counts = [max(0, number) for number in sorted(between)]
    often = " to ".join(str(number) for number in dict.fromkeys((counts[0], counts[-1])))
    between_words = "" if counts[-1] == 0 else f", and {often} {'time' if often == '1' else 'times'} in between"
    return f"Measured before training and after the last update{between_words}; the last policy counts, not the best."


def terms(group: Group) -> dict[str, str]:
    """Everything that two groups can differ in, in words."""
    policy = group.policy
    return {
        "environment": group.env,
        "settings": in_words(group.options) or "the default",
        "split": group.split,
        "panel": group.panel.hash[:12],
        "tasks": str(group.tasks),
        "temperature": f"{group.temperature:g}",
        "policy": "none" if policy is None else policy.name,
        "weights": "none" if policy is None else policy.digest[:12] or "unknown",
        "agent": " with ".join(filter(None, (group.agent, in_words(group.agent_options)))) or "any",
        "budget": "none" if policy is None else budget(group),
    }


def apart(group: Group, groups: Sequence[Group]) -> str | None:
    """Why the group is not one with the group that is most like it, on one line; None where none is like it."""
    mine, nearest = terms(group), None
    for other, name in zip(groups, headings(groups), strict=True):
        if other is group or (other.policy is None) != (group.policy is None):
            continue
        theirs = terms(other)
        differing = [term for term in mine if mine[term] != theirs[term]]
        if "split" in differing:
            differing = [term for term in differing if term not in ("panel", "tasks")]
        if len(differing) < _FEW and (nearest is None or len(differing) < len(nearest[0])):
            nearest = differing, theirs, name
    if nearest is None:
        return None
    differing, theirs, name = nearest
    told = "; ".join(f"{term} {mine[term]} here, {theirs[term]} there" for term in differing)
    return f"Not to be compared with *{name}*: {told}."


def resolution(group: Group, measure: str) -> str | None:
    """The smallest difference to the reference that the group would show; None where that is not known."""
    found = group.sensitivity.get(measure)
    if found is None:
        return None
    least = f"no true difference in {measure} to {group.reference}"
    if found.difference is not None:
        spelled = f"{100 * found.difference:.1f} points" if measure == "success" else f"{found.difference:.3f}"
        least = f"a true difference in {measure} to {group.reference} of {spelled}"
    others = f"{found.comparisons} comparison{'s' if found.comparisons > 1 else ''}"
    return (
        f"With {found.seeds} seeds, {found.tasks} tasks and {others} {least} is found with a probability of "
        f"{100 * POWER:.0f} %."
    )


# Its rows


def outcomes(group: Group, measure: str) -> Grid:
    """What the rows of a group came to."""
    trained = [row for row in group.rows if row.change is not None]
    rivals = [row for row in group.rows if row.against is not None]
    curves = [row for row in group.rows if row.area is not None]
    columns = ["agent" if group.policy is None else "method", "seeds", "success, %", "score"]
    columns += [f"{measure}, area"] if curves else []
    columns += [f"{measure}, change in training"] if trained else []
    columns += [f"{measure} against {group.reference}", "P(better)"] if rivals else []
    rows = []
    for row in group.rows:
        cells = [_name(row), str(len(row.seeds)), _value(row.values["success"], "success"), _value(row.values["score"])]
        if curves:
            cells.append("" if row.area is None else _value(row.area[measure], measure))
        if trained:
            cells.append("" if row.change is None else _difference(row.change[measure], measure))
        if rivals:
            against = None if row.against is None else row.against[measure]
            cells += _against(against, measure, row.paired, len(row.seeds))
        rows.append((*cells, row.verdict.value))
    return Grid("Results", (*columns, "record"), tuple(rows))


def costs(group: Group) -> Grid | None:
    """What training cost and what was seen; None where nothing was trained."""
    columns = ("method", *(name.replace("_", " ") for name in COSTS), "sees")
    rows = [
        (row.label, *(count(row.cost[name]) for name in COSTS), privileges(row.sees))
        for row in group.rows
        if row.cost is not None
    ]
    return Grid("Cost of a run", columns, tuple(rows)) if rows else None


def evaluations(group: Group) -> Grid | None:
    """What the policies cost that were evaluated only, and what of it is but told; None where there are none."""
    columns = ("agent", "played", *(f"{name.replace('_', ' ')} an episode" for name in _PLAYING), "sees", "trained")
    rows = []
    for row in group.rows:
        if row.kind is not Kind.EVALUATED:
            continue
        elsewhere = row.runs[0].manifest.elsewhere
        imported = elsewhere is not None and elsewhere.kind == "imported"
        spent = [_by_episode(row.runs, name) for name in _PLAYING]
        tokens, steps = spent[:-1], spent[-1]
        rows.append(
            (
                row.label,
                "here" if elsewhere is None else elsewhere.kind,
                *(_told(cell, imported) for cell in tokens),
                steps,
                _told(privileges(row.sees), imported),
                _told("" if elsewhere is None else _training(elsewhere), imported),
            )
        )
    return Grid("Cost of playing", columns, tuple(rows)) if rows else None


def happenings(group: Group) -> Grid | None:
    """How the methods learned; None where nothing was trained, or nothing was recorded of it."""
    rows = [(row.label, row.learning) for row in group.rows if row.learning is not None]
    told = [name for name in LEARNING if any(of[name] is not None for _, of in rows)]
    if not rows or told == ["updates"]:
        return None
    cells = [(label, *("" if of[name] is None else _spell(name, of[name]) for name in told)) for label, of in rows]
    return Grid("How it learned", ("method", *(_HAPPENINGS[name] for name in told)), tuple(cells))


def protocols(group: Group, measure: str) -> Grid | None:
    """What the group's policies came to with more than one attempt; None where that was not tried."""
    columns = ("agent", "protocol", "seeds", "success, %", "score", f"{measure} against one attempt")
    costs = tuple(f"{name.replace('_', ' ')} a task" for name in SPENT)
    rows = [
        (
            trial.label,
            trial.protocol,
            str(len(trial.seeds)),
            _value(trial.values["success"], "success"),
            _value(trial.values["score"]),
            _difference(trial.gain[measure], measure),
            *(f"{trial.spent[name]:,.1f}" if name in trial.spent else "" for name in SPENT),
            privileges(trial.sees),
            trial.verdict.value,
        )
        for trial in group.trials
    ]
    title = "More than one attempt, each with its own cost"
    return Grid(title, (*columns, *costs, "sees", "record"), tuple(rows)) if rows else None


def _by_episode(runs: Sequence[Record], name: str) -> str:
    """The mean over runs and episodes of what playing cost; empty where one of them was not counted."""
    means = []
    for run in runs:
        episodes = sum(len(of) for mode in run.episodes.values() for of in mode["steps"])
        spent = run.result.cost.get(EVALUATION, {}).get(name)
        if spent is None:
            return ""
        means.append(spent / episodes)
    return f"{sum(means) / len(means):,.1f}"


def _training(elsewhere: Elsewhere) -> str:
    if elsewhere.kind == "imported" and elsewhere.training is None:
        return "not for this environment"
    if elsewhere.training is None:
        return ""
    return ", ".join(f"{count(of)} {name.replace('_', ' ')}" for name, of in elsewhere.training.cost.items()) or "yes"


def _told(cell: str, imported: bool) -> str:
    return f"{cell}, as told" if imported and cell else cell


# Across environments


def about(suite: Suite) -> str:
    """What a suite is, and what is not in it."""
    measured = [
        f"{group.env} ({budget(group)}; {low:.3f} to {high:.3f})"
        for group, (low, high) in zip(suite.groups, suite.bounds, strict=True)
    ]
    words = (
        f"Means over environments of the {suite.measure}, where 0 is random play and 1 the expert: "
        f"{', '.join(measured)}. Every environment counts the same; seeds are paired, tasks belong to an environment, "
        "and floor and ceiling are taken as known."
    )
    return words if not suite.left_out else f"{words} Not averaged: {'; '.join(suite.left_out)}."


def across(suite: Suite) -> Grid:
    """What methods came to over all environments, and on each."""
    rivals = [of for of in suite.standings if of.against is not None]
    columns = ["method", "seeds", f"normalised {suite.measure}"]
    columns += [f"against {suite.reference}", "P(better)"] if rivals else []
    columns += [group.env for group in suite.groups]
    rows = []
    for of in suite.standings:
        cells = [of.label, str(len(of.seeds)), _value(of.value)]
        if rivals:
            cells += _against(of.against, "", 0 if of.against is None else of.against.seeds, len(of.seeds))
        rows.append((*cells, *(f"{value:.3f}" for value in of.by_environment), of.verdict.value))
    return Grid("Results", (*columns, "record"), tuple(rows))


# Cells


def privileges(sees: Mapping[str, Sequence[str]]) -> str:
    """What agent and reflectors are given beyond observations."""
    return "; ".join(f"{who}: {', '.join(what) or 'nothing'}" for who, what in sorted(sees.items()))


def count(value: float) -> str:
    """A number of things in three digits."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{value:,.0f}"


def _spell(name: str, value: float | None) -> str:
    assert value is not None
    return f"{value:.0f}" if name == "updates" else f"{value:.3f}" if name == "kl_to_start" else f"{100 * value:.0f} %"


def _name(row: Row) -> str:
    return f"{row.label} ({row.kind})" if row.kind in (Kind.FLOOR, Kind.CEILING) else row.label


def _value(of: Estimate, measure: str = "score") -> str:
    if measure == "success":
        return f"{100 * of.value:.1f} [{100 * of.low:.1f}, {100 * of.high:.1f}]"
    return f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]"


def _difference(of: Estimate, measure: str) -> str:
    if measure == "success":
        words = f"{100 * of.value:+.1f} [{100 * of.low:+.1f}, {100 * of.high:+.1f}]"
    else:
        words = f"{of.value:+.3f} [{of.low:+.3f}, {of.high:+.3f}]"
    return words if of.separable else f"{words}, {NOT_SEPARABLE}"


def _against(of: Comparison | None, measure: str, paired: int, seeds: int) -> list[str]:
    """The cells of a comparison: the difference, with the seeds that it stands on if not all, and its probability."""
    if of is None:
        return ["", ""]
    partly = f" ({paired} of {seeds} seeds)" if paired < seeds else ""
    return [_difference(of, measure) + partly, f"{of.improvement.value:.2f}"]
