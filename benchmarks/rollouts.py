"""What rollouts cost with kept keys and values and without, and in either schedule: ``python benchmarks/rollouts.py``.

First conversations of ten turns of about a hundred tokens, by the engine as it is and by the same engine with no room
to keep anything, in turn in one process; then retries that leave them in the middle: by a model of SmolLM2-135M's shape
with random weights (``--layers`` less than 30 make a smaller one), and by a shipped policy. Then shipped policies play,
in waves and as requests come (``--rollout.schedule``): first attempts, and what R3L explores in an update.

Times are CPU seconds of one thread, the least of several rounds, so that a busy machine matters little.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig

# This file's folder comes first otherwise, and its files then hide the packages of their names.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

from r3lbench import run as running  # noqa: E402
from r3lbench.config import options_of  # noqa: E402
from r3lbench.engines.engine import Request, Sampling  # noqa: E402
from r3lbench.engines.transformers import TransformersEngine  # noqa: E402
from r3lbench.policies.loading import find_policy, load_policy  # noqa: E402
from r3lbench.registry import REFLECTORS  # noqa: E402
from r3lbench.rollout.continuous import Continuous  # noqa: E402
from r3lbench.rollout.group import Group, Rollout  # noqa: E402
from r3lbench.rollout.pool import EnvPool  # noqa: E402
from r3lbench.rollout.waves import Waves  # noqa: E402
from r3lbench.rollout.workers import EnvSource  # noqa: E402

TURNS, SYSTEM, OBSERVED, PIVOT = 10, 100, 90, 5
Tokens = tuple[int, ...]
Cost = tuple[int, float]
"""Tokens that went through the model, and CPU seconds."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=30, help="of the model with random weights; 0: leave out")
    parser.add_argument("--policy", default="webshop", help="whose shipped policy converses, too; '': none")
    parser.add_argument("--at-once", type=int, default=4, help="conversations side by side")
    parser.add_argument("--said", type=int, nargs="*", default=[4, 10], help="tokens of a reply")
    parser.add_argument("--env", nargs="*", default=["alfworld", "webshop"], help="where shipped policies play")
    parser.add_argument("--tasks", type=int, default=128, help="first attempts")
    parser.add_argument("--groups", type=int, default=16, help="that R3L explores")
    parser.add_argument("--rows", type=int, nargs="*", default=[32, 128], help="requests that run at once")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    models: dict[str, Any] = {}
    if given.layers:
        models["SmolLM2's shape"] = language_model(given.layers)
    if given.policy:
        models[f"{given.policy}'s policy"] = load_policy(find_policy("tiny", given.policy)).model
    if models:
        print(
            f"| {given.at_once} conversations | tokens through the model, anew | kept | CPU s, anew | kept | faster |"
        )
        print("|:--|--:|--:|--:|--:|--:|")
        for name, model in models.items():
            size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
            for said in given.said:
                rounds = [conversations(model, said, given.at_once) for _ in range(given.rounds)]
                for part, of in zip(
                    (f"{TURNS} turns", f"retry at turn {PIVOT}"), zip(*rounds, strict=True), strict=True
                ):
                    print(compared(f"{name}, {size:.3g} M, replies of {said}: {part}", of), flush=True)
        print()
    if given.env:
        print("| played | rows at most | schedule | tokens | passes | rows a step | CPU s | tokens per CPU s |")
        print("|:--|--:|:--|--:|--:|--:|--:|--:|")
        for env in given.env:
            stage = Stage(env)
            with closing(stage.envs):
                for rows in given.rows:
                    name = f"{given.tasks} attempts"
                    stage.compare(name, rows, given.rounds, partial(stage.attempt, count=given.tasks))
                    name = f"{given.groups} groups of R3L"
                    stage.compare(name, rows, given.rounds, partial(stage.explore, count=given.groups))
        print()
    print(
        f"PyTorch {torch.__version__}, transformers {transformers.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()} {sys.platform}, {torch.get_num_threads()} thread"
    )


def language_model(layers: int) -> Any:
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152 * layers // 30,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    return AutoModelForCausalLM.from_config(shape).eval()


# Conversations


def conversations(model: Any, said: int, count: int) -> list[dict[bool, Cost]]:
    """Whole conversations, and one more turn of each from its middle; what either takes, kept and anew."""
    whole: dict[bool, Cost] = {}
    retried: dict[bool, Cost] = {}
    for kept in (False, True):
        room = {} if kept else {"cache_bytes": 0}
        engine = TransformersEngine(model, context_limit=2048, **room)
        rng = np.random.default_rng(0)
        contexts = middle = heard([()] * count, SYSTEM, rng, model)
        costs = []
        for turn in range(TURNS):
            middle = contexts if turn == PIVOT else middle
            contexts, cost = answered(engine, heard(contexts, OBSERVED, rng, model), said)
            costs.append(cost)
        whole[kept] = sum(tokens for tokens, _ in costs), sum(seconds for _, seconds in costs)
        retried[kept] = answered(engine, heard(middle, OBSERVED, rng, model), 1)[1]
    return [whole, retried]


def heard(contexts: list[Tokens], count: int, rng: np.random.Generator, model: Any) -> list[Tokens]:
    """Contexts with some more tokens each."""
    return [(*context, *rng.integers(model.config.vocab_size, size=count).tolist()) for context in contexts]


def answered(engine: TransformersEngine, contexts: list[Tokens], said: int) -> tuple[list[Tokens], Cost]:
    """Contexts with a reply each, and what these took."""
    sampling, before, began = Sampling(max_tokens=said), replace(engine.work), time.process_time()
    requests = [Request(context, sampling, number, "attempt", "") for number, context in enumerate(contexts)]
    replies = engine.wave(requests)
    seconds, work = time.process_time() - began, engine.work
    tokens = work.prefilled + work.generated - before.prefilled - before.generated
    return [(*context, *reply.token_ids) for context, reply in zip(contexts, replies, strict=True)], (tokens, seconds)


def compared(name: str, rounds: Sequence[dict[bool, Cost]]) -> str:
    """A line of the first table."""
    anew, kept = (min(costs[way][1] for costs in rounds) for way in (False, True))
    tokens = " | ".join(f"{rounds[0][way][0]:,}" for way in (False, True))
    return f"| {name} | {tokens} | {anew:.3g} | {kept:.3g} | {anew / kept:.1f}x |"


# Schedules


class Stage:
    """A shipped policy where it plays, with the settings of a run of R3L.

    Args:
        env: Name of the environment.
    """

    def __init__(self, env: str) -> None:
        self.config = running.parse(["--method", "r3l", "--env", env])
        self.policy = load_policy(find_policy("tiny", env))
        self.envs = EnvPool(EnvSource.of(env, options_of(self.config.env)))

    def compare(self, name: str, rows: int, rounds: int, play: Callable[[Rollout], Coroutine[Any, Any, None]]) -> None:
        """Print two lines of the second table."""
        for schedule in (Waves, Continuous):
            least = float("inf")
            for _ in range(rounds):
                engine = TransformersEngine(self.policy.model, context_limit=self.policy.context_limit, max_rows=rows)
                rollout = self.rollout(schedule(engine))
                began = time.process_time()
                asyncio.run(play(rollout))
                least = min(least, time.process_time() - began)
            work = engine.work
            cells = (f"{self.config.env.name}, {name}", f"{rows}", schedule.__name__.lower(), f"{work.generated:,}")
            cells += (f"{work.forwards:,}", f"{work.generated / work.steps:.1f}", f"{least:.3g}")
            print(" | ".join((f"| {cells[0]}", *cells[1:], f"{work.generated / least:,.0f} |")), flush=True)

    def rollout(self, waves: Waves) -> Rollout:
        """How it plays."""
        return Rollout(
            agent=self.config.agent,
            envs=self.envs,
            waves=waves,
            template=self.policy.template,
            seed=0,
            sampling=Sampling(**self.config.sampling.model_dump()),
            meter=waves.meter,
            reflectors=lambda name: REFLECTORS.load(name)(**self.config.reflection.model_dump()),
        )

    def groups(self, rollout: Rollout, count: int) -> list[Group]:
        """Groups on training tasks."""
        with self.envs.borrow() as env:
            tasks = list(env.panel(env.splits[0]))[:count]
        return [Group(task, f"u1/{task.id}", rollout) for task in tasks]

    async def attempt(self, rollout: Rollout, count: int) -> None:
        """First attempts, one at each task."""
        await rollout.waves.gather(group.attempt() for group in self.groups(rollout, count))

    async def explore(self, rollout: Rollout, count: int) -> None:
        """What R3L explores."""
        await rollout.waves.gather(self.config.method.explore(group) for group in self.groups(rollout, count))


if __name__ == "__main__":
    main()
