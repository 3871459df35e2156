"""WebShop's files, read entry by entry, however large they are; plain or gzipped."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from r3lbench.errors import BadData

T = TypeVar("T")

CHUNK = 1 << 22
"""Characters read at once."""
LONGEST_ENTRY = 1 << 27
"""Characters of an entry; where none ends within so many, the file is damaged."""
_DAMAGED = (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error)
"""What reading a text file, compressed or not, may raise when its bytes are not what they should be."""
_BLANK = " \t\r\n"


def read_records(path: Path) -> Iterator[Any]:
    """Entries of a JSON list, or lines of a JSONL file, one by one.

    Raises:
        BadData: The file ends early or is not JSON.
    """
    with _open(path) as file:
        json_of = _Json(path, file)
        enclosed = json_of.passes("[")
        if enclosed and json_of.passes("]"):
            json_of.ends()
            return
        while enclosed or json_of.peek():
            yield json_of.value()
            if enclosed and not json_of.passes(","):
                json_of.expects("]")
                json_of.ends()
                return


def read_mapping(path: Path, read: Callable[[Any], T]) -> Iterator[tuple[str, T]]:
    """Keys and values of a JSON object, one by one.

    Args:
        path: The file.
        read: Makes a value of what the file holds; raises ``TypeError`` where that is of another form.

    Raises:
        BadData: The file ends early or is not a JSON object, or a value is of another form.
    """
    with _open(path) as file:
        json_of = _Json(path, file)
        if not json_of.passes("{"):
            kind = "list" if json_of.peek() == "[" else type(json_of.value()).__name__
            raise BadData(f"{path} should hold a JSON object by ASIN, not a {kind}")
        following = not json_of.passes("}")
        while following:
            key = json_of.key()
            value = json_of.value()
            try:
                entry = read(value)
            except TypeError as error:
                raise BadData(f"{path}: the entry of {key!r} is not in WebShop's format ({error})") from error
            yield key, entry
            following = json_of.passes(",")
            if not following:
                json_of.expects("}")
        json_of.ends()


def a_record(value: Any) -> dict[str, Any]:
    """A JSON object.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {str(value)[:60]}")
    return value


def a_list_of_records(value: Any) -> list[dict[str, Any]]:
    """A list of JSON objects.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, list):
        raise TypeError(f"a list was expected, not {str(value)[:60]}")
    return [a_record(item) for item in value]


class _Json:
    """A text file as a stream of JSON values and the signs between them."""

    def __init__(self, path: Path, file: IO[str]) -> None:
        self._path = path
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._place = 0

    def peek(self) -> str:
        """The next character that is not blank; nothing at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in _BLANK:
                    return self._text[self._place]
                self._place += 1
            if not self._fill():
                return ""

    def passes(self, sign: str) -> bool:
        """Whether this sign comes next; if so, it is passed."""
        found = self.peek() == sign
        self._place += found
        return found

    def expects(self, sign: str) -> None:
        """Pass this sign."""
        if not self.passes(sign):
            raise self._damaged(f"{sign!r} was expected, not {self.peek()!r}")

    def ends(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._damaged(f"{self.peek()!r} follows its end")

    def key(self) -> str:
        """The next key of an object, and the colon after it."""
        key = self.value()
        if not isinstance(key, str):
            raise self._damaged(f"{key!r} is no key of an object")
        self.expects(":")
        return key

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if len(self._text) - self._place > LONGEST_ENTRY or not self._fill():
                    raise self._damaged(f"it is not JSON ({error.msg})") from error
            else:
                # A number may go on in the next chunk.
                if end < len(self._text) or not self._fill():
                    self._place = end
                    return value

    def _fill(self) -> bool:
        """Read on; whether there was more."""
        rest = self._text[self._place :]
        try:
            # Twice as much each time, so that a long entry is not decoded again and again.
            more = self._file.read(max(CHUNK, len(rest)))
        except _DAMAGED as error:
            raise self._damaged(str(error)) from error
        if more:
            self._text, self._place = rest + more, 0
        return bool(more)

    def _damaged(self, why: str) -> BadData:
        return BadData(f"{self._path} is damaged: {' '.join(why.split())}")


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
