"""Full-text search that ranks as Lucene's BM25 does, score by score.

Anserini (WebShop's search front end) runs Lucene with k1 = 0.9, b = 0.4. To give the same order on every query one has
to repeat its arithmetic: document lengths squeezed into one byte, each term's score in 32-bit floats, the sum in 64
bits cast to 32, and equal scores ordered by ascending document id. Documents without any token do not count anywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .analysis import analyze

K1, B = np.float32(0.9), np.float32(0.4)
CACHED_QUERIES = 4096

_EXACT = 24
"""Lengths below this are stored exactly; the others keep four significant bits of what exceeds it."""


def encode_length(length: int) -> int:
    """A document length as one byte (Lucene ``SmallFloat.intToByte4``)."""
    if length < _EXACT:
        return length
    rest = length - _EXACT
    shift = rest.bit_length() - 4
    return _EXACT + (rest if shift < 0 else (rest >> shift & 7) | (shift + 1) << 3)


def decode_length(code: int) -> int:
    """The length that a byte stands for (Lucene ``SmallFloat.byte4ToInt``)."""
    if code < _EXACT:
        return code
    mantissa, shift = (code - _EXACT) & 7, ((code - _EXACT) >> 3) - 1
    return _EXACT + (mantissa if shift < 0 else (mantissa | 8) << shift)


class Run(NamedTuple):
    """Consecutive documents, inverted.

    Attributes:
        terms: Their distinct terms, in ascending order.
        starts: Where each term's postings start, and after the last one where they end.
        documents: Position of the document of each posting, ascending within a term.
        counts: How many times the term is in the document, for each posting.
        lengths: How many terms each document has.
    """

    terms: list[str]
    starts: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int32]
    counts: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]


def invert(texts: Iterable[str], most: float = math.inf) -> Iterator[Run]:
    """Invert documents, in runs of about so many postings at most; there is one run at least."""
    remaining, first, ended = iter(texts), 0, False
    while not ended:
        vocabulary: dict[str, int] = {}
        terms: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
        counts: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)]
        distinct: list[int] = []
        lengths: list[int] = []
        postings = 0
        while postings < most:
            text = next(remaining, None)
            if text is None:
                ended = True
                break
            tally = Counter(analyze(text))
            terms.append(np.array([vocabulary.setdefault(term, len(vocabulary)) for term in tally], np.int32))
            counts.append(np.fromiter(tally.values(), np.float32, len(tally)))
            distinct.append(len(tally))
            lengths.append(tally.total())
            postings += len(tally)
        ascending = sorted(vocabulary)
        places = np.empty(len(vocabulary), np.int32)
        places[[vocabulary[term] for term in ascending]] = np.arange(len(vocabulary), dtype=np.int32)
        term_of = places[np.concatenate(terms)]
        # A stable sort leaves the postings of a term in the order of the documents.
        order = np.argsort(term_of, kind="stable")
        yield Run(
            ascending,
            starts_of(np.bincount(term_of, minlength=len(vocabulary))),
            np.repeat(np.arange(first, first + len(lengths), dtype=np.int32), distinct)[order],
            np.concatenate(counts)[order],
            np.array(lengths, np.int64),
        )
        first += len(lengths)


def starts_of(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each of consecutive parts starts, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def ranks_of(order: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The place of each document, given the documents in order."""
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    return ranks


class SearchIndex:
    """An immutable inverted index.

    Positions are the documents' places in the order in which they were given.

    Args:
        vocabulary: Number of each term.
        starts: Where each term's postings start, and after the last one where they end.
        documents: Position of the document of each posting.
        saturations: Of each posting, the term's count times the document's norm.
        ranks: Place of each document in the order of ids.
        documents_with_text: How many documents have a token.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        starts: npt.NDArray[np.int64],
        documents: npt.NDArray[np.int32],
        saturations: npt.NDArray[np.float32],
        ranks: npt.NDArray[np.int32],
        documents_with_text: int,
    ) -> None:
        self._vocabulary = vocabulary
        self._starts = starts
        self._documents = documents
        self._saturations = saturations
        self._ranks = ranks
        self._documents_with_text = documents_with_text
        self.search = lru_cache(maxsize=CACHED_QUERIES)(self._search)

    @classmethod
    def build(cls, ids: Sequence[str], texts: Iterable[str]) -> SearchIndex:
        """Index documents.

        Args:
            ids: Document ids; equal scores are ordered by them.
            texts: The text of each, in the same order.
        """
        (run,) = invert(texts)
        return cls(
            vocabulary={term: code for code, term in enumerate(run.terms)},
            starts=run.starts,
            documents=run.documents,
            saturations=run.counts * norms_of(run.lengths)[run.documents],
            ranks=ranks_of(np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int32)),
            documents_with_text=int(np.count_nonzero(run.lengths)),
        )

    def _search(self, query: str, k: int = 50) -> tuple[int, ...]:
        """Positions of the best ``k`` documents for a bag of words, best first."""
        scores = np.zeros(len(self._ranks), np.float64)
        for term, repeats in Counter(analyze(query)).items():
            code = self._vocabulary.get(term)
            if code is None:
                continue
            posting = slice(self._starts[code], self._starts[code + 1])
            documents = self._documents[posting]
            weight = np.float32(repeats) * self._idf(len(documents))
            scores[documents] += weight - weight / (np.float32(1) + self._saturations[posting])
        hits = np.flatnonzero(scores)
        totals = scores[hits].astype(np.float32)
        if len(hits) > k:
            good = totals >= np.partition(totals, len(totals) - k)[len(totals) - k]
            hits, totals = hits[good], totals[good]
        best = np.lexsort((self._ranks[hits], -totals))[:k]
        return tuple(hits[best].tolist())

    def _idf(self, frequency: int) -> np.float32:
        return np.float32(math.log(1 + (self._documents_with_text - frequency + 0.5) / (frequency + 0.5)))


def norms_of(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """``1 / (k1 (1 - b + b length / average))`` of each document, in 32-bit arithmetic.

    The average is taken over exact lengths; each document's own length is the quantised one.
    """
    average = np.float32(lengths.sum() / max(np.count_nonzero(lengths), 1)) or np.float32(1)
    codes = np.array([encode_length(int(length)) for length in np.unique(lengths)], np.int64)
    decoded = np.array([decode_length(int(code)) for code in codes], np.float32)
    norms = np.float32(1) / (K1 * ((np.float32(1) - B) + B * decoded / average))
    return norms[np.searchsorted(np.unique(lengths), lengths)].astype(np.float32)
