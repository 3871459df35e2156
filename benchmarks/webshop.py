"""WebShop's speed and memory, as Markdown tables: ``python benchmarks/webshop.py --data FOLDER``.

The agent searches for the instruction, then clicks at random among everything that can be clicked, for at most 15
steps; what can be clicked is listed at every step, and resets count. Times are CPU seconds of the processes that play,
the best of several rounds, so that a busy machine matters little. Memory is read from ``/proc`` (Linux) when all have
played equally many steps. Files to measure with: ``benchmarks/webshop_data.py``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rapidfuzz

from r3lbench.environments.webshop import WebShop
from r3lbench.environments.webshop.keeping import CACHE
from r3lbench.snapshot import Snapshot

SESSIONS = (1, 4, 16, 64, 256)
PROCESSES = (1, 2, 4, 8)
EACH = 32
"""Sessions of each process where there are several."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder with WebShop's files; default WEBSHOP_DATA_DIR, else generated")
    parser.add_argument("--num-products", type=int)
    parser.add_argument("--episodes", type=int, default=2000, help="episodes, or so many times ten steps, in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", action="store_true", help="begin with an empty cache below TMPDIR")
    parser.add_argument(
        "--official", help="checkout of the official WebShop with its files and index, played beside ours"
    )
    parser.add_argument("--official-python", default=sys.executable, help="interpreter that has its requirements")
    parser.add_argument("--play", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.official is not None and not Path(given.official).is_dir():
        parser.error(f"--official {given.official}: there is no such folder")
    options = {"data": given.data, "num_products": given.num_products}
    if given.play is not None:
        take_part(options, given.play, 10 * given.episodes, given.rounds)
        return
    command = [sys.executable, __file__, "--episodes", str(given.episodes), "--rounds", str(given.rounds)]
    for flag, value in (("--data", given.data), ("--num-products", given.num_products)):
        command += [] if value is None else [flag, str(value)]
    with ExitStack() as stack:
        if given.first:
            os.environ[CACHE] = stack.enter_context(tempfile.TemporaryDirectory())
            table(("first opening", "measured"), first_opening(command))
        table(("WebShop", "measured"), alone(options, given.episodes, given.rounds))
        table(
            ("sessions in one process", "steps per CPU second", "resident, MB", "more than one session, MB"),
            curve(command),
        )
        table(
            ("processes", "sessions", "steps per CPU second", "memory of all (PSS), MB", "of each alone, MB"),
            side_by_side(command),
        )
        if given.official is not None:
            table(("official WebShop, in the same run", "measured"), official(given, command))
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, RapidFuzz {rapidfuzz.__version__}, "
        f"{platform.machine()} {sys.platform}, {os.cpu_count()} cores"
    )


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> None:
    """Print a table row by row, as its rows are measured."""
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
    print()


def first_opening(command: list[str]) -> Iterator[Sequence[str]]:
    """What it costs to make what is kept, where nothing is."""
    [made] = players(command, 1, 0)
    [found] = players(command, 1, 0)
    size = sum(file.stat().st_size for file in Path(os.environ[CACHE]).rglob("*") if file.is_file())
    yield "time, everything made", f"{made['opened']:,.1f} CPU s"
    yield "most memory while making it", f"{made['most']:,.0f} MB"
    yield "kept on disk", f"{size / 1e6:,.0f} MB"
    yield "time, everything kept", f"{found['opened']:,.2f} CPU s"
    yield "most memory then", f"{found['most']:,.0f} MB"


def alone(options: dict[str, Any], episodes: int, rounds: int) -> Iterator[Sequence[str]]:
    """One environment in this process."""
    began = time.process_time()
    env = WebShop(**options)
    panel = env.panel("train")
    env.reset(options={"task": panel[0].id})
    env.step("search[warm up]")
    opened = time.process_time() - began
    catalogue = env.shop.catalogue
    yield "catalogue", f"{len(catalogue.products):,} products, {len(env.shop.goals):,} {env.shop.kind} goals"
    yield "opening the shop (products, index, goals, panel)", f"{opened:.2f} CPU s"
    goals = (env.shop.goals[position] for position in range(0, len(panel), max(1, len(panel) // 500)))
    searches = [
        1e3 * cpu(lambda text=goal.instruction_text: catalogue.index.search(text.lower(), 50)) for goal in goals
    ]
    median, slow = np.percentile(searches, (50, 95))
    yield "searching for an instruction the first time, median and 95th percentile", f"{median:.2f} ms, {slow:.2f} ms"
    first = rate(lambda: play(env, episodes), 1)
    yield "steps per CPU second, first pass", f"{first:,.0f}"
    steady = rate(lambda: play(env, episodes), rounds)
    yield f"steps per CPU second, same tasks again, best of {rounds}", f"{steady:,.0f}"
    snapshots = collect(env, min(episodes, 500))
    restore_cost = 1e6 / rate(lambda: restore_all(env, snapshots), rounds)
    snapshot_cost = 1e6 / rate(lambda: take_snapshots(env, len(snapshots)), rounds)
    yield "step", f"{1e6 / steady:.1f} µs"
    yield "snapshot", f"{snapshot_cost:.1f} µs"
    yield "restore (native handle)", f"{restore_cost:.1f} µs, {restore_cost * steady / 1e6:.2f} of a step"


def curve(command: list[str]) -> Iterator[Sequence[str]]:
    """More and more sessions in one process; each curve point is a process of its own."""
    one = 0.0
    for sessions in SESSIONS:
        [player] = players(command, 1, sessions)
        one = one or player["rss"]
        yield f"{sessions}", f"{player['rate']:,.0f}", f"{player['rss']:.0f}", f"{player['rss'] - one:+.1f}"


def side_by_side(command: list[str]) -> Iterator[Sequence[str]]:
    """More and more processes, all of them alive while memory is read."""
    for count in PROCESSES:
        playing = players(command, count, EACH)
        total, own = (sum(player[name] for player in playing) for name in ("pss", "private"))
        mean = sum(player["rate"] for player in playing) / count
        yield f"{count}", f"{count * EACH}", f"{mean:,.0f}", f"{total:.0f}", f"{own / count:.0f}"


def official(given: argparse.Namespace, command: list[str]) -> Iterator[Sequence[str]]:
    """The official text environment with the same agent in a process of its own, and ours once more beside it."""
    script = [given.official_python, str(Path(__file__).with_name("webshop_official.py").resolve())]
    products = [] if given.num_products is None else ["--num-products", str(given.num_products)]
    done = subprocess.run([*script, *products], cwd=given.official, capture_output=True, text=True)
    if done.returncode:
        yield "not played", done.stderr.strip().rpartition("\n")[2]
        return
    told = json.loads(done.stdout.splitlines()[-1])
    [ours] = players(command, 1, 1)
    yield "opening the shop", f"{told['opened']:,.1f} CPU s"
    yield "steps per CPU second", f"{told['rate']:,.0f}"
    yield "ours, steps per CPU second", f"{ours['rate']:,.0f}, {ours['rate'] / told['rate']:,.0f} times as many"


def players(command: list[str], count: int, sessions: int) -> list[dict[str, float]]:
    """What so many processes that play so many sessions each say of themselves, with their memory."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, "--play", str(sessions)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(count)
        ]
        said = [json.loads(process.stdout.readline()) for process in processes if process.stdout is not None]
        # They wait for the end of their input, so all of them are alive.
        return [player | memory(process.pid) for player, process in zip(said, processes, strict=True)]


def take_part(options: dict[str, Any], sessions: int, steps: int, rounds: int) -> None:
    """Be one of ``players``: open the shop, play some sessions in turns, say how it went, and wait to be read."""
    began = time.process_time()
    envs = [WebShop(**options) for _ in range(max(1, sessions))]
    panel = envs[0].panel("train")
    panel.hash  # noqa: B018 - a run needs it
    opened = time.process_time() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    turns = in_turns(envs)
    best = rate(lambda: len(list(itertools.islice(turns, steps))), rounds) if sessions else 0.0
    print(json.dumps({"opened": opened, "most": most, "rate": best}), flush=True)
    sys.stdin.read()


def in_turns(envs: list[WebShop]) -> Iterator[None]:
    """Each session takes a step in its turn; whose episode has ended begins the next task, which no other one has."""
    rng, panel = random.Random(0), envs[0].panel("train")
    tasks = (panel[index % len(panel)].id for index in itertools.count())
    for env in envs:
        env.reset(options={"task": next(tasks)})
    while True:
        for env in envs:
            if env.done:
                env.reset(options={"task": next(tasks)})
            env.step(rng.choice(env.admissible_actions()))
            yield


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


def cpu(work: Callable[[], Any]) -> float:
    """CPU seconds that it takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def memory(pid: int) -> dict[str, float]:
    """Megabytes that a process holds, those with only its share of what it holds with others, and those without it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size) / 1024 for name, size, _ in map(str.split, lines)}
    return {"rss": sizes["Rss:"], "pss": sizes["Pss:"], "private": sizes["Private_Clean:"] + sizes["Private_Dirty:"]}


if __name__ == "__main__":
    main()
