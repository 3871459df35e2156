"""Chat templates as append-only token streams.

A conversation grows by tokens: the model's turn enters as sampled, everything between two turns as the tokens that the
template puts there. Templates are written for whole conversations, so what stands *between* is found by rendering a
conversation with a marker in the model's place. Some templates rewrite history or refuse a system message in
mid-conversation; that is probed once, here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from r3lbench.errors import TemplateUnsuitable

_MARK, _USER, _SYSTEM = "\u241fREPLY\u241f", "\u241fUSER\u241f", "\u241fSYSTEM\u241f"


@dataclass(frozen=True)
class Message:
    """A message of a conversation; ``role`` is ``"system"``, ``"user"`` or ``"assistant"``."""

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
        eos = tokenizer.eos_token_id
        self.stop_ids = tuple(dict.fromkeys([self.end_id] + ([] if eos is None else [int(eos)])))
        self._between = lru_cache(maxsize=4096)(self._render_between)

    def opening(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Tokens of a conversation's first messages, up to where the model's turn begins."""
        return self._encode(self._render(self._place(messages, opening=True)))

    def between(self, messages: Sequence[Message], *, closed: bool) -> tuple[int, ...]:
        """Tokens from the end of a model's turn, through ``messages``, to the beginning of its next.

        Args:
            messages: What entered the conversation in between; not empty.
            closed: Whether the model's turn ended with a stop token. If it was cut off, ``end_id`` is added here, as
                part of the template: it is never counted as the model's.
        """
        text = self._between(tuple(self._place(messages, opening=False)))
        # Encoded behind the end token in any case: some tokenizers treat the beginning of a text differently.
        tokens = self._encode(self._end_text + text)
        return tokens[1:] if closed else tokens

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a reply, without its end token."""
        kept = [token for token in token_ids if token not in self.stop_ids]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _place(self, messages: Sequence[Message], *, opening: bool) -> list[Message]:
        """Move system messages that the template cannot carry into the neighbouring user message."""
        placed: list[Message] = []
        carried: list[str] = []
        for position, message in enumerate(messages):
            carries_system = self.system_first if opening and position == 0 else self.system_midway
            if message.role != "system" or carries_system:
                placed.append(replace(message, content="\n\n".join([*carried, message.content])))
                carried = []
            elif placed and placed[-1].role == "user":
                placed[-1] = replace(placed[-1], content=f"{placed[-1].content}\n\n{message.content}")
            else:
                carried.append(message.content)
        if carried:
            placed.append(Message("user", "\n\n".join(carried)))
        return placed

    def _render_between(self, messages: tuple[Message, ...]) -> str:
        rendered = self._render([Message("user", "a"), Message("assistant", _MARK), *messages])
        return rendered.partition(_MARK)[2].removeprefix(self._end_text)

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

    def _after_mark(self, rendered: str) -> str:
        _, mark, after = rendered.partition(_MARK)
        if not mark or _MARK in after:
            raise TemplateUnsuitable("the chat template drops or repeats the model's turns")
        return after

    def _carries(self, messages: list[Message]) -> bool:
        """Whether system and user message are both rendered, in their order."""
        try:
            rendered = self._render(messages)
        except TemplateError:
            return False
        marks = [message.content for message in messages if message.content in (_USER, _SYSTEM)]
        places = [rendered.find(mark) for mark in marks]
        return min(places) >= 0 and places == sorted(places)

    def _render(self, messages: Sequence[Message], *, prompt: bool = True) -> str:
        # A tokenizer takes no lone surrogates, and environments may echo any text.
        plain = [
            {"role": message.role, "content": message.content.encode("utf-8", "replace").decode("utf-8")}
            for message in messages
        ]
        return str(self.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=prompt))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
