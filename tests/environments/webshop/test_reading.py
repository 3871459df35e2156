"""Files are read entry by entry, and damage is found."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r3lbench.environments.webshop import reading
from r3lbench.environments.webshop.reading import a_record, read_mapping, read_records
from r3lbench.errors import BadData

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(VALUES, max_size=6), st.dictionaries(st.text(max_size=4), VALUES, max_size=6), st.integers(1, 9), st.data()
)
def test_what_is_read_is_what_json_reads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    entries: list[Any],
    mapping: dict[str, Any],
    chunk: int,
    data: st.DataObject,
) -> None:
    monkeypatch.setattr(reading, "CHUNK", chunk)
    layout = {"indent": data.draw(st.sampled_from([None, 0, 2])), "ensure_ascii": data.draw(st.booleans())}
    for name, value in (("list.json", entries), ("mapping.json", mapping)):
        (tmp_path / name).write_bytes(json.dumps(value, **layout).encode("utf-8", "replace"))
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    expected = json.loads((tmp_path / "list.json").read_bytes())
    assert list(read_records(tmp_path / "list.json")) == list(read_records(tmp_path / "list.json.gz")) == expected
    pairs = json.loads((tmp_path / "mapping.json").read_bytes(), object_pairs_hook=list)
    read: list[Any] = list(read_mapping(tmp_path / "mapping.json", lambda value: value))
    assert [key for key, _ in read] == [key for key, _ in pairs]
    assert dict(read) == json.loads((tmp_path / "mapping.json").read_bytes())


def test_lines_are_entries(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n{"b": [2]}\n')
    assert list(read_records(path)) == [{"a": 1}, {"b": [2]}]


@pytest.mark.parametrize(
    "damage",
    [
        '[{"asin": "B1"}, {"asin"',
        '[{"asin": "B1"}, oops]',
        "{'asin': 1}",
        '[{"asin": "B1"}',
        '[{"asin": "B1"},',
        '[{"asin": "B1"},]',
        '[{"asin": "B1"}] [',
        '[{"asin": "B1"} {"asin": "B2"}]',
        "[",
        "[] x",
    ],
)
def test_a_damaged_list_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(damage)
    with pytest.raises(BadData, match=r"items\.json is damaged") as refusal:
        list(read_records(path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "damage", ["", "{", '{"a": {}', '{"a"}', '{"a": {},}', "{5: {}}", '{"a": {}} x', '{"a": {', "oops"]
)
def test_a_damaged_mapping_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(damage)
    with pytest.raises(BadData, match=r"items\.json is damaged"):
        list(read_mapping(path, a_record))


@pytest.mark.parametrize(("content", "kind"), [("[]", "list"), ("5", "int"), ('"a"', "str")])
def test_what_is_no_mapping_is_named(tmp_path: Path, content: str, kind: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(content)
    with pytest.raises(BadData, match=f"should hold a JSON object by ASIN, not a {kind}"):
        list(read_mapping(path, a_record))


def test_an_entry_that_never_ends_is_not_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", 100)
    monkeypatch.setattr(reading, "LONGEST_ENTRY", 1000)
    read = []
    original = reading._Json._fill

    def count(self: reading._Json) -> bool:
        read.append(len(self._text))
        return original(self)

    monkeypatch.setattr(reading._Json, "_fill", count)
    path = tmp_path / "items.json"
    path.write_text('[{"asin": oops}' + " " * 1_000_000 + "]")
    with pytest.raises(BadData, match="damaged"):
        list(read_records(path))
    assert max(read) < 4000
