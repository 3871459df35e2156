"""WebShop's speed and memory, as a Markdown table: ``python benchmarks/webshop.py --data FOLDER``.

The agent searches for the instruction, then clicks at random among everything that can be clicked, for at most 15
steps; what can be clicked is listed at every step, and resets count. Times are CPU seconds of this process, the best
of several rounds, so that a busy machine matters little.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import rapidfuzz

from r3lbench.environments.webshop import WebShop
from r3lbench.snapshot import Snapshot

SESSIONS = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with WebShop's files; default WEBSHOP_DATA_DIR, else generated")
    parser.add_argument("--num-products", type=int)
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    before = megabytes()
    began = time.process_time()
    env = WebShop(data=given.data, num_products=given.num_products)
    panel = env.panel("train")
    env.reset(options={"task": panel[0].id})
    env.step("search[warm up]")
    opened = time.process_time() - began
    one = megabytes()
    crowd = [WebShop(data=given.data, num_products=given.num_products) for _ in range(SESSIONS)]
    for index, session in enumerate(crowd):
        session.reset(options={"task": panel[index % len(panel)].id})
        session.step(session.admissible_actions()[0])
    many = megabytes()

    first = rate(lambda: play(env, given.episodes), 1)
    steady = rate(lambda: play(env, given.episodes), given.rounds)
    snapshots = collect(env, min(given.episodes, 500))
    step_cost = 1e6 / steady
    restore_cost = 1e6 / rate(lambda: restore_all(env, snapshots), given.rounds)
    snapshot_cost = 1e6 / rate(lambda: take_snapshots(env, len(snapshots)), given.rounds)
    rows = [
        (
            "catalogue",
            f"{env.shop.catalogue.name}: {len(env.shop.catalogue.products)} products, "
            f"{len(env.shop.goals)} {env.shop.kind} goals",
        ),
        ("opening the shop (products, index, goals, panel)", f"{opened:.2f} CPU s"),
        ("steps/s in one process, first pass", f"{first:,.0f}"),
        (f"steps/s in one process, best of {given.rounds}", f"{steady:,.0f}"),
        ("step", f"{step_cost:.1f} us"),
        ("snapshot", f"{snapshot_cost:.1f} us"),
        ("restore (native handle)", f"{restore_cost:.1f} us, {restore_cost / step_cost:.2f} of a step"),
        ("memory: interpreter and libraries", f"{before:.0f} MB"),
        ("memory: with the shop", f"{one:.0f} MB"),
        (f"memory: with {SESSIONS} more environments in it", f"{many:.0f} MB"),
        (
            "versions",
            f"Python {platform.python_version()}, NumPy {np.__version__}, RapidFuzz {rapidfuzz.__version__}, "
            f"{platform.machine()} {sys.platform}",
        ),
    ]
    print("| WebShop | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def play(env: WebShop, episodes: int) -> int:
    """Steps taken in so many episodes of the training split."""
    rng, panel, steps = random.Random(0), env.panel("train"), 0
    for index in range(episodes):
        env.reset(options={"task": panel[index % len(panel)].id})
        while not env.done:
            env.step(rng.choice(env.admissible_actions()))
            steps += 1
    return steps


def collect(env: WebShop, count: int) -> list[Snapshot]:
    """Snapshots of states in the middle of episodes."""
    rng, panel, snapshots = random.Random(1), env.panel("train"), []
    for index in range(count):
        env.reset(options={"task": panel[index % len(panel)].id})
        for _ in range(rng.randint(1, 8)):
            if not env.done:
                env.step(rng.choice(env.admissible_actions()))
        snapshots.append(env.snapshot())
    return snapshots


def restore_all(env: WebShop, snapshots: list[Snapshot]) -> int:
    """Number of states restored."""
    for snapshot in snapshots:
        env.restore(snapshot)
    return len(snapshots)


def take_snapshots(env: WebShop, count: int) -> int:
    """Number of snapshots taken of the present state."""
    for _ in range(count):
        env.snapshot()
    return count


def rate(work: Callable[[], int], rounds: int) -> float:
    """Units of work per CPU second, the best of several rounds."""
    best = 0.0
    for _ in range(rounds):
        began = time.process_time()
        done = work()
        best = max(best, done / (time.process_time() - began))
    return best


def megabytes() -> float:
    """Largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
