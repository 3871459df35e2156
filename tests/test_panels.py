"""The list of panels: what is printed, written and found to differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import make
from r3lbench.errors import MissingExtra
from r3lbench.panels import Panels, PanelsFile, compare, main
from r3lbench.registry import ENVIRONMENTS, Entry
from tests.toy import Toy

TOY = ("--env", "toy")


@pytest.fixture
def only_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no other environment were installed."""
    monkeypatch.setattr(ENVIRONMENTS, "_entries", {"toy": ENVIRONMENTS.entry("toy")})
    monkeypatch.setattr(ENVIRONMENTS, "_announced", dict)


def changed(file: Path, **changes: Any) -> Path:
    """The file with values of the toy's test split replaced."""
    values = json.loads(file.read_bytes())
    values["environments"]["toy"]["splits"][-1].update(changes)
    other = file.with_name("changed.json")
    other.write_text(json.dumps(values))
    return other


@pytest.mark.usefixtures("only_toy")
def test_every_split_is_printed_with_its_size_and_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    env = make("toy")
    assert lines[0] == "toy  Toy-v0"
    assert [line.split() for line in lines[1:]] == [
        [split, str(len(env.panel(split))), env.panel(split).hash] for split in env.splits
    ]


@pytest.mark.usefixtures("only_toy")
def test_what_was_written_is_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "panels.json"
    assert main(["--json", str(file)]) == 0
    first = file.read_bytes()
    assert main(["--json", str(file), "--check", str(file)]) == 0
    assert file.read_bytes() == first
    assert f"compared with {file}: toy; differences: none" in capsys.readouterr().out
    assert PanelsFile.read(file).environments == {"toy": Panels.of(make("toy"))}


def test_an_environment_is_listed_as_its_flags_make_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "panels.json"
    assert main([*TOY, "--json", str(file), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert main([*TOY, "--env.rooms", "3", "--check", str(file), "--quiet"]) == 1
    mine, theirs = make("toy", rooms=3), make("toy")
    assert capsys.readouterr().out.splitlines() == [
        f"toy {split}: hash {mine.panel(split).hash[:12]}, expected {theirs.panel(split).hash[:12]} "
        f"(rooms 3, expected 5; tasks {len(mine.panel(split))}, expected {len(theirs.panel(split))})"
        for split in mine.splits
    ]


def test_a_difference_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "panels.json"
    assert main([*TOY, "--json", str(file), "--quiet"]) == 0
    now = make("toy").panel("test").hash[:12]
    for changes, said in (
        ({"hash": "0" * 64}, f"toy test: hash {now}, expected 000000000000 (other tasks)"),
        ({"hash": "0" * 64, "tasks": 9}, f"toy test: hash {now}, expected 000000000000 (tasks 8, expected 9)"),
        ({"split": "final"}, "toy: splits train, valid, test, expected train, valid, final"),
    ):
        assert main([*TOY, "--check", str(changed(file, **changes)), "--quiet"]) == 1
        assert capsys.readouterr().out == f"{said}\n"


def test_another_version_of_an_environment_and_one_that_is_absent_are_differences() -> None:
    panels = Panels.of(make("toy"))
    newer = panels.model_copy(update={"id": "Toy-v1"})
    assert list(compare({"toy": newer, "gone": newer}, {"toy": panels, "mine": panels})) == [
        "toy: Toy-v0, expected Toy-v1",
        "gone: not installed here",
    ]


def test_the_order_of_splits_matters_because_the_last_is_held_out() -> None:
    panels = Panels.of(make("toy"))
    turned = panels.model_copy(update={"splits": panels.splits[::-1]})
    assert list(compare({"toy": turned}, {"toy": panels})) == [
        "toy: splits train, valid, test, expected test, valid, train"
    ]


@pytest.mark.usefixtures("only_toy")
def test_an_environment_without_its_extra_is_skipped_with_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Missing(Toy):
        def __init__(self, **options: object) -> None:
            raise MissingExtra("elsewhere is not here: pip install 'r3lbench[elsewhere]'")

    file = tmp_path / "panels.json"
    panels = Panels.of(make("toy"))
    file.write_text(PanelsFile(environments={"missing": panels, "toy": panels}).model_dump_json())
    monkeypatch.setitem(ENVIRONMENTS._entries, "missing", Entry("missing", Missing))
    assert main(["--check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "missing  skipped: elsewhere is not here" in out and f"compared with {file}: toy; differences: none" in out
    assert main(["--env", "missing"]) == 2
    assert "pip install 'r3lbench[elsewhere]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "was not written by r3lbench panels --json"),
        (b"\xff", "was not written by r3lbench panels --json"),
        (b'{"format": "r3lbench-panels-2", "environments": {}}', "format"),
        (b'{"environments": {"toy": {"id": "Toy-v0"}}}', "environments.toy.splits"),
        (b'{"environments": {}}', "has no panels of toy"),
        (None, "No such file"),
    ],
)
def test_what_is_no_list_of_panels_is_refused_in_one_line(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "panels.json"
    if content is not None:
        file.write_bytes(content)
    assert main([*TOY, "--check", str(file)]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1


def test_nothing_else_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "thesis.txt"
    other.write_text("all of it")
    assert main([*TOY, "--json", str(other)]) == 2
    assert main([*TOY, "--json", str(other / "panels.json")]) == 2
    assert other.read_text() == "all of it"
    errors = capsys.readouterr().err
    assert "nothing was overwritten" in errors and "cannot be written" in errors and errors.count("\n") == 2
