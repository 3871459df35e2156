"""Writing files so that a kill at any moment leaves either the old content or the new, never half of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r3lbench.errors import BadData


def write_atomic(path: Path, data: bytes) -> None:
    """Write through a temporary file, flushed to disk before it takes the name."""
    temporary = _temporary(path)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def make_room(file: Path, form: str) -> None:
    """Make sure that JSON of a format of ours can be written to a file.

    Raises:
        BadData: Something else is there, or its folder cannot be made.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        ours = not file.exists() or json.loads(file.read_bytes())["format"] == form
        # Found out now, and not when there is something to write.
        _temporary(file).touch()
        _temporary(file).unlink()
    except (ValueError, KeyError, TypeError):
        ours = False
    except OSError as error:
        why = error.strerror if file.parent.is_dir() else f"{file.parent} is no folder"
        raise BadData(f"{file} cannot be written: {why}") from error
    if not ours:
        raise BadData(f"{file} exists and was not made by this command; nothing was overwritten")


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_json(value: Any, *, indent: int | None = None) -> bytes:
    """UTF-8 JSON with sorted keys and a final newline; floats as Python prints them, lone surrogates escaped."""
    text = json.dumps(value, sort_keys=True, indent=indent, ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and flush it to disk."""
    with path.open("ab") as file:
        file.write(to_json(value))
        file.flush()
        os.fsync(file.fileno())


def gzip_lines(values: Iterable[Any]) -> bytes:
    """JSON lines, compressed; the same lines give the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0, filename="") as file:
        for value in values:
            file.write(to_json(value))
    return buffer.getvalue()


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
