"""Sequences that lie in files and are looked up in place, so that no process holds what all of them share.

Single entries are read (``pread``): the system keeps what any process has read for all of them, and counts it as memory
of none. Only what is looked through as a whole is mapped, and released at once. (Entries looked up in a mapping count
by the page, and by the megabyte where the system keeps files in large pages.) Whatever is opened stays readable when
its file is removed or replaced, in every thread, and in a child after a fork.
"""

from __future__ import annotations

import mmap
import os
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Numbers = npt.NDArray[Any]

DATA, BOUNDS = ".data", ".bounds"
"""Suffixes of the files of texts: one after another, and where each starts and the last one ends."""
SMALL = 1 << 20
"""Bytes of a file that may stay mapped."""
_BOUND = "<i8"
_AT_ONCE = 1024
"""Texts read together by who goes through all of them."""


class Column:
    """Numbers in a file, each of which can be looked up.

    Args:
        path: The file.
        dtype: What each of them is.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._file = _File(path)
        self._dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self._file.size // self._dtype.itemsize

    def __getitem__(self, at: int) -> Any:
        if not 0 <= at < len(self):
            raise IndexError(at)
        return self.read(at, at + 1).item()

    def read(self, start: int, stop: int) -> Numbers:
        """Those from ``start`` to before ``stop``."""
        return np.frombuffer(self._file.read(start * self._dtype.itemsize, stop * self._dtype.itemsize), self._dtype)


class Mapped:
    """Numbers in a file, as an array that lies there.

    Args:
        path: The file.
        dtype: What each of them is.

    Attributes:
        array: The numbers; not to be written to.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        file = _File(path)
        self._map = mmap.mmap(file.number, 0, access=mmap.ACCESS_READ) if file.size else None
        self.array: Numbers = np.frombuffer(b"" if self._map is None else self._map, dtype)

    def release(self) -> None:
        """Give back the pages looked at; they stay with the system, and are looked at again at little cost.

        Those of a small file are not worth it.
        """
        if self._map is not None and len(self._map) > SMALL:
            self._map.madvise(mmap.MADV_DONTNEED)


class Texts:
    """Texts in a file, as bytes, each of which can be looked up.

    Args:
        path: What their files are called, without suffix.
    """

    def __init__(self, path: Path) -> None:
        self._bounds = Column(path.with_suffix(BOUNDS), _BOUND)
        self._file = _File(path.with_suffix(DATA))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, at: int) -> bytes:
        if not 0 <= at < len(self):
            raise IndexError(at)
        start, end = self._bounds.read(at, at + 2).tolist()
        return self._file.read(start, end)

    def __iter__(self) -> Iterator[bytes]:
        for first in range(0, len(self), _AT_ONCE):
            bounds = self._bounds.read(first, min(first + _AT_ONCE, len(self)) + 1)
            data = self._file.read(int(bounds[0]), int(bounds[-1]))
            places = (bounds - bounds[0]).tolist()
            for start, end in pairwise(places):
                yield data[start:end]


class MappedTexts:
    """The same texts, mapped: for who looks up many at once, and releases them then.

    Args:
        path: What their files are called, without suffix.
    """

    def __init__(self, path: Path) -> None:
        self._bounds = Mapped(path.with_suffix(BOUNDS), _BOUND)
        self._data = Mapped(path.with_suffix(DATA), "u1")

    def __len__(self) -> int:
        return len(self._bounds.array) - 1

    def __getitem__(self, at: int) -> bytes:
        if not 0 <= at < len(self):
            raise IndexError(at)
        start, end = self._bounds.array[at : at + 2].tolist()
        return self._data.array[start:end].tobytes()

    def release(self) -> None:
        """As of ``Mapped``."""
        self._bounds.release()
        self._data.release()


class TextWriter:
    """Writes what ``Texts`` reads; use it as a context.

    Args:
        path: What the files are called, without suffix.
    """

    def __init__(self, path: Path) -> None:
        with ExitStack() as files:
            self._data = files.enter_context(path.with_suffix(DATA).open("wb"))
            self._bounds = files.enter_context(path.with_suffix(BOUNDS).open("wb"))
            self._files = files.pop_all()
        self._end = 0
        self.append(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files.close()

    def append(self, text: bytes) -> None:
        """Add a text."""
        self._data.write(text)
        self._end += len(text)
        self._bounds.write(np.array(self._end, _BOUND).tobytes())


class Numbering(Mapping[str, int]):
    """Which of many texts in ascending order a text is.

    Args:
        texts: The texts, distinct, in the order of their bytes, which is that of their characters.
        kept: How many answers are remembered.
    """

    def __init__(self, texts: Texts | MappedTexts, kept: int = 1 << 14) -> None:
        self._texts = texts
        self._find = lru_cache(maxsize=kept)(self._search)

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return (decoded(self._texts[place]) for place in range(len(self)))

    def __getitem__(self, text: str) -> int:
        place = self._find(text)
        if place is None:
            raise KeyError(text)
        return place

    def _search(self, text: str) -> int | None:
        wanted = encoded(text)
        place = bisect_left(self._texts, wanted)
        return place if place < len(self._texts) and self._texts[place] == wanted else None


class LookedUp(Sequence[T]):
    """A sequence whose entries are made when they are asked for.

    Args:
        length: How many there are.
        entry: Makes the entry of a place.
        kept: How many of the entries asked for last are kept.
    """

    def __init__(self, length: int, entry: Callable[[int], T], kept: int) -> None:
        self._places = range(length)
        self._entry = lru_cache(maxsize=kept)(entry)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, at: Any) -> Any:
        place = self._places[at]
        return tuple(map(self._entry, place)) if isinstance(place, range) else self._entry(place)

    def __iter__(self) -> Iterator[T]:
        return map(self._entry, self._places)


def encoded(text: str) -> bytes:
    """A text as bytes; half a surrogate pair, which JSON may hold, is text too."""
    return text.encode("utf-8", "surrogatepass")


def decoded(data: bytes) -> str:
    """The text that the bytes stand for."""
    return data.decode("utf-8", "surrogatepass")


class _File:
    """An open file of which any part can be read; no position is kept, so who else reads does not matter."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.number)
        self.size = os.fstat(self.number).st_size

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self.number, end - start, start)
