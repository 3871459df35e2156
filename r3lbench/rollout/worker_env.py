"""An environment that is played in a worker process, as seen from here.

`WorkerEnv` is a `TextEnv` whose steps happen elsewhere and whose every answer came in one message with the state that
a step led to. When its worker is lost, the episode is restored in the successor from the portable snapshot of its last
state, and the question is put again. Who plays notices nothing; ``lost_workers`` counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from r3lbench.env import Outcome, TextEnv, _Episode
from r3lbench.episode import Trajectory
from r3lbench.errors import SnapshotDiverged
from r3lbench.nature import Fidelity, Isolation
from r3lbench.rollout.remote import Message
from r3lbench.rollout.workers import PATIENCE, START_SECONDS, Worker
from r3lbench.rubric import Rubric
from r3lbench.snapshot import NativeHandle, Snapshot
from r3lbench.tasks import Task, TaskPanel
from r3lbench.teaching import Diagnosis


@dataclass
class Facts:
    """What all instances of an environment have in common, asked for once.

    Attributes:
        traits: Its class attributes.
        max_steps: Its step limit.
        admissible_in_info: Whether its ``info`` lists valid actions.
        panels: Its panels so far.
    """

    traits: dict[str, Any]
    max_steps: int
    admissible_in_info: bool
    panels: dict[str, TaskPanel] = field(default_factory=dict)

    @classmethod
    def of(cls, worker: Worker, number: int) -> Facts:
        """Ask a worker's instance."""
        question = {"verb": "facts", "instance": number}
        known = worker.insist(lambda: worker.exchange(question, START_SECONDS), f"making {worker.source.target}")
        given: dict[str, Any] = known["traits"]
        traits = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        traits |= {"fidelity": Fidelity(given["fidelity"]), "isolation": Isolation(given["isolation"])}
        return cls(traits, known["max_steps"], known["admissible_in_info"])


class WorkerEnv(TextEnv):
    """An environment that is played in a worker.

    It offers what a rollout uses. An environment's further methods stay there, and so do its demonstrators, whose
    players may look into it.

    Args:
        worker: Where.
        number: Which instance there; no other stand-in has it.
        facts: What all have in common.
    """

    def __init__(self, worker: Worker, number: int, facts: Facts) -> None:
        super().__init__(max_steps=facts.max_steps, admissible_in_info=facts.admissible_in_info)
        vars(self).update(facts.traits)
        self.worker = worker
        self.number = number
        self.lost_workers = 0
        """Workers lost while this instance was asked, since construction."""
        self._facts = facts
        self._generation = 0
        self._state: Message = {}
        self._answers: Message = {}
        self._asked: set[str] = set()

    # What an author writes, answered elsewhere

    def panel(self, split: str) -> TaskPanel:
        """The tasks of ``split``; asked for once."""
        if split not in self._facts.panels:
            self._facts.panels[split] = TaskPanel(**self._tell("panel", START_SECONDS, split=split))
        return self._facts.panels[split]

    def start(self, task: Task) -> str:
        """Enter the initial state there."""
        self._reached(self._tell("start", START_SECONDS, also=self._habits(), task=task.id))
        return str(self._state["observation"])

    def act(self, action: str) -> Outcome:
        """Take a step there."""
        state = self._tell("act", self.worker.step_seconds, also=self._habits(), action=action)
        self._reached(state)
        return Outcome(state["observation"], state["reward"], state["terminated"], state["valid"])

    def score(self) -> float:
        """Progress of the present state."""
        return float(self._present()["score"])

    def success(self) -> bool:
        """Whether the present state solves the task."""
        return bool(self._present()["success"])

    def feedback(self) -> str:
        """What a person would be told."""
        return str(self._present()["feedback"])

    def rubrics(self) -> tuple[Rubric, ...]:
        """Milestones of the present state."""
        return tuple(Rubric(*rubric) for rubric in self._present()["rubrics"])

    def admissible_actions(self) -> tuple[str, ...]:
        """Actions that would be valid now."""
        return tuple(self._answer("admissible_actions"))

    def expert_action(self) -> str | None:
        """The oracle's next action."""
        action: str | None = self._answer("expert_action")
        return action

    def task_type(self) -> str:
        """Kind of the running task."""
        return str(self._answer("task_type"))

    def value(self) -> float | None:
        """Highest expected score that can still be reached."""
        value: float | None = self._answer("value")
        return value

    def canonical(self, observation: str) -> str:
        """The part of an observation that restoring must reproduce."""
        seconds = self.worker.step_seconds
        return str(self._tell("answer", seconds, question="canonical", arguments=[observation]))

    def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """Where a trajectory went wrong, as the environment there sees it."""
        found = self._tell(
            "diagnose",
            START_SECONDS,
            task=trajectory.task.id,
            panel=self._panel(trajectory.task.split).hash,
            actions=list(trajectory.leaf.snapshot.actions),
            states=[state.to_json() for state in trajectory.states],
        )
        return None if found is None else Diagnosis(**found)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Apply one action; what is recorded of it is what the environment records."""
        returned = super().step(action)
        self._episode().actions[-1] = self._state["action"]
        return returned

    def snapshot(self) -> Snapshot:
        """Save the present state; its native handle stays in the worker."""
        state, episode = self._present(), self._episode()
        handle = None if state["handle"] is None else NativeHandle(self.native_owner, state["handle"])
        panel = self._panel(episode.task.split).hash
        return Snapshot(self.name, panel, episode.task.id, tuple(episode.actions), state["digest"], handle)

    def digest(self) -> str:
        """Digest of what an agent would see."""
        return str(self._present()["digest"])

    @property
    def native_owner(self) -> tuple[object, int]:
        """This instance in its present process."""
        return self._instance, self._generation

    def close(self) -> None:
        """Give up the instance there."""
        self._running = None
        if self._generation and self._generation == self.worker.generation and self.worker.pid is not None:
            self._tell("drop", self.worker.step_seconds)

    # Inside

    def _reinstated(self, task: Task, snapshot: Snapshot) -> bool:
        """Return there, by the native handle if it is known or by replay: the worker knows which."""
        self._running = None
        seconds = START_SECONDS + len(snapshot.actions) * self.worker.step_seconds
        state = self._tell("restore", seconds, also=self._habits(), snapshot=snapshot)
        self.replayed_steps += state["replayed"]
        self._reached(state)
        flags = state["observation"], state["valid"], state["terminated"], state["truncated"]
        self._running = _Episode(task, list(snapshot.actions), *flags)
        return True

    def _present(self) -> Message:
        self._episode()
        return self._state

    def _reached(self, state: Message) -> None:
        self._state, self._answers = state, dict(state["answers"])

    def _habits(self) -> list[str]:
        """What was asked about the last state: it is answered with the next one, and saves another message."""
        habits = sorted(self._asked)
        self._asked.clear()
        return habits

    def _answer(self, question: str) -> Any:
        self._episode()
        self._asked.add(question)
        if question not in self._answers:
            seconds = self.worker.step_seconds
            self._answers[question] = self._tell("answer", seconds, question=question, arguments=[])
        return self._answers[question]

    def _tell(self, verb: str, seconds: float, *, snapshot: Snapshot | None = None, **details: Any) -> Any:
        """Ask the worker or its successor, which is first brought to the present state."""

        def task() -> Any:
            if self._running is not None and self._generation != self.worker.generation:
                self._return()
            saved = {} if snapshot is None else self._saved(snapshot)
            answer = self.worker.exchange(self._message(verb, **details, **saved), seconds)
            self._generation = self.worker.generation
            return answer

        before = self.worker.lost
        try:
            return self.worker.insist(task, self._doing(verb, details))
        finally:
            self.lost_workers += self.worker.lost - before

    def _message(self, verb: str, **details: Any) -> Message:
        return {"verb": verb, "instance": self.number, "max_steps": self.max_steps, **details}

    def _saved(self, snapshot: Snapshot) -> Message:
        native = snapshot.native
        known = native is not None and native.owner == (self._instance, self.worker.generation)
        return {
            "task": snapshot.task,
            "panel": snapshot.panel,
            "actions": list(snapshot.actions),
            "digest": snapshot.digest,
            "handle": native.payload if native is not None and known else None,
        }

    def _return(self) -> None:
        """Bring a new worker to the present state. What was shown stays as it was shown."""
        snapshot = self.snapshot().portable()
        message = self._message("restore", **self._saved(snapshot))
        seconds = START_SECONDS + len(snapshot.actions) * self.worker.step_seconds
        for remaining in reversed(range(PATIENCE)):
            try:
                state = self.worker.exchange(message, seconds)
                break
            except SnapshotDiverged:
                # Where a replay is not always the same, the next one may be.
                if not remaining:
                    raise
        self.replayed_steps += state["replayed"]
        self._state = {**self._state, "handle": state["handle"]}
        self._generation = self.worker.generation

    def _doing(self, verb: str, details: Mapping[str, Any]) -> str:
        where = f"{self.name} {self._running.task.id}" if self._running is not None else self.name
        what = details.get("action") or details.get("question") or details.get("task") or ""
        return f"{where}: {verb} {what[:80]!r}" if what else f"{where}: {verb}"
