"""The one space of the suite: any Unicode text up to a stated length.

``gymnasium.spaces.Text`` enumerates its characters, which for all of Unicode takes seconds and megabytes per
environment. Membership here is a type and a length; samples are short printable strings.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

from gymnasium.spaces import Space

_SAMPLE_CHARACTERS = string.ascii_letters + string.digits + " []_-.,"
_SAMPLE_LENGTH = 24


class UnicodeText(Space[str]):
    """All strings of at most ``max_length`` characters.

    Args:
        max_length: Longest member, in characters (code points).
        seed: Seed of the generator behind ``sample``.
    """

    def __init__(self, max_length: int, seed: int | None = None) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.max_length = max_length
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed-size array form."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Draw a printable string of 1 to 24 characters (masks do not apply to text)."""
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText.sample takes no mask and no probability")
        length = int(self.np_random.integers(1, min(self.max_length, _SAMPLE_LENGTH) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_CHARACTERS), size=length)
        return "".join(_SAMPLE_CHARACTERS[int(pick)] for pick in picks)

    def contains(self, x: Any) -> bool:
        """True for a ``str`` of at most ``max_length`` characters."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[Any]:
        """Strings are JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """Inverse of ``to_jsonable``."""
        return [str(sample) for sample in sample_n]

    def __eq__(self, other: object) -> bool:
        """Two text spaces are equal when their lengths are."""
        return isinstance(other, UnicodeText) and other.max_length == self.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"
