"""An index on disk finds what one in memory finds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.environments.webshop.index import SearchIndex, invert
from r3lbench.environments.webshop.stored_index import StoredIndex, write_index

WORDS = st.sampled_from(
    ["red", "blue", "Dresses", "tea", "oak", "café", "日本", "the", "ω", "x" * 300, "10½", "\ud800"]
)
TEXTS = st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=25)


def stored(folder: Path, ids: list[str], texts: list[str], postings: int) -> StoredIndex:
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__), np.int32)
    return StoredIndex(folder, write_index(folder, order, iter(texts), postings))


@settings(max_examples=120, deadline=None)
@given(TEXTS, st.lists(st.lists(WORDS | st.just("unknown"), max_size=5).map(" ".join), max_size=6), st.data())
def test_the_stored_index_finds_what_the_held_one_finds(
    texts: list[str], queries: list[str], data: st.DataObject
) -> None:
    ids = data.draw(st.permutations([f"B{number:02d}" for number in range(len(texts))]))
    postings = data.draw(st.sampled_from([1, 3, 20, 1 << 20]))
    held = SearchIndex.build(ids, texts)
    with tempfile.TemporaryDirectory() as folder:
        index = stored(Path(folder), ids, texts, postings)
        for query in [*queries, *texts[:3]]:
            for k in (1, 3, 50):
                assert index.search(query, k) == held.search(query, k)


def test_runs_are_as_long_as_asked_for(tmp_path: Path) -> None:
    texts = ["red tea oak"] * 10
    assert [len(run.lengths) for run in invert(texts, 6)] == [2, 2, 2, 2, 2, 0]
    assert [len(run.lengths) for run in invert(texts)] == [10]
    assert [len(run.lengths) for run in invert([])] == [0]


def test_nothing_but_the_index_is_left(tmp_path: Path) -> None:
    stored(tmp_path, ["A", "B"], ["red tea", "tea"], 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "documents",
        "ranks",
        "saturations",
        "starts",
        "terms.bounds",
        "terms.data",
    ]


def test_the_files_may_go_once_they_are_open(tmp_path: Path) -> None:
    index = stored(tmp_path, ["A", "B"], ["red tea", "tea"], 1)
    for path in tmp_path.iterdir():
        path.unlink()
    assert index.search("red tea") == (0, 1)


def test_a_search_gives_back_the_pages_it_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    index = stored(tmp_path, ["A", "B"], ["red tea", "tea"], 1)
    for mapped in index._mapped:
        monkeypatch.setattr(mapped, "release", lambda mapped=mapped: released.append(mapped))
    assert index.search("tea") == index.search("tea") == (1, 0)
    assert released == list(index._mapped)
