"""``python -m r3lbench.warmstart --env webshop``: make a tiny policy for an environment, from nothing.

Demonstrators play, the environment diagnoses, and a small Llama imitates play, reports and guided retries (see
``policies.lessons``). In later rounds the policy's own episodes are diagnosed, too, so that it can reflect on the
failures it really has. The result is a Hugging Face folder with a card that says how it was made and what it can do.

An environment may bring a recipe, ``tiny/recipe.toml`` in its package: the settings that suit it. ``--config`` and
flags go on from there.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from pydantic import Field
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.config import BudgetConfig, PoolConfig, Strict
from r3lbench.console import make_console
from r3lbench.engines.engine import Sampling
from r3lbench.engines.template import ChatTemplate
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.entry import entry_point
from r3lbench.env import TextEnv
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
from r3lbench.registry import AGENTS, ENVIRONMENTS, REFLECTORS
from r3lbench.rollout.evaluation import evaluate, summary
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.rollout.workers import EnvSource
from r3lbench.tasks import Task
from r3lbench.teaching import Diagnosis

PROG = "r3lbench warmstart"


class CutsConfig(Plugin):
    """How the environment's text is cut into tokens; see ``policies.tokenizer``."""

    joints: tuple[str, ...] = ()
    """Literal texts that frame values on pages, in actions, reports and plans."""
    identifiers: str | None = None
    """Pattern of the pieces of identifiers."""
    min_count: int = Field(5, ge=1)
    """Words seen less often are spelled."""


class LessonsConfig(Plugin):
    """How much is taught. Episodes are drawn from the training tasks, with repetition."""

    demonstrations: int = Field(3000, ge=1)
    """Episodes of demonstrators to imitate."""
    reflections: int = Field(1500, ge=0)
    """Further episodes of demonstrators to reflect on and to retry."""
    rounds: int = Field(1, ge=0)
    """Rounds on the policy's own episodes."""
    own_episodes: int = Field(800, ge=1)
    """Episodes of the policy per round."""
    flawless: float = Field(0.6, ge=0, le=1)
    """Share of the flawless episodes that are reflected on, too: a policy must also learn to say that all was well."""
    read_weight: float = Field(0.1, ge=0)
    """Loss weight of tokens that the policy only reads."""
    shares: tuple[float, ...] = ()
    """Shares of the environment's demonstrators, in their order; its own if empty. More careless play leaves more to
    learn afterwards."""


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
    basics: ImitationConfig = ImitationConfig(steps=400, final_learning_rate=0.3)
    """Imitation of successful play alone, before everything else. Where mistakes are in the mix from the beginning, it
    is luck how soon the policy finds out what a right action copies from."""
    imitation: ImitationConfig = ImitationConfig(steps=1000)
    """Imitation of all lessons."""
    again: ImitationConfig = ImitationConfig(steps=300, learning_rate=1e-3)
    """Imitation in each round on the policy's own episodes."""
    pool: PoolConfig = PoolConfig()
    budget: BudgetConfig = BudgetConfig()
    """Of a run that begins with this policy, unless it says otherwise; kept in the card."""
    action_tokens: int = Field(48, ge=1)
    """Longest action that the policy may write, in tokens; kept in the card."""
    evaluation_tasks: int = Field(128, ge=1)
    """Held-out tasks on which the result is measured."""
    quick: bool = False
    """A usable policy in a few minutes: less of everything."""
    threads: int = Field(1, ge=0)
    """CPU threads; 0: PyTorch's choice."""
    quiet: bool = False
    """Print nothing but errors."""


QUICK: dict[str, dict[str, int]] = {
    "lessons": {"demonstrations": 2000, "reflections": 600, "rounds": 1, "own_episodes": 300},
    "imitation": {"steps": 600},
    "again": {"steps": 150},
}
"""What ``--quick`` means."""

RECIPE = "tiny/recipe.toml"
"""Where, in an environment's package, its recipe stands."""

PLAIN: dict[str, Any] = {"format": "plain", "rules": False, "show_admissible": False}
"""How the chat agent speaks with a tiny policy: actions and pages, nothing else."""

_LINES = 10
"""Plain lines of progress in a stage, where there is no terminal."""


class WarmStart:
    """A warm start in progress.

    Args:
        config: Its settings.
    """

    def __init__(self, config: WarmStartConfig) -> None:
        self.config = config
        self.console = make_console(quiet=config.quiet)
        self.env: TextEnv = configuration.make_env(config.env)
        source = EnvSource.of(config.env.name, configuration.options_of(config.env))
        self.envs = EnvPool(source, **config.pool.model_dump())
        self.speech = {**PLAIN, "max_tokens": config.action_tokens}
        self.agent: Agent = AGENTS.load("chat")(**self.speech)
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
        shares = config.lessons.shares or tuple(demonstrator.weight for demonstrator in self._demonstrators)
        if len(shares) != len(self._demonstrators) or min(shares) < 0 or sum(shares) <= 0:
            names = ", ".join(demonstrator.name for demonstrator in self._demonstrators)
            raise BadConfig(f"--lessons.shares needs one non-negative number each for {names}, not all 0")
        self._shares = np.array(shares) / sum(shares)

    def run(self) -> dict[str, Any]:
        """Make the policy; returns its card."""
        config, lessons = self.config, self.config.lessons
        started = time.process_time()
        with self._counting("demonstrations", lessons.demonstrations + lessons.reflections) as tick:
            played = [self._demonstration(tick) for _ in range(lessons.demonstrations)]
            judged = []
            for pair in islice(self._judged(self._demonstrations_for_ever()), lessons.reflections):
                judged.append(pair)
                tick()
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
        good = [lesson for lesson, one in zip(sequences, played, strict=False) if one.trajectory.success]
        if good and config.basics.steps:
            self._imitate("basics", model, good, config.basics, config.seed)
        self._imitate("imitation", model, sequences, config.imitation, config.seed)
        for number in range(1, lessons.rounds + 1):
            sequences += self._taught(self._judged(self._own_episodes(model, template, number)), template)
            self._imitate(f"round {number}", model, sequences, config.again, config.seed + number)
        card = self._card(model, template, size, time.process_time() - started)
        self._write(Path(config.out), model, tokenizer, card)
        return card

    def close(self) -> None:
        """Close the environments."""
        self.envs.close()
        self.env.close()

    def _write(self, folder: Path, model: Any, tokenizer: Any, card: dict[str, Any]) -> None:
        """Write the policy beside its place, and put it there when it is whole."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / folder.name
            model.save_pretrained(made)
            tokenizer.save_pretrained(made)
            (made / "model.safetensors").chmod(0o644)
            write_atomic(made / CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
            made.replace(folder)

    def _imitate(
        self, stage: str, model: Any, sequences: Sequence[WeightedSequence], settings: ImitationConfig, seed: int
    ) -> None:
        with self._counting(stage, settings.steps) as tick:
            report = imitate(model, sequences, settings, seed=seed, on_step=lambda _, loss: tick(f"loss {loss:.3f}"))
        self._note(stage, report.losses, report.cpu_seconds)

    def _demonstration(self, tick: Callable[[], None] = lambda: None) -> Played:
        task = self.tasks[int(self.rng.integers(len(self.tasks)))]
        demonstrator = self._demonstrators[int(self.rng.choice(len(self._shares), p=self._shares))]
        played = self.teacher.play(task, demonstrator, self.rng)
        tick()
        return played

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
            envs=self.envs,
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
        with self._counting(f"own episodes of round {number}", len(tasks)) as tick:
            for start in range(0, len(tasks), 128):
                for group, attempt in asyncio.run(all_of(tasks[start : start + 128])):
                    tick()
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
                "agent": {"name": "chat", **self.speech},
                "threads": self.config.threads,
                "reflection": {"style": "compact", "max_tokens": self._report_tokens()},
                "budget": self.config.budget.model_dump(),
            },
            "made": {
                **provenance(),
                "config": {
                    k: v for k, v in configuration.dump(self.config).items() if k not in ("out", "quiet", "pool")
                },
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

    @contextmanager
    def _counting(self, what: str, total: int) -> Iterator[Callable[..., None]]:
        """A bar on a terminal, a plain line now and then elsewhere; yields what is called after each piece of work."""
        count = 0
        if self.console.quiet or not self.console.is_terminal:

            def line(note: str = "") -> None:
                nonlocal count
                count += 1
                if count * _LINES // total > (count - 1) * _LINES // total:
                    self.console.print(f"{what}: {count} of {total}{note and ', ' + note}")

            yield line
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bars:
            bar = bars.add_task(what, total=total)

            def advance(note: str = "") -> None:
                bars.update(bar, advance=1, description=f"{what}{note and ', ' + note}")

            yield advance

    def _note(self, stage: str, losses: Sequence[float], seconds: float) -> None:
        last = losses[-50:]
        mean = sum(last) / max(1, len(last))
        self.log.append({"stage": stage, "loss": round(mean, 4), "cpu_seconds": round(seconds, 1)})
        self.console.print(f"{stage}: loss {mean:.3f}, {seconds:.0f} s of processor time")


def recipe(names: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment's own recipe gives; empty where it brings none.

    Raises:
        BadConfig: The recipe is not TOML.
    """
    file = ENVIRONMENTS.entry(names["env"]).beside(RECIPE)
    return {} if file is None else configuration.read_toml(file, str(file))


def parse(argv: Sequence[str]) -> WarmStartConfig:
    """A warm start's configuration from flags and ``--config``."""
    parsed: WarmStartConfig = configuration.parse(
        WarmStartConfig,
        argv,
        names={"env": "webshop"},
        defaults_of=recipe,
        prog=PROG,
        description="Make a tiny policy for an environment that has demonstrators.",
    )
    if not parsed.quick:
        return parsed
    return parsed.model_copy(
        update={name: getattr(parsed, name).model_copy(update=less) for name, less in QUICK.items()}
    )


def warm_start(config: WarmStartConfig) -> dict[str, Any]:
    """Carry out a warm start; returns the policy's card.

    Raises:
        R3LBenchError: Something a user can mend.
    """
    folder = Path(config.out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise R3LBenchError(f"{folder} is not empty; give another --out")
    try:
        # Found out now, and not when all has been learned.
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise R3LBenchError(f"no policy can be written to {folder}: {error.strerror}") from error
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    transformers.utils.logging.disable_progress_bar()
    with closing(WarmStart(config)) as warm:
        return warm.run()


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Make a policy."""
    warm_start(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
