"""Full-text search that ranks as Lucene's BM25 does, score by score.

Anserini (WebShop's search front end) runs Lucene with k1 = 0.9, b = 0.4. To give the same order on every query one has
to repeat its arithmetic: document lengths squeezed into one byte, each term's score in 32-bit floats, the sum in 64
bits cast to 32, and equal scores ordered by ascending document id. Documents without any token do not count anywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

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


class SearchIndex:
    """An immutable inverted index; build it with ``SearchIndex.build``.

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
        vocabulary: dict[str, int],
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
        vocabulary: dict[str, int] = {}
        terms: list[npt.NDArray[np.int32]] = []
        counts: list[npt.NDArray[np.float32]] = []
        distinct, lengths = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        for position, text in enumerate(texts):
            tally = Counter(analyze(text))
            codes = [vocabulary.setdefault(term, len(vocabulary)) for term in tally]
            terms.append(np.array(codes, np.int32))
            counts.append(np.fromiter(tally.values(), np.float32, len(tally)))
            distinct[position], lengths[position] = len(tally), tally.total()
        term_of = np.concatenate(terms) if terms else np.zeros(0, np.int32)
        count_of = np.concatenate(counts) if counts else np.zeros(0, np.float32)
        order = np.argsort(term_of, kind="stable")
        ranks = np.empty(len(ids), np.int32)
        ranks[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids), dtype=np.int32)
        documents = np.repeat(np.arange(len(ids), dtype=np.int32), distinct)[order]
        return cls(
            vocabulary=vocabulary,
            starts=np.concatenate(([0], np.cumsum(np.bincount(term_of, minlength=len(vocabulary))))).astype(np.int64),
            documents=documents,
            saturations=count_of[order] * _norms(lengths)[documents],
            ranks=ranks,
            documents_with_text=int(np.count_nonzero(lengths)),
        )

    def _search(self, query: str, k: int = 50) -> tuple[int, ...]:
        """Positions of the best ``k`` documents for a bag of words, best first."""
        scores = np.zeros(len(self._ranks), np.float64)
        for term, repeats in Counter(analyze(query)).items():
            code = self._vocabulary.get(term)
            if code is None:
                continue
            posting = slice(int(self._starts[code]), int(self._starts[code + 1]))
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


def _norms(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """``1 / (k1 (1 - b + b length / average))`` of each document, in 32-bit arithmetic.

    The average is taken over exact lengths; each document's own length is the quantised one.
    """
    average = np.float32(lengths.sum() / max(np.count_nonzero(lengths), 1)) or np.float32(1)
    codes = np.array([encode_length(int(length)) for length in np.unique(lengths)], np.int64)
    decoded = np.array([decode_length(int(code)) for code in codes], np.float32)
    norms = np.float32(1) / (K1 * ((np.float32(1) - B) + B * decoded / average))
    return norms[np.searchsorted(np.unique(lengths), lengths)].astype(np.float32)
