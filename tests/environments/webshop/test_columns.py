"""Entries of files are what was written, wherever they are looked up."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.environments.webshop import columns
from r3lbench.environments.webshop.columns import (
    Column,
    LookedUp,
    Mapped,
    MappedTexts,
    Numbering,
    Texts,
    TextWriter,
    encoded,
)


def write(path: Path, texts: list[bytes]) -> Texts:
    with TextWriter(path) as writer:
        for text in texts:
            writer.append(text)
    return Texts(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=9), max_size=12), st.sampled_from([1, 3, 1024]))
def test_texts_are_read_back_one_by_one_and_all_together(texts: list[bytes], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_AT_ONCE", at_once)
        read = write(Path(folder) / "texts", texts)
        mapped = MappedTexts(Path(folder) / "texts")
        assert [read[at] for at in range(len(read))] == list(read) == list(mapped) == texts
        mapped.release()
        assert list(mapped) == texts
        for outside in (-1, len(texts)):
            for either in (read, mapped):
                with pytest.raises(IndexError):
                    either[outside]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.text(st.characters(exclude_categories=()), max_size=4), max_size=12), st.text(max_size=4))
def test_texts_are_numbered_in_the_order_of_their_characters(texts: set[str], other: str) -> None:
    ascending = sorted(texts)
    with tempfile.TemporaryDirectory() as folder:
        numbering = Numbering(write(Path(folder) / "texts", [encoded(text) for text in ascending]))
        assert dict(numbering) == {text: number for number, text in enumerate(ascending)}
        assert numbering.get(other) == (ascending.index(other) if other in texts else None)


def test_numbers_are_looked_up_and_mapped(tmp_path: Path) -> None:
    for numbers, dtype in (([3, -1, 7], "<i4"), ([0.1, float("inf")], "<f8"), ([], "<i8")):
        np.array(numbers, dtype).tofile(tmp_path / "numbers")
        column, mapped = Column(tmp_path / "numbers", dtype), Mapped(tmp_path / "numbers", dtype)
        assert [column[at] for at in range(len(column))] == column.read(0, len(column)).tolist() == numbers
        assert mapped.array.tolist() == numbers and not mapped.array.flags.writeable
        mapped.release()
        assert mapped.array.tolist() == numbers
        for outside in (-1, len(numbers)):
            with pytest.raises(IndexError):
                column[outside]


def test_bytes_of_a_row_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(b"ab\0\0" + b"\0\0\0c")
    assert [Column(tmp_path / "rows", "V4")[at] for at in range(2)] == [b"ab\0\0", b"\0\0\0c"]


def test_entries_are_made_when_they_are_asked_for_and_the_last_ones_are_kept() -> None:
    made = []
    squares = LookedUp(10, lambda at: made.append(at) or at * at, 2)
    assert (squares[3], squares[3], squares[-1], squares[2:5], len(squares)) == (9, 9, 81, (4, 9, 16), 10)
    assert made == [3, 9, 2, 3, 4]
    assert list(squares) == [at * at for at in range(10)] and 49 in squares
    with pytest.raises(IndexError):
        squares[10]


def test_files_are_closed_when_nobody_reads_them_any_more(tmp_path: Path) -> None:
    def open_files() -> int:
        gc.collect()
        return len(list(Path("/dev/fd").iterdir()))

    before = open_files()
    texts = [write(tmp_path / "texts", [b"tea"]) for _ in range(20)]
    assert open_files() == before + 40
    del texts
    assert open_files() == before


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    texts = write(tmp_path / "texts", [b"%d" % number * 50 for number in range(200)])
    wrong: list[int] = []

    def read() -> None:
        wrong.extend(at for _ in range(20) for at in range(200) if texts[at] != b"%d" % at * 50)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_child_after_a_fork_reads_beside_its_parent(tmp_path: Path) -> None:
    texts = write(tmp_path / "texts", [b"%d" % number for number in range(500)])
    child = os.fork()
    if child == 0:
        os._exit(any(texts[at] != b"%d" % at for _ in range(20) for at in range(500)))
    assert all(texts[at] == b"%d" % at for _ in range(20) for at in range(500))
    assert os.waitpid(child, 0)[1] == 0
