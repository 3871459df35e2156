"""Folders of files that are made once for all processes, and kept.

What is kept lies in ``R3LBENCH_CACHE`` (default ``~/.cache/r3lbench``), under ``webshop``, in a folder named after the
hash of what it was made from and of the version of its format. It appears there whole, by renaming, and one process
makes it while others that want it wait. Each time it is opened, all of it is compared with its checksums, and what is
damaged is made again. Where nothing can be written, or ``R3LBENCH_CACHE`` is empty, each process makes its own, which
leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from r3lbench.errors import BadData
from r3lbench.files import sha256_of, sync, to_json, write_atomic

T = TypeVar("T")

CACHE = "R3LBENCH_CACHE"
FORMAT = 2
"""Of everything that is kept; a change of what any file holds is a new number."""
MANIFEST = "manifest.json"
_NAME_LENGTH = 24
_CHUNK = 1 << 22
_SETTLED = 2_000_000_000
"""Nanoseconds after which a file that changes again has another time stamp for certain."""


def cache_folder() -> Path | None:
    """Where folders are kept; None for nowhere."""
    given = os.environ.get(CACHE)
    if given is None:
        return Path.home() / ".cache" / "r3lbench" / "webshop"
    return Path(given) / "webshop" if given else None


def kept(
    kind: str,
    made_from: Mapping[str, Any],
    make: Callable[[Path], None],
    take: Callable[[Path], T],
    *,
    keep: bool = True,
) -> T:
    """Open a folder, which is made first where it is not kept yet, or not whole any more.

    Args:
        kind: What it is; its name begins with this.
        made_from: What it is made from; JSON values.
        make: Fills an empty folder with files.
        take: Opens what it needs of them. The folder may be gone when it has returned.
        keep: Whether others will want it; if not, it is made for this once.

    Raises:
        BadData: There is no room for it.
    """
    wanted = {"format": FORMAT, "kind": kind, **made_from}
    place = cache_folder()
    if keep and place is not None:
        target = place / f"{kind}-{_hash(to_json(wanted))}"
        if _fault(target, wanted) is None:
            return take(target)
        with ExitStack() as stack:
            scratch = place / f".{target.name}"
            try:
                place.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_claimed(scratch))
            except OSError as error:
                warnings.warn(
                    f"{place} cannot be written ({error.strerror}), so WebShop's {kind} is made again in every "
                    f"process; set {CACHE} to a folder that can",
                    stacklevel=2,
                )
            else:
                _renew(target, scratch, wanted, make)
                return take(target)
    with tempfile.TemporaryDirectory(prefix="r3lbench-webshop-") as folder:
        make(Path(folder))
        return take(Path(folder))


def content_of(path: Path) -> str:
    """Hex SHA-256 of a file, which is not read again as long as it has the same size, time stamps and inode."""
    place, stamp = cache_folder(), stamp_of(path)
    if place is None:
        return sha256_of(path)
    note = place / "contents" / f"{_hash(str(path).encode())}.json"
    known = _noted(note, stamp)
    if known is not None:
        return known
    digest = sha256_of(path)
    if time.time_ns() - max(stamp[-2:]) > _SETTLED and stamp_of(path) == stamp:
        _note(note, {"path": str(path), "stamp": stamp, "sha256": digest})
    return digest


def stamp_of(path: Path) -> list[int]:
    """What changes when a file is changed or replaced."""
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


@contextmanager
def _claimed(scratch: Path) -> Iterator[None]:
    """Be the only process that fills a folder, which is made; wait for another that does.

    Raises:
        OSError: It cannot be made.
    """
    while True:
        scratch.mkdir(exist_ok=True)
        with ExitStack() as stack:
            try:
                claim = os.open(scratch, os.O_RDONLY)
                stack.callback(os.close, claim)
                fcntl.flock(claim, fcntl.LOCK_EX)
                mine = os.path.samestat(scratch.stat(), os.fstat(claim))
            except FileNotFoundError:
                mine = False
            # Whoever had it before has renamed or removed it: the next claim is to another folder of this name.
            if mine:
                yield
                return


def _renew(target: Path, scratch: Path, wanted: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    """Put a whole folder in the place of one that is not there or not whole, unless another process just did."""
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, scratch, ignore_errors=True)
        fault = _fault(target, wanted)
        if fault is None:
            return
        if target.exists():
            warnings.warn(f"{target} {fault}; it is made again", stacklevel=3)
        try:
            # What a process left that was killed over it.
            for left in scratch.iterdir():
                _remove(left)
            make(scratch)
            _seal(scratch, wanted)
            _remove(target)
            scratch.rename(target)
            undo.pop_all()
            sync(target.parent)
        except OSError as error:
            raise BadData(
                f"{target} cannot be made ({error.strerror or error}); make room, or set {CACHE} to another folder"
            ) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _seal(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Note the checksums of a folder's files, all of it on disk."""
    files = {}
    for path in sorted(folder.iterdir()):
        sync(path)
        files[path.name] = _checksum(path)
    write_atomic(folder / MANIFEST, to_json({"made_from": wanted, "files": files}, indent=1))


def _fault(folder: Path, wanted: Mapping[str, Any]) -> str | None:
    """What is wrong with a kept folder, in words; None if nothing is."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["made_from"] != wanted:
            return "was made from something else"
        if {path.name for path in folder.iterdir()} != {MANIFEST, *manifest["files"]}:
            return "does not hold the files that it should"
        damaged = [name for name, checksum in manifest["files"].items() if _checksum(folder / name) != checksum]
        return f"is damaged ({', '.join(damaged)})" if damaged else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"cannot be read ({error!r})"


def _checksum(path: Path) -> list[int]:
    """Size and CRC-32 of a file."""
    size, checksum = 0, 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return [size, checksum]


def _noted(note: Path, stamp: list[int]) -> str | None:
    """The digest noted for a file with this stamp; None if there is none, or none that can be read."""
    try:
        known = json.loads(note.read_bytes())
        return str(known["sha256"]) if known["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(note: Path, content: Mapping[str, Any]) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=note.parent, suffix=".tmp", delete=False) as file:
            file.write(to_json(content))
        Path(file.name).replace(note)
    except OSError as error:
        warnings.warn(
            f"{note.parent} cannot be written ({error.strerror}), so {content['path']} is read again in every process",
            stacklevel=3,
        )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_NAME_LENGTH]
