"""``python -m r3lbench.panels``: the tasks of every split as hashes, and whether they are those of a file.

Two results can be compared when the hashes of their panels are equal. ``panels.json`` holds those of every environment
with its default settings; ``--check shipped`` says whether what is installed here makes the same tasks. docs/panels.md
says what a hash covers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.entry import entry_point
from r3lbench.env import TextEnv
from r3lbench.errors import BadData, MissingExtra
from r3lbench.files import make_room, to_json, write_atomic
from r3lbench.recording import panels_json
from r3lbench.registry import ENVIRONMENTS, make

PROG = "r3lbench panels"
SHIPPED = Path(__file__).with_name("panels.json")
"""Panels of the environments that come with the package, with their default settings; ``shipped`` stands for it."""

with warnings.catch_warnings():
    # The flag is --json, as elsewhere; pydantic keeps a deprecated method of that name.
    warnings.simplefilter("ignore", UserWarning)

    class PanelsConfig(Strict):
        """Settings of the list."""

        env: Any = None
        """Only this environment; with its own flags, as it would be made with them."""
        json: str | None = None  # type: ignore[assignment]
        """Write the panels to this file."""
        check: str | None = None
        """Compare with the panels of such a file; `shipped` is the one that comes with the package."""
        quiet: bool = False
        """Print nothing but differences and errors."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Split(_Table):
    """The panel of a split."""

    split: str
    tasks: int
    """How many there are."""
    hash: str
    """Of environment, split, settings and all keys; see ``TaskPanel.hash``."""
    settings: dict[str, Any]
    """Whatever else decides what a task means."""


class Panels(_Table):
    """The panels of an environment."""

    id: str
    """Versioned name."""
    splits: tuple[Split, ...]
    """In the environment's order: the first is trained on, the last is held out."""

    @classmethod
    def of(cls, env: TextEnv) -> Panels:
        """Those of an instance."""
        panels = panels_json({split: env.panel(split) for split in env.splits})
        found = {"id": env.name, "splits": [{"split": split, **panel} for split, panel in panels.items()]}
        # As a file gives them back, or tuples in settings would differ from lists.
        return cls.model_validate_json(to_json(found))


class PanelsFile(_Table):
    """What ``--json`` writes."""

    format: Literal["r3lbench-panels-1"] = "r3lbench-panels-1"
    environments: dict[str, Panels]
    """By short name."""

    @classmethod
    def read(cls, path: Path) -> PanelsFile:
        """Read such a file.

        Raises:
            BadData: It cannot be read, or is none.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BadData(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BadData(f"{path} was not written by {PROG} --json: {where} {first['msg']}") from error

    def write(self, path: Path) -> None:
        """Write such a file, in the place of an older one if there is one.

        Raises:
            BadData: It cannot be written, or the file there is something else.
        """
        make_room(path, self.format)
        try:
            write_atomic(path, to_json(self.model_dump(), indent=1))
        except OSError as error:
            raise BadData(f"{path} cannot be written: {error.strerror}") from error


def parse(argv: Sequence[str]) -> PanelsConfig:
    """The list's configuration from flags."""
    parsed: PanelsConfig = configuration.parse(
        PanelsConfig,
        argv,
        names=configuration.names_given(argv, ["env"]),
        prog=PROG,
        description="Print the tasks of every split as hashes, write them to a file, compare them with those of one.",
    )
    return parsed


def run(config: PanelsConfig) -> list[str]:
    """Print, write, compare; returns the differences.

    Raises:
        R3LBenchError: The environment asked for cannot be made, or a file cannot be read or written.
    """
    console = make_console(quiet=config.quiet)
    expected = None if config.check is None else _expected(config.check, config.env and config.env.name)
    found, skipped = _installed() if config.env is None else ({config.env.name: _asked(config.env)}, {})
    for name, panels in found.items():
        console.print(Text.assemble((name, "bold"), f"  {panels.id}"))
        for panel in panels.splits:
            console.print(f"  {panel.split:<14}{panel.tasks:>7,}  {panel.hash}", soft_wrap=True)
    for name, reason in skipped.items():
        console.print(Text(f"{name}  skipped: {reason}", style="yellow"), soft_wrap=True)
    if config.json is not None:
        PanelsFile(environments=found).write(Path(config.json))
    if expected is None:
        return []
    differences = list(compare({name: of for name, of in expected.items() if name not in skipped}, found))
    for line in differences:
        print(line)
    compared = ", ".join(sorted(expected.keys() & found.keys())) or "nothing"
    words = f"\ncompared with {config.check}: {compared}; differences: {len(differences) or 'none'}"
    console.print(Text(words), soft_wrap=True)
    return differences


def compare(expected: Mapping[str, Panels], found: Mapping[str, Panels]) -> Iterator[str]:
    """One line for every panel that is another one than expected; what was not expected at all is no difference."""
    for name, wanted in expected.items():
        if name not in found:
            yield f"{name}: not installed here"
            continue
        had = found[name]
        if had.id != wanted.id:
            yield f"{name}: {had.id}, expected {wanted.id}"
        here, there = ([panel.split for panel in of.splits] for of in (had, wanted))
        if here != there:
            yield f"{name}: splits {', '.join(here)}, expected {', '.join(there)}"
        panels = {panel.split: panel for panel in had.splits}
        for panel in wanted.splits:
            if panel.split in panels and panels[panel.split].hash != panel.hash:
                now = panels[panel.split]
                yield f"{name} {panel.split}: hash {now.hash[:12]}, expected {panel.hash[:12]} ({_why(now, panel)})"


def _why(now: Split, wanted: Split) -> str:
    """What two panels of one split differ in, as far as settings and sizes tell."""
    names = sorted(now.settings.keys() | wanted.settings.keys())
    pairs = [(name, now.settings.get(name), wanted.settings.get(name)) for name in names]
    pairs.append(("tasks", now.tasks, wanted.tasks))
    return "; ".join(f"{name} {one}, expected {other}" for name, one, other in pairs if one != other) or "other tasks"


def _installed() -> tuple[dict[str, Panels], dict[str, str]]:
    """The panels of all environments with their default settings, and of those that lack an extra which."""
    found, skipped = {}, {}
    for name in ENVIRONMENTS.names():
        try:
            with closing(make(name)) as env:
                found[name] = Panels.of(env)
        except MissingExtra as missing:
            skipped[name] = str(missing)
    return found, skipped


def _asked(settings: Any) -> Panels:
    with closing(configuration.make_env(settings)) as env:
        return Panels.of(env)


def _expected(check: str, name: str | None) -> dict[str, Panels]:
    """The panels of a file, or those of one environment in it."""
    recorded = PanelsFile.read(SHIPPED if check == "shipped" else Path(check)).environments
    if name is None:
        return recorded
    if name not in recorded:
        raise BadData(f"{check} has no panels of {name}; it has those of {', '.join(recorded) or 'nothing'}")
    return {name: recorded[name]}


@entry_point(PROG)
def main(argv: Sequence[str]) -> int:
    """Print panels, write or check them; 1 where they differ from those of the file."""
    return 1 if run(parse(argv)) else 0


if __name__ == "__main__":
    raise SystemExit(main())
