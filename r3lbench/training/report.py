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
    bases = [attempt for group in groups for attempt in group.bases]
    retries = [(attempt, attempt.base) for group in groups for attempt in group.retries if attempt.base is not None]
    reflections = [reflection for group in groups for _, reflection in group.reflections]
    weights = [term.weight for of in terms for term in of if term.tokens]
    pivots = Counter(retry.pivot for retry, _ in retries)
    trained: Counter[str] = Counter()
    for term in (term for of in terms for term in of if term.tokens):
        trained[term.label] += term.tokens
    states = [state for attempt in bases for state in attempt.trajectory.states[1:]]
    return {
        "groups": float(len(groups)),
        "attempts": float(len(bases)),
        "success": _mean([attempt.success for attempt in bases]),
        "score": _mean([attempt.score for attempt in bases]),
        "return": _mean([attempt.ret for attempt in bases]),
        "steps": _mean([attempt.steps for attempt in bases]),
        "invalid": _mean([not state.valid for state in states]),
        "no_signal": _mean([_no_signal(group.attempts) for group in groups]),
        "reflections": float(len(reflections)),
        "reflection_valid": _mean([reflection.valid for reflection in reflections]),
        "retries": float(len(retries)),
        "retry_rate": _mean([len(group.retries) / len(group.bases) for group in groups if group.bases]),
        "retry_success": _mean([retry.success for retry, _ in retries]),
        "retry_return": _mean([retry.ret for retry, _ in retries]),
        "retry_improved": _mean([retry.ret > base.ret for retry, base in retries]),
        "pivot": _mean([retry.pivot for retry, _ in retries]),
        "pivot_share": _mean([retry.pivot / base.steps for retry, base in retries if base.steps]),
        "pivots": {str(pivot): pivots[pivot] for pivot in sorted(pivots)},
        "diverged": _mean([retry.diverged for retry, _ in retries]),
        "advantage_mean": _mean(weights),
        "advantage_abs": _mean([abs(weight) for weight in weights]),
        "advantage_std": statistics.pstdev(weights) if weights else None,
        "advantage_min": min(weights, default=None),
        "advantage_max": max(weights, default=None),
        "advantage_positive": _mean([weight > 0 for weight in weights]),
        "trained": {label: trained[label] for label in sorted(trained)},
    }


def _no_signal(attempts: Sequence[Attempt]) -> bool:
    return len({attempt.ret for attempt in attempts}) <= 1


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
