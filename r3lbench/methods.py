"""``python -m r3lbench.methods``: the installed methods, agents and reflectors; ``--method NAME`` shows one in full."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console, settings_table
from r3lbench.entry import entry_point
from r3lbench.registry import AGENTS, BASELINES, REFLECTORS, Registry

PROG = "r3lbench methods"
KINDS: dict[str, Registry[Any]] = {"method": BASELINES, "agent": AGENTS}
"""What can be shown in full, by flag."""


class MethodsConfig(Strict):
    """Settings of the list."""

    method: Any = None
    """Show this method in full."""
    agent: Any = None
    """Show this agent in full."""
    quiet: bool = False
    """Print nothing but errors."""


def parse(argv: Sequence[str]) -> MethodsConfig:
    """The list's configuration from flags."""
    parsed: MethodsConfig = configuration.parse(
        MethodsConfig,
        argv,
        names=configuration.names_given(argv, KINDS),
        prog=PROG,
        description="List the installed methods, agents and reflectors, or show some in full.",
    )
    return parsed


def run(config: MethodsConfig) -> None:
    """Print the lists, or what was asked for."""
    console = make_console(quiet=config.quiet)
    asked = {kind: getattr(config, kind) for kind in KINDS if getattr(config, kind) is not None}
    for kind, chosen in asked.items():
        show(console, kind, KINDS[kind], chosen.name)
    if not asked:
        for title, registry in (("Methods", BASELINES), ("Agents", AGENTS), ("Reflectors", REFLECTORS)):
            listing(console, title, registry)


def listing(console: Console, title: str, registry: Registry[Any]) -> None:
    """Names and what they stand for; one that does not load is named and does not stop the others."""
    console.print(Text(title, style="bold"))
    table = Table.grid(padding=(0, 2))
    for name in registry.names():
        try:
            said = Text(registry.entry(name).summary)
        except Exception as error:  # noqa: BLE001 - a stranger's plug-in may raise anything
            said = Text(f"cannot be loaded here: {' '.join(str(error).split())}", style="yellow")
        table.add_row("", name, said)
    console.print(table)
    console.print()


def show(console: Console, kind: str, registry: Registry[Any], name: str) -> None:
    """Its docstring and its flags."""
    entry = registry.entry(name)
    cls = entry.load()
    console.print(Text.assemble((name, "bold"), (f"  {entry.path}", "dim")))
    # Lines of one paragraph flow; those of lists and formulas, which are indented or numbered, stay.
    words = re.sub(r"(?<!\n)\n(?=[^\s\d-])", " ", inspect.getdoc(cls) or "")
    console.print(Padding(Text(words), (0, 0, 1, 2), expand=False))
    if kind == "agent":
        seen = ", ".join(sorted(cls.sees)) or "nothing"
        needs = "needs a model" if cls.speaks else "asks a model elsewhere" if cls.elsewhere else "needs no model"
        console.print(f"  {needs}; sees beyond observations: {seen}")
        console.print()
    model = configuration.plugin_model(name, cls)
    if set(model.model_fields) - {"name"}:
        console.print(settings_table(kind, model, entry.defaults))


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """List plug-ins, or show one."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
