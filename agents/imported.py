"""Who played a record that was made elsewhere and brought in by ``r3lbench import``."""

from __future__ import annotations

from typing import Any, ClassVar

from r3lbench.agent import Agent, Conversation, Turn
from r3lbench.errors import R3LBenchError
from r3lbench.registry import register_agent

_AWAY = "the agent 'imported' stands for play that was recorded elsewhere; bring some in with r3lbench import"


@register_agent("imported")
class ImportedAgent(Agent):
    """Played elsewhere; its recorded actions were played again here, and it cannot act."""

    elsewhere: ClassVar[bool] = True

    def elsewhere_json(self) -> dict[str, Any]:
        """Nothing: whoever imports a record knows what is to be said.

        Raises:
            R3LBenchError: Always.
        """
        raise R3LBenchError(_AWAY)

    async def act(self, conversation: Conversation) -> Turn:
        """Not here.

        Raises:
            R3LBenchError: Always.
        """
        raise R3LBenchError(_AWAY)
