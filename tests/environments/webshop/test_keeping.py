"""What is kept is made once, whole, and never trusted when it is damaged."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from r3lbench.environments.webshop import keeping
from r3lbench.environments.webshop.keeping import CACHE, MANIFEST, cache_folder, content_of, kept
from r3lbench.errors import BadData


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "cache" / "webshop"


class Making:
    """Makes a folder of two files, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        (folder / "words").write_bytes(b"red tea" * 100)
        (folder / "numbers").write_bytes(bytes(range(256)))

    def open(self, **options: bool) -> tuple[bytes, bytes]:
        return kept("tea", {"from": "leaves"}, self, take, **options)


def take(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "words").read_bytes(), (folder / "numbers").read_bytes()


FORK = multiprocessing.get_context("fork")
WHOLE = (b"red tea" * 100, bytes(range(256)))


def test_it_is_made_once_and_lies_where_the_variable_says(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert making.open() == making.open() == WHOLE
        (folder,) = place.iterdir()
        assert making.times == 1 and re.fullmatch(r"tea-[0-9a-f]{24}", folder.name)
        assert json.loads((folder / MANIFEST).read_bytes())["made_from"] == {
            "format": keeping.FORMAT,
            "kind": "tea",
            "from": "leaves",
        }
        kept("tea", {"from": "dust"}, making, take)
        monkeypatch.setattr(keeping, "FORMAT", keeping.FORMAT + 1)
        making.open()
    assert making.times == len(list(place.iterdir())) == 3
    monkeypatch.delenv(CACHE)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/r3lbench/webshop")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda folder: (folder / "words").write_bytes(b"red"),
    "one bit": lambda folder: (folder / "numbers").write_bytes(b"\1" + bytes(range(1, 256))),
    "as long, and as old": lambda folder: _swap(folder / "numbers"),
    "missing": lambda folder: (folder / "words").unlink(),
    "more": lambda folder: (folder / "other").write_bytes(b""),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "manifest is no JSON": lambda folder: (folder / MANIFEST).write_bytes(b"{"),
    "manifest is a list": lambda folder: (folder / MANIFEST).write_bytes(b"[]"),
    "manifest names no file": lambda folder: _edit(folder, "files", {}),
    "another format": lambda folder: _edit(folder, "made_from", {"format": 0, "kind": "tea", "from": "leaves"}),
    "a file": lambda folder: (_remove(folder), folder.write_bytes(b"")),
    "empty": lambda folder: (_remove(folder), folder.mkdir()),
}


def _swap(file: Path) -> None:
    status = file.stat()
    file.write_bytes(bytes(reversed(range(256))))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _edit(folder: Path, key: str, value: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest | {key: value}))


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_or_outdated_is_made_again_with_a_note(place: Path, damage: Callable[[Path], object]) -> None:
    making = Making()
    making.open()
    (folder,) = place.iterdir()
    damage(folder)
    with pytest.warns(UserWarning, match=rf"{folder.name} .*; it is made again") as notes:
        assert making.open() == WHOLE
    assert making.times == 2 and len(notes) == 1
    assert making.open() == WHOLE and making.times == 2
    assert list(place.iterdir()) == [folder]


def test_who_fails_or_is_killed_over_it_leaves_nothing_that_counts(place: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "words").write_bytes(b"half")
        raise BadData("no tea")

    with pytest.raises(BadData, match="no tea"):
        kept("tea", {"from": "leaves"}, fail, take)
    assert list(place.iterdir()) == []

    def die(folder: Path) -> None:
        (folder / "runs").mkdir()
        (folder / "runs" / "0").write_bytes(b"half")
        (folder / "words").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=kept, args=("tea", {"from": "leaves"}, die, take))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = place.iterdir()
    assert left.name.startswith(".tea-")
    assert Making().open() == WHOLE
    assert [path.name for path in place.iterdir()] == [left.name[1:]]


def test_processes_that_want_it_at_once_make_it_once(place: Path, tmp_path: Path) -> None:
    together = FORK.Barrier(5)

    def make(folder: Path) -> None:
        with (tmp_path / "made").open("a") as file:
            file.write("x")
        (folder / "words").write_bytes(WHOLE[0])
        time.sleep(0.2)
        (folder / "numbers").write_bytes(WHOLE[1])

    def want() -> None:
        warnings.simplefilter("error")
        together.wait()
        os._exit(kept("tea", {"from": "leaves"}, make, take) != WHOLE)

    processes = [FORK.Process(target=want) for _ in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 5
    assert (tmp_path / "made").read_text() == "x"
    assert [path.name[:4] for path in place.iterdir()] == ["tea-"]


def test_where_nothing_can_be_written_each_process_makes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    making = Making()
    with pytest.warns(UserWarning, match=f"cannot be written .*set {CACHE}"):
        assert making.open() == WHOLE
    monkeypatch.setenv(CACHE, "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert making.open() == WHOLE
    assert making.times == 2
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_is_there_already_is_only_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making()
    making.open()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert making.open() == WHOLE and making.times == 1


def test_what_others_will_not_want_is_not_kept(place: Path, tmp_path: Path) -> None:
    making = Making()
    assert making.open(keep=False) == making.open(keep=False) == WHOLE
    assert making.times == 2 and not place.exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_full_disk_is_named_and_nothing_is_left(place: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "words").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BadData, match=rf"tea-.* cannot be made \(No space left on device\); make room, or set {CACHE}"):
        kept("tea", {"from": "leaves"}, fill, take)
    assert list(place.iterdir()) == []


def test_a_file_is_read_again_only_when_it_may_have_changed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = keeping.sha256_of
    monkeypatch.setattr(keeping, "sha256_of", lambda path: read.append(path) or original(path))
    file = tmp_path / "items.json"
    file.write_bytes(b"red")
    red = content_of(file)
    assert content_of(file) == red == original(file)
    assert len(read) == 2, "what has just been written may change within the same tick of the clock"
    monkeypatch.setattr(keeping, "_SETTLED", 0)
    assert content_of(file) == content_of(file) == red
    assert len(read) == 3
    status = file.stat()
    file.write_bytes(b"tea")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_of(file) == original(file) != red
    (note,) = (place / "contents").iterdir()
    note.write_bytes(b"{}")
    assert content_of(file) == original(file)
    assert len(read) == 5
    monkeypatch.setenv(CACHE, "")
    assert content_of(file) == original(file)


def test_a_content_that_cannot_be_noted_is_read_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("red")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    monkeypatch.setattr(keeping, "_SETTLED", 0)
    with pytest.warns(UserWarning, match="read again in every process"):
        assert content_of(tmp_path / "file") == keeping.sha256_of(tmp_path / "file")
