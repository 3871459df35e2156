"""A uniform draw from the valid actions: the floor of every table."""

from __future__ import annotations

from typing import ClassVar

from r3lbench.agent import Agent, Conversation, Sees, Turn
from r3lbench.registry import register_agent


@register_agent("random")
class RandomAgent(Agent):
    """Plays uniformly among the valid actions; the floor of a table."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.ADMISSIBLE})

    async def act(self, conversation: Conversation) -> Turn:
        """Draw; where nothing can be listed, wait with an empty action."""
        actions = conversation.view.admissible_actions()
        action = actions[int(conversation.rng.integers(len(actions)))] if actions else ""
        return Turn(action, action)
