"""What an update's groups amount to, in numbers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from r3lbench.rollout.group import Attempt, Group
from r3lbench.tokens import Term


def explored(groups: Sequence[Group], terms: Sequence[Sequence[Term]]) -> dict[str, Any]:
    """Rates and means over an update's groups; None where there is nothing to average.

    Returns:
        ``success``, ``score``, ``return`` and ``steps`` of first attempts; ``invalid`` share of their actions;
        ``no_signal`` share of groups whose returns are all equal; ``reflections``, ``reflection_valid`` share,
        ``retry_rate`` per first attempt, ``retry_success``, ``retry_return``, ``retry_improved`` share of retries that
        beat their base, ``pivot`` mean retry step, ``pivot_share`` its mean share of the base's steps, ``pivots``
        number of retries by retry step, ``diverged`` share of retries that could not restore their state;
        ``advantage_mean``, ``advantage_abs``, ``advantage_std``, ``advantage_min`` and ``advantage_max`` over terms,
        ``advantage_positive`` share of them; ``trained`` tokens of terms by label.
    """
    return report_on([facts_of(group, of) for group, of in zip(groups, terms, strict=True)])


def facts_of(group: Group, terms: Sequence[Term]) -> dict[str, Any]:
    """What a report needs to know of a group, as JSON values: groups may have been explored elsewhere."""
    retries = [(attempt, attempt.base) for attempt in group.retries if attempt.base is not None]
    trained: Counter[str] = Counter()
    for term in terms:
        if term.tokens:
            trained[term.label] += term.tokens
    return {
        "bases": [
            {"success": attempt.success, "score": attempt.score, "return": attempt.ret, "steps": attempt.steps}
            for attempt in group.bases
        ],
        "invalid": [not state.valid for attempt in group.bases for state in attempt.trajectory.states[1:]],
        "no_signal": _no_signal(group.attempts),
        "reflections": [reflection.valid for _, reflection in group.reflections],
        "retries": [
            {
                "success": retry.success,
                "return": retry.ret,
                "improved": retry.ret > base.ret,
                "pivot": retry.pivot,
                "share": retry.pivot / base.steps if base.steps else None,
                "diverged": retry.diverged,
            }
            for retry, base in retries
        ],
        "retry_rate": len(group.retries) / len(group.bases) if group.bases else None,
        "weights": [term.weight for term in terms if term.tokens],
        "trained": dict(trained),
    }


def report_on(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The report on groups of which these are the facts; see ``explored``."""
    bases, retries = (_joined(facts, name) for name in ("bases", "retries"))
    reflections, weights = (_joined(facts, name) for name in ("reflections", "weights"))
    pivots = Counter(retry["pivot"] for retry in retries)
    trained: Counter[str] = Counter()
    for of in facts:
        trained.update(of["trained"])
    return {
        "groups": float(len(facts)),
        "attempts": float(len(bases)),
        **{name: _mean([base[name] for base in bases]) for name in ("success", "score", "return", "steps")},
        "invalid": _mean(_joined(facts, "invalid")),
        "no_signal": _mean([of["no_signal"] for of in facts]),
        "reflections": float(len(reflections)),
        "reflection_valid": _mean(reflections),
        "retries": float(len(retries)),
        "retry_rate": _mean([of["retry_rate"] for of in facts if of["retry_rate"] is not None]),
        "retry_success": _mean([retry["success"] for retry in retries]),
        "retry_return": _mean([retry["return"] for retry in retries]),
        "retry_improved": _mean([retry["improved"] for retry in retries]),
        "pivot": _mean([retry["pivot"] for retry in retries]),
        "pivot_share": _mean([retry["share"] for retry in retries if retry["share"] is not None]),
        "pivots": {str(pivot): pivots[pivot] for pivot in sorted(pivots)},
        "diverged": _mean([retry["diverged"] for retry in retries]),
        "advantage_mean": _mean(weights),
        "advantage_abs": _mean([abs(weight) for weight in weights]),
        "advantage_std": statistics.pstdev(weights) if weights else None,
        "advantage_min": min(weights, default=None),
        "advantage_max": max(weights, default=None),
        "advantage_positive": _mean([weight > 0 for weight in weights]),
        "trained": {label: trained[label] for label in sorted(trained)},
    }


def _joined(facts: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return [item for of in facts for item in of[name]]


def _no_signal(attempts: Sequence[Attempt]) -> bool:
    return len({attempt.ret for attempt in attempts}) <= 1


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
