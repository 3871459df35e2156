"""A model behind any server that speaks OpenAI's chat completions, as an agent: text only, never trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from r3lbench.agent import ContextFull, Conversation, Turn
from r3lbench.errors import R3LBenchError
from r3lbench.hosting import ChatServer, HostedModel, ServerFailed
from r3lbench.registry import register_agent
from r3lbench.tools import from_openai, to_openai

from .chat import ChatAgent


def _an_object(text: str) -> str:
    if not isinstance(json.loads(text), dict):
        raise ValueError("a JSON object was expected")
    return text


@register_agent("api")
class ApiAgent(ChatAgent):
    """A hosted or locally served model; plays in the formats of `chat`, told everything unless you say otherwise.

    What a server says cannot be repeated at will: the record says so, and what answered, in the server's words. The
    key is read from an environment variable and written nowhere.
    """

    speaks: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = True
    untrained: ClassVar[Mapping[str, Any]] = {}

    rules: bool = True
    """Open every episode with a system prompt that explains the environment's actions and the format."""
    show_admissible: bool = True
    """List the valid actions below every observation."""
    max_tokens: int = Field(512, ge=1)
    """Longest reply, in tokens; of many models thoughts that are not shown are part of it."""
    request: Annotated[str, AfterValidator(_an_object)] = "{}"
    """More of every request, as a JSON object: '{"reasoning_effort": "low"}'. null leaves out what would be sent, as in
    '{"max_tokens": null, "max_completion_tokens": 512}', or '{"seed": null}' for servers that refuse seeds."""
    # Whom to ask and how is recorded with what came of it, and none of it is a setting that sets results apart.
    model: str = Field("", exclude=True)
    """The model's name at the server. Short: --model."""
    base_url: str | None = Field(None, exclude=True)
    """The server, e.g. http://localhost:8000/v1; None: OPENAI_BASE_URL, or OpenAI's. Short: --base-url."""
    key_env: str = Field("OPENAI_API_KEY", exclude=True)
    """Environment variable with the server's key; a server of one's own may do without."""
    timeout: float = Field(120.0, gt=0, exclude=True)
    """Seconds to wait for a reply."""
    retries: int = Field(5, ge=0, exclude=True)
    """How often a request without an answer is sent again."""
    pause: float = Field(1.0, ge=0, exclude=True)
    """Seconds before the first time; twice as long before every further time."""
    parallel: int = Field(8, ge=1, exclude=True)
    """Requests under way at once."""
    remember: bool = Field(False, exclude=True)
    """Answer from the disk what was asked before, where every reply is kept: so an evaluation that broke off goes on
    without paying twice."""

    @cached_property
    def _hosted(self) -> HostedModel:
        server = ChatServer(
            "the agent 'api'", model=self.model, url=self.base_url, key_env=self.key_env, timeout=self.timeout
        )
        return HostedModel(
            server, parallel=self.parallel, retries=self.retries, pause=self.pause, remember=self.remember
        )

    def elsewhere_json(self) -> dict[str, Any]:
        """Model, server, what answered there, and how often it was asked."""
        return {"kind": "hosted", "reproducible": False, **self._hosted.to_json()}

    async def act(self, conversation: Conversation) -> Turn:
        """Send the whole conversation and read the reply's action.

        Raises:
            ContextFull: The server has no room for the conversation.
            R3LBenchError: It has none for the first turn, or it does not answer.
        """
        messages, tools = to_openai([*conversation.history, *conversation.pending])
        usual = {
            "temperature": conversation.sampling.temperature,
            "max_tokens": self.max_tokens,
            "seed": int(conversation.rng.integers(2**31)),
            "tools": tools or None,
        }
        settings = {name: value for name, value in {**usual, **json.loads(self.request)}.items() if value is not None}
        try:
            said = await self._hosted.ask(messages, **settings)
        except ServerFailed as error:
            raise ServerFailed(f"{error}; --agent.remember goes on with what it answered so far") from error
        if said.message is None:
            if not conversation.history:
                raise R3LBenchError(f"the agent 'api', model {self.model}: no room for the first turn: {said.problem}")
            raise ContextFull(said.problem)
        text = from_openai(said.message)
        return Turn(action=self.parse(text), text=text, usage=said.usage)
