"""``python -m r3lbench.play --env webshop``: play an environment yourself, and go back to any state you saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.entry import entry_point
from r3lbench.env import TextEnv
from r3lbench.snapshot import Snapshot

PROG = "r3lbench play"
NAMES = {"env": "webshop"}


class PlayConfig(Strict):
    """Settings of a game. ``env`` takes the fields of the environment it names."""

    env: Any = None
    task: str | None = None
    """Which task, e.g. test/3; one drawn from the first split if None."""
    seed: int = Field(0, ge=0)
    """Of the draw."""


@dataclass
class Game:
    """One person's play.

    Attributes:
        env: What is played.
        console: Where it is shown.
        ret: Sum of rewards so far.
        saved: Snapshots with the return they were taken at, oldest first.
        before: The same for the states before each step or restore, for undoing it.
    """

    env: TextEnv
    console: Console
    ret: float = 0.0
    saved: list[tuple[Snapshot, float]] = field(default_factory=list)
    before: list[tuple[Snapshot, float]] = field(default_factory=list)

    def command(self, line: str) -> None:
        """Carry out ``:word argument``."""
        word, _, argument = line[1:].strip().partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "undo": self.undo,
            "snapshot": self.snapshot,
            "restore": self.restore,
            "hint": self.hint,
            "actions": self.actions,
            "rubrics": self.rubrics,
        }
        if word in commands:
            commands[word](argument.strip())
        else:
            self.say("commands: " + "  ".join(f":{name}" for name in [*commands, "quit"]))

    def snapshot(self, _: str) -> None:
        """Save the present state."""
        self.saved.append((self.env.snapshot(), self.ret))
        self.say(f"saved as {len(self.saved)}: step {self.env.elapsed_steps}; back with :restore {len(self.saved)}")

    def restore(self, number: str) -> None:
        """Go back to a saved state, the last one unless numbered."""
        position = int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else len(self.saved)
        if not 1 <= position <= len(self.saved):
            self.say(f"nothing is saved as {position}" if self.saved else "nothing is saved yet; :snapshot saves")
            return
        self.before.append((self.env.snapshot(), self.ret))
        self._return_to(self.saved[position - 1])

    def undo(self, _: str) -> None:
        """Go back to the state before the last step or restore."""
        if self.before:
            self._return_to(self.before.pop())
        else:
            self.say("there is nothing to undo")

    def _return_to(self, point: tuple[Snapshot, float]) -> None:
        snapshot, self.ret = point
        self.env.restore(snapshot)
        self.show()

    def hint(self, _: str) -> None:
        """Ask the environment's expert."""
        action = None if self.env.done else self.env.expert_action()
        self.say("the expert has nothing to say here" if action is None else f"the expert would write: {action}")

    def actions(self, _: str) -> None:
        """List what can be done."""
        self.say("\n".join(self.env.admissible_actions()) or "this environment lists no actions")

    def rubrics(self, _: str) -> None:
        """List the milestones."""
        for rubric in self.env.rubrics():
            mark, style = ("x", "green") if rubric.satisfied else (" ", "cyan")
            self.console.print(Text(f"[{mark}] {rubric.name}", style=style))

    def act(self, action: str) -> None:
        """Take a step."""
        if self.env.done:
            self.say("the episode is over; go on with :restore, or :quit")
            return
        self.before.append((self.env.snapshot(), self.ret))
        met = {rubric.name for rubric in self.env.rubrics() if rubric.satisfied}
        _, reward, _, _, info = self.env.step(action)
        self.ret += reward
        if not info["action_valid"]:
            self.say("that did nothing")
        self.show()
        for rubric in self.env.rubrics():
            if rubric.satisfied != (rubric.name in met):
                self.console.print(Text(f"{'met' if rubric.satisfied else 'lost'}: {rubric.name}", style="green"))

    def show(self) -> None:
        """The present state."""
        env = self.env
        title = f"step {env.elapsed_steps} of {env.max_steps}, score {env.score():.2f}, return {self.ret:.2f}"
        self.console.print(Rule(Text(title, style="dim"), align="left", characters="-"))
        self.console.print(Text(env.observation))
        if env.done:
            words = "solved" if env.success() else "over" if env.terminated else "out of steps"
            self.say(f"{words}: {env.feedback()}")
            self.rubrics("")

    def say(self, words: str) -> None:
        """Something that is not the environment's."""
        self.console.print(Text(words, style="cyan"))


def parse(argv: Sequence[str]) -> PlayConfig:
    """A game's configuration from flags."""
    parsed: PlayConfig = configuration.parse(
        PlayConfig, argv, names=NAMES, prog=PROG, description="Play a task in the terminal; :help lists commands."
    )
    return parsed


def run(config: PlayConfig, lines: Callable[[str], str] = input) -> Game:
    """Play until ``:quit`` or the end of input.

    Args:
        config: What to play.
        lines: Asks for the next line; raises ``EOFError`` when there is none.

    Raises:
        R3LBenchError: No such environment or task.
    """
    with closing(configuration.make_env(config.env)) as env:
        env.reset(seed=config.seed, options=None if config.task is None else {"task": config.task})
        game = Game(env, make_console(quiet=False))
        game.say(f"{env.name} {env.task.id}. {env.instructions}")
        game.say("An action a line; also :undo  :snapshot  :restore [number]  :hint  :actions  :rubrics  :quit")
        game.show()
        _converse(game, lines)
        return game


def _converse(game: Game, lines: Callable[[str], str]) -> None:
    while True:
        try:
            line = lines("> ").strip()
        except EOFError:
            return
        if line in (":quit", ":q"):
            return
        if line.startswith(":"):
            game.command(line)
        elif line:
            game.act(line)


@entry_point(PROG, "the game is over")
def main(argv: Sequence[str]) -> None:
    """Play."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
