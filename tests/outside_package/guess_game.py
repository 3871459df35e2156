"""Guess a number; an agent that bisects; a method that imitates its best attempt. Everything an extension needs."""

from __future__ import annotations

from typing import Any

from r3lbench import Outcome, Task, TaskPanel, TextEnv, register_agent, register_env
from r3lbench.agent import Agent, Conversation, Turn
from r3lbench.baseline import Baseline, PolicyLoss
from r3lbench.rollout.group import Group
from r3lbench.tokens import Term


@register_env("guess")
class Guess(TextEnv):
    """Find a number from 0 to 99 by being told higher or lower."""

    name = "Guess-v0"
    instructions = "Write a number from 0 to 99."

    def __init__(self, *, max_steps: int = 10, **options: Any) -> None:
        super().__init__(max_steps=max_steps, **options)

    def panel(self, split: str) -> TaskPanel:
        """Even numbers to train on, odd ones to test."""
        numbers = range(self.splits.index(split), 100, 2)
        return TaskPanel(self.name, split, [str(number) for number in numbers])

    def start(self, task: Task) -> str:
        """Nothing has been guessed."""
        self.number, self.found = int(task.key), False
        return "I think of a number from 0 to 99."

    def act(self, action: str) -> Outcome:
        """Compare."""
        if not (action.isascii() and action.isdecimal() and len(action) <= 2):
            return Outcome("That is no number from 0 to 99.", valid=False)
        guess = int(action)
        self.found = guess == self.number
        if self.found:
            return Outcome(f"{guess} it is.", reward=1.0, terminated=True)
        return Outcome(f"It is {'higher' if guess < self.number else 'lower'} than {guess}.")

    def score(self) -> float:
        """All or nothing."""
        return float(self.found)

    def success(self) -> bool:
        """Found."""
        return self.found

    def expert_action(self) -> str | None:
        """The number itself."""
        return None if self.found else str(self.number)


@register_agent("bisect")
class Bisect(Agent):
    """Halves what is left, remembering nothing but what was said."""

    async def act(self, conversation: Conversation) -> Turn:
        """The middle of what is left."""
        low, high = 0, 99
        for message in (*conversation.history, *conversation.pending):
            words = message.content.rstrip(".").split()
            if words[:3] == ["It", "is", "higher"]:
                low = int(words[-1]) + 1
            if words[:3] == ["It", "is", "lower"]:
                high = int(words[-1]) - 1
        action = str((low + high) // 2)
        return Turn(action, action)


class BestOf(Baseline):
    """N attempts; the best is imitated."""

    @property
    def loss(self) -> PolicyLoss:
        """Plain likelihood, weighted."""
        return PolicyLoss(ratio=None, clip=None)

    async def explore(self, group: Group) -> None:
        """N attempts."""
        await group.attempt(self.group_size)

    def credit(self, group: Group) -> list[Term]:
        """1 on the best, nothing on the others."""
        best = max(group.attempts, key=lambda attempt: attempt.ret)
        return [group.sample(best).term(1.0, label="best")]
