"""The loop: explore, credit, learn, evaluate, record. It knows no method and no environment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from r3lbench.agent import Agent
from r3lbench.baseline import Baseline
from r3lbench.config import BudgetConfig, EvaluationConfig, PoolConfig, ReflectionConfig, SamplingConfig
from r3lbench.engines.engine import Sampling
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.env import TextEnv
from r3lbench.errors import R3LBenchError
from r3lbench.policies.loading import Policy
from r3lbench.recording import RunFolder
from r3lbench.reflection import Reflector
from r3lbench.registry import REFLECTORS
from r3lbench.rollout.evaluation import Score, evaluate, summary
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import EVALUATION, Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.tasks import Task, TaskPanel
from r3lbench.training import checkpoint, schedule
from r3lbench.training.learner import Learner, Optimiser
from r3lbench.training.report import explored

MOST_DRAWS = 10
"""A method may turn groups down; after this many times the wanted number the update goes on with what it has."""


class Progress(Protocol):
    """Who is told how a run goes."""

    def evaluating(self, update: int, mode: str, tasks: int) -> Callable[[], None]:
        """An evaluation begins; the result is called after each episode."""

    def evaluated(self, update: int, mode: str, means: dict[str, float]) -> None:
        """An evaluation has ended."""

    def updated(self, metrics: dict[str, Any], timings: dict[str, Any], spent: float) -> None:
        """An update has ended; ``spent`` is the share of the budget that is used up, in [0, 1]."""


@dataclass(frozen=True)
class Settings:
    """What the loop needs of a run's configuration.

    Attributes:
        seed: Of everything.
        tasks_per_update: Groups per update.
        checkpoint_every: Updates between checkpoints; one is also written before the first and after the last.
        sampling: How actions are drawn while exploring.
        reflection: How reflections are worded.
        budget: When to stop.
        evaluation: How to measure.
        pool: Where environments are played.
    """

    seed: int
    tasks_per_update: int
    checkpoint_every: int
    sampling: SamplingConfig
    reflection: ReflectionConfig
    budget: BudgetConfig
    evaluation: EvaluationConfig
    pool: PoolConfig


@dataclass
class Trainer:
    """Trains one policy with one method on one environment.

    Attributes:
        method: What to sample and credit.
        agent: Who plays.
        policy: Whose weights change.
        make_env: Makes an instance of the environment; see ``EnvPool``.
        settings: See ``Settings``.
        optimiser: AdamW's settings.
        folder: Where the run is recorded.
        progress: Who is told.
    """

    method: Baseline
    agent: Agent
    policy: Policy
    make_env: Callable[[], TextEnv]
    settings: Settings
    optimiser: Optimiser
    folder: RunFolder
    progress: Progress
    update: int = 0
    cursor: int = 0
    seconds: float = 0.0
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        """Build engine, learner and panels."""
        self.envs = EnvPool(self.make_env, **self.settings.pool.model_dump())
        with self.envs.borrow() as env:
            self.train_panel = env.panel(env.splits[0])
            split = self.settings.evaluation.split or env.splits[-1]
            self.test_panel = env.panel(env.resolve(f"{split}/0").split)
        limit = self.settings.evaluation.tasks
        self.test_tasks = list(self.test_panel)[:limit]
        self.engine = TransformersEngine(self.policy.model, context_limit=self.policy.context_limit)
        self.learner = Learner(self.policy.model, self.optimiser, self.method.loss)

    # The loop

    def run(self) -> dict[str, Any]:
        """Train until the budget is used up; returns the run's summary."""
        if not checkpoint.list_checkpoints(self.folder.checkpoints):
            self.folder.rewind({}, 0)
            self._evaluate()
            self._save()
        while (stop := self._spent()) is None:
            begun = self._progress()
            self._one_update()
            due = schedule.evaluation_is_due(self.settings.evaluation, self.update, begun, self._progress())
            if self._spent() is None and due:
                self._evaluate()
            if self.update % self.settings.checkpoint_every == 0 or self._spent() is not None:
                self._save()
        if not any(line["update"] == self.update for line in self.folder.evaluations()):
            self._evaluate()
        return self._result(stop)

    def resume(self) -> None:
        """Go back to the last checkpoint; begin anew when there is none.

        Raises:
            BadCheckpoint: The checkpoint is damaged.
        """
        saved = checkpoint.list_checkpoints(self.folder.checkpoints)
        if not saved:
            return
        self.update, state = checkpoint.load(saved[-1], self.policy.model, self.learner.optimizer)
        self.folder.rewind(state["offsets"], self.update)
        checkpoint.sweep(self.folder.checkpoints)
        self.cursor, self.seconds = int(state["cursor"]), float(state["seconds"])
        self.meter.load_json(state["meter"])
        self.method.load_state_dict(state["method"])
        self.engine.weights_changed()

    def _one_update(self) -> None:
        began = time.perf_counter()
        groups = asyncio.run(self._explore())
        explored_at = time.perf_counter()
        terms = [self.method.credit(group) for group in groups]
        learned = self.learner.step([term for of in terms for term in of])
        self.meter.add("train", trained_tokens=int(learned["model_tokens"]))
        self.engine.weights_changed()
        self.method.end_update(groups)
        self.update += 1
        learned_at = time.perf_counter()
        self.seconds += learned_at - began
        metrics = {
            "update": self.update,
            "tasks": [group.task.id for group in groups],
            "explore": explored(groups, terms),
            "learn": learned,
            "cost": self.meter.to_json(),
        }
        self.folder.append("metrics.jsonl", metrics)
        self.folder.write_groups(self.update, groups, terms)
        timings = {
            "update": self.update,
            "explore": explored_at - began,
            "learn": learned_at - explored_at,
            "record": time.perf_counter() - learned_at,
            "total": self.seconds,
        }
        self.folder.append("timings.jsonl", timings)
        self.progress.updated(metrics, timings, self._progress())

    async def _explore(self) -> list[Group]:
        rollout = self._rollout("attempt", self._sampling(self.settings.sampling.temperature))
        kept: list[Group] = []
        drawn: Counter[str] = Counter()
        wanted = self.settings.tasks_per_update
        for _ in range(MOST_DRAWS):
            groups = [Group(task, self._key(task, drawn), rollout) for task in self._next_tasks(wanted - len(kept))]
            await rollout.waves.gather(self.method.explore(group) for group in groups)
            kept += [group for group in groups if self.method.keep(group)]
            if len(kept) == wanted:
                break
        if not kept:
            raise R3LBenchError(
                f"{type(self.method).__name__} kept none of {MOST_DRAWS * wanted} groups: there is no signal to learn "
                "from; start from another policy"
            )
        return kept

    def _key(self, task: Task, drawn: Counter[str]) -> str:
        """A group's own key: a small panel gives a task more than once in an update, and each is to be played anew."""
        drawn[task.id] += 1
        key, times = f"u{self.update + 1}/{task.id}", drawn[task.id]
        return key if times == 1 else f"{key}+{times}"

    def _next_tasks(self, count: int) -> list[Task]:
        tasks = schedule.tasks_from(self.train_panel, self.settings.seed, self.cursor, count)
        self.cursor += count
        return tasks

    def _rollout(self, purpose: str, sampling: Sampling) -> Rollout:
        return Rollout(
            agent=self.agent,
            envs=self.envs,
            waves=Waves(self.engine, self.meter),
            template=self.policy.template,
            seed=self.settings.seed,
            sampling=sampling,
            meter=self.meter,
            reflectors=self.reflector,
            first_purpose=purpose,
        )

    def reflector(self, name: str) -> Reflector:
        """A reflector in the run's wording."""
        return REFLECTORS.load(name)(**self.settings.reflection.model_dump())

    def _sampling(self, temperature: float) -> Sampling:
        sampling = self.settings.sampling
        return Sampling(temperature=temperature, top_p=sampling.top_p, top_k=sampling.top_k)

    # Measuring

    def _evaluate(self) -> None:
        for mode in self.settings.evaluation.modes:
            temperature = self.settings.evaluation.temperature if mode == "sampled" else 0.0
            # Truncation belongs to exploring; evaluation samples the policy as it is.
            rollout = self._rollout(EVALUATION, Sampling(temperature=temperature))
            tick = self.progress.evaluating(self.update, mode, len(self.test_tasks))
            scores = asyncio.run(evaluate(rollout, self.test_tasks, mode, done=tick))
            self.engine.forget()
            self._record(mode, scores)
            self.progress.evaluated(self.update, mode, summary(scores))

    def _record(self, mode: str, scores: Sequence[Score]) -> None:
        for score in scores:
            self.folder.append("evaluation.jsonl", {"update": self.update, "mode": mode, **score.to_json()})

    def _result(self, stop: str) -> dict[str, Any]:
        lines = self.folder.evaluations()
        means: dict[str, dict[str, dict[str, float]]] = {}
        for when, update in (("before", 0), ("after", self.update)):
            for mode in self.settings.evaluation.modes:
                chosen = [line for line in lines if line["update"] == update and line["mode"] == mode]
                means.setdefault(when, {})[mode] = summary([_score_of(line) for line in chosen])
        return {
            "stopped_by": stop,
            "updates": self.update,
            "evaluation": means,
            "cost": self.meter.to_json(),
            "seconds": self.seconds,
        }

    def _shares(self) -> dict[str, float]:
        limits = self.settings.budget
        return schedule.shares(limits, updates=self.update, meter=self.meter, seconds=self.seconds)

    def _progress(self) -> float:
        return schedule.progress(self._shares())

    def _spent(self) -> str | None:
        return schedule.exhausted(self._shares())

    def _save(self) -> None:
        state = {
            "cursor": self.cursor,
            "seconds": self.seconds,
            "meter": self.meter.to_json(),
            "method": self.method.state_dict(),
            "offsets": self.folder.offsets(),
        }
        checkpoint.save(self.folder.checkpoints, self.update, self.policy.model, self.learner.optimizer, state)

    @property
    def panels(self) -> dict[str, TaskPanel]:
        """The panels trained and measured on."""
        return {"train": self.train_panel, "evaluation": self.test_panel}


def _score_of(line: dict[str, Any]) -> Score:
    return Score(line["task"], line["return"], line["score"], line["success"], line["steps"], line["invalid"])
