"""States are reached again, and worth what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from r3lbench import Outcome, Task, TaskPanel, TextEnv
from r3lbench.agents.chat import ChatAgent
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.grpo import GRPO
from r3lbench.baselines.r3l import R3L
from r3lbench.engines.engine import Request
from r3lbench.errors import R3LBenchError, SnapshotDiverged
from r3lbench.rollout.pool import EnvPool
from r3lbench.traces import RecordedGroup
from r3lbench.valuing import BestValues, PolicyValues, Value, choose, visit
from tests.corridor import DAWDLE, by_r3l, corridor, recorded, tried
from tests.stage import EXPERT, Drifting, Ledger, Replayed, Stage, encode, play, read, report, stage
from tests.toy import Toy


def test_exact_values_are_the_environments_own_and_asked_for_once() -> None:
    asked: list[tuple[str, ...]] = []

    class Counted(Toy):
        def value(self) -> float:
            asked.append(self.actions)
            return super().value()

    group = tried(GRPO(group_size=3), {"a0": DAWDLE, "a1": DAWDLE, "a2": EXPERT})[2]
    values = BestValues(EnvPool(lambda: Counted(rooms=3, max_steps=6)), Value.EXACT)(group)
    for attempt, expected in zip(group.attempts, ([1, 1, *[0.5] * 5], [1, 1, *[0.5] * 5], [1] * 5), strict=True):
        assert [values[state] for state in group.path(attempt.leaf)] == expected
    # The two that do the same go through the same states.
    assert len(asked) == len(set(asked)) == 7 + 4


def test_the_expert_plays_on_from_each_state_and_is_not_asked_twice() -> None:
    asked: list[tuple[str, ...]] = []

    class Counted(Toy):
        def expert_action(self) -> str | None:
            asked.append(self.actions)
            return super().expert_action()

    group = by_r3l()
    values = BestValues(EnvPool(lambda: Counted(rooms=3, max_steps=6)), Value.EXPERT)(group)
    assert values == BestValues(EnvPool(corridor), Value.EXACT)(group)
    assert len(asked) == len(set(asked))


def test_what_is_known_of_one_task_is_not_taken_for_another() -> None:
    method, groups = GRPO(group_size=1), []
    for task in ("train/0", "train/1"):
        group = stage({"a0": DAWDLE}).group(f"u1/{task}")
        play(method.explore(group))
        groups.append(recorded(group, method))
    together, apart = BestValues(EnvPool(corridor), Value.EXACT), BestValues(EnvPool(corridor), Value.EXACT)
    values = [together(group) for group in groups]
    assert values[0] != values[1] == apart(groups[1])


@pytest.mark.parametrize("make", [corridor, lambda: Replayed(rooms=3, max_steps=6)])
def test_every_state_is_visited_as_it_was(make: Any) -> None:
    group = by_r3l()
    env = make()
    visited = []
    for state in visit(env, group):
        assert env.digest() == group.states[state].digest
        visited.append(state)
        if not env.done:
            env.step("sing")  # who visits may go elsewhere
    assert sorted(visited) == list(range(len(group.states)))


def test_a_state_that_looks_different_is_an_error() -> None:
    group = by_r3l()
    with pytest.raises(SnapshotDiverged, match="u1/train/0: after 2 recorded actions Toy-v0 looks different"):
        BestValues(EnvPool(lambda: Toy(rooms=4, max_steps=6)), Value.EXACT)(group)
    with pytest.raises(SnapshotDiverged, match="looks different"):
        BestValues(EnvPool(lambda: Drifting(rooms=3, max_steps=6)), Value.EXACT)(group)
    # The record goes on where the episode ends.
    leaf = group.attempts[-1].leaf
    told = group.model_dump()
    told["states"] = (*told["states"], {**told["states"][1], "id": len(group.states), "parent": leaf})
    with pytest.raises(SnapshotDiverged, match="after 7 recorded actions"):
        list(visit(corridor(), RecordedGroup.model_validate(told)))


def test_what_an_environment_does_not_offer_is_refused() -> None:
    assert choose(corridor(), "train/0") is Value.EXACT
    assert choose(corridor(), "train/0", Value.POLICY) is Value.POLICY

    class Guided(Toy):
        def value(self) -> None:  # type: ignore[override]
            return None

    assert choose(Guided(rooms=3), "train/0") is Value.EXPERT
    with pytest.raises(R3LBenchError, match="does not offer it; it can be expert, policy"):
        choose(Guided(rooms=3), "train/0", Value.EXACT)
    with pytest.raises(R3LBenchError, match="give --value policy"):
        choose(Ledger(), "train/0")


# Values of a policy


class Coins(TextEnv):
    """Two coins are called; the task is solved if both calls are ``wait``."""

    name = "Coins-v0"

    def __init__(self, *, max_steps: int = 2, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    def panel(self, split: str) -> TaskPanel:
        return TaskPanel(self.name, split, ["only"])

    def start(self, task: Task) -> str:
        self.called: tuple[str, ...] = ()
        return "Call."

    def act(self, action: str) -> Outcome:
        self.called += (action,)
        return Outcome("Called.", reward=float(self.success()))

    def score(self) -> float:
        return float(self.success())

    def success(self) -> bool:
        return self.called == ("wait", "wait")


def tosses(request: Request) -> list[int]:
    """``wait`` with probability 1/2."""
    return encode("wait" if np.random.default_rng(request.seed).random() < 0.5 else "go")


def tossed(rollouts: int, lines: dict[str, Sequence[str]]) -> tuple[RecordedGroup, list[float | None], Stage]:
    group = tried(GRPO(group_size=len(lines)), lines, make_env=Coins)[2]
    at = stage(tosses, make_env=Coins)
    return group, list(PolicyValues(at.rollout, rollouts)(group)), at


def test_the_value_of_a_policy_is_its_mean_return() -> None:
    group, values, at = tossed(400, {"a0": ["wait", "go"], "a1": ["go", "wait"], "a2": ["wait", "wait"]})
    first, second, third = ([values[state] for state in group.path(attempt.leaf)] for attempt in group.attempts)
    # Four standard errors of a mean of 400 tosses are .1 at most.
    assert first == pytest.approx([0.25, 0.5, 0.0], abs=0.1)
    assert second == pytest.approx([0.25, 0.0, 0.0], abs=0.1)
    assert third == pytest.approx([0.25, 0.5, 1.0], abs=0.1)
    # What was said after one and the same beginning counts once: the start, and the two first calls.
    assert first[:2] == third[:2] and second[0] == first[0] and second[1:] == [0.0, 0.0]
    assert at.meter.counts["retry"]["env_steps"] == 400 * (2 + 1 + 1)


def test_other_words_for_the_same_action_are_another_state_to_a_policy() -> None:
    group, _, at = tossed(3, {"a0": ["wait", "go"], "a1": ["wait ", "go"]})
    assert [group.states[attempt.leaf].action for attempt in group.attempts] == ["go", "go"]
    assert {state.action for state in group.states[1:]} == {"wait", "go"}
    assert at.meter.counts["retry"]["env_steps"] == 3 * (2 + 1 + 1)


def test_values_of_a_policy_are_drawn_from_the_runs_seed() -> None:
    lines = {"a0": ["wait", "go"], "a1": ["go", "wait"]}
    group, values, _ = tossed(50, lines)
    assert values == tossed(50, lines)[1]
    assert values != PolicyValues(stage(tosses, make_env=Coins, seed=1).rollout, 50)(group)


@pytest.mark.parametrize("rules", [False, True])
def test_a_policy_goes_on_in_the_unguided_conversation(rules: bool) -> None:
    replies = {"a0": DAWDLE, "a0?0": ["<prompt>BEWARE</prompt>"], "a0.r0": EXPERT}
    agent = ChatAgent(rules=rules)
    for method in (ERL(group_size=1), R3L(group_size=2)):
        told = replies | ({"a0?0": [report(2, plan="BEWARE")]} if isinstance(method, R3L) else {})
        _, group, past = tried(method, told, agent)
        assert any("BEWARE" in read(group, attempt.turns[-1].node) for attempt in group.retries)
        seen = stage({}, agent=agent)
        values = PolicyValues(seen.rollout, 1)(past)
        asked = {request.token_ids for wave in seen.waves for request in wave}
        assert not any("BEWARE" in str(seen.rollout.template and seen.rollout.template.decode(one)) for one in asked)
        # Every prompt of a first attempt is met again, token by token.
        first = group.bases[0]
        assert {tuple(group.forest.token_ids(turn.prompt_node)) for turn in first.turns} <= asked
        assert [values[attempt.leaf] for attempt in past.attempts] == [attempt.ret for attempt in group.attempts]


def test_states_behind_a_full_context_have_no_value() -> None:
    group = tried(GRPO(group_size=1), {"a0": DAWDLE})[2]
    values = PolicyValues(stage({}, context_limit=120).rollout, 1)(group)
    known = [values[state] is not None for state in group.path(group.attempts[0].leaf)]
    assert known[0] and not all(known) and known[-1]
