"""Numbers worked by hand for every method: advantages of groups of every kind, and the loss that they enter.

The other formulas have theirs elsewhere: masks in test_r3l and test_packing; ratios, clips, shaping, divergences and
entropy in test_losses; aggregations in test_packing and test_learner; DAPO's penalty in test_dapo; HeRL's bonus in
test_herl; GiGPO's discount in test_gigpo. All of them are differentiated in test_gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from r3lbench.baseline import Baseline, PolicyLoss
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.gigpo import GiGPO
from r3lbench.baselines.herl import HeRL
from r3lbench.baselines.r3l import PRESETS, R3L
from r3lbench.baselines.reflect_grpo import ReflectGRPO
from r3lbench.registry import BASELINES
from r3lbench.tokens import Term
from tests.baselines.attempts import METHODS, REFLECTION, credited, paying

FAIL, SOLVE, ONE = (0.0,) * 4, (1.0,) * 4, (1.0, 0.0, 0.0, 0.0)
MIXED, EQUAL, LONE, BELOW = (0.5, 0.2, -0.1, -0.1), (0.4,) * 3, (0.7,), (-0.1,)
GROUPS = (FAIL, SOLVE, ONE, MIXED, EQUAL, LONE, BELOW)
"""All fail, all succeed, one succeeds, some are penalised, all are equal, one member, one member that is penalised."""

# ONE: mean .25, deviations .75, -.25; std = sqrt((.5625 + 3 * .0625) / 3) = .5.
# MIXED: mean .125, deviations .375, .075, -.225, -.225; std = sqrt(.2475 / 3) = .2872281.
Z = {
    FAIL: [0, 0, 0, 0],
    SOLVE: [0, 0, 0, 0],
    ONE: [1.5, -0.5, -0.5, -0.5],
    MIXED: [1.305582, 0.261116, -0.783349, -0.783349],
    EQUAL: [0, 0, 0],
    LONE: [0.7],
    BELOW: [-0.1],
}
CENTRED = {**Z, ONE: [0.75, -0.25, -0.25, -0.25], MIXED: [0.375, 0.075, -0.225, -0.225]}
KEPT: dict[tuple[float, ...], list[float]] = {
    FAIL: [], SOLVE: [1, 1, 1, 1], ONE: [1], MIXED: [1], EQUAL: [1, 1, 1], LONE: [1], BELOW: [],
}  # fmt: skip
# Amplified: alpha = 3 for what is solved, three times what is above the mean. A lone member is compared with itself.
AMPLIFIED = {
    FAIL: [0, 0, 0, 0],
    SOLVE: [3, 3, 3, 3],
    ONE: [3, -0.25, -0.25, -0.25],
    MIXED: [1.125, 0.225, -0.225, -0.225],
    EQUAL: [0, 0, 0],
    LONE: [0],
    BELOW: [0],
}
# Of MIXED's normalised deviations the best gets alpha, and the other above the mean 3 * .261116.
PAPER = {**AMPLIFIED, ONE: [3, -0.5, -0.5, -0.5], MIXED: [3, 0.783349, -0.783349, -0.783349]}
RELEASED = {**AMPLIFIED, SOLVE: [1, 1, 1, 1], ONE: [1, -0.25, -0.25, -0.25]}

Advantages = Mapping[tuple[float, ...], Sequence[float]]
UNREFLECTED: dict[str, tuple[Advantages, dict[str, Any]]] = {
    "critique_grpo": (CENTRED, {}),
    "dapo": (Z, {}),
    "erl": (Z, {"success": -1.0}),
    # One step each: its z-score is the episode's once more, in the one state that all share.
    "gigpo": ({**{group: [2 * value for value in of] for group, of in Z.items()}, LONE: [0.7], BELOW: [-0.1]}, {}),
    "grpo": (Z, {}),
    "gspo": (Z, {}),
    "herl": (Z, {"hindsight": False}),
    "opmd": ({group: [value / 2 for value in of] for group, of in CENTRED.items()}, {}),
    "r3l": (AMPLIFIED, {"reflection": "none"}),
    "raft": (KEPT, {}),
    "raft++": (KEPT, {}),
    "reflect_grpo": (Z, {"group_size": 2}),
}
"""What first attempts are credited with where nothing is tried again, and the settings that see to it."""


def weights(terms: Sequence[Term], *labels: str) -> list[float]:
    return [term.weight for term in terms if not labels or term.label in labels]


@pytest.mark.parametrize("returns", GROUPS, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_first_attempts_are_credited_as_worked_by_hand(name: str, returns: tuple[float, ...]) -> None:
    expected, settings = UNREFLECTED[name]
    size = {"group_size": len(returns) * settings.get("group_size", 1)}
    method = BASELINES.load(name)(**{**settings, **size})
    # Answers that nobody can read, so that nothing is tried again.
    _, group, terms = credited(method, paying(*returns) | {f"a{number}?0": [" "] for number in range(4)})
    assert group.retries == []
    assert [attempt.ret for attempt in group.attempts] == list(returns)
    assert weights(terms) == pytest.approx(expected[returns], abs=1e-5)
    assert [weight for weight, wanted in zip(weights(terms), expected[returns], strict=True) if not wanted] == [
        0 for wanted in expected[returns] if not wanted
    ]


@pytest.mark.parametrize(("preset", "expected"), [("author", AMPLIFIED), ("released", RELEASED), ("paper", PAPER)])
@pytest.mark.parametrize("returns", GROUPS, ids=str)
def test_every_reading_of_r3l_amplifies_as_worked_by_hand(
    preset: Any, expected: Advantages, returns: tuple[float, ...]
) -> None:
    method = R3L(preset=preset, group_size=len(returns), reflection="none")
    _, _, terms = credited(method, paying(*returns))
    assert weights(terms) == pytest.approx(expected[returns], abs=1e-5)
    assert set(PRESETS) == {"author", "released", "paper"}


@pytest.mark.parametrize("value", [hundredths / 100 for hundredths in range(-90, 100, 10)])
@pytest.mark.parametrize("size", [3, 6, 9, 12, 13])
def test_equal_returns_are_exactly_nothing_to_learn_from(value: float, size: int) -> None:
    # A rounded mean differs from them: fsum([.4] * 3) / 3 = .4000000000000001, and 1e-17 / 1e-6 is not 0.
    returns = [value] * size
    assert BASELINES.load("opmd")().advantages(returns) == [0.0] * size  # type: ignore[attr-defined]
    for preset in PRESETS:
        assert R3L(preset=preset).advantages(returns) == [0.0] * size  # type: ignore[arg-type]
    method = BASELINES.load("grpo")(group_size=size)
    assert weights(credited(method, paying(*returns))[2]) == [0.0] * size


# With reflections and what came of them

TRIED = {
    **paying(1, [0.2, 0.1], 0, 0.5),
    **{f"a{number}?0": [REFLECTION] for number in (1, 3)},
    "a2?0": ["nothing to be read"],
    "a1.r0": ["1 end"],
    "a2.r0": ["0 end"],
    "a3.r0": ["0.4", "0.5 end"],
}
"""First attempts return 1, .3, 0 and .5; tried again, the failures return 1, 0 and .9."""


def test_reflect_grpo_compares_attempts_and_retries() -> None:
    # Nothing asks for a retry of the third. 1, .3, 0, .5, 1 and .9 (a1.r0, a3.r0): mean 37/60 = .6166667; deviations
    # .3833333, -.3166667, -.6166667, -.1166667, .3833333, .2833333; squares sum to .8683333; std = sqrt(.1736667).
    replies = TRIED | {
        "a3?0": [REFLECTION.replace('"retry_from_step": 1', '"retry_from_step": 0')],
        "a1?0": [REFLECTION],
    }
    _, _, terms = credited(ReflectGRPO(group_size=8), replies)
    assert weights(terms, "base") == pytest.approx([0.919855, -0.759880, -1.479767, -0.279956], abs=1e-5)
    assert sorted(weights(terms, "distilled")) == pytest.approx([0.679890, 0.919855], abs=1e-5)


def test_erl_compares_first_attempts_rules_and_second_attempts_apart() -> None:
    _, group, terms = credited(ERL(group_size=4), TRIED)
    # 1, .3, 0, .5: mean .45; deviations .55, -.15, -.45, .05; squares sum to .53; std = sqrt(.53 / 3) = .4203173.
    assert weights(terms, "first") == pytest.approx([1.308532, -0.356872, -1.070617, 0.118957], abs=1e-5)
    # 1, 0, .9: mean 19/30; deviations 11/30, -19/30, 8/30; squares sum to 546/900; std = sqrt(273/900) = .5507571.
    seconds = {"a1": 0.665749, "a2": -1.149930, "a3": 0.484181}
    reflected = [attempt.key.rpartition("/")[2] for attempt, _ in group.reflections]
    assert weights(terms, "rules") == pytest.approx([seconds[key] for key in reflected], abs=1e-5)
    retried = [retry.key.rpartition("/")[2].partition(".")[0] for retry in group.retries]
    assert weights(terms, "second") == pytest.approx([seconds[key] for key in retried], abs=1e-5)
    assert sorted(weights(terms, "internalised")) == [0.9, 1.0]


def test_herl_compares_the_group_after_bonus_and_injection() -> None:
    replies = paying(0.1, 0.4, 0, 0.4) | {"a1.r0": ["0.9 end"], "a3.r0": ["0.3 end"]}
    _, _, terms = credited(HeRL(group_size=4, injection="lowest"), replies)
    # .1, .4 + .05 * .5 = .425, .9 in place of 0, .4 - .05 * .1 = .395: mean .455; deviations -.355, -.03, .445, -.06;
    # squares sum to .32855; std = sqrt(.32855 / 3) = .3309330.
    assert weights(terms) == pytest.approx([-1.072721, -0.090653, 1.344679, -0.181305], abs=1e-5)
    assert [term.label for term in terms] == ["draft", "draft", "revised", "draft"]


def test_gigpo_adds_what_steps_are_worth_where_the_same_was_seen() -> None:
    _, _, terms = credited(GiGPO(group_size=2, gamma=0.5), paying([0, 0, 1], [0.5, 0, 0]))
    # Returns 1 and .5: +-.7071. Behind the steps .25, .5, 1 and .5, 0, 0. The start, seen by both: -.7071 and .7071.
    # "Paid 0.", before the last two steps of the first and the last of the second: .5, 1, 0, hence 0, 1, -1.
    # "Paid 0.5." was seen once.
    expected = [0.0, 0.707107, 1.707107, 0.0, -0.707107, -1.707107]
    assert weights(terms) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("preset", "advantages"),
    # Returns 1, .3, 0, .5 and, from step 1 on, .2 + 1 = 1.2 and .5: mean 3.5 / 6 = .5833333.
    [
        ("author", [3, -0.283333, -0.583333, -0.083333, 3, -0.083333]),
        ("released", [1, -0.283333, -0.583333, -0.083333, 1, -0.083333]),
        # squares .1736111 + .0802778 + .3402778 + .0069444 + .3802778 + .0069444 = .9883333; std = sqrt(.1976667)
        # = .4445972. Only the group's best, 1.2, is solved here; the other above the mean is 3 * .9371779.
        ("paper", [2.811534, -0.637281, -1.312049, -0.187436, 3, -0.187436]),
    ],
)
def test_r3l_compares_attempts_and_retries_in_every_reading(preset: Any, advantages: list[float]) -> None:
    replies = paying(1, [0.2, 0.1], 0, [0.5, 0]) | {"a1?0": [REFLECTION], "a3?0": [REFLECTION]}
    replies |= {"a0?0": [" "], "a2?0": [" "], "a1.r0": ["1 end"], "a3.r0": ["0 end"]}
    _, group, terms = credited(R3L(group_size=8, preset=preset), replies)
    order = {retry.key.rpartition("/")[2]: place for place, retry in enumerate(group.retries)}
    assert weights(terms, "base") == pytest.approx(advantages[:4], abs=1e-5)
    distilled = weights(terms, "distilled")
    assert [distilled[order[key]] for key in ("a1.r0", "a3.r0")] == pytest.approx(advantages[4:], abs=1e-5)
    # Both of a pair are credited from step 1 on.
    assert [len(term.turns) for term in terms if term.label == "base"] == [1, 1, 1, 1]
    assert [len(term.turns) for term in terms if term.label == "distilled"] == [1, 1]


# The losses

CLIPPED = PolicyLoss(ratio="token", clip=(0.2, 0.2))
PLAIN = PolicyLoss(ratio=None, clip=None)
LOSSES = {
    "critique_grpo": PolicyLoss(ratio="token", clip=(0.2, 0.2), gamma=0.1),
    "dapo": PolicyLoss(ratio="token", clip=(0.2, 0.28)),
    "erl": PolicyLoss(ratio="token", clip=(0.2, 0.28), dual_clip=3.0, kl=0.001, aggregate="seq-mean-token-sum"),
    "gigpo": PolicyLoss(ratio="token", clip=(0.2, 0.2), kl=0.01),
    "grpo": PolicyLoss(ratio="token", clip=(0.2, 0.2), kl=0.01),
    "gspo": PolicyLoss(ratio="sequence", clip=(3e-4, 4e-4), kl=0.01, aggregate="seq-mean-token-mean"),
    "herl": PolicyLoss(ratio="token", clip=(0.2, 0.2), dual_clip=3.0, gamma=1.0),
    "opmd": PLAIN,
    "r3l": PLAIN,
    "raft": PLAIN,
    "raft++": CLIPPED,
    "reflect_grpo": PolicyLoss(ratio="token", clip=(0.2, 0.2), kl=0.01),
}
SIZES = {name: 4 if name == "erl" else 8 for name in LOSSES}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_loss_and_the_group_of_its_paper(name: str) -> None:
    method: Baseline = BASELINES.load(name)()
    assert method.loss == LOSSES[name]
    assert method.loss.kl_estimator == "k3" and method.loss.entropy == 0
    assert method.group_size == SIZES[name]
