"""``python -m r3lbench.warmstart --config RECIPE``: make a tiny policy for an environment, from nothing.

Demonstrators play, the environment diagnoses, and a small Llama imitates play, reports and guided retries (see
``policies.lessons``). In later rounds the policy's own episodes are diagnosed, too, so that it can reflect on the
failures it really has. The result is a Hugging Face folder with a card that says how it was made and what it can do.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.engines.engine import Sampling
from r3lbench.engines.template import ChatTemplate
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.env import Diagnosis, TextEnv
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.files import write_atomic
from r3lbench.plugin import Plugin
from r3lbench.policies.exam import examine, marks
from r3lbench.policies.imitation import ImitationConfig, WeightedSequence, imitate
from r3lbench.policies.lessons import Played, Teacher, report_of
from r3lbench.policies.loading import CARD
from r3lbench.policies.tiny import TinyConfig, build_model, warm_up_copying
from r3lbench.policies.tokenizer import build_tokenizer
from r3lbench.recording import provenance
from r3lbench.reflection import SUCCESS, Reflector
from r3lbench.registry import AGENTS, REFLECTORS, make
from r3lbench.rollout.evaluation import evaluate, summary
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.tasks import Task

PROG = "r3lbench warmstart"


class CutsConfig(Plugin):
    """How the environment's text is cut into tokens; see ``policies.tokenizer``."""

    joints: tuple[str, ...] = ()
    """Literal texts that frame values on pages, in actions, reports and plans."""
    identifiers: str | None = None
    """Pattern of the pieces of identifiers."""
    min_count: int = Field(3, ge=1)
    """Words seen less often are spelled."""


class LessonsConfig(Plugin):
    """How much is taught. Episodes are drawn from the training tasks, with repetition."""

    demonstrations: int = Field(4000, ge=1)
    """Episodes of demonstrators to imitate."""
    reflections: int = Field(2000, ge=0)
    """Further episodes of demonstrators to reflect on and to retry."""
    rounds: int = Field(2, ge=0)
    """Rounds on the policy's own episodes."""
    own_episodes: int = Field(1024, ge=1)
    """Episodes of the policy per round."""
    flawless: float = Field(0.25, ge=0, le=1)
    """Share of the flawless episodes that are reflected on, too: a policy must also learn to say that all was well."""
    read_weight: float = Field(0.1, ge=0)
    """Loss weight of tokens that the policy only reads."""


class WarmStartConfig(Strict):
    """Settings of a warm start."""

    env: Any = None
    seed: int = Field(0, ge=0)
    """Of everything."""
    out: str = "runs/tiny"
    """Folder of the policy; must not exist."""
    cuts: CutsConfig = CutsConfig()
    shape: TinyConfig = TinyConfig()
    lessons: LessonsConfig = LessonsConfig()
    copying_steps: int = Field(80, ge=0)
    """Optimiser steps of the copy warm-up."""
    imitation: ImitationConfig = ImitationConfig(steps=3000)
    again: ImitationConfig = ImitationConfig(steps=1000, learning_rate=1e-3)
    """Imitation in each round on the policy's own episodes."""
    evaluation_tasks: int = Field(128, ge=1)
    """Held-out tasks on which the result is measured."""
    quick: bool = False
    """A usable policy in a few minutes: less of everything."""
    threads: int = Field(1, ge=0)
    """CPU threads; 0: PyTorch's choice."""
    quiet: bool = False
    """Print nothing but errors."""


QUICK: dict[str, Any] = {
    "lessons": LessonsConfig(demonstrations=2500, reflections=800, rounds=1, own_episodes=512),
    "imitation": ImitationConfig(steps=900),
    "again": ImitationConfig(steps=250, learning_rate=1e-3),
}
"""What ``--quick`` means."""


class WarmStart:
    """A warm start in progress.

    Args:
        config: Its settings.
    """

    def __init__(self, config: WarmStartConfig) -> None:
        self.config = config
        self.console = make_console(quiet=config.quiet)
        self.make_env = partial(make, config.env.name, **configuration.options_of(config.env))
        self.env: TextEnv = self.make_env()
        self.agent: Agent = AGENTS.load("chat")()
        self.reflector: Reflector = REFLECTORS.load("report")(style="compact")
        self.teacher = Teacher(self.env, self.agent, self.reflector, config.lessons.read_weight)
        self.rng = np.random.default_rng(config.seed)
        self.tasks = self.env.panel(self.env.splits[0])
        self.held_out = self.env.panel(self.env.splits[-1])
        self.longest_report = 0
        self.log: list[dict[str, Any]] = []
        self._demonstrators = self.env.demonstrators()
        if not self._demonstrators:
            raise BadConfig(f"{self.env.name} has no demonstrators to learn from")
        weights = np.array([demonstrator.weight for demonstrator in self._demonstrators])
        self._shares = weights / weights.sum()

    def run(self) -> dict[str, Any]:
        """Make the policy; returns its card."""
        config, lessons = self.config, self.config.lessons
        started = time.process_time()
        played = [self._demonstration() for _ in range(lessons.demonstrations)]
        judged = list(islice(self._judged(self._demonstrations_for_ever()), lessons.reflections))
        texts = [text for one in played for text in self.teacher.texts(one)]
        texts += [text for one, diagnosis in judged for text in (*self.teacher.texts(one), report_of(diagnosis))]
        cuts = config.cuts
        tokenizer = build_tokenizer(
            texts,
            joints=cuts.joints,
            identifiers=cuts.identifiers,
            min_count=cuts.min_count,
            max_length=config.shape.context,
        )
        template = ChatTemplate(tokenizer)
        sequences = [self.teacher.play_lesson(one, template) for one in played] + self._taught(judged, template)
        model = build_model(tokenizer, config.shape, seed=config.seed)
        size = sum(parameter.numel() for parameter in model.parameters())
        self.console.print(f"{size:,} parameters, {len(tokenizer)} tokens in the vocabulary, {len(sequences)} lessons")
        warm = warm_up_copying(model, tokenizer, steps=config.copying_steps, seed=config.seed)
        self._note("copying", warm.losses[-1:], warm.cpu_seconds)
        report = imitate(model, sequences, config.imitation, seed=config.seed)
        self._note("imitation", report.losses, report.cpu_seconds)
        for number in range(1, lessons.rounds + 1):
            sequences += self._taught(self._judged(self._own_episodes(model, template, number)), template)
            report = imitate(model, sequences, config.again, seed=config.seed + number)
            self._note(f"round {number}", report.losses, report.cpu_seconds)
        card = self._card(model, template, size, time.process_time() - started)
        folder = Path(config.out)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        write_atomic(folder / CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
        return card

    def _demonstration(self) -> Played:
        task = self.tasks[int(self.rng.integers(len(self.tasks)))]
        demonstrator = self._demonstrators[int(self.rng.choice(len(self._shares), p=self._shares))]
        return self.teacher.play(task, demonstrator, self.rng)

    def _demonstrations_for_ever(self) -> Iterator[Played]:
        while True:
            yield self._demonstration()

    def _judged(self, episodes: Iterable[Played]) -> Iterator[tuple[Played, Diagnosis]]:
        """Episodes with their diagnoses; of the flawless ones only a share."""
        for played in episodes:
            diagnosis = self.teacher.diagnose(played)
            if diagnosis is None:
                raise BadConfig(f"{self.env.name} diagnoses nothing; give --lessons.reflections 0 --lessons.rounds 0")
            if diagnosis.outcome != SUCCESS or self.rng.random() < self.config.lessons.flawless:
                yield played, diagnosis

    def _taught(self, judged: Iterable[tuple[Played, Diagnosis]], template: ChatTemplate) -> list[WeightedSequence]:
        """Reflections on episodes, and the retries that follow them."""
        sequences = []
        for played, diagnosis in judged:
            lesson = self.teacher.reflection_lesson(played, diagnosis, template)
            self.longest_report = max(self.longest_report, lesson.loss_weights.count(1.0))
            sequences.append(lesson)
            retry = self.teacher.retry(played, diagnosis)
            if retry is not None:
                sequences.append(self.teacher.play_lesson(retry, template))
        return sequences

    def _rollout(self, model: Any, template: ChatTemplate, temperature: float, purpose: str) -> Rollout:
        engine = TransformersEngine(model, context_limit=self.config.shape.context)
        length = self._report_tokens()
        reflectors = {name: REFLECTORS.load(name)(style="compact", max_tokens=length) for name in ("report", "oracle")}
        meter = Meter()
        return Rollout(
            agent=self.agent,
            envs=EnvPool(self.make_env),
            waves=Waves(engine, meter),
            template=template,
            seed=self.config.seed,
            sampling=Sampling(temperature=temperature),
            meter=meter,
            reflectors=reflectors.__getitem__,
            first_purpose=purpose,
        )

    def _own_episodes(self, model: Any, template: ChatTemplate, number: int) -> list[Played]:
        """The policy's own attempts at training tasks, as sampled."""
        rollout = self._rollout(model, template, 1.0, "attempt")
        drawn = self.rng.integers(len(self.tasks), size=self.config.lessons.own_episodes)
        tasks = [self.tasks[int(index)] for index in dict.fromkeys(drawn.tolist())]

        async def play(task: Task) -> tuple[Group, Any]:
            group = Group(task, f"round{number}/{task.id}", rollout)
            return group, (await group.attempt(1))[0]

        async def all_of(some: Sequence[Task]) -> list[tuple[Group, Any]]:
            return await rollout.waves.gather(play(task) for task in some)

        episodes = []
        for start in range(0, len(tasks), 128):
            for group, attempt in asyncio.run(all_of(tasks[start : start + 128])):
                if attempt.turns:
                    said = tuple(group.forest.nodes[turn.node].segment.token_ids for turn in attempt.turns)
                    episodes.append(Played(attempt.trajectory, attempt.turns, said, (False,) * len(said)))
        return episodes

    def _card(self, model: Any, template: ChatTemplate, size: int, seconds: float) -> dict[str, Any]:
        tasks = [self.held_out[index] for index in range(min(self.config.evaluation_tasks, len(self.held_out)))]
        measured: dict[str, Any] = {}
        for mode, temperature in (("greedy", 0.0), ("sampled", 1.0)):
            rollout = self._rollout(model, template, temperature, "evaluate")
            measured[mode] = summary(asyncio.run(evaluate(rollout, tasks, mode)))
        rollout = self._rollout(model, template, 1.0, "attempt")
        measured["reflection"] = marks(asyncio.run(examine(rollout, tasks)))
        for name, values in measured.items():
            self.console.print(f"{name}: {', '.join(f'{key} {value:.3g}' for key, value in values.items())}")
        usual, chosen = type(self.config.env)(), configuration.options_of(self.config.env)
        changed = {name: value for name, value in chosen.items() if value != getattr(usual, name)}
        return {
            "environment": self.config.env.name,
            "defaults": {
                "env": changed,
                "reflection": {"style": "compact", "max_tokens": self._report_tokens()},
            },
            "made": {
                **provenance(),
                "config": configuration.dump(self.config),
                "panel": {"split": self.held_out.split, "tasks": len(tasks), "hash": self.held_out.hash},
                "parameters": size,
                "stages": self.log,
                "cpu_seconds": round(seconds, 1),
            },
            "measured": measured,
        }

    def _report_tokens(self) -> int:
        """Room for a report: a quarter more than the longest that was taught, in steps of 32."""
        return 32 * -(-5 * max(self.longest_report, 51) // (4 * 32))

    def _note(self, stage: str, losses: Sequence[float], seconds: float) -> None:
        last = losses[-50:]
        mean = sum(last) / max(1, len(last))
        self.log.append({"stage": stage, "loss": round(mean, 4), "cpu_seconds": round(seconds, 1)})
        self.console.print(f"{stage}: loss {mean:.3f}, {seconds:.0f} s of processor time")


def parse(argv: Sequence[str]) -> WarmStartConfig:
    """A warm start's configuration from flags and ``--config``."""
    parsed: WarmStartConfig = configuration.parse(
        WarmStartConfig,
        argv,
        names={"env": "webshop"},
        prog=PROG,
        description="Make a tiny policy for an environment that has demonstrators.",
    )
    return parsed.model_copy(update=QUICK) if parsed.quick else parsed


def warm_start(config: WarmStartConfig) -> dict[str, Any]:
    """Carry out a warm start; returns the policy's card.

    Raises:
        R3LBenchError: Something a user can mend.
    """
    folder = Path(config.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise R3LBenchError(f"{folder} is not empty; give another --out")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    return WarmStart(config).run()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    try:
        warm_start(parse(sys.argv[1:] if argv is None else argv))
    except R3LBenchError as error:
        return configuration.fail(error, PROG)
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
