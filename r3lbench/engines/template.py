"""Chat templates as append-only token streams.

A conversation grows by tokens: the model's turn enters as sampled, everything between two turns as the tokens that the
template puts there. Templates are written for whole conversations, so what stands *between* is found by rendering a
conversation with a marker in the model's place: as its text, or where a tool's answer follows as the argument of a
call. Some templates rewrite history, refuse a system message in mid-conversation or do not know tools; that is probed
once, here.

Tools are put as the template puts them if it declares them, writes a call that we can read and its answer, and appends.
Otherwise they are put in words, by the convention of Hermes: the tool in the system prompt, a call between <tool_call>
tags, its answer as a user message between <tool_response> tags. Templates that know tools mostly write just that, it
needs nothing of a template but a user message, and so every model that can chat can be asked to act by calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from r3lbench import tools
from r3lbench.errors import TemplateUnsuitable

_MARK, _USER, _SYSTEM, _TOOL = (f"\u241f{name}\u241f" for name in ("REPLY", "USER", "SYSTEM", "TOOL"))
_CALL = "call"
"""Role of a model's turn that consists of a call, its content being the argument; only in renderings."""
_CALL_ID = "call00000"
"""Some templates want one, of nine letters and digits (Mistral's)."""


@dataclass(frozen=True)
class Message:
    """A message of a conversation.

    Attributes:
        role: ``"system"``, ``"user"``, ``"assistant"``; ``"tools"``, which opens a conversation together with others
            and describes the tool by whose calls the model acts; or ``"tool"``, the answer to a call.
        content: Its text.
    """

    role: str
    content: str


class ChatTemplate:
    """The token side of a conversation.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.

    Attributes:
        end_id: The token with which the template closes a model's turn.
        stop_ids: Tokens that end a reply: ``end_id`` and the tokenizer's end of sequence.
        system_first: Whether a system message may open a conversation.
        system_midway: Whether a system message may stand in mid-conversation, before and behind a user message.
        knows_tools: Whether tools are put in its own words; if not, in those of Hermes.

    Raises:
        TemplateUnsuitable: There is no template, or it is not append-only.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateUnsuitable("the model's tokenizer has no chat template; use an instruction-tuned model")
        self.tokenizer = tokenizer
        user, system = Message("user", _USER), Message("system", _SYSTEM)
        self.system_first = self._carries([system, user])
        earlier = [Message("user", "a"), Message("assistant", "b")]
        self.system_midway = all(self._carries([*earlier, *pair]) for pair in ([user, system], [system, user]))
        try:
            self.end_id, self._end_text = self._probe()
        except TemplateError as error:
            raise TemplateUnsuitable(f"the chat template refuses a plain conversation: {error}") from error
        self.knows_tools = self._probe_tools()
        called = [Message("user", "a"), Message(_CALL, "b"), Message("tool", _TOOL)]
        self._system_after_tool = self.knows_tools and self._carries([*called, system], described=("c",))
        eos = tokenizer.eos_token_id
        self.stop_ids = tuple(dict.fromkeys([self.end_id] + ([] if eos is None else [int(eos)])))
        self._between = lru_cache(maxsize=4096)(self._render_between)

    def opening(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Tokens of a conversation's first messages, up to where the model's turn begins."""
        if not self.knows_tools:
            messages = _in_words(messages)
        told = [message for message in messages if message.role != "tools"]
        described = tuple(message.content for message in messages if message.role == "tools")
        return self._encode(self._render(self._place(told, opening=True), described=described))

    def between(self, messages: Sequence[Message], *, closed: bool) -> tuple[int, ...]:
        """Tokens from the end of a model's turn, through ``messages``, to the beginning of its next.

        Args:
            messages: What entered the conversation in between; not empty.
            closed: Whether the model's turn ended with a stop token. If it was cut off, ``end_id`` is added here, as
                part of the template: it is never counted as the model's.
        """
        told = messages if self.knows_tools else _in_words(messages)
        text = self._between(tuple(self._place(told, opening=False)))
        # Encoded behind the end token in any case: some tokenizers treat the beginning of a text differently.
        tokens = self._encode(self._end_text + text)
        return tokens[1:] if closed else tokens

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a reply, without its end token."""
        kept = [token for token in token_ids if token not in self.stop_ids]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _place(self, messages: Sequence[Message], *, opening: bool) -> list[Message]:
        """Move system messages that the template cannot carry into the neighbouring message of user or tool."""
        placed: list[Message] = []
        carried: list[str] = []
        answers = any(message.role == "tool" for message in messages)
        for position, message in enumerate(messages):
            carries_system = self.system_first if opening and position == 0 else self.system_midway
            if answers:
                # Nothing stands between a call and its answer.
                carries_system = bool(placed) and self._system_after_tool
            if message.role != "system" or carries_system:
                placed.append(replace(message, content="\n\n".join([*carried, message.content])))
                carried = []
            elif placed and placed[-1].role in ("user", "tool"):
                placed[-1] = replace(placed[-1], content=f"{placed[-1].content}\n\n{message.content}")
            else:
                carried.append(message.content)
        if carried:
            placed.append(Message("user", "\n\n".join(carried)))
        return placed

    def _render_between(self, messages: tuple[Message, ...]) -> str:
        answers = any(message.role == "tool" for message in messages)
        turn = Message(_CALL if answers else "assistant", _MARK)
        rendered = self._render([Message("user", "a"), turn, *messages], described=("b",) if answers else ())
        # What the template writes before the end token is part of a call.
        return rendered.partition(_MARK)[2].partition(self._end_text)[2]

    def _probe(self) -> tuple[int, str]:
        """Find the end-of-turn token and make sure that what follows a turn does not depend on what precedes it."""
        short = [Message("user", "a"), Message("assistant", _MARK), Message("user", "c")]
        long = [Message("user", "x"), Message("assistant", "<think>y</think>z"), *short]
        after = self._after_mark(self._render(short))
        if after != self._after_mark(self._render(long)):
            raise TemplateUnsuitable("the chat template writes a turn differently depending on the turns before it")
        plain = [Message("user" if place % 2 == 0 else "assistant", f"m{place}") for place in range(7)]
        for end in (1, 3, 5):
            if not self._render(plain).startswith(self._render(plain[:end], prompt=False)):
                raise TemplateUnsuitable("the chat template rewrites earlier messages when later ones are added")
        tokens = self._encode(after)
        special = set(self.tokenizer.all_special_ids)
        if not tokens or tokens[0] not in special:
            raise TemplateUnsuitable("the chat template does not close the model's turn with a special token")
        return tokens[0], str(self.tokenizer.convert_ids_to_tokens(tokens[0]))

    def _probe_tools(self) -> bool:
        """Whether tools are declared, a call can be read, its answer follows the turn's end, and all of it appends."""
        short = [Message("user", "a"), Message(_CALL, _MARK), Message("tool", _TOOL)]
        long = [Message("user", "x"), Message(_CALL, "y"), Message("tool", "z"), *short[1:]]
        described = (_USER,)
        try:
            rendered, whole = (self._render(messages, described=described) for messages in (short, long))
            parts = [self._render(long[:end], prompt=False, described=described) for end in (1, 3)]
        except (TemplateError, TypeError):
            # TypeError: it joins strings where our arguments are a dictionary.
            return False
        after, call = rendered.partition(_MARK)[2], tools.read_call(rendered)
        return (
            _USER in parts[0]
            and call is not None
            and call.action == _MARK
            and _TOOL in after.partition(self._end_text)[2]
            and _MARK not in after
            and after == whole.partition(_MARK)[2]
            and all(whole.startswith(part) for part in parts)
        )

    def _after_mark(self, rendered: str) -> str:
        _, mark, after = rendered.partition(_MARK)
        if not mark or _MARK in after:
            raise TemplateUnsuitable("the chat template drops or repeats the model's turns")
        return after

    def _carries(self, messages: list[Message], *, described: Sequence[str] = ()) -> bool:
        """Whether the marked messages are all rendered, in their order."""
        try:
            rendered = self._render(messages, described=described)
        except TemplateError:
            return False
        marks = [message.content for message in messages if message.content in (_USER, _SYSTEM, _TOOL)]
        places = [rendered.find(mark) for mark in marks]
        return min(places) >= 0 and places == sorted(places)

    def _render(self, messages: Sequence[Message], *, prompt: bool = True, described: Sequence[str] = ()) -> str:
        offered = [tools.schema(_clean(description)) for description in described]
        plain = [_plain(message.role, _clean(message.content)) for message in messages]
        return str(
            self.tokenizer.apply_chat_template(
                plain, tools=offered or None, tokenize=False, add_generation_prompt=prompt
            )
        )

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _in_words(messages: Sequence[Message]) -> list[Message]:
    """Tools and their answers by the convention of Hermes, the tools at the end of a system prompt."""
    told: list[Message] = []
    for message in messages:
        if message.role == "tools":
            before = [told.pop().content] if told and told[-1].role == "system" else []
            told.append(Message("system", "\n\n".join([*before, tools.declaration(message.content)])))
        elif message.role == "tool":
            told.append(Message("user", tools.answer(message.content)))
        else:
            told.append(message)
    return told


def _plain(role: str, content: str) -> dict[str, Any]:
    """A message as chat templates take it."""
    if role == _CALL:
        function = {"name": tools.NAME, "arguments": {tools.PARAMETER: content}}
        calls = [{"id": _CALL_ID, "type": "function", "function": function}]
        return {"role": "assistant", "content": "", "tool_calls": calls}
    if role == "tool":
        return {"role": role, "name": tools.NAME, "tool_call_id": _CALL_ID, "content": content}
    return {"role": role, "content": content}


def _clean(text: str) -> str:
    # A tokenizer takes no lone surrogates, and environments may echo any text.
    return text.encode("utf-8", "replace").decode("utf-8")
