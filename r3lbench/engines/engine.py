"""The contract between rollouts and whatever samples tokens.

An engine sees token ids only. It answers waves: all requests that wait at one moment, in a fixed order, each with a
seed of its own, so that what is sampled depends on the request and the weights and on nothing else it ran beside. Or it
takes requests in as they come, beside those that it is answering.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

GIB = 1 << 30
KEPT_GIB = 2.0
"""Memory for keys and values of conversations that wait for their next turn."""
BATCH_GIB = 8.0
"""Memory for keys and values of conversations that are answered at once."""


class Stop(StrEnum):
    """Why a reply ended."""

    END = "end"
    """A stop token was sampled; it is the reply's last token."""
    LENGTH = "length"
    """The token limit was reached."""


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens.

    Attributes:
        temperature: 0 is greedy; otherwise logits are divided by it.
        top_p: Nucleus mass in (0, 1]; 1 keeps everything.
        top_k: Keep the k likeliest tokens; 0 keeps everything.
        max_tokens: Longest reply.
        stop_ids: Tokens that end a reply and belong to it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.top_k < 0 or self.max_tokens < 1:
            raise ValueError(f"sampling out of range: {self}")


@dataclass(frozen=True)
class Request:
    """One reply to be sampled.

    Attributes:
        token_ids: The whole context.
        sampling: How to draw.
        seed: Seed of this reply's own random stream, 64 bits.
        purpose: ``"act"``, ``"reflect"``, ...: requests of one purpose share a wave.
        key: Unique among the requests of an update; waves are sorted by it.
    """

    token_ids: tuple[int, ...]
    sampling: Sampling
    seed: int
    purpose: str
    key: str


@dataclass(frozen=True)
class Completion:
    """A sampled reply.

    Attributes:
        token_ids: At least one token; the stop token included when one was sampled.
        logprobs: Log-probability of each token in nats, under the distribution it was drawn from; of greedy tokens
            under that of temperature 1.
        stop: Why it ended.
        reused: Tokens of the context whose keys and values were at hand.
        recomputed: Of the other tokens of the context, those whose keys and values had been dropped for want of room.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop: Stop
    reused: int = field(default=0, compare=False)
    recomputed: int = field(default=0, compare=False)


@dataclass
class Work:
    """Tokens an engine has handled since it was made.

    Attributes:
        generated: Tokens sampled.
        prefilled: Context tokens that went through the model.
        reused: Context tokens whose keys and values were at hand.
        recomputed: Those of the prefilled tokens whose keys and values had been dropped for want of room; to a block.
        forwards: Forward passes.
        steps: Times at which every reply of a running batch was given a token.
    """

    generated: int = 0
    prefilled: int = 0
    reused: int = 0
    recomputed: int = 0
    forwards: int = 0
    steps: int = 0


class Engine(ABC):
    """Samples replies, in waves or as requests come."""

    context_limit: int
    """Most tokens of context and reply together."""
    version: str = ""
    """Of the program that computes, where it is another one."""

    def __init__(self) -> None:
        self.work = Work()
        self._admitted: list[Request] = []

    @abstractmethod
    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Answer all requests, in their order."""

    def admit(self, requests: Sequence[Request]) -> int:
        """Take in the first of some requests, as many as there is room for beside those that are being answered.

        Returns:
            How many; at least one when nothing else is being answered.
        """
        self._admitted += requests
        return len(requests)

    def advance(self) -> list[tuple[Request, Completion]]:
        """Go on with what was taken in, by a token each or more; returns what has been answered."""
        answering, self._admitted = self._admitted, []
        return list(zip(answering, self.wave(answering), strict=True))

    def abandon(self) -> None:
        """Give up what was taken in and has not been answered."""
        self._admitted = []

    @abstractmethod
    def weights_changed(self) -> None:
        """Forget everything computed with the old weights."""

    def forget(self) -> None:
        """Drop cached contexts (an update's groups are done). No reply depends on what is cached."""
        self.weights_changed()


def seed_of(*parts: object) -> int:
    """A 64-bit seed from what identifies a draw: run seed, purpose, task, attempt, turn, ..."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
