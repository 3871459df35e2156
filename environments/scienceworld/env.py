"""ScienceWorld as a text environment: elementary science, carried out in a simulated house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from r3lbench.env import Outcome, TextEnv
from r3lbench.errors import BadConfig, SnapshotDiverged, UnknownName
from r3lbench.nature import Fidelity, Isolation
from r3lbench.registry import register_env, unknown
from r3lbench.rubric import Rubric
from r3lbench.snapshot import Snapshot
from r3lbench.tasks import Task, TaskPanel
from r3lbench.teaching import Demonstrator, Diagnosis, Player

from . import diagnosis, goals, players
from .expert import plan
from .gold import gold_path
from .installed import installation, simulator_version
from .protocols import PROTOCOLS, REWARD_RANGE, SIMPLIFICATIONS, SPLITS
from .session import Session, valid
from .simulator import RESERVED_MB, hold, release
from .variations import parsed, task_types
from .words import agree, canonical, plain, readings

if TYPE_CHECKING:
    from r3lbench.episode import Trajectory


@register_env("scienceworld")
class ScienceWorld(TextEnv):
    """Solve tasks of elementary science in a simulated house (Wang et al. 2022, arXiv 2203.07540).

    Args:
        protocol: Name of a published setting, see ``protocols.PROTOCOLS``.
        tasks: Only these task types, by upstream's names; None takes all thirty.
        simplification: Upstream's simplifications, comma-separated, ``"easy"``, or ``""`` for none; None takes the
            protocol's.
        max_steps: Step limit, overriding the protocol's.
        heap_mb: Bound of the Java heap in MiB. One machine serves all instances of a process; the first one's counts.
        **options: Passed on to ``TextEnv``.

    Raises:
        MissingExtra: The simulator or Java is not installed.
    """

    name: ClassVar[str] = "ScienceWorld-v0"
    kind: ClassVar[str] = "game"
    extra: ClassVar[str | None] = "scienceworld"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    reward_range: ClassVar[tuple[float, float]] = REWARD_RANGE
    fidelity: ClassVar[Fidelity] = Fidelity.EQUIVALENT
    isolation: ClassVar[Isolation] = Isolation.PROCESS
    instructions: ClassVar[str] = (
        "You are in a house with laboratories, and solve a task of elementary science by short commands, such as: "
        "look around, look at X, inventory, teleport to ROOM, go to ROOM, open X, pick up X, put down X, move X to Y, "
        "pour X into Y, mix X, use X on Y, activate X, deactivate X, connect X to Y, read X, eat X, wait1, wait, "
        "focus on X. Focus only on what the task asks for: a wrong focus fails it. Where you are asked to choose "
        "between numbered actions, answer with the number or with the text of one."
    )

    def __init__(
        self,
        *,
        protocol: str = "default",
        tasks: tuple[str, ...] | None = None,
        simplification: str | None = None,
        max_steps: int | None = None,
        heap_mb: int = 400,
        **options: Any,
    ) -> None:
        rules = _known("protocol", protocol, PROTOCOLS)
        super().__init__(max_steps=rules.max_steps if max_steps is None else max_steps, **options)
        chosen = rules.simplification if simplification is None else simplification
        for part in chosen.split(",") if chosen not in ("", "easy") else ():
            _known("simplification", part, dict.fromkeys(("easy", *SIMPLIFICATIONS)))
        self.protocol = replace(rules, max_steps=self.max_steps, simplification=chosen)
        types = {kind.name: kind for kind in task_types()}
        self.types = tuple(types.values()) if tasks is None else tuple(_known("task", name, types) for name in tasks)
        if heap_mb < RESERVED_MB + 50:
            raise BadConfig(f"heap_mb={heap_mb} is too little for the simulator; give it at least {RESERVED_MB + 50}")
        installation()
        hold(self)
        self.heap_mb = heap_mb
        self.session = Session(heap_mb)
        self._best = self._paid = 0.0
        self._failed = self._void = False
        self._apart = False
        self._recorded: tuple[str, tuple[str, ...], str] | None = None
        self._listed: dict[str, Any] = {}

    def panel(self, split: str) -> TaskPanel:
        """The split's tasks, in the order of the paper's numbers and of upstream's variations."""
        if split not in self.splits:
            raise UnknownName(unknown("split", split, self.splits))
        settings = {
            "protocol": self.protocol.name,
            "simplification": self.protocol.simplification,
            "max_steps": self.max_steps,
            "simulator": simulator_version(),
        }
        return TaskPanel(self.name, split, self.protocol.keys(self.types, split), settings)

    def start(self, task: Task) -> str:
        """The task in words and the room to begin in."""
        self._listed.clear()
        self._best = self._paid = 0.0
        self._failed = self._void = False
        name, variation = parsed(task.key)
        reply = self.session.begin(name, variation, self.protocol.simplification, apart=self._apart)
        self._best = self.score()
        return f"{self.session.description()}\n\n{reply.text}"

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply one action; the number of an offered choice is recorded as the choice's text, see ``session``."""
        if isinstance(action, str) and not self.done:
            action = self.session.in_words(action)
        return super().step(action)

    def act(self, action: str) -> Outcome:
        """Send the action to the simulator."""
        self._listed.clear()
        rules = self.protocol
        last = [*self.actions, action][-(rules.repeat_limit or 1) :]
        repeated = rules.repeat_limit is not None and len(last) == rules.repeat_limit and len({*map(plain, last)}) == 1
        if repeated or (rules.blank_ends and not action.strip()):
            self._void = True
            return Outcome(self.observation, self._due(), terminated=True, valid=False)
        reply = self.session.step(action)
        self._failed = reply.score < 0
        return Outcome(reply.text, self._due(), reply.completed, valid(reply))

    def score(self) -> float:
        """Upstream's score in [0, 1], 0 where the task has failed; under some protocols the best one so far."""
        if self._void:
            return 0.0
        now = max(0, self.session.reply.score) / 100
        return max(now, self._best) if self.protocol.keeps_best else now

    def success(self) -> bool:
        """Whether upstream's score is 100."""
        return self.score() == 1.0

    def feedback(self) -> str:
        """The score; at the end of an episode also what is missing."""
        if self._void:
            return "score 0.00, the episode was stopped: empty or repeated action"
        if not self.done:
            # The simulator's table of goals costs as much as a step, and every step has its feedback.
            return f"score {self.score():.2f}"
        return goals.in_words(self._goals(), self.score(), self._failed)

    def task_type(self) -> str:
        """One of the thirty tasks, as upstream names them."""
        return parsed(self._episode().task.key)[0]

    def rubrics(self) -> tuple[Rubric, ...]:
        """Upstream's goals: those of the task, and smaller ones on the way."""
        return goals.rubrics(self._goals())

    def admissible_actions(self) -> tuple[str, ...]:
        """Every command that the simulator holds possible, or the choices it offers; asked for once in a state."""
        if self.done:
            return ()
        if "commands" not in self._listed:
            self._listed["commands"] = self.session.commands()
        found: tuple[str, ...] = self._listed["commands"]
        return found

    def expert_action(self) -> str | None:
        """The next action of the gold path, or of a rehearsed way back to it; None where none is known."""
        return next(iter(self.plan()), None)

    def plan(self) -> tuple[str, ...]:
        """Actions that solve the task from here, however many steps are left; empty where none are known."""
        if self.done:
            return ()
        rules, done = self.protocol, self.session.lasting
        return plan(self.task.key, rules.simplification, self.actions, done, self.heap_mb)

    def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """The step to do differently, and the rest of the gold path from there."""
        gold = gold_path(self.resolve(trajectory.task.id).key, self.protocol.simplification, self.heap_mb)
        return diagnosis.diagnose(
            gold,
            # Not the trajectory's own, in which a choice may still be a number.
            trajectory.leaf.snapshot.actions,
            [state.valid for state in trajectory.states[1:]],
            score=trajectory.score,
            success=trajectory.success,
            failed=trajectory.states[-1].terminated and not trajectory.success,
        )

    def demonstrators(self) -> tuple[Demonstrator, ...]:
        """A gold player, a careless one, and one who is not always understood."""
        return (
            Demonstrator("gold", 0.3, _beginning(players.gold)),
            Demonstrator("careless", 0.4, _beginning(players.careless)),
            Demonstrator("noisy", 0.3, _beginning(players.noisy)),
        )

    def canonical(self, observation: str) -> str:
        """The words as a multiset, the thermometers' numbers masked: ``digest`` holds them."""
        return canonical(observation)

    def digest(self) -> str:
        """As everywhere, followed by the thermometers' numbers, which may differ a little in equal states.

        In a state that was restored it is the recorded digest, if the two agree within the tolerance.
        """
        own = "@".join([super().digest(), *map(str, readings(self.observation))])
        if self._recorded is None or self._recorded[:2] != (self.task.id, self.actions):
            return own
        return self._recorded[2] if agree(own, self._recorded[2]) else own

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Replay, compare, and once more in a world of its own where the state reached looks different."""
        self._recorded = (snapshot.task, snapshot.actions, snapshot.digest)
        try:
            return super().restore(snapshot)
        except SnapshotDiverged:
            self._apart = True
            return super().restore(snapshot)
        finally:
            self._apart = False

    def close(self) -> None:
        """Give the world up; the Java machine ends with the last instance."""
        self.session.close()
        release(self)
        super().close()

    def _due(self) -> float:
        """What the last action is paid: the rewards of an episode sum to its score."""
        self._best = max(self._best, self.score())
        before, self._paid = self._paid, self.score()
        return round(self._paid - before, 2)

    def _goals(self) -> tuple[goals.Goal, ...]:
        if "goals" not in self._listed:
            self._listed["goals"] = goals.goals(self.session.progress())
        found: tuple[goals.Goal, ...] = self._listed["goals"]
        return found


def _beginning(begin: Callable[[np.random.Generator], players.Play]) -> Callable[[np.random.Generator], Player]:
    """A way to play as a player of the environment."""

    def player(rng: np.random.Generator) -> Player:
        play = begin(rng)

        def choose(env: TextEnv) -> tuple[str, bool]:
            if not isinstance(env, ScienceWorld):
                raise TypeError(f"this player plays {ScienceWorld.name}, not {env.name}")
            return play(env.plan(), env.observation)

        return choose

    return player


def _known(kind: str, name: str, table: dict[str, Any]) -> Any:
    """The table's entry of this name.

    Raises:
        UnknownName: There is none.
    """
    if name not in table:
        raise UnknownName(unknown(kind, name, table))
    return table[name]
