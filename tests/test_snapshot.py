from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.errors import BadSnapshot
from r3lbench.snapshot import NativeHandle, Snapshot, digest_of

TEXT = st.text(st.characters(codec=None))
SNAPSHOT = Snapshot("Toy-v0", "0" * 64, "train/3", ("go east", "take key"), "ab" * 16)


@given(TEXT, TEXT, TEXT, st.lists(TEXT), TEXT)
def test_a_snapshot_survives_bytes(env: str, panel: str, task: str, actions: list[str], digest: str) -> None:
    snapshot = Snapshot(env, panel, task, tuple(actions), digest)
    data = snapshot.to_bytes()
    assert data.isascii()
    assert Snapshot.from_bytes(data) == snapshot
    assert Snapshot.from_bytes(data).to_bytes() == data


def test_the_native_handle_stays_in_its_process_and_out_of_equality() -> None:
    held = replace(SNAPSHOT, native=NativeHandle("me", object()))
    assert held == SNAPSHOT
    assert held.portable().native is None
    assert Snapshot.from_bytes(held.to_bytes()).native is None
    assert copy.copy(held).native is None


def test_elapsed_steps_count_the_actions() -> None:
    assert SNAPSHOT.elapsed_steps == 2


def sealed(**body: Any) -> bytes:
    """Bytes with a correct checksum, whatever they say."""
    plain = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps(
        {**body, "checksum": hashlib.sha256(plain).hexdigest()}, sort_keys=True, separators=(",", ":")
    ).encode()


GOOD = {"format": "r3lbench-snapshot-1", "env": "E", "panel": "P", "task": "t/0", "actions": ["a"], "digest": "d"}


def test_the_forger_of_the_next_test_can_make_a_good_one() -> None:
    assert Snapshot.from_bytes(sealed(**GOOD)) == Snapshot("E", "P", "t/0", ("a",), "d")


@pytest.mark.parametrize(
    "change",
    [
        {"env": 1},
        {"panel": None},
        {"task": ["t/0"]},
        {"digest": {}},
        {"actions": "a"},
        {"actions": [1]},
        {"actions": None},
        {"extra": 1},
        {"format": "r3lbench-snapshot-2"},
        {"format": None},
    ],
)
def test_a_well_sealed_snapshot_with_wrong_contents_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadSnapshot):
        Snapshot.from_bytes(sealed(**{**GOOD, **change}))


@pytest.mark.parametrize("missing", ["env", "panel", "task", "actions", "digest", "format"])
def test_a_snapshot_with_a_missing_part_is_refused(missing: str) -> None:
    with pytest.raises(BadSnapshot):
        Snapshot.from_bytes(sealed(**{key: value for key, value in GOOD.items() if key != missing}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\x80\x04\x95",
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"format": NaN}',
        SNAPSHOT.to_bytes().replace(b",", b", "),
        SNAPSHOT.to_bytes().decode().encode("utf-16"),
        SNAPSHOT.to_bytes().replace(b'{"actions"', b'{"actions":[],"actions"'),
    ],
)
def test_bytes_that_are_no_snapshot_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(BadSnapshot) as refusal:
        Snapshot.from_bytes(data)
    assert "\n" not in str(refusal.value)


def test_every_single_changed_byte_is_noticed() -> None:
    data = Snapshot("Toy-v0", "p", "train/0", ("\u00e9\ud800 ]",), "d").to_bytes()
    for position in range(len(data)):
        for flip in (0x01, 0x20, 0x80):
            changed = bytearray(data)
            changed[position] ^= flip
            with pytest.raises(BadSnapshot):
                Snapshot.from_bytes(bytes(changed))


@given(st.lists(TEXT), st.lists(TEXT))
def test_digests_are_equal_exactly_when_the_parts_are(one: list[str], other: list[str]) -> None:
    assert (digest_of(*one) == digest_of(*other)) == (one == other)
    assert len(digest_of(*one)) == 32


def test_a_digest_tells_where_one_part_ends() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of(1) != digest_of("1")
