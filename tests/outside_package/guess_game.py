"""Guess a number: an environment, an agent that speaks freely, and a method that imitates its best attempt."""

from __future__ import annotations

import re
from typing import Any, ClassVar

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


@register_agent("digits")
class Digits(Agent):
    """Speaks freely; its action is the first number it writes."""

    speaks: ClassVar[bool] = True

    max_tokens: int = 8
    """Longest reply, in tokens."""

    async def act(self, conversation: Conversation) -> Turn:
        """Let the model speak, and look for a number."""
        reply = await conversation.reply(max_tokens=self.max_tokens)
        number = re.search("[0-9]{1,2}", reply.text)
        return Turn(number[0] if number else "", reply.text, prompt_node=reply.prompt_node, node=reply.node)


class BestOf(Baseline):
    """N attempts; the best is imitated."""

    worst_too: bool = False
    """Also unlearn the worst."""

    @property
    def loss(self) -> PolicyLoss:
        """Plain likelihood, weighted."""
        return PolicyLoss(ratio=None, clip=None)

    async def explore(self, group: Group) -> None:
        """N attempts."""
        await group.attempt(self.group_size)

    def credit(self, group: Group) -> list[Term]:
        """1 on the best, and -1 on the worst if asked for."""
        ranked = sorted(group.attempts, key=lambda attempt: attempt.ret)
        weights = {ranked[-1]: 1.0} | ({ranked[0]: -1.0} if self.worst_too and len(ranked) > 1 else {})
        return [group.sample(attempt).term(weight, label="best") for attempt, weight in weights.items()]
