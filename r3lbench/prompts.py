"""``python -m r3lbench.prompts --method r3l --env webshop``: every prompt a method puts before the model, in full.

The prompts are those of a real episode: a flawed player of the environment plays a training task, and the method
explores as if the model had played so. What it asks about the episode, and what a retry is told when the answer is
well-formed, stands where the method puts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.agent import Agent, Message, View
from r3lbench.baseline import Baseline
from r3lbench.config import ReflectionConfig, Strict
from r3lbench.console import make_console
from r3lbench.engines.engine import Sampling
from r3lbench.entry import entry_point
from r3lbench.env import TextEnv
from r3lbench.policies.lessons import Played, Teacher
from r3lbench.reflection import Case, Reflection, Reflector
from r3lbench.registry import AGENTS, REFLECTORS
from r3lbench.rollout.group import Attempt, Ended, Group, Placement, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.tasks import Task
from r3lbench.teaching import Demonstrator, Player

PROG = "r3lbench prompts"
NAMES = {"method": "r3l", "env": "webshop", "agent": "chat"}
_TRIES = 10


class PromptsConfig(Strict):
    """Settings. ``method``, ``env`` and ``agent`` take the fields of what they name."""

    method: Any = None
    env: Any = None
    agent: Any = None
    reflection: ReflectionConfig = ReflectionConfig()
    task: str | None = None
    """Which task, e.g. train/3; the first of the first split if None."""
    seed: int = Field(0, ge=0)
    """Of the player."""


def parse(argv: Sequence[str]) -> PromptsConfig:
    """The configuration from flags."""
    parsed: PromptsConfig = configuration.parse(
        PromptsConfig,
        argv,
        names=NAMES,
        defaults_of=lambda names: {"agent": dict(AGENTS.load(names["agent"]).untrained)},
        prog=PROG,
        description="Print every prompt that a method puts before the model, on a real episode.",
    )
    return parsed


def run(config: PromptsConfig) -> None:
    """Print them.

    Raises:
        R3LBenchError: No such environment, method or task.
    """
    console = make_console(quiet=False)
    method, agent = config.method, config.agent
    assert isinstance(method, Baseline) and isinstance(agent, Agent)
    with closing(configuration.make_env(config.env)) as env:
        task = env.resolve(config.task or f"{env.splits[0]}/0")
        env.reset(options={"task": task.id})
        section(console, f"{env.name} {task.id}: what opens an episode")
        show(console, agent.opening(View(env, agent.sees, type(agent).__name__)))
        if not method.reflectors:
            console.print(Text("This method reflects on nothing.", style="dim"))
            return
        group = rehearsal(config, env, task, console)
        asyncio.run(method.explore(group))
        if not group.reflections:
            console.print(Text("It has nothing to reflect on in the episodes that were tried.", style="dim"))
        elif not group.retries:
            _, last = group.reflections[-1]
            console.print(Text(f"no retry follows: {last.problem or last.outcome}", style="dim"))


@dataclass
class Rehearsal(Group):
    """A group in which no model plays.

    All first attempts are one episode, and every reflection is a well-formed example. The first reflection and the
    first retry are shown.

    Attributes:
        env: The environment.
        player: Who played the episode.
        played: The episode.
        console: Where to show.
    """

    env: TextEnv = field(kw_only=True)
    player: str = field(kw_only=True)
    played: Played = field(kw_only=True)
    console: Console = field(kw_only=True)

    async def attempt(self, n: int = 1, *, temperature: float | None = None) -> list[Attempt]:
        """The episode, ``n`` times."""
        trajectory, turns = self.played.trajectory, self.played.turns
        ended = Ended.TRUNCATED if trajectory.leaf.truncated else Ended.TERMINATED
        attempts = [Attempt(f"{self.key}/a{number}", trajectory, turns, ended) for number in range(n)]
        self.attempts.extend(attempts)
        return attempts

    async def reflect(
        self,
        attempt: Attempt,
        reflector: str = "report",
        *,
        temperature: float | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> Reflection:
        """The question and an example of an answer."""
        how = self.rollout.reflectors(reflector)
        case = replace(Teacher(self.env, self.rollout.agent, how).case(self.played), notes=dict(notes or {}))
        said = how.example(case)
        if not self.reflections:
            section(self.console, f"reflector {reflector}: about an episode of the player {self.player!r}")
            ask(self.console, how, case, said)
        reflection = how.read(said, case) if how.speaks else how.judge(case)
        self.reflections.append((attempt, reflection))
        return reflection

    async def retry(
        self,
        base: Attempt,
        *,
        at: int,
        guidance: str = "",
        placement: Placement = Placement.PIVOT,
        temperature: float | None = None,
    ) -> Attempt:
        """What stands before the model's first move."""
        if not self.retries:
            section(self.console, f"a retry from step {at}: what stands before the model's move")
            show(self.console, placement.place(self.rollout.agent, base.turns[at].prompt, guidance, at=at))
        retry = replace(base, key=f"{base.key}.r0", base=base, pivot=at, guidance=guidance)
        self.attempts.append(retry)
        return retry


def rehearsal(config: PromptsConfig, env: TextEnv, task: Task, console: Console) -> Rehearsal:
    """A rehearsal with an episode of a flawed player."""

    def reflectors(name: str) -> Reflector:
        return REFLECTORS.load(name)(**config.reflection.model_dump())

    meter = Meter()
    rollout = Rollout(
        agent=config.agent,
        envs=EnvPool(lambda: env),
        waves=Waves(None, meter),
        template=None,
        seed=config.seed,
        sampling=Sampling(),
        meter=meter,
        reflectors=reflectors,
    )
    teacher = Teacher(env, config.agent, reflectors(config.method.reflectors[0]))
    player, played = failure(teacher, task, config.seed)
    return Rehearsal(task, "prompts", rollout, env=env, player=player, played=played, console=console)


def ask(console: Console, reflector: Reflector, case: Case, said: str) -> None:
    """The question, if a model is asked, and an answer."""
    if not reflector.speaks:
        console.print(Text("(no model is asked)", style="dim"))
        return
    question = reflector.question(case)
    if question.continues:
        console.print(Text("(asked at the end of the episode's own conversation)", style="dim"))
    show(console, [*question.messages, Message("assistant", said)])


def failure(teacher: Teacher, task: Task, seed: int) -> tuple[str, Played]:
    """An episode that leaves something to reflect on, and the name of its player.

    Tried are the environment's demonstrators, the last one first, and random play.
    """
    for player in (*reversed(teacher.env.demonstrators()), Demonstrator("random", 1.0, _random)):
        for number in range(_TRIES):
            played = teacher.play(task, player, np.random.default_rng(seed + number))
            if not played.trajectory.success:
                return player.name, played
    return player.name, played


def _random(rng: np.random.Generator) -> Player:
    def play(env: TextEnv) -> tuple[str, bool]:
        actions = env.admissible_actions()
        return (actions[int(rng.integers(len(actions)))] if actions else ""), False

    return play


def section(console: Console, title: str) -> None:
    """A heading."""
    console.print(Rule(Text(title, style="bold"), align="left", characters="-"))


def show(console: Console, messages: Sequence[Message]) -> None:
    """Messages with their roles."""
    for message in messages:
        console.print(Text(f"[{message.role}]", style="cyan"))
        console.print(Text(message.content))
    console.print()


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Print prompts."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
