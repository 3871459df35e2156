"""ALFWorld as a text environment: a room, a task, and commands that move things about."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from r3lbench.env import Outcome, TextEnv
from r3lbench.errors import UnknownName
from r3lbench.nature import Isolation
from r3lbench.registry import register_env, unknown
from r3lbench.rubric import Rubric
from r3lbench.tasks import Task, TaskPanel
from r3lbench.teaching import Demonstrator, Diagnosis, Player

from . import generated, milestones, players
from .diagnosis import diagnose
from .engine import Engine, Handle
from .expert import route
from .game import Game, read_game
from .games import data_folder, listing
from .grammar import NOTHING_HAPPENS
from .milestones import Progress
from .protocols import PROTOCOLS, REWARD_RANGE, SPLITS
from .stack import EXTRA, require
from .world import Situation, situation_of, world_of

if TYPE_CHECKING:
    from r3lbench.episode import Trajectory


@dataclass(frozen=True)
class Saved:
    """A way back to a state: the engine's, and what the environment remembers of the episode."""

    handle: Handle
    progress: Progress


@register_env("alfworld")
class ALFWorld(TextEnv):
    """Find, treat and place things in a household told in text (Shridhar et al. 2021, arXiv 2010.03768).

    Args:
        protocol: Name of a published setting, see ``protocols.PROTOCOLS``.
        data: Folder with ALFWorld's games (it holds ``json_2.1.1``); None takes ``ALFWORLD_DATA``, and generated games
            where there are none; ``"generated"`` always takes the latter.
        room: Size of generated rooms, ``"full"`` or ``"small"``, overriding the protocol's.
        max_steps: Step limit, overriding the protocol's.
        **options: Passed on to ``TextEnv``.
    """

    name: ClassVar[str] = "ALFWorld-v0"
    kind: ClassVar[str] = "game"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    reward_range: ClassVar[tuple[float, float]] = REWARD_RANGE
    isolation: ClassVar[Isolation] = Isolation.PROCESS
    extra: ClassVar[str | None] = EXTRA
    instructions: ClassVar[str] = (
        "You are in a room with furniture and things in and on it, and you can hold one thing. Write one command, "
        "with the names as they are shown: go to R, open R, close R, take O from R, move O to R, clean O with R, "
        "heat O with R, cool O with R, use O, examine O or R, look, inventory. To look at something under a lamp, hold "
        "it and use the lamp."
    )

    def __init__(
        self,
        *,
        protocol: str = "default",
        data: str | None = None,
        room: str | None = None,
        max_steps: int | None = None,
        **options: Any,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise UnknownName(unknown("protocol", protocol, PROTOCOLS))
        self.protocol = PROTOCOLS[protocol]
        super().__init__(max_steps=self.protocol.max_steps if max_steps is None else max_steps, **options)
        size = self.protocol.room if room is None else room
        if size not in generated.SIZES_OF_ROOMS:
            raise UnknownName(unknown("room", size, generated.SIZES_OF_ROOMS))
        self.room = generated.SIZES_OF_ROOMS[size]
        self.folder = data_folder(data)
        require(upstream=self.folder is None)
        # What is held out depends on the protocol: R3L evaluates on valid_seen.
        self.splits = self.protocol.splits  # type: ignore[misc]
        self.game: Game
        self.progress = Progress()
        self._engine: Engine | None = None
        self._judge: Engine | None = None
        self._seen: Situation | None = None

    def panel(self, split: str) -> TaskPanel:
        """The split's games: real ones in the order of their paths, or generated ones."""
        if split not in self.splits:
            raise UnknownName(unknown("split", split, self.splits))
        settings: dict[str, Any] = {"protocol": self.protocol.name, "max_steps": self.max_steps}
        if self.folder is None:
            settings |= {"games": "generated", "room": self.room.name, "made_of": generated.data_hash()}
            keys = tuple(generated.key(split, index, self.room) for index in range(generated.SIZES[split]))
        else:
            games = listing(self.folder, split)
            settings |= {"games": "alfworld", "files": games.hash}
            keys = tuple(f"{split}/{key}" for key in games.keys)
        return TaskPanel(self.name, split, keys, settings)

    def start(self, task: Task) -> str:
        """The middle of the room, and the task."""
        self.game = self._game_of(task)
        shown = self.engine.start(self.game)
        self._seen = None
        self.progress = Progress().after(self.situation)
        return shown

    def act(self, action: str) -> Outcome:
        """Take a command; anything that is not admissible is refused."""
        rules = self.protocol
        shown = self.engine.step(action)
        valid = shown is not None
        self._seen = None
        self.progress = self.progress.after(self.situation, valid=valid)
        won = self.engine.won
        repeats = rules.repeat_limit is not None and self._repeated(action) >= rules.repeat_limit
        reward = rules.success_reward * won + (0.0 if valid else rules.invalid_reward)
        ended = won or repeats or (rules.invalid_ends and not valid)
        return Outcome(NOTHING_HAPPENS if shown is None else shown, reward, ended, valid)

    def score(self) -> float:
        """1 at the goal, 0 everywhere else."""
        return float(self.engine.won)

    def success(self) -> bool:
        """Whether the goal holds."""
        return self.engine.won

    def feedback(self) -> str:
        """What was achieved and what was not."""
        return milestones.in_words(self.situation.world.goal, self.progress, self.success())

    def task_type(self) -> str:
        """One of the six kinds of goals, as upstream names them."""
        return self.situation.world.goal.type.value

    def rubrics(self) -> tuple[Rubric, ...]:
        """The steps to the goal that have been made, and whether every command was taken."""
        return milestones.rubrics(self.situation.world.goal, self.progress, self.success())

    def admissible_actions(self) -> tuple[str, ...]:
        """All commands that are taken now, sorted by code point."""
        return () if self.done else tuple(sorted(self.engine.commands))

    def expert_action(self) -> str | None:
        """The oracle's next command."""
        return None if self.done else next(iter(route(self.situation) or ()), None)

    def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """The step to do differently, and commands that win from there."""
        self._judge = self._judge or Engine()
        game = self._game_of(self.resolve(trajectory.task.id))
        return diagnose(self._judge, game, trajectory.actions, self.max_steps)

    def demonstrators(self) -> tuple[Demonstrator, ...]:
        """An explorer, a careless player, and one who slips and mends it."""
        return (
            Demonstrator("explorer", 0.4, _beginning(players.explorer)),
            Demonstrator("careless", 0.4, _beginning(players.careless)),
            Demonstrator("noisy", 0.2, _beginning(players.noisy)),
        )

    @property
    def engine(self) -> Engine:
        """What plays the game; made when it is first needed."""
        if self._engine is None:
            self._engine = Engine()
        return self._engine

    @property
    def situation(self) -> Situation:
        """What the present facts mean."""
        if self._seen is None:
            self._seen = situation_of(world_of(self.game), self.engine.facts)
        return self._seen

    @property
    def last_command(self) -> str:
        """The last command, if it was taken; else nothing."""
        return self.actions[-1].strip() if self.actions and self.action_valid else ""

    def capture(self) -> Saved:
        """The engine's state, which leads back at once, or through its portable form once another game was loaded."""
        return Saved(self.engine.save(), self.progress)

    def reinstate(self, payload: Saved) -> None:
        """Return to a captured state."""
        self.game, self.progress, self._seen = self._game_of(self.task), payload.progress, None
        if payload.handle.fits(self.engine):
            self.engine.restore(payload.handle)
        else:
            self.engine.resume(self.game, payload.handle.portable)

    @property
    def native_owner(self) -> Hashable:
        """Every environment of this process: a state that is not this engine's has a portable form."""
        return self.name, self.protocol.name

    def close(self) -> None:
        """Pass the engines on to the next instance."""
        for engine in (self._engine, self._judge):
            if engine is not None:
                engine.close()
        self._engine = self._judge = None
        super().close()

    def _repeated(self, action: str) -> int:
        """How many times in a row an action has been written, this time included."""
        count = 1
        for before in reversed(self.actions):
            if before.strip() != action.strip():
                break
            count += 1
        return count

    def _game_of(self, task: Task) -> Game:
        if self.folder is None:
            return generated.generate(task.split, task.index, self.room)
        games = listing(self.folder, task.split)
        return _read(games.file(games.keys[task.index]))


@lru_cache(maxsize=48)
def _read(file: Path) -> Game:
    return read_game(file)


def _beginning(manner: Callable[[np.random.Generator], players.Play]) -> Callable[[np.random.Generator], Player]:
    """A manner of playing as a player of the environment."""

    def begin(rng: np.random.Generator) -> Player:
        play = manner(rng)

        def player(env: TextEnv) -> tuple[str, bool]:
            if not isinstance(env, ALFWorld):
                raise TypeError(f"this player plays {ALFWorld.name}, not {env.name}")
            return play(env.situation, env.last_command, env.admissible_actions())

        return player

    return begin
