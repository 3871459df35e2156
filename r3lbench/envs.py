"""``python -m r3lbench.envs``: the environments that are installed; ``--env NAME`` shows one in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.card import BOUNDS, read_card
from r3lbench.config import Strict
from r3lbench.console import make_console, settings_table, summary_table
from r3lbench.entry import entry_point
from r3lbench.env import TextEnv
from r3lbench.errors import UnknownName
from r3lbench.nature import Isolation
from r3lbench.policies.finding import find_policy
from r3lbench.registry import ENVIRONMENTS, NAMESPACE, make
from r3lbench.tasks import TaskPanel

PROG = "r3lbench envs"
ABILITIES = {
    "expert": ("expert_action", "an oracle knows the next action from every state"),
    "rubrics": ("rubrics", "milestones say what is met and what is not"),
    "actions": ("admissible_actions", "the valid actions can be listed"),
    "diagnosis": ("diagnose", "it can tell where an episode went wrong"),
    "players": ("demonstrators", "experts and flawed players show how to play"),
    "values": ("value", "the best score that can still be reached is known exactly"),
    "native": ("capture", "a state is restored without replaying the actions"),
}
"""What an environment may have beyond the minimum: name, the method of ``TextEnv`` it overrides, what it means."""


class EnvsConfig(Strict):
    """Settings of the list."""

    env: Any = None
    """Show this environment in full; with its own flags, as it would be made with them."""
    markdown: bool = False
    """Print the list as a Markdown table, from the environments' cards."""
    quiet: bool = False
    """Print nothing but errors."""


@dataclass(frozen=True)
class Listed:
    """What a list says of an environment; ``problem`` says why it cannot be made here, ``card`` what was measured."""

    name: str
    summary: str
    env: TextEnv | None
    problem: str = ""
    card: Mapping[str, Any] | None = None
    cls: type[TextEnv] | None = None


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
    if config.markdown:
        console.print(Text(markdown()), soft_wrap=True)
        return
    for name in ENVIRONMENTS.names():
        listed = look_up(name)
        for line in block(listed):
            console.print(line, soft_wrap=not console.is_terminal)
        if listed.env is not None:
            listed.env.close()


def markdown() -> str:
    """A table of the environments that bring a card."""
    lines = [
        "| environment | kind | extra | training / held-out tasks | restores | floor | ceiling | steps/s |",
        "|:--|:--|:--|--:|:--|--:|--:|--:|",
    ]
    for name in ENVIRONMENTS.names():
        card = read_card(name)
        if card is None:
            continue
        panels = list(card["panels"].values())
        ends = [panels[-1].get(bound) for bound in BOUNDS]
        cells = ["-" if means is None else f"{100 * means['success']:.1f} %" for means in ends]
        tasks = f"{panels[0]['tasks']:,} / {panels[-1]['tasks']:,}"
        lines.append(
            f"| [{name}](environments/{name}/README.md) | {card['kind']} | {card['extra'] or ''} | {tasks} | "
            f"{card['restores']} | {' | '.join(cells)} | {card['speed']['steps_per_second']:,.0f} |"
        )
    return "\n".join(lines)


def look_up(name: str) -> Listed:
    """An environment with its default settings, or why there is none."""
    summary, cls, card = "", None, None
    try:
        entry = ENVIRONMENTS.entry(name)
        summary, cls, card = entry.summary, entry.load(), read_card(name)
        return Listed(name, summary, make(name), card=card, cls=cls)
    except Exception as error:  # noqa: BLE001 - a stranger's plug-in may raise anything, and the list goes on
        return Listed(name, summary, None, " ".join(str(error).split()) or repr(error), card, cls)


def block(listed: Listed) -> list[RenderableType]:
    """An environment in a few lines."""
    env = listed.env
    if env is None:
        return _absent(listed)
    low, high = env.reward_range
    held_out = env.panel(env.splits[-1])
    splits = ", ".join(f"{split} {len(env.panel(split)):,}" for split in env.splits)
    return [
        Text.assemble((listed.name, "bold"), f"  {NAMESPACE}/{env.name}"),
        Text(f"  {listed.summary}"),
        Text(f"  {_sort(type(env))}", style="dim"),
        Text(f"  tasks: {splits} (held out; panel {held_out.hash[:12]})", style="dim"),
        Text(f"  at most {env.max_steps} steps; a step's reward {low:g} to {high:g}; restores {env.fidelity}", "dim"),
        Text(f"  {bounds(listed.card, held_out)}", style="dim"),
        Text(f"  has {', '.join(abilities(env)) or 'the minimum'}", style="dim"),
        "",
    ]


def _absent(listed: Listed) -> list[RenderableType]:
    """What can be said of an environment that cannot be made here: its class and its card know some of it."""
    lines: list[RenderableType] = [Text(listed.name, style="bold")]
    if listed.cls is not None:
        lines[0] = Text.assemble((listed.name, "bold"), f"  {NAMESPACE}/{listed.cls.name}")
        lines += [Text(f"  {listed.summary}"), Text(f"  {_sort(listed.cls)}", style="dim")]
    if listed.card is not None:
        splits = ", ".join(f"{split} {panel['tasks']:,}" for split, panel in listed.card["panels"].items())
        lines.append(Text(f"  tasks: {splits}", style="dim"))
    return [*lines, Text(f"  cannot be made here: {listed.problem}", style="yellow"), ""]


def _sort(cls: type[TextEnv]) -> str:
    needs = f"the extra {cls.extra}" if cls.extra else "nothing beyond the base install"
    return f"{cls.kind} environment; needs {needs}"


def bounds(card: Mapping[str, Any] | None, panel: TaskPanel) -> str:
    """Floor and ceiling of a held-out panel in words, if they were measured on these very tasks."""
    measured = None if card is None else card["panels"].get(panel.split)
    if measured is None or measured["hash"] != panel.hash:
        return "floor and ceiling not measured on these tasks (r3lbench card)"
    said = [
        f"{bound} {100 * measured[bound]['success']:.1f} % success, score {measured[bound]['score']:.3f} ({agent} play)"
        for bound, agent in BOUNDS.items()
        if bound in measured
    ]
    return "; ".join(said)


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
    facts.add_row("kind", env.kind)
    facts.add_row("extra", env.extra or "none: part of the base install")
    facts.add_row("max steps", str(env.max_steps))
    facts.add_row("reward", f"{low:g} to {high:g} a step")
    facts.add_row("restored states", f"{env.fidelity}: {_fidelity(env)}")
    for ability, (method, meaning) in ABILITIES.items():
        facts.add_row(ability, meaning if _overridden(type(env), method) else Text("no", style="dim"))
    facts.add_row("steps run", f"{env.isolation}: {_PLACES[env.isolation]}")
    facts.add_row("measured", bounds(read_card(name), env.panel(env.splits[-1])))
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


_PLACES = {
    Isolation.NONE: "in the process that asks",
    Isolation.THREAD: "in threads",
    Isolation.PROCESS: "in worker processes",
}


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


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """List environments, or show one."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
