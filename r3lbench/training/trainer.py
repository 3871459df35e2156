"""The loop: explore, credit, learn, evaluate, record. It knows no method and no environment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from r3lbench.agent import Agent
from r3lbench.baseline import Baseline
from r3lbench.config import BudgetConfig, EvaluationConfig, PoolConfig, ReflectionConfig, SamplingConfig
from r3lbench.engines.engine import Sampling
from r3lbench.engines.making import make_engine
from r3lbench.engines.settings import EngineConfig
from r3lbench.env import TextEnv
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.phases import Phases, from_json, phase, to_json
from r3lbench.policies.loading import Policy
from r3lbench.recording import RunFolder, group_json
from r3lbench.reflection import Reflector
from r3lbench.registry import REFLECTORS
from r3lbench.rollout.continuous import Continuous
from r3lbench.rollout.evaluation import Score, evaluate, summary
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import EVALUATION, Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.scaling import MemoryConfig
from r3lbench.tasks import Task, TaskPanel
from r3lbench.tokens import Term
from r3lbench.training import checkpoint, schedule
from r3lbench.training.learner import Learner, Optimiser
from r3lbench.training.ranks import Ranks
from r3lbench.training.report import facts_of, report_on

MOST_DRAWS = 10
"""A method may turn groups down; after this many times the wanted number the update goes on with what it has."""
_SCHEDULES = {"waves": Waves, "continuous": Continuous}
Told = tuple[int, dict[str, Any], dict[str, Any]]
"""A group as other processes are told of it: its place, the facts for the report, what is recorded."""


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
        schedule: How episodes share the model; see ``RolloutConfig``.
        reflection: How reflections are worded.
        budget: When to stop.
        evaluation: How to measure.
        pool: Where environments are played.
    """

    seed: int
    tasks_per_update: int
    checkpoint_every: int
    sampling: SamplingConfig
    schedule: str
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
        memory: What is computed again or in parts.
        sampler: Which engine samples.
        ranks: The processes that share the work. All go through the same updates; the first one alone writes.
        phases: What measures this process.
    """

    method: Baseline
    agent: Agent
    policy: Policy
    make_env: Callable[[], TextEnv]
    settings: Settings
    optimiser: Optimiser
    folder: RunFolder
    progress: Progress
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    sampler: EngineConfig = field(default_factory=EngineConfig)
    ranks: Ranks = field(default_factory=Ranks)
    phases: Phases = field(default_factory=Phases)
    update: int = 0
    cursor: int = 0
    seconds: float = 0.0
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        """Build engine, learner and panels.

        Raises:
            BadConfig: The method learns from all groups at once, and they are spread over several processes.
        """
        if self.ranks.count > 1 and type(self.method).end_update is not Baseline.end_update:
            raise BadConfig(
                f"{type(self.method).__name__} learns from all groups of an update together, which several processes "
                "do not share; run it in one"
            )
        self.envs = EnvPool(self.make_env, **self.settings.pool.model_dump())
        with self.envs.borrow() as env:
            self.train_panel = env.panel(env.splits[0])
            split = self.settings.evaluation.split or env.splits[-1]
            self.test_panel = env.panel(env.resolve(f"{split}/0").split)
        limit = self.settings.evaluation.tasks
        self.test_tasks = list(self.test_panel)[:limit]
        self.engine = make_engine(
            self.sampler,
            self.policy.model,
            context_limit=self.policy.context_limit,
            memory=self.memory,
            processes=self.ranks.count,
        )
        self.learner = Learner(
            self.policy.model,
            self.optimiser,
            self.method.loss,
            memory=self.memory,
            ranks=self.ranks,
            engine=self.sampler,
        )

    # The loop

    def run(self) -> dict[str, Any]:
        """Train until the budget is used up; returns the run's summary, or nothing where this process does not lead."""
        if self._saved() is None:
            if self.ranks.leads:
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
        if not self._told(any(line["update"] == self.update for line in self.folder.evaluations())):
            self._evaluate()
        return self._result(stop) if self.ranks.leads else {}

    def resume(self) -> None:
        """Go back to the last checkpoint; begin anew when there is none.

        Raises:
            BadCheckpoint: The checkpoint is damaged.
        """
        saved = self._saved()
        if saved is None:
            return
        self.update, state = checkpoint.load(saved, self.learner.model, self.learner.optimizer, self.ranks)
        self.learner.publish()
        if self.ranks.leads:
            self.folder.rewind(state["offsets"], self.update)
            checkpoint.sweep(self.folder.checkpoints)
        self.cursor, self.seconds = int(state["cursor"]), float(state["seconds"])
        self.meter.load_json(state["meter"])
        self.phases.add(from_json(state.get("phases", {})))
        self.method.load_state_dict(state["method"])
        self.engine.weights_changed()

    def _one_update(self) -> None:
        began = time.perf_counter()
        before = self.meter.to_json()
        with phase("explore"):
            kept = asyncio.run(self._explore())
        explored_at = time.perf_counter()
        with phase("learn"):
            terms, learned = self._learn([group for _, group in kept])
            everyones = self._everyones(kept, terms)
            self._settle(before)
        learned_at = time.perf_counter()
        self.seconds += self._told(learned_at - began)
        metrics = {
            "update": self.update,
            "tasks": [group["task"] for _, _, group in everyones],
            "explore": report_on([facts for _, facts, _ in everyones]),
            "learn": learned,
            "cost": self.meter.to_json(),
        }
        with phase("record"):
            if self.ranks.leads:
                self.folder.append("metrics.jsonl", metrics)
                self.folder.write_groups(self.update, [group for _, _, group in everyones])
        timings = {
            "update": self.update,
            "explore": explored_at - began,
            "learn": learned_at - explored_at,
            "record": time.perf_counter() - learned_at,
            "total": self.seconds,
            "phases": to_json(self.phases.lap()),
        }
        if self.ranks.leads:
            self.folder.append("timings.jsonl", timings)
        self.progress.updated(metrics, timings, self._progress())

    def _learn(self, groups: list[Group]) -> tuple[list[list[Term]], dict[str, Any]]:
        """Train on groups; returns the terms of each, and what the learner says."""
        with phase("credit"):
            terms = [list(self.method.credit(group)) for group in groups]
        learned = self.learner.step([term for of in terms for term in of])
        if self.ranks.leads:
            self.meter.add("train", trained_tokens=int(learned["model_tokens"]))
        self.engine.weights_changed()
        self.method.end_update(groups)
        self.update += 1
        return terms, learned

    def _everyones(self, kept: list[tuple[int, Group]], terms: list[list[Term]]) -> list[Told]:
        """The groups of all processes, as they are recorded."""
        with phase("gather"):
            told = [
                (place, facts_of(group, of), group_json(group, of))
                for (place, group), of in zip(kept, terms, strict=True)
            ]
            return sorted((item for share in self.ranks.gather(told) for item in share), key=lambda item: item[0])

    async def _explore(self) -> list[tuple[int, Group]]:
        """The groups that this process has explored and keeps, each with its place among those of all processes."""
        rollout = self._rollout("attempt", self._sampling(self.settings.sampling.temperature))
        kept: list[tuple[int, Group]] = []
        drawn: Counter[str] = Counter()
        wanted, count = self.settings.tasks_per_update, 0
        for _ in range(MOST_DRAWS):
            tasks = self._next_tasks(wanted - count)
            keyed = [(drawn.total() + 1, task, self._key(task, drawn)) for task in tasks]
            groups = [(place, Group(task, key, rollout)) for place, task, key in self.ranks.own(keyed)]
            await rollout.waves.gather(self.method.explore(group) for _, group in groups)
            kept += [(place, group) for place, group in groups if self.method.keep(group)]
            count = sum(self.ranks.gather(len(kept)))
            if count == wanted:
                break
        if not count:
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
            waves=_SCHEDULES[self.settings.schedule](self.engine, self.meter),
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
        with phase("evaluate"):
            for mode in self.settings.evaluation.modes:
                self._evaluate_in(mode)

    def _evaluate_in(self, mode: str) -> None:
        temperature = self.settings.evaluation.temperature if mode == "sampled" else 0.0
        # Truncation belongs to exploring; evaluation samples the policy as it is.
        rollout = self._rollout(EVALUATION, Sampling(temperature=temperature))
        tasks = self.ranks.own(self.test_tasks)
        tick = self.progress.evaluating(self.update, mode, len(tasks))
        before = self.meter.to_json()
        scores = asyncio.run(evaluate(rollout, tasks, mode, done=tick))
        self.engine.forget()
        lines = self.ranks.merge(self.ranks.gather([score.to_json() for score in scores]))
        self._settle(before)
        if self.ranks.leads:
            for line in lines:
                self.folder.append("evaluation.jsonl", {"update": self.update, "mode": mode, **line})
        self.progress.evaluated(self.update, mode, summary([_score_of(line) for line in lines]))

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

    def _settle(self, before: dict[str, dict[str, int]]) -> None:
        """Count what all processes have spent since their meters were equal."""
        if self.ranks.count == 1:
            return
        spent = self.ranks.gather(self.meter.to_json())
        self.meter.load_json(before)
        for of in spent:
            for purpose, amounts in of.items():
                earlier = before.get(purpose, {})
                self.meter.add(purpose, **{name: amount - earlier.get(name, 0) for name, amount in amounts.items()})

    def _told(self, value: Any) -> Any:
        """What the leading process says."""
        return self.ranks.gather(value)[0]

    def _saved(self) -> Path | None:
        saved = self._told([str(path) for path in checkpoint.list_checkpoints(self.folder.checkpoints)][-1:])
        return Path(saved[0]) if saved else None

    def _save(self) -> None:
        with phase("checkpoint"):
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        state = {
            "cursor": self.cursor,
            "seconds": self.seconds,
            "meter": self.meter.to_json(),
            "phases": to_json(self.phases.spent),
            "method": self.method.state_dict(),
            "offsets": self.folder.offsets(),
        }
        kept = self.learner.model, self.learner.optimizer
        checkpoint.save(self.folder.checkpoints, self.update, *kept, state, self.ranks)

    @property
    def panels(self) -> dict[str, TaskPanel]:
        """The panels trained and measured on."""
        return {"train": self.train_panel, "evaluation": self.test_panel}


def _score_of(line: dict[str, Any]) -> Score:
    return Score(line["task"], line["return"], line["score"], line["success"], line["steps"], line["invalid"])
