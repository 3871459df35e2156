"""What it costs to play in worker processes: ``python benchmarks/workers.py [--env NAME]``.

Without a name, an environment that does nothing is stepped here and in a worker, restored there by native handle, and
its worker is killed and replaced. Times are of the wall clock, the best of several rounds.

With the name of an environment that asks for worker processes, it is played in 1 to 16 of them, side by side as in a
rollout: random valid actions, listed before each step; resets count. Times are CPU seconds of all processes together,
the best of several rounds; memory is read from ``/proc`` (Linux) at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from r3lbench import Isolation, Outcome, Task, TaskPanel, TextEnv
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Deed
from r3lbench.rollout.workers import EnvSource
from r3lbench.speed import cpu_seconds

ROUNDS = 5
STEPS = 300
WORKERS = (1, 2, 4, 8, 16)
INSTANCES = 4
"""Instances in each worker."""
PAGE = "You are in a room with a table, a chair and four doors. " * 10


class Idle(TextEnv):
    """Shows the same page for ever."""

    name = "Idle-v0"
    isolation = Isolation.PROCESS

    def __init__(self, **options: Any) -> None:
        super().__init__(max_steps=1_000_000, **options)

    def panel(self, split: str) -> TaskPanel:
        """One task."""
        return TaskPanel(self.name, split, [split])

    def start(self, task: Task) -> str:
        """The page."""
        return PAGE

    def act(self, action: str) -> Outcome:
        """The page again."""
        return Outcome(PAGE)

    def score(self) -> float:
        """Nothing is ever achieved."""
        return 0.0

    def success(self) -> bool:
        """Never."""
        return False

    def capture(self) -> int:
        """There is nothing to keep."""
        return 0

    def reinstate(self, payload: int) -> None:
        """There is nothing to do."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", help="play this environment in more and more workers")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each worker in a round")
    given = parser.parse_args()
    if given.env is None:
        overhead()
    else:
        print("| workers | sessions | steps per CPU second | memory of all (PSS), MB | of a worker alone, MB |")
        print("|---|---|---|---|---|")
        for row in curve(given.env, given.steps):
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")


def curve(name: str, steps: int) -> Iterator[tuple[str, ...]]:
    """An environment in more and more workers."""
    # First on the path, this folder's files hide the packages of their names.
    here = str(Path(__file__).resolve().parent)
    sys.path.sort(key=lambda path: path == here)
    for count in WORKERS:
        with closing(EnvPool(EnvSource.of(name, {}), workers=count)) as pool, ExitStack() as borrowed:
            envs = [borrowed.enter_context(pool.borrow()) for _ in range(INSTANCES * count)]
            players = [Player(env, number) for number, env in enumerate(envs)]
            # Imports, and the first opening of the games, are no part of it.
            advance(pool, players, 1)
            rate = max(advance(pool, players, steps // INSTANCES) for _ in range(ROUNDS))
            pids = [worker.pid for worker in pool.workers]
            alone = sum(megabytes(pid, "Private_Clean", "Private_Dirty") for pid in pids) / count
            total = sum(megabytes(pid, "Pss") for pid in pids)
            yield f"{count}", f"{len(envs)}", f"{rate:,.0f}", f"{total:,.0f}", f"{alone:,.0f}"


class Player:
    """Plays one instance at random, one attempt at its task after another."""

    def __init__(self, env: TextEnv, number: int) -> None:
        self.env = env
        self._rng = random.Random(number)
        panel = env.panel(env.splits[0])
        self._task = panel[number % len(panel)].id
        env.reset(options={"task": self._task})

    def step(self) -> None:
        """Take a step, the first of another attempt where one has ended."""
        if self.env.done:
            self.env.reset(options={"task": self._task})
        self.env.step(self._rng.choice(self.env.admissible_actions() or ("",)))


def advance(pool: EnvPool, players: list[Player], steps: int) -> float:
    """Let all take so many steps, workers side by side; returns the steps per CPU second."""
    began = cpu_seconds()
    for _ in range(steps):
        pool.carry_out([Deed(player.env.worker, player.step) for player in players])  # type: ignore[attr-defined]
    return steps * len(players) / (cpu_seconds() - began)


def megabytes(pid: int | None, *kinds: str) -> float:
    """Memory of a process, of some kinds that ``smaps_rollup`` knows."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return sum(int(line.split()[1]) for line in lines if line.partition(":")[0] in kinds) / 1024


def overhead() -> None:
    """An environment that does nothing."""
    here = Idle()
    here.reset(options={"task": "train/0"})
    with closing(EnvPool(EnvSource("workers:Idle"), workers=1)) as pool:
        began = time.perf_counter()
        with pool.borrow() as env:
            env.reset(options={"task": "train/0"})
            started = time.perf_counter() - began
            rows = [("start of a worker and its first reset", started)]
            rows.append(("step here", best(lambda: repeat(lambda: state_after(here, "wait")))))
            rows.append(("step in a worker", best(lambda: repeat(lambda: state_after(env, "wait")))))
            env.reset(options={"task": "train/0"})
            snapshot = env.snapshot()
            rows.append(("restore in a worker, by native handle", best(lambda: repeat(lambda: env.restore(snapshot)))))
            rows.append(("step whose worker has been killed", best(lambda: after_a_kill(env))))
    print("| what | ms |\n|---|---|")
    for what, seconds in rows:
        print(f"| {what} | {1000 * seconds:.3g} |")


def state_after(env: TextEnv, action: str) -> None:
    """A step with everything that a rollout keeps of the state."""
    env.step(action)
    env.snapshot(), env.score(), env.success(), env.feedback(), env.rubrics()


def repeat(deed: Callable[[], Any]) -> float:
    """Mean seconds."""
    began = time.perf_counter()
    for _ in range(STEPS):
        deed()
    return (time.perf_counter() - began) / STEPS


def after_a_kill(env: Any) -> float:
    """Seconds until the step is done all the same."""
    env.reset(options={"task": "train/0"})
    os.kill(env.worker.pid, signal.SIGKILL)
    began = time.perf_counter()
    env.step("wait")
    return time.perf_counter() - began


def best(measure: Callable[[], float]) -> float:
    """The least of several rounds."""
    return min(measure() for _ in range(ROUNDS))


if __name__ == "__main__":
    main()
