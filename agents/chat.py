"""The language-model agent: observations in, one action a turn out, in a stated format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from r3lbench import tools
from r3lbench.agent import Agent, Conversation, Message, Sees, Turn, View
from r3lbench.registry import register_agent

Format = Literal["plain", "think", "tools"]
_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)
_REMINDERS: Mapping[Format, str] = {
    "plain": "Answer with the action alone.",
    "think": "Think first in <think>...</think>, then give one action in <action>...</action>.",
    "tools": f"Act by calling the tool {tools.NAME}, once a turn.",
}


@register_agent("chat")
class ChatAgent(Agent):
    """A language model that plays by conversation; the one that is trained."""

    sees: ClassVar[frozenset[Sees]] = frozenset({Sees.ADMISSIBLE})
    speaks: ClassVar[bool] = True
    untrained: ClassVar[Mapping[str, Any]] = {"rules": True, "show_admissible": True, "max_tokens": 128}

    format: Format = "plain"
    """`plain`: the reply is the action. `think`: the action stands in <action>...</action>, thoughts before it.
    `tools`: the action is the argument of a tool call, in the words of the model's chat template (see r3lbench.tools);
    the tool is described by the environment's explanation of its actions, and answers with the next observation."""
    rules: bool = False
    """Open every episode with a system prompt that explains the environment's actions and the format."""
    show_admissible: bool = False
    """List the valid actions below every observation."""
    max_tokens: int = Field(48, ge=1)
    """Longest reply, in tokens."""

    def opening(self, view: View) -> list[Message]:
        """The rules and the tool, if any, and the first observation."""
        system = [Message("system", self._rules(view))] if self.rules else []
        described = f"Take one action in the environment. {view.instructions}".rstrip()
        offered = [Message("tools", described)] if self.format == "tools" else []
        return [*system, *offered, self.hear(view)]

    def hear(self, view: View) -> Message:
        """The observation under its step number, which a reflection can refer to."""
        content = f"Step {view.step}: {view.observation}"
        if self.show_admissible:
            content += "\nValid actions: " + ", ".join(view.admissible_actions())
        return Message("tool" if self.format == "tools" and view.step else "user", content)

    def say(self, action: str) -> str:
        """The action in the format, without thoughts."""
        wordings = {"plain": action, "think": f"<action>{action}</action>", "tools": tools.write_call(action)}
        return wordings[self.format]

    def instructed(self, messages: Sequence[Message], instructions: str) -> list[Message]:
        """As every agent; where rules are given, how actions are written stands below what replaces them."""
        reminded = f"{instructions}\n\n{_REMINDERS[self.format]}" if self.rules else instructions
        return super().instructed(messages, reminded)

    async def act(self, conversation: Conversation) -> Turn:
        """Let the model speak and read its action."""
        reply = await conversation.reply(max_tokens=self.max_tokens)
        return Turn(action=self.parse(reply.text), text=reply.text, prompt_node=reply.prompt_node, node=reply.node)

    def parse(self, text: str) -> str:
        """The action in a reply; empty, hence invalid everywhere, when the format is not kept."""
        if self.format == "plain":
            return text.strip()
        if self.format == "tools":
            call = tools.read_call(text)
            return "" if call is None else call.action
        found = _ACTION.findall(text)
        return found[0].strip() if len(found) == 1 else ""

    def _rules(self, view: View) -> str:
        rules = [
            "You solve a task in a text environment, one action a turn.",
            f"At most {view.max_steps} actions are allowed.",
            "" if self.format == "tools" else view.instructions,  # there they describe the tool
            _REMINDERS[self.format],
        ]
        return "\n".join(rule for rule in rules if rule)
