"""Tokens as text, where the tokenizer that made them is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from r3lbench.errors import BadCheckpoint, R3LBenchError
from r3lbench.policies.finding import find_policy
from r3lbench.recording import RunFolder

_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Speech:
    """Reads the tokens of one run.

    Attributes:
        tokenizer: That of its policy; None where it is not at hand.
        missing: Why it is not.
    """

    tokenizer: Any
    missing: str = ""

    def pieces(self, token_ids: Sequence[int]) -> list[str] | None:
        """The text of every token, which together are the text of all; None without a tokenizer.

        A character that takes several tokens stands at the last of them.
        """
        if self.tokenizer is None or any(self.tokenizer.id_to_token(token) is None for token in token_ids):
            return None
        stream = DecodeStream(skip_special_tokens=False)
        return [stream.step(self.tokenizer, token) or "" for token in token_ids]


def speech_of(run: RunFolder) -> Speech:
    """The tokenizer beside the trained policy, or that of the policy that the run began with."""
    try:
        file = next(_candidates(run))
        return Speech(_load(file))
    except StopIteration:
        return Speech(None, "the policy's tokenizer is not on this machine")
    except R3LBenchError as error:
        return Speech(None, f"the policy's tokenizer cannot be read: {error}")


def _candidates(run: RunFolder) -> Iterator[Path]:
    if (own := run.path / "policy" / _FILE).is_file():
        yield own
    names = run.names(("policy", "env"))
    if (begun := Path(find_policy(names["policy"], names["env"]).path) / _FILE).is_file():
        yield begun


def _load(file: Path) -> Any:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        # The library raises nothing more particular.
        raise BadCheckpoint(f"{file}: {error}") from error
