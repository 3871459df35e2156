"""Other ways to use a policy than a first attempt: the best of several attempts, and attempts that are revised.

Both take more than an attempt and know what it came to, so their results never stand in one table with first attempts,
and each says what it cost. pass@k comes from evaluations that played every task more often
(``evaluate --episodes-per-task N``), rounds of self-improvement from those that went on (``--improve N``).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from r3lbench.crossed import Array
from r3lbench.results import MEASURES, TRAINED, Record
from r3lbench.rollout.meter import EVALUATION
from r3lbench.settings import as_key, in_words, player
from r3lbench.stats import CHANGE, UNIT, Estimate, difference, estimate
from r3lbench.verdict import Verdict

SPENT = ("generated_tokens", "env_steps")
"""What a protocol costs, by task."""


@dataclass(frozen=True)
class Trial:
    """A policy used in one such way.

    Attributes:
        name: Of agent and policy.
        switches: The agent's settings that are not the default.
        protocol: In words, e.g. ``"pass@4"`` or ``"2 rounds with hindsight"``.
        runs: What it is made of, by seed.
        values: By measure, the mean over seeds and tasks.
        gain: By measure, the paired difference to the mean first attempt of the same evaluations.
        spent: By name (``SPENT``), the mean by task; what was not recorded apart is left out.
        sees: What agent and reflector are given beyond observations.
    """

    name: str
    switches: Mapping[str, Any]
    protocol: str
    runs: tuple[Record, ...]
    values: Mapping[str, Estimate]
    gain: Mapping[str, Estimate]
    spent: Mapping[str, float]
    sees: Mapping[str, Sequence[str]]

    @property
    def label(self) -> str:
        """Name and switches."""
        return f"{self.name} ({in_words(self.switches)})" if self.switches else self.name

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs."""
        return tuple(run.seed for run in self.runs)

    @property
    def verdict(self) -> Verdict:
        """What is known of its runs."""
        return Verdict.of([run.verdict for run in self.runs])


def best_of(episodes: ArrayLike, k: int) -> Array:
    """The expected best of k episodes of n that were played, without bias.

    Of the C(n, k) ways to choose k episodes the i-th smallest is the best in C(i - 1, k - 1). For results that are 0 or
    1, c of n, this is 1 - C(n - c, k) / C(n, k), the estimator of pass@k by Chen et al. (2021, arXiv 2107.03374, eq.
    1). To plug the rate c / n into 1 - (1 - p)^k instead would be too low.

    Args:
        episodes: Shape (..., n).
        k: From 1 to n.

    Returns:
        Shape (...).

    Raises:
        ValueError: k is not between 1 and n.
    """
    ordered = np.sort(np.asarray(episodes, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    if not 1 <= k <= n:
        raise ValueError(f"the best of {k} cannot be known from {n} episodes")
    weights = special.binom(np.arange(n), k - 1) / special.binom(n, k)
    expected: Array = ordered @ weights
    return expected


def trials(records: Iterable[Record], mode: str, k: Sequence[int] = ()) -> list[Trial]:
    """Every way, other than a first attempt, in which the policies of some evaluations were used.

    Args:
        records: Evaluations of one group, the newest first; of equal ones the newest counts.
        mode: Way of drawing actions.
        k: Of pass@k; where empty, all powers of two of which there are enough episodes.

    Returns:
        By name; pass@k comes before rounds, and less before more.
    """
    uses: dict[tuple[str, str, int, str], dict[int, _Use]] = defaultdict(dict)
    for record in records:
        name, switches = player(record.config, record.manifest.policy.name)
        of = as_key([name, switches, record.manifest.policy.digest])
        for use in (*_passes(record, mode, k), *_rounds(record, mode)):
            uses[of, use.reflector, use.number, use.protocol].setdefault(record.seed, use)
    return [_trial([by_seed[seed] for seed in sorted(by_seed)], mode) for _, by_seed in sorted(uses.items())]


@dataclass(frozen=True)
class _Use:
    """One evaluation, used in one way; ``panel`` is by measure a number a task, ``spent`` the mean by task."""

    run: Record
    reflector: str
    number: int
    protocol: str
    panel: Mapping[str, Sequence[float]]
    spent: Mapping[str, float]
    sees: Mapping[str, Sequence[str]]


def _passes(record: Record, mode: str, k: Sequence[int]) -> Iterator[_Use]:
    """pass@k of an evaluation that played every task more than once."""
    episodes = record.episodes.get(mode, {"steps": [[]]})
    played = len(episodes["steps"][0])
    attempt = {"env_steps": float(np.mean(episodes["steps"]))} if played else {}
    if len(record.episodes) == 1 and played:
        # Tokens were counted over all modes together.
        tokens = record.result.cost.get(EVALUATION, {}).get("generated_tokens", 0)
        attempt["generated_tokens"] = tokens / (record.tasks * played)
    for size in k or [2**power for power in range(1, played.bit_length())]:
        if 1 < size <= played:
            panel = {measure: best_of(episodes[measure], size).tolist() for measure in MEASURES}
            spent = {name: size * amount for name, amount in attempt.items()}
            yield _Use(record, "", size, f"pass@{size}", panel, spent, record.manifest.sees)


def _rounds(record: Record, mode: str) -> Iterator[_Use]:
    """What an evaluation came to after each round of self-improvement."""
    told, reflector = record.result.improvement, str(record.config.get("improve_with"))
    if told is None or mode not in record.rounds:
        return
    episodes = record.tasks * len(record.episodes[mode]["steps"][0])
    counts: Counter[str] = Counter(told.rounds[mode][0].spent)
    sees = {**record.manifest.sees, f"reflector {reflector}": told.sees}
    for number, panel in enumerate(record.rounds[mode], start=1):
        counts.update(told.rounds[mode][number].spent)
        protocol = f"{number} round{'s' if number > 1 else ''} with {reflector}"
        spent = {name: counts[name] / episodes for name in SPENT}
        yield _Use(record, reflector, number, protocol, panel, spent, sees)


def _trial(uses: Sequence[_Use], mode: str) -> Trial:
    first = uses[0]
    name, switches = player(first.run.config, first.run.manifest.policy.name)
    tables = {measure: [use.panel[measure] for use in uses] for measure in MEASURES}
    attempts = {measure: [use.run.panels[TRAINED, mode][measure] for use in uses] for measure in MEASURES}
    return Trial(
        name=name,
        switches=switches,
        protocol=first.protocol,
        runs=tuple(use.run for use in uses),
        values={measure: estimate(table, bounds=UNIT) for measure, table in tables.items()},
        gain={measure: difference(table, attempts[measure]).between(CHANGE) for measure, table in tables.items()},
        spent={
            name: math.fsum(use.spent[name] for use in uses) / len(uses)
            for name in SPENT
            if all(name in use.spent for use in uses)
        },
        sees=first.sees,
    )
