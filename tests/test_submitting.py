"""docs/submitting.md: its example is a trace, and its tables name every field of one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from r3lbench import foreign
from r3lbench.importing import main
from r3lbench.recording import RunFolder
from r3lbench.results import read
from tests.conftest import ROOT


def test_the_example_of_the_documentation_is_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- example: traces -->\n```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(found[1], "submitting.md", "exec"), {"__name__": "submitting"})
    assert main(["traces.jsonl", "--out", "out"]) == 0
    assert "100 episodes played again" in capsys.readouterr().out
    assert read(RunFolder.open(tmp_path / "out")).tasks == 100


@pytest.mark.parametrize("model", [foreign.Header, foreign.Episode])
def test_the_documentation_names_every_field_with_its_default(model: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "submitting.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| {model.__name__.lower()} \|.*?\n\n", page, re.DOTALL | re.MULTILINE)
    told = {}
    for row in table.strip().splitlines()[2:]:
        names, usual, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), usual == "required")
    fields = {field.alias or name: field.is_required() for name, field in model.model_fields.items()}
    assert told == fields
