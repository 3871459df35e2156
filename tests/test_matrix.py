"""Every method on every environment: an update of each, retries from restored states, and a whole run.

A class for each environment, so that what takes long to start is started once, and classes can be tested side by side.
"""

from __future__ import annotations

import copy
import gzip
import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from r3lbench import config as configuration
from r3lbench.agents.chat import ChatAgent
from r3lbench.baseline import Baseline
from r3lbench.baselines.r3l import R3L
from r3lbench.baselines.reflect_grpo import ReflectGRPO
from r3lbench.engines.engine import Sampling
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.errors import MissingExtra
from r3lbench.policies.loading import Policy, find_policy, load_policy
from r3lbench.registry import BASELINES, REFLECTORS
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.rollout.workers import EnvSource
from r3lbench.run import RunConfig, main, parse
from r3lbench.training.learner import Learner
from tests.baselines.attempts import METHODS, shipped
from tests.stage import Stage, play, read, report, stage

STEPS = 4
"""Longest episode, but in the whole run."""
NONSENSE = "sing a song"


@dataclass
class Place:
    """An environment with the policy that comes with it, and the first actions of its expert at a task."""

    config: RunConfig
    policy: Policy
    pool: EnvPool
    task: str
    plan: list[str]

    def rollout(self, model: Any) -> Rollout:
        """As in a run, with costs of its own."""
        meter = Meter()
        return Rollout(
            agent=self.config.agent,
            envs=self.pool,
            waves=Waves(TransformersEngine(model, context_limit=self.policy.context_limit), meter),
            template=self.policy.template,
            seed=0,
            sampling=Sampling(),
            meter=meter,
            reflectors=lambda name: REFLECTORS.load(name)(**self.config.reflection.model_dump()),
        )

    def scripted(self, method: Baseline, replies: dict[str, list[str]]) -> tuple[Stage, Group]:
        """A group on the task, with a script in the model's place, and the stage it was explored on."""
        at = stage(replies, agent=ChatAgent(max_tokens=4096))
        at.rollout.envs = self.pool
        group = at.group(f"u1/{self.task}")
        play(method.explore(group))
        return at, group


@pytest.fixture(scope="class")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The environment of a class."""
    name = request.cls.env
    try:
        config = parse(["--env", name, "--env.max-steps", str(STEPS)])
        pool = EnvPool(EnvSource.of(name, configuration.options_of(config.env)), **config.pool.model_dump())
        with pool.borrow() as env:
            task, plan = env.panel(env.splits[0])[0].id, []
            env.reset(options={"task": task})
            while not env.done and len(plan) < STEPS - 1:
                plan.append(env.expert_action() or NONSENSE)
                env.step(plan[-1])
    except MissingExtra as missing:
        pytest.skip(str(missing))
    with closing(pool):
        yield Place(config, load_policy(find_policy("tiny", name)), pool, task, plan)


def drawn(group: Group, nodes: list[int | None]) -> int:
    """Number of tokens that were sampled at some nodes."""
    return sum(len(group.forest.nodes[node].segment.token_ids) for node in nodes if node is not None)


class Matrix:
    """The tests of one environment."""

    env: ClassVar[str]
    groups: ClassVar[int] = 4
    """Groups of the whole run, enough for one with a success."""

    @pytest.mark.parametrize("name", METHODS)
    def test_an_update_learns_from_what_there_is_and_counts_what_it_cost(self, place: Place, name: str) -> None:
        model, method = copy.deepcopy(place.policy.model), BASELINES.load(name)(group_size=4)
        rollout = place.rollout(model)
        with place.pool.borrow() as env:
            group = Group(env.resolve(place.task), f"u1/{place.task}", rollout)
        play(method.explore(group))
        terms = method.credit(group)
        learned = Learner(model, place.config.optimiser, method.loss).step(terms)

        assert terms or max(attempt.ret for attempt in group.attempts) <= 0
        assert all(math.isfinite(value) for value in learned.values() if isinstance(value, int | float))
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
        if any(term.weight for term in terms if term.tokens):
            assert learned["grad_norm"] > 0 and learned["trained_tokens"] > 0

        turns = {
            "attempt": [turn.node for attempt in group.bases for turn in attempt.turns],
            "retry": [turn.node for retry in group.retries for turn in retry.turns[retry.pivot :]],
            "reflect": [turn for _, said in group.reflections if said.sample is not None for turn in said.sample.turns],
        }
        counts = rollout.meter.counts
        assert set(counts) == {purpose for purpose, nodes in turns.items() if nodes}
        for purpose, nodes in turns.items():
            assert counts[purpose]["generated_tokens"] == drawn(group, nodes)
        assert counts["attempt"]["env_steps"] == len(turns["attempt"])
        assert counts["retry"]["env_steps"] == len(turns["retry"])

    def test_reflect_grpo_retries_from_the_restored_start(self, place: Place) -> None:
        # A failure that is tried again, and a first attempt that does from the start what the retry does.
        replies = {"a0": [NONSENSE] * STEPS, "a0?0": [report(0)], "a0.r0": place.plan, "a1": place.plan}
        _, group = place.scripted(ReflectGRPO(group_size=4), replies)
        (retry,) = group.retries
        assert (retry.base, retry.pivot, retry.diverged) == (group.bases[0], 0, False)
        told = read(group, retry.turns[0].prompt_node)
        assert "PLAN" in told and group.bases[0].trajectory.observations[0] in told
        self.assert_same(retry, group.bases[1])

    def test_r3l_retries_from_the_restored_failure(self, place: Place) -> None:
        k = len(place.plan) - 1
        replies = {
            "a0": [*place.plan[:k], *[NONSENSE] * STEPS],
            "a0?0": [report(k)],
            "a0.r0": place.plan[k:],
            "a1": place.plan,
        }
        at, group = place.scripted(R3L(group_size=4), replies)
        retry = next(retry for retry in group.retries if retry.base is group.bases[0])
        assert (retry.pivot, retry.diverged) == (k, False)
        assert retry.turns[:k] == group.bases[0].turns[:k]
        assert at.meter.counts["retry"]["env_steps"] == sum(again.steps - again.pivot for again in group.retries)
        self.assert_same(retry, group.bases[1])

    def assert_same(self, retry: Any, attempt: Any) -> None:
        """As far as an agent can see, both went the same way."""
        for one, other in zip(retry.trajectory.states, attempt.trajectory.states, strict=True):
            assert one.snapshot.digest == other.snapshot.digest
            assert (one.action, one.valid, one.terminated) == (other.action, other.valid, other.terminated)
            assert one.reward == pytest.approx(other.reward)

    def test_a_whole_run_explores_learns_and_counts(self, place: Place, tmp_path: Path) -> None:
        out = tmp_path / "run"
        flags = ["--tasks-per-update", str(self.groups), "--budget.updates", "1", "--evaluation.tasks", "4"]
        asked = ["--method", "r3l", "--method.group-size", "4", "--env", self.env, "--out", str(out), "--quiet"]
        assert main([*asked, *flags]) == 0
        (metrics,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        explore, learn = metrics["explore"], metrics["learn"]
        assert explore["groups"] == self.groups and explore["attempts"] >= 8
        assert metrics["cost"]["attempt"]["env_steps"] >= 8 and metrics["cost"]["attempt"]["generated_tokens"] > 8
        with gzip.open(out / "trees" / "u000001.jsonl.gz", "rt", encoding="utf-8") as recorded:
            weights = [term["weight"] for line in recorded for term in json.loads(line)["terms"]]
        assert any(weights), "nothing to learn from in any group"
        assert learn["trained_tokens"] > 0 and learn["grad_norm"] > 0 and math.isfinite(learn["loss"])
        result = json.loads((out / "result.json").read_text())
        assert result["evaluation"]["after"]["sampled"]["tasks"] == 4


class TestALFWorld(Matrix):
    env, groups = "alfworld", 8


class TestCountdown(Matrix):
    env = "countdown"


class TestFrozenLake(Matrix):
    env = "frozenlake"


class TestHotpotQA(Matrix):
    env = "hotpotqa"


class TestInstruct(Matrix):
    env = "instruct"


class TestMath(Matrix):
    env = "math"


class TestRubricJudge(Matrix):
    env = "rubric_judge"


class TestScienceWorld(Matrix):
    env = "scienceworld"


class TestSokoban(Matrix):
    env = "sokoban"


class TestTextWorld(Matrix):
    env = "textworld"


class TestWebShop(Matrix):
    env = "webshop"


def test_every_environment_is_in_the_matrix() -> None:
    assert sorted(one.env for one in Matrix.__subclasses__()) == shipped("environments")
