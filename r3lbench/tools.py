"""Acting by tool calls: the one tool there is, how its calls are written and read, and conversations in OpenAI's form.

Models that were trained to call tools act as they were trained to: they are offered one tool, ``act(action)``, call it,
and hear the observation as its answer. In a conversation a message of role ``"tools"`` describes the tool, and one of
role ``"tool"`` is the answer to the call in the turn before it.

Of a reply the first call that can be read counts. It is a JSON object with the tool's name and ``arguments`` or
``parameters``, wherever it stands (between <tool_call> tags: Hermes, Qwen 2.5 and 3; in a list behind [TOOL_CALLS]:
Mistral; bare: Llama 3), or <function=act><parameter=action>...</parameter> (Qwen 3 Coder and 3.5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r3lbench.engines.template import Message

NAME, PARAMETER = "act", "action"
_PARTS = re.compile(
    rf"<think>.*?(?:</think>|\Z)|</think>|{{|<function={NAME}>\s*<parameter={PARAMETER}>(.*?)</parameter>",
    re.DOTALL,
)
_FRAMES = ("[", "[TOOL_CALLS]", "<tool_call>")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Call:
    """A call of the tool.

    Attributes:
        action: Its argument, without the space around it.
        before: What was written before it, without what frames a call.
    """

    action: str
    before: str


def schema(description: str) -> dict[str, Any]:
    """The tool as chat templates and OpenAI's servers take it."""
    parameters = {
        "type": "object",
        "properties": {PARAMETER: {"type": "string", "description": "The action."}},
        "required": [PARAMETER],
    }
    return {"type": "function", "function": {"name": NAME, "description": description, "parameters": parameters}}


def read_call(text: str) -> Call | None:
    """The first call in a reply; None if none can be read. What stands in thoughts is no call."""
    found, position = None, 0
    while part := _PARTS.search(text, position):
        begin, position = part.span()
        action = part[1]
        if part[0] == "</think>":
            # The template opened these thoughts, and so far there was nothing else.
            found = None
        elif part[0] == "{":
            try:
                value, position = _DECODER.raw_decode(text, begin)
            except (ValueError, RecursionError):
                continue
            action = _argument(value)
        if isinstance(action, str) and found is None:
            found = Call(action.strip(), _unframed(text[:begin]))
    return found


def write_call(action: str) -> str:
    """A call as Hermes models write it (NousResearch/Hermes-Function-Calling)."""
    return _written(json.dumps(NAME), json.dumps({PARAMETER: action}, ensure_ascii=False))


def declaration(description: str) -> str:
    """The tool in words, for a system prompt, by the convention of Hermes; its own wording, their tags."""
    return (
        "# Tools\n\nYou act by calling this function:\n"
        f"<tools>\n{json.dumps(schema(description), ensure_ascii=False)}\n</tools>\n\n"
        "To call it, write a JSON object with its name and arguments between tags:\n"
        f"{_written('<function-name>', '<arguments-object>')}"
    )


def answer(observation: str) -> str:
    """A tool's answer in words, for a user message, by the convention of Hermes."""
    return f"<tool_response>\n{observation}\n</tool_response>"


def legible(text: str) -> str:
    """A reply for a reader: what stands before its call, and the action that is called for."""
    call = read_call(text)
    return text if call is None else f"{call.before}\n{NAME}: {call.action}".lstrip()


# In OpenAI's form


def to_openai(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A conversation as ``messages`` and ``tools`` of a request.

    A turn with a call that can be read and is answered carries it as a tool call, its id by position; any other turn is
    text. An answer to a turn without a call is a user message, as servers refuse answers to what was not asked.
    """
    sent: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        # Servers take no lone surrogates, and environments may echo any text.
        content = message.content.encode("utf-8", "replace").decode("utf-8")
        answered = following is not None and following.role == "tool"
        call = read_call(content) if message.role == "assistant" and answered else None
        if message.role == "tools":
            tools.append(schema(content))
        elif call is not None:
            arguments = json.dumps({PARAMETER: call.action}, ensure_ascii=False)
            function = {"name": NAME, "arguments": arguments}
            calls = [{"id": f"call{len(sent):05d}", "type": "function", "function": function}]
            sent.append({"role": "assistant", "content": call.before or None, "tool_calls": calls})
        elif message.role == "tool" and sent and "tool_calls" in sent[-1]:
            sent.append({"role": "tool", "tool_call_id": sent[-1]["tool_calls"][0]["id"], "content": content})
        else:
            sent.append({"role": "user" if message.role == "tool" else message.role, "content": content})
    return sent, tools


def from_openai(message: Mapping[str, Any]) -> str:
    """The text of a response's message, its first tool call written as ``write_call`` does.

    Arguments are taken over as the model wrote them: what is not JSON cannot be read as a call afterwards, either.
    """
    content, calls = message.get("content") or "", message.get("tool_calls") or ()
    if not calls:
        return str(content)
    function = calls[0].get("function") or {}
    written = _written(json.dumps(function.get("name")), str(function.get("arguments")))
    return f"{content}\n{written}".lstrip()


def _written(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": {name}, "arguments": {arguments}}}\n</tool_call>'


def _unframed(text: str) -> str:
    for frame in _FRAMES:
        text = text.rstrip().removesuffix(frame)
    return text.rstrip()


def _argument(value: object) -> object:
    """The action in a decoded object; None if that is no call of the tool."""
    if not isinstance(value, dict) or value.get("name") != NAME:
        return None
    arguments = value.get("arguments", value.get("parameters"))
    return arguments.get(PARAMETER) if isinstance(arguments, dict) else None
