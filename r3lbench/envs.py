"""``python -m r3lbench.envs``: the environments that are installed; ``--env NAME`` shows one in full."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console, settings_table, summary_table
from r3lbench.env import TextEnv
from r3lbench.errors import R3LBenchError, UnknownName
from r3lbench.policies.finding import find_policy
from r3lbench.registry import ENVIRONMENTS, NAMESPACE, make

PROG = "r3lbench envs"
ABILITIES = {
    "expert": ("expert_action", "an oracle knows the next action from every state"),
    "rubrics": ("rubrics", "milestones say what is met and what is not"),
    "actions": ("admissible_actions", "the valid actions can be listed"),
    "diagnosis": ("diagnose", "it can tell where an episode went wrong"),
    "players": ("demonstrators", "experts and flawed players show how to play"),
    "native": ("capture", "a state is restored without replaying the actions"),
}
"""What an environment may have beyond the minimum: name, the method of ``TextEnv`` it overrides, what it means."""


class EnvsConfig(Strict):
    """Settings of the list."""

    env: Any = None
    """Show this environment in full; with its own flags, as it would be made with them."""
    quiet: bool = False
    """Print nothing but errors."""


@dataclass(frozen=True)
class Listed:
    """What a list says of an environment; ``problem`` says why it cannot be made here."""

    name: str
    summary: str
    env: TextEnv | None
    problem: str = ""


def parse(argv: Sequence[str]) -> EnvsConfig:
    """The list's configuration from flags."""
    parsed: EnvsConfig = configuration.parse(
        EnvsConfig,
        argv,
        names=configuration.names_given(argv, ["env"]),
        prog=PROG,
        description="List the installed environments, or show one in full.",
    )
    return parsed


def run(config: EnvsConfig) -> None:
    """Print the list, or one environment.

    Raises:
        R3LBenchError: The environment asked for cannot be made.
    """
    console = make_console(quiet=config.quiet)
    if config.env is not None:
        with closing(configuration.make_env(config.env)) as env:
            show(console, config.env.name, env)
        return
    for name in ENVIRONMENTS.names():
        listed = look_up(name)
        for line in block(listed):
            console.print(line, soft_wrap=not console.is_terminal)
        if listed.env is not None:
            listed.env.close()


def look_up(name: str) -> Listed:
    """An environment with its default settings, or why there is none."""
    try:
        entry = ENVIRONMENTS.entry(name)
        return Listed(name, entry.summary, make(name))
    except Exception as error:  # noqa: BLE001 - a stranger's plug-in may raise anything, and the list goes on
        return Listed(name, "", None, " ".join(str(error).split()) or repr(error))


def block(listed: Listed) -> list[RenderableType]:
    """An environment in a few lines."""
    env = listed.env
    if env is None:
        return [Text.assemble((listed.name, "bold"), (f"  cannot be made here: {listed.problem}", "yellow")), ""]
    low, high = env.reward_range
    held_out = env.panel(env.splits[-1])
    splits = ", ".join(f"{split} {len(env.panel(split)):,}" for split in env.splits)
    return [
        Text.assemble((listed.name, "bold"), f"  {NAMESPACE}/{env.name}"),
        Text(f"  {listed.summary}"),
        Text(f"  tasks: {splits} (held out; panel {held_out.hash[:12]})", style="dim"),
        Text(f"  at most {env.max_steps} steps; a step's reward {low:g} to {high:g}; restores {env.fidelity}", "dim"),
        Text(f"  has {', '.join(abilities(env)) or 'the minimum'}", style="dim"),
        "",
    ]


def abilities(env: TextEnv) -> list[str]:
    """Names of what it has beyond the minimum (``ABILITIES``)."""
    return [name for name, (method, _) in ABILITIES.items() if _overridden(type(env), method)]


def show(console: Console, name: str, env: TextEnv) -> None:
    """Everything about one environment."""
    entry = ENVIRONMENTS.entry(name)
    low, high = env.reward_range
    console.print(Text.assemble((name, "bold"), f"  {entry.summary}"))
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("id", f"{NAMESPACE}/{env.name}")
    facts.add_row("class", entry.path)
    facts.add_row("max steps", str(env.max_steps))
    facts.add_row("reward", f"{low:g} to {high:g} a step")
    facts.add_row("restored states", f"{env.fidelity}: {_fidelity(env)}")
    for ability, (method, meaning) in ABILITIES.items():
        facts.add_row(ability, meaning if _overridden(type(env), method) else Text("no", style="dim"))
    facts.add_row("tiny policy", _tiny(name))
    for key, value in sorted(env.panel(env.splits[0]).settings.items()):
        facts.add_row(f"tasks: {key}", str(value))
    console.print(Padding(facts, (1, 0, 1, 2), expand=False))
    rows = [(split, f"{len(env.panel(split)):,}", env.panel(split).hash) for split in env.splits]
    rows[-1] = (f"{rows[-1][0]} (held out)", *rows[-1][1:])
    console.print(summary_table("Splits", ("split", "tasks", "panel hash"), rows))
    console.print(settings_table("env", configuration.plugin_model(name, entry.load()), entry.defaults))
    if env.instructions:
        console.print(Text("Actions", style="bold"))
        console.print(Padding(Text(env.instructions), (0, 0, 1, 2), expand=False))
    task = f"{env.splits[0]}/0"
    console.print(Text(f"Task {task}", style="bold"))
    console.print(Padding(Text(env.reset(options={"task": task})[0]), (0, 0, 0, 2), expand=False))


def _fidelity(env: TextEnv) -> str:
    meanings = {"exact": "every observation, reward and flag is equal"}
    return meanings.get(env.fidelity, "scores and validity are equal, texts up to their order")


def _tiny(name: str) -> str:
    try:
        find_policy("tiny", name)
    except UnknownName:
        return "none"
    return "shipped: --policy tiny"


def _overridden(cls: type[TextEnv], method: str) -> bool:
    return getattr(cls, method) is not getattr(TextEnv, method)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    try:
        run(parse(sys.argv[1:] if argv is None else argv))
    except R3LBenchError as error:
        return configuration.fail(error, PROG)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
