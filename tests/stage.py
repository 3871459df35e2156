"""A stage for plays without a model: a scripted engine behind a real chat template, and an environment that pays."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from r3lbench import Outcome, Task, TaskPanel, TextEnv
from r3lbench.agent import Agent
from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection.oracle import OracleReflector
from r3lbench.agents.reflection.report import ReportReflector
from r3lbench.engines.engine import Engine, Request, Sampling
from r3lbench.engines.scripted import ScriptedEngine
from r3lbench.engines.template import ChatTemplate
from r3lbench.policies.tokenizer import build_tokenizer
from r3lbench.reflection import Reflector
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from tests.toy import Toy

T = TypeVar("T")
Reply = Callable[[Request], Sequence[int]]

WORDS = "Step Room You are in a corridor with a key and a locked door see hold nothing take open go east west wait"
TOKENIZER = build_tokenizer([f"{WORDS} {WORDS}."], min_count=1)
TEMPLATE = ChatTemplate(TOKENIZER)
EXPERT = ("take key", "go east", "go east", "open door")
"""Solves ``train/0`` of a corridor of three rooms."""


class Ledger(TextEnv):
    """Every action is a number, and pays it; the word ``end`` behind it ends the episode. So any return can be had."""

    name = "Ledger-v0"
    reward_range = (-1.0, 1.0)

    def __init__(self, *, max_steps: int = 8, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    def panel(self, split: str) -> TaskPanel:
        return TaskPanel(self.name, split, [f"{split} {index}" for index in range(8)])

    def start(self, task: Task) -> str:
        self.paid: tuple[float, ...] = ()
        return "The ledger is empty."

    def act(self, action: str) -> Outcome:
        number, _, rest = action.partition(" ")
        try:
            reward = float(number)
        except ValueError:
            return Outcome("That is no number.", valid=False)
        self.paid += (reward,)
        return Outcome(f"Paid {number}.", reward=reward, terminated=rest == "end")

    def score(self) -> float:
        return min(1.0, max(0.0, math.fsum(self.paid)))

    def success(self) -> bool:
        return math.fsum(self.paid) >= 1


class Replayed(Toy):
    """A corridor that cannot be entered but by its start."""

    def capture(self) -> None:  # type: ignore[override]
        return None


class Drifting(Replayed):
    """A corridor in which another day shows at every replay, so that no state past the start can be restored."""

    def start(self, task: object) -> str:
        self.day = getattr(self, "day", 0) + 1
        return super().start(task)  # type: ignore[arg-type]

    def look(self) -> str:
        return f"Day {getattr(self, 'day', 0)}. {super().look()}"


@dataclass
class Stage:
    """A rollout with what it runs on."""

    rollout: Rollout
    engine: Engine

    def group(self, key: str = "u1/train/0") -> Group:
        """A group on the task that its key names."""
        split, index = key.split("/")[-2:]
        with self.rollout.envs.borrow() as env:
            return Group(env.resolve(f"{split}/{index}"), key, self.rollout)

    @property
    def meter(self) -> Meter:
        """What everything has cost."""
        return self.rollout.meter

    @property
    def waves(self) -> list[list[Request]]:
        """The requests of every wave."""
        assert isinstance(self.engine, ScriptedEngine)
        return self.engine.waves

    def requests(self, speaker: str) -> list[Request]:
        """What one speaker (``"a0"``, ``"a0.r0"``, ``"a0?0"``) asked the engine, in order."""
        return [request for wave in self.waves for request in wave if speaker_of(request) == speaker]


def stage(
    reply: Reply | Mapping[str, Sequence[str]] | None = None,
    *,
    make_env: Callable[[], TextEnv] = lambda: Toy(rooms=3, max_steps=6),
    agent: Agent | None = None,
    template: ChatTemplate = TEMPLATE,
    reflectors: Mapping[str, Reflector] | None = None,
    style: str = "full",
    seed: int = 0,
    context_limit: int = 1 << 20,
) -> Stage:
    """Set the stage; ``reply`` is a function of the request or each speaker's lines."""
    speak = reply if callable(reply) else lines(reply or {})
    engine = ScriptedEngine(speak, context_limit)
    meter = Meter()
    known: dict[str, Reflector] = {
        "report": ReportReflector(style=style),
        "oracle": OracleReflector(style=style),
        **(reflectors or {}),
    }
    rollout = Rollout(
        agent=agent or ChatAgent(),
        envs=EnvPool(make_env),
        waves=Waves(engine, meter),
        template=template,
        seed=seed,
        sampling=Sampling(),
        meter=meter,
        reflectors=known.__getitem__,
    )
    return Stage(rollout, engine)


def play(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    return asyncio.run(coroutine)


def speaker_of(request: Request) -> str:
    """Who asks, without the group's name."""
    return request.key.rpartition("/")[2].partition("#")[0]


def lines(replies: Mapping[str, Sequence[str]]) -> Reply:
    """Every speaker says its lines in order, and ``wait`` when there are no more; a group's name is ignored."""
    said: Counter[str] = Counter()

    def reply(request: Request) -> list[int]:
        speaker = request.key.partition("#")[0]
        own = replies.get(speaker_of(request), ())
        text = own[said[speaker]] if said[speaker] < len(own) else "wait"
        said[speaker] += 1
        return encode(text)

    return reply


def by_chance(request: Request) -> list[int]:
    """A move or a report that depends on the request's seed alone."""
    rng = np.random.default_rng(request.seed)
    if request.purpose == "reflect":
        return encode(report(int(rng.integers(3)), outcome=str(rng.choice(["failure", "success"]))))
    return encode(str(rng.choice([*EXPERT, "go west", "sing"])))


def report(step: int | None, *, outcome: str = "failure", plan: str | None = "PLAN") -> str:
    """A report as a model would write it."""
    return json.dumps(
        {
            "trajectory_summary": "It failed.",
            "root_cause_analysis": "CAUSE",
            "trajectory_outcome": outcome,
            "improvement_suggestion": plan,
            "retry_from_step": step,
        }
    )


def encode(text: str) -> list[int]:
    """A text's tokens."""
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def read(group: Group, node: int | None) -> str:
    """The whole context that ends with a node, as text, special tokens included."""
    return str(TOKENIZER.decode(group.forest.token_ids(node)))
