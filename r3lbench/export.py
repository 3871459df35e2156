"""``python -m r3lbench.export runs/webshop-r3l-tiny-s0 --out my-policy``: a trained policy for others to load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig
from r3lbench.exporting import export
from r3lbench.recording import RunFolder
from r3lbench.run import command_of

PROG = "r3lbench export"


class ExportConfig(Strict):
    """Settings of an export."""

    run: str | None = None
    """Folder of a complete run. May stand without the flag."""
    out: str | None = None
    """Folder to write; an earlier export in it is replaced, anything else is left alone."""
    quiet: bool = False
    """Print nothing but errors."""


def parse(argv: Sequence[str]) -> ExportConfig:
    """An export's configuration from flags.

    Raises:
        BadConfig: A flag makes no sense, or one of the folders is not given.
    """
    parsed: ExportConfig = configuration.parse(
        ExportConfig,
        argv,
        names={},
        prog=PROG,
        description="Write the policy that a run trained as a Hugging Face folder, with a model card.",
        positional="run",
    )
    if parsed.run is None or parsed.out is None:
        raise BadConfig("give the folder of a run and where to write: r3lbench export RUN --out FOLDER")
    return parsed


@entry_point(PROG)
def main(argv: Sequence[str]) -> None:
    """Export."""
    config = parse(argv)
    assert config.run is not None and config.out is not None
    run = RunFolder.open(Path(config.run))
    export(run, Path(config.out), command_of(run))
    make_console(quiet=config.quiet).print(Text(f"exported to {config.out}"))


if __name__ == "__main__":
    raise SystemExit(main())
