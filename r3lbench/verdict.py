"""What a verification came to: checks with their differences, and the note of it that lies beside a record.

The note speaks of a seal, and with it of every byte of the record. It is no proof: whoever wants one verifies again.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import r3lbench
from r3lbench.errors import BadCheckpoint
from r3lbench.files import sha256_of, to_json, write_atomic
from r3lbench.recording import SEAL, VERIFICATION, RunFolder, revision

FORMAT = "r3lbench-verification-1"
MOST = 20
"""Differences of a check that are told one by one; the others are counted."""
MAY_BE_LEFT_OUT = ("policy", "trees")
"""Folders that a published record may do without."""
IN_PART = ("trees",)
"""Those of them that it may keep some files of."""
_LONGEST = 60


class Verdict(StrEnum):
    """What is known of a record."""

    VERIFIED = "verified"
    """Everything that can be recomputed is as recorded."""
    OPEN = "not verified"
    """Nobody looked, or something could not be checked."""
    FAILED = "failed"
    """Something is different."""

    @classmethod
    def of(cls, parts: Sequence[Verdict]) -> Verdict:
        """That of a whole from those of its parts; open where there are none."""
        if cls.FAILED in parts:
            return cls.FAILED
        return cls.VERIFIED if parts and set(parts) == {cls.VERIFIED} else cls.OPEN


@dataclass(frozen=True)
class Difference:
    """Something that is not as recorded.

    Attributes:
        place: File, line and key, e.g. ``"metrics.jsonl:3 cost.attempt.env_steps"``.
        words: Both values, or what is wrong.
    """

    place: str
    words: str


@dataclass
class Check:
    """One of a verification's questions.

    Attributes:
        name: What it is called.
        said: What was looked at, in words.
        notes: What should be known besides.
        cannot: Why it could not be answered here; empty where it was.
        absent: Why there is nothing to ask; empty where there is something.
        differences: What is not as recorded.
    """

    name: str
    said: str = ""
    notes: list[str] = field(default_factory=list)
    cannot: str = ""
    absent: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The answer."""
        if self.differences:
            return Verdict.FAILED
        return Verdict.OPEN if self.cannot else Verdict.VERIFIED

    def differ(self, place: str, words: str) -> None:
        """Note a difference."""
        self.differences.append(Difference(place, words))

    def compare(self, place: str, recorded: Any, found: Any, *path: str | int) -> None:
        """Note every leaf in which two JSON values differ, numbers beyond rounding.

        Args:
            place: File and line.
            recorded: The value there.
            found: What it should be.
            path: Keys on the way to it.
        """
        if isinstance(recorded, Mapping) and isinstance(found, Mapping):
            for key in sorted({*recorded, *found}):
                if key not in recorded or key not in found:
                    lacking = "not recorded" if key not in recorded else "recorded, but nothing accounts for it"
                    self.differ(_at(place, *path, key), lacking)
                else:
                    self.compare(place, recorded[key], found[key], *path, key)
        elif isinstance(recorded, list | tuple) and isinstance(found, list | tuple):
            if len(recorded) != len(found):
                self.differ(_at(place, *path), f"{len(recorded)} recorded, {len(found)} found")
            for index, (one, other) in enumerate(zip(recorded, found, strict=False)):
                self.compare(place, one, other, *path, index)
        elif not _same(recorded, found):
            self.differ(_at(place, *path), f"recorded {_short(recorded)}, found {_short(found)}")

    def compare_recorded(self, place: str, recorded: Mapping[str, Any], found: Mapping[str, Any], *path: str) -> None:
        """``compare`` what is recorded, and note what is not: a version to come may measure more than one before."""
        self.compare(place, recorded, {name: value for name, value in found.items() if name in recorded}, *path)
        notes = [f"not recorded: {'.'.join((*path, name))}" for name in sorted(set(found) - set(recorded))]
        self.notes += [note for note in notes if note not in self.notes]

    def to_json(self) -> dict[str, Any]:
        """As written down."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "said": self.said,
            "notes": self.notes,
            "cannot": self.cannot,
            "absent": self.absent,
            "differences": len(self.differences),
            "first": [{"place": one.place, "words": one.words} for one in self.differences[:MOST]],
        }


@dataclass(frozen=True)
class Verification:
    """All checks of a record.

    Attributes:
        folder: The record.
        checks: In the order in which they are told.
        made_at: The revision that the record says it was made at; None where it says none.
    """

    folder: RunFolder
    checks: tuple[Check, ...]
    made_at: str | None = None

    @property
    def verdict(self) -> Verdict:
        """What they come to."""
        return Verdict.of([check.verdict for check in self.checks])

    def to_json(self) -> dict[str, Any]:
        """As written down: which record by its seal, by which version, and what was found."""
        return {
            "format": FORMAT,
            "r3lbench": r3lbench.__version__,
            "revision": revision(),
            "seal": _seal(self.folder),
            "verdict": self.verdict.value,
            "checks": [check.to_json() for check in self.checks],
        }

    def write(self) -> None:
        """Lay the note beside the record."""
        write_atomic(self.folder.path / VERIFICATION, to_json(self.to_json(), indent=2))


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["r3lbench-verification-1"]
    seal: str | None
    verdict: Verdict


def verdict_on(folder: RunFolder) -> Verdict:
    """What is known of a record: failed where its seal is broken, else what the note on this very seal says.

    Raises:
        BadCheckpoint: The note cannot be read.
    """
    seal = _seal(folder)
    if seal is None:
        return Verdict.OPEN
    if check_seal(folder).differences:
        return Verdict.FAILED
    file = folder.path / VERIFICATION
    if not file.is_file():
        return Verdict.OPEN
    try:
        note = _Note.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise BadCheckpoint(f"{file} is damaged; write it anew with r3lbench verify --write") from error
    return note.verdict if note.seal == seal else Verdict.OPEN


def check_seal(folder: RunFolder) -> Check:
    """Whether every file has the digest that it was sealed with, and none came or went since."""
    check = Check("seal")
    seal, present = folder.path / SEAL, folder.files()
    if not seal.is_file():
        check.cannot = "the record is not sealed: nothing shows whether it was changed since"
        return check
    listed: dict[str, str] = {}
    for number, line in enumerate(seal.read_text("utf-8", "replace").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if not name or name in listed:
            check.differ(f"{SEAL}:{number}", "named twice" if name else "not a digest and a name")
        else:
            listed[name] = digest
    for name in present:
        if name not in listed:
            check.differ(name, f"is not in {SEAL}")
        elif (digest := sha256_of(folder.path / name)) != listed[name]:
            check.differ(name, f"was changed: sealed with {listed[name][:12]}, now {digest[:12]}")
    missing = sorted(set(listed) - set(present))
    kept, lacking = (Counter(name.partition("/")[0] for name in names) for names in (present, missing))
    left_out = [part for part in MAY_BE_LEFT_OUT if lacking[part] and (part in IN_PART or not kept[part])]
    for name in missing:
        if name.partition("/")[0] not in left_out:
            check.differ(name, "is missing")
    check.said = f"{len(present)} files"
    if left_out:
        told = (
            f"{lacking[part]} of {lacking[part] + kept[part]} files of {part}" if kept[part] else part
            for part in left_out
        )
        check.notes.append(f"not in this record: {', '.join(told)}")
    return check


def _seal(folder: RunFolder) -> str | None:
    """The digest of a record's seal; None where it is not sealed."""
    return sha256_of(folder.path / SEAL) if (folder.path / SEAL).is_file() else None


def _at(place: str, *path: str | int) -> str:
    return f"{place} {'.'.join(map(str, path))}" if path else place


def _same(one: Any, other: Any) -> bool:
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    if all(numbers):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
