"""``r3lbench COMMAND ...``, which is ``python -m r3lbench.COMMAND ...``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from rich.text import Text

import r3lbench
from r3lbench.console import make_console
from r3lbench.registry import unknown

COMMANDS = {
    "run": "train a policy with a method on an environment, evaluate it, record it",
    "sweep": "carry out a plan of methods, environments and seeds",
    "evaluate": "play a panel of tasks with an agent, without training",
    "import": "play again what was recorded elsewhere, and record it",
    "leaderboard": "compare recorded runs",
    "export": "write the policy that a run trained as a Hugging Face folder with a model card",
    "report": "show recorded runs on one page that opens from disk",
    "timings": "show where the time of recorded runs went",
    "verify": "play recorded runs again, and report every difference",
    "credit": "measure on recorded runs whether reflections and credit find the steps that mattered",
    "envs": "list the environments, or show one",
    "panels": "print the tasks of every environment as hashes, and check them against a file",
    "methods": "list the methods, agents and reflectors, or show one",
    "prompts": "print every prompt that a method puts before the model",
    "play": "play an environment yourself",
    "warmstart": "make a tiny policy for an environment",
    "card": "measure an environment and write its card",
}
"""What each does; the module of this name has ``main(argv)``, or the one that ``MODULES`` says."""
MODULES = {"import": "importing"}
"""Of commands whose name no module can have."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    command, *rest = [*(sys.argv[1:] if argv is None else argv), ""]
    if command in COMMANDS:
        # Imported on use: some commands need a second or two for what others do without.
        try:
            status: int = importlib.import_module(f"r3lbench.{MODULES.get(command, command)}").main(rest[:-1])
        except KeyboardInterrupt:
            print(f"r3lbench {command}: interrupted before it began", file=sys.stderr)
            return 130
        return status
    if command == "--version":
        print(f"r3lbench {r3lbench.__version__}")
        return 0
    if command in ("", "-h", "--help", "help"):
        overview()
        return 0
    print(f"r3lbench: {unknown('command', command, COMMANDS)}", file=sys.stderr)
    return 2


def overview() -> None:
    """Print the commands."""
    console = make_console(quiet=False)
    console.print(Text.assemble(("r3lbench", "bold"), f" {r3lbench.__version__}: compare RL methods for LLM agents\n"))
    width = max(len(name) for name in COMMANDS)
    for name, purpose in COMMANDS.items():
        console.print(Text.assemble("  r3lbench ", (name.ljust(width), "bold"), f"  {purpose}"))
    console.print("\nr3lbench COMMAND --help lists what a command takes.")


if __name__ == "__main__":
    raise SystemExit(main())
