"""The search index of a large catalogue: made in bounded memory, and mapped from files instead of held.

Documents are inverted in runs that fit into memory and are put on disk; then the runs are merged, first their terms and
then their postings, those of so many terms at a time. What is found is what ``SearchIndex.build`` finds.
"""

from __future__ import annotations

import heapq
import shutil
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Mapped, MappedTexts, Numbering, Texts, TextWriter, encoded
from .index import Run, SearchIndex, invert, norms_of, ranks_of, starts_of

_TERMS, _STARTS, _DOCUMENTS, _SATURATIONS, _RANKS = "terms", "starts", "documents", "saturations", "ranks"


class StoredIndex(SearchIndex):
    """An index in a folder.

    Args:
        folder: Where ``write_index`` put it.
        documents_with_text: What it returned.
    """

    def __init__(self, folder: Path, documents_with_text: int) -> None:
        terms, starts = MappedTexts(folder / _TERMS), Mapped(folder / _STARTS, "<i8")
        documents, saturations = Mapped(folder / _DOCUMENTS, "<i4"), Mapped(folder / _SATURATIONS, "<f4")
        ranks = Mapped(folder / _RANKS, "<i4")
        self._mapped = (terms, starts, documents, saturations, ranks)
        super().__init__(
            vocabulary=Numbering(terms),
            starts=starts.array,
            documents=documents.array,
            saturations=saturations.array,
            ranks=ranks.array,
            documents_with_text=documents_with_text,
        )

    def _search(self, query: str, k: int = 50) -> tuple[int, ...]:
        hits = super()._search(query, k)
        for mapped in self._mapped:
            mapped.release()
        return hits


def write_index(folder: Path, order: npt.NDArray[np.int32], texts: Iterable[str], postings: int) -> int:
    """Index documents.

    Args:
        folder: Where the index shall lie.
        order: Positions of the documents in the order of their ids; equal scores are ordered by them.
        texts: The text of each document, in the order of positions.
        postings: How many may be in memory at a time, about.

    Returns:
        How many documents have a token.
    """
    scratch = folder / "runs"
    scratch.mkdir()
    runs, lengths = [], []
    for number, run in enumerate(invert(texts, postings)):
        runs.append(_StoredRun(scratch / str(number), run))
        lengths.append(run.lengths)
    sizes = _merge_terms(runs, folder / _TERMS)
    starts = starts_of(sizes)
    starts.astype("<i8").tofile(folder / _STARTS)
    norms = norms_of(np.concatenate(lengths))
    with (folder / _DOCUMENTS).open("wb") as documents, (folder / _SATURATIONS).open("wb") as saturations:
        for found, counts in _merged_postings(runs, starts, postings):
            documents.write(found.astype("<i4").tobytes())
            saturations.write((counts * norms[found]).astype("<f4").tobytes())
    ranks_of(order).astype("<i4").tofile(folder / _RANKS)
    shutil.rmtree(scratch)
    return sum(int(np.count_nonzero(some)) for some in lengths)


class _StoredRun:
    """A run that lies on disk: ``terms``, ``starts``, ``documents`` and ``counts`` as in ``Run``.

    Attributes:
        codes: The number of each term among the terms of all runs, in ascending order.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        folder.mkdir()
        with TextWriter(folder / _TERMS) as writer:
            for term in run.terms:
                writer.append(encoded(term))
        self.terms = Texts(folder / _TERMS)
        self.codes: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.starts = _on_disk(folder / "starts.npy", run.starts)
        self.documents = _on_disk(folder / "documents.npy", run.documents)
        self.counts = _on_disk(folder / "counts.npy", run.counts)


def _on_disk(file: Path, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same numbers, which need no memory."""
    np.save(file, numbers)
    mapped: npt.NDArray[Any] = np.load(file, mmap_mode="r")
    return mapped


def _merge_terms(runs: list[_StoredRun], path: Path) -> npt.NDArray[np.int64]:
    """Write the terms of all runs in ascending order, and number those of each run; returns each one's postings."""
    codes = [array("i") for _ in runs]
    ascending = heapq.merge(*(zip(run.terms, repeat(number)) for number, run in enumerate(runs)))
    total = 0
    with TextWriter(path) as writer:
        for code, (term, found) in enumerate(groupby(ascending, key=itemgetter(0))):
            writer.append(term)
            for _, number in found:
                codes[number].append(code)
            total = code + 1
    sizes = np.zeros(total, np.int64)
    for run, some in zip(runs, codes, strict=True):
        run.codes = np.array(some, np.int32)
        sizes[run.codes] += np.diff(run.starts)
    return sizes


def _merged_postings(
    runs: list[_StoredRun], starts: npt.NDArray[np.int64], most: int
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
    """Documents and counts of all postings in order: those of as many terms at a time as have so many postings."""
    first, total = 0, len(starts) - 1
    while first < total:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + most, side="right")) - 1)
        documents = np.empty(starts[last] - starts[first], np.int32)
        counts = np.empty(len(documents), np.float32)
        free = starts[first:last] - starts[first]
        for run in runs:
            here = slice(*np.searchsorted(run.codes, (first, last)).tolist())
            codes = run.codes[here] - first
            bounds = run.starts[here.start : here.stop + 1]
            sizes = np.diff(bounds)
            posting = slice(int(bounds[0]), int(bounds[-1]))
            # A term's postings follow those that the runs before have of it.
            places = np.repeat(free[codes] - (bounds[:-1] - bounds[0]), sizes) + np.arange(posting.stop - posting.start)
            documents[places] = run.documents[posting]
            counts[places] = run.counts[posting]
            free[codes] += sizes
        yield documents, counts
        first = last
