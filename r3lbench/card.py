"""``python -m r3lbench.card --env webshop``: measure an environment, and write the result into its card.

An environment's card is the ``README.md`` beside its code. Its author writes what the environment is; what can be
measured stands between two marks, put there by ``--write`` together with ``card.json``, which `r3lbench envs` reads:
tasks and hashes of every panel, random play as the floor and the expert as the ceiling, speed, and what a saved state
costs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import counting, make_console, summary_table
from r3lbench.engines.engine import Sampling
from r3lbench.entry import entry_point
from r3lbench.env import TextEnv
from r3lbench.errors import R3LBenchError
from r3lbench.files import write_atomic
from r3lbench.recording import provenance
from r3lbench.registry import AGENTS, ENVIRONMENTS, NAMESPACE
from r3lbench.rollout.evaluation import Score, evaluate, summary
from r3lbench.rollout.group import Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.speed import Speed, measure_speed
from r3lbench.tasks import Task, TaskPanel

PROG = "r3lbench card"
FILE = "card.json"
"""Where, in an environment's package, the measurements stand."""
PROSE = "README.md"
"""The card itself."""
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"
"""Marks of the measured part of the card."""
BOUNDS = {"floor": "random", "ceiling": "oracle"}
"""What bounds a policy, and the agent that shows it."""


class CardConfig(Strict):
    """Settings of a measurement. ``env`` takes the fields of the environment it names."""

    env: Any = None
    tasks: int = Field(128, ge=1)
    """Floor and ceiling are measured on so many tasks of every panel, spread evenly over it."""
    seed: int = Field(0, ge=0)
    """Of random play."""
    steps: int = Field(2000, ge=1)
    """Steps over which speed is measured."""
    write: bool = False
    """Write the card of the environment with its default settings."""
    quiet: bool = False
    """Print nothing but errors."""


def parse(argv: Sequence[str]) -> CardConfig:
    """A measurement's configuration from flags."""
    parsed: CardConfig = configuration.parse(
        CardConfig,
        argv,
        names={"env": "webshop"},
        prog=PROG,
        description="Measure an environment: panels, floor, ceiling, speed, and what a saved state costs.",
    )
    return parsed


def run(config: CardConfig) -> dict[str, Any]:
    """Measure, print, and write if asked to; returns what ``card.json`` holds.

    Raises:
        R3LBenchError: The environment cannot be made, or its card cannot be written.
    """
    console = make_console(quiet=config.quiet)
    entry = ENVIRONMENTS.entry(config.env.name)
    if config.write and config.env != type(config.env)(name=config.env.name):
        raise R3LBenchError("a card is of the default settings; leave out --write, or the --env. settings")
    prose = _prose(entry.home) if config.write else None
    make_env = partial(configuration.make_env, config.env)
    with closing(make_env()) as env:
        panels = {split: env.panel(split) for split in env.splits}
        played: dict[str, dict[str, dict[str, float]]] = {bound: {} for bound in BOUNDS}
        for bound, agent in BOUNDS.items():
            if bound == "ceiling" and not has_expert(type(env)):
                continue
            for split, panel in panels.items():
                tasks = spread(panel, config.tasks)
                with counting(console, f"{agent} play on {split}", len(tasks)) as tick:
                    played[bound][split] = _means(_play(make_env, agent, tasks, config.seed, tick))
        speed = measure_speed(env, make_env, steps=config.steps, seed=config.seed)
        card = {
            "name": config.env.name,
            "id": f"{NAMESPACE}/{env.name}",
            "kind": env.kind,
            "extra": env.extra,
            "restores": str(env.fidelity),
            "isolation": str(env.isolation),
            "max_steps": env.max_steps,
            "panels": {split: _panel(panel, split, played, config.tasks) for split, panel in panels.items()},
            "speed": speed.to_json(),
            "made": provenance(),
        }
    for title, columns, rows in tables(card):
        console.print(summary_table(title, columns, rows))
    if config.write and entry.home is not None and prose is not None:
        # Not with sorted keys: the order of the panels means something.
        write_atomic(entry.home / FILE, (json.dumps(card, indent=2) + "\n").encode())
        write_atomic(entry.home / PROSE, with_measured(prose, markdown(card)).encode())
        console.print(f"written: {entry.home / FILE}, {entry.home / PROSE}")
    return card


def read_card(name: str) -> dict[str, Any] | None:
    """The shipped measurements of an environment; None where it ships none.

    Raises:
        R3LBenchError: The file is damaged.
    """
    file = ENVIRONMENTS.entry(name).beside(FILE)
    if file is None:
        return None
    try:
        card = json.loads(file.read_bytes())
    except ValueError as error:
        raise R3LBenchError(f"{file} is damaged: {error}; write it again with r3lbench card --write") from error
    if not isinstance(card, dict) or not isinstance(card.get("panels"), dict):
        raise R3LBenchError(f"{file} is no card; write it again with r3lbench card --write")
    return card


def spread(panel: TaskPanel, count: int) -> list[Task]:
    """So many tasks at equal distances, the first one included; all of a smaller panel."""
    count = min(count, len(panel))
    return [panel[position * len(panel) // count] for position in range(count)]


def has_expert(cls: type[TextEnv]) -> bool:
    """Whether an environment has an oracle."""
    return cls.expert_action is not TextEnv.expert_action


def tables(card: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows of the card's two tables."""
    rows = []
    for split, panel in card["panels"].items():
        cells = [bound_text(panel.get(bound)) for bound in BOUNDS]
        ceiling = panel.get("ceiling")
        steps = "-" if ceiling is None else f"{ceiling['steps']:.1f}"
        rows.append((split, f"{panel['tasks']:,}", panel["hash"][:12], *cells, steps))
    yield (
        f"Panels (success % and score, {_most(card)} tasks each, spread evenly)",
        ("split", "tasks", "hash", "floor: random", "ceiling: expert", "expert's steps"),
        rows,
    )
    yield "Speed", ("what", "measured"), list(Speed(**card["speed"]).rows())


def bound_text(means: Mapping[str, float] | None) -> str:
    """Success in percent and score; a dash where nobody was measured."""
    return "-" if means is None else f"{100 * means['success']:.1f} / {means['score']:.3f}"


def markdown(card: Mapping[str, Any]) -> str:
    """The card's measured part."""
    lines = []
    for title, columns, rows in tables(card):
        aligned = "|:--|" + "--:|" * (len(columns) - 1)
        lines += [f"{title}:", "", f"| {' | '.join(columns)} |", aligned]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines.append("")
    made = card["made"]
    hardware = made["hardware"]
    lines.append(
        f"`python -m r3lbench.card --env {card['name']} --write`, {made['created'][:10]}, r3lbench "
        f"{made['r3lbench']}, Python {made['python']}, {hardware['cpu']} ({hardware['machine']})."
    )
    return "\n".join(lines)


def with_measured(prose: str, measured: str) -> str:
    """A card's text with its measured part renewed."""
    before, _, rest = prose.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{measured}\n{END}{after}"


def _most(card: Mapping[str, Any]) -> str:
    most = max(panel["played"] for panel in card["panels"].values())
    return f"{'at most ' if any(panel['played'] < most for panel in card['panels'].values()) else ''}{most:,}"


def _prose(home: Path | None) -> str:
    file = None if home is None else home / PROSE
    if file is None or not file.is_file():
        raise R3LBenchError(f"there is no card to write into: put a {PROSE} beside the environment's code")
    prose = file.read_text(encoding="utf-8")
    if prose.count(BEGIN) != 1 or prose.count(END) != 1 or prose.index(BEGIN) > prose.index(END):
        raise R3LBenchError(f"{file} does not say where the measurements go: write {BEGIN} and {END} once each")
    return prose


def _play(make_env: Any, agent: str, tasks: Sequence[Task], seed: int, tick: Any) -> list[Score]:
    meter = Meter()
    rollout = Rollout(
        agent=AGENTS.load(agent)(),
        envs=EnvPool(make_env),
        waves=Waves(None, meter),
        template=None,
        seed=seed,
        sampling=Sampling(),
        meter=meter,
        reflectors=_no_reflector,
        first_purpose="evaluate",
    )
    with closing(rollout.envs):
        return asyncio.run(evaluate(rollout, tasks, "sampled", done=tick))


def _no_reflector(name: str) -> Any:
    raise R3LBenchError(f"nobody reflects while a card is measured, not even {name}")


def _means(scores: Sequence[Score]) -> dict[str, float]:
    means = summary(scores)
    return {name: round(means[name], 4) for name in ("success", "score", "return", "steps")}


def _panel(panel: TaskPanel, split: str, played: Mapping[str, Mapping[str, Any]], tasks: int) -> dict[str, Any]:
    bounds = {bound: of[split] for bound, of in played.items() if split in of}
    return {"tasks": len(panel), "hash": panel.hash, "played": min(tasks, len(panel)), **bounds}


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Measure an environment."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
