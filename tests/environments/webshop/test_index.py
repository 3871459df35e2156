"""Search ranks by BM25 in Lucene's arithmetic."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest

from r3lbench.environments.webshop.analysis import analyze
from r3lbench.environments.webshop.index import SearchIndex, decode_length, encode_length

WORDS = ["red", "blue", "dress", "shoes", "lamp", "table", "oak", "cotton", "the", "tea"]


def test_document_lengths_are_kept_in_one_byte() -> None:
    kept = {length: decode_length(encode_length(length)) for length in (0, 1, 23, 24, 40, 41, 57, 85, 100, 1000)}
    assert kept == {0: 0, 1: 1, 23: 23, 24: 24, 40: 40, 41: 40, 57: 56, 85: 84, 100: 96, 1000: 984}
    codes = [encode_length(length) for length in range(100_000)]
    assert codes == sorted(codes) and codes[-1] < 256


def test_ranking_follows_the_bm25_formula() -> None:
    rng = random.Random(4)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 60))) for _ in range(200)]
    ids = [f"B{number:03d}" for number in rng.sample(range(1000), 200)]
    index = SearchIndex.build(ids, texts)
    tokens = [analyze(text) for text in texts]
    nonempty = [len(each) for each in tokens if each]
    average = sum(nonempty) / len(nonempty)
    for query in ("red dress", "tea tea shoes", "oak the table lamp", "blue"):
        scores = {}
        for position, document in enumerate(tokens):
            counts, score = Counter(document), 0.0
            norm = 0.9 * (0.6 + 0.4 * decode_length(encode_length(len(document))) / average)
            for term, repeats in Counter(analyze(query)).items():
                frequency = sum(term in other for other in tokens)
                idf = math.log(1 + (len(nonempty) - frequency + 0.5) / (frequency + 0.5))
                score += repeats * idf * counts[term] / (counts[term] + norm)
            if score > 0:
                scores[position] = score
        hits = index.search(query, 50)
        assert len(hits) == min(50, len(scores))
        assert all(scores[one] > scores[other] - 1e-5 for one, other in itertools.pairwise(hits)), (
            "a lower score stands above a higher one"
        )
        assert min(scores[hit] for hit in hits) > sorted(scores.values())[-len(hits)] - 1e-5


def test_equal_scores_are_ordered_by_ascending_id() -> None:
    index = SearchIndex.build(["C", "A", "D", "B"], ["red tea"] * 4)
    assert index.search("tea") == (1, 3, 0, 2)
    assert index.search("tea", 2) == (1, 3)


@pytest.mark.parametrize("query", ["", "   ", "the of", "zzz", "!!! ???", "\ud800", "x" * 100_000])
def test_a_query_without_known_words_finds_nothing(query: str) -> None:
    assert SearchIndex.build(["A", "B"], ["red tea", ""]).search(query) == ()


def test_an_index_may_be_empty() -> None:
    assert SearchIndex.build([], []).search("tea") == ()
    assert SearchIndex.build(["A"], [""]).search("tea") == ()
