"""A model in parts is kept in parts, and any number of processes finds it again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from r3lbench.errors import BadCheckpoint
from r3lbench.training import checkpoint
from r3lbench.training.parts import Parts
from r3lbench.training.ranks import Ranks
from tests.training.in_parts import learner, put_together
from tests.training.test_ranks import launch


@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=5), width=st.integers(0, 3))
def test_rows_divided_among_files_are_read_as_one_tensor(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], width: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    pieces = [torch.randn(count, width) for count in rows]
    for number, piece in enumerate(pieces):
        alone = {} if number else {"step": torch.tensor(7.0)}
        save_file({"weight": piece, **alone}, folder / f"{number}.safetensors")
    parts = Parts(sorted(folder.iterdir()))
    assert parts.names == ["step", "weight"]
    assert (parts.shape("weight"), parts.shape("step")) == ((sum(rows), width), ())
    assert torch.equal(parts.whole("weight"), torch.cat(pieces))
    into = torch.empty(())
    parts.copy_into(into, "step")
    assert into == 7


@pytest.fixture(scope="module")
def kept(python_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What three processes wrote and found; see ``tests.training.in_parts``."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("kept")
    done = launch(3, python_path, folder, module="tests.training.in_parts")
    assert (folder / "found.json").is_file(), done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_every_process_finds_its_part_of_what_three_or_one_have_written(kept: Path) -> None:
    found: list[dict[str, Any]] = json.loads((kept / "found.json").read_bytes())
    assert [of["in parts"]["rows"] for of in found] == [21, 21, 19]
    for of in found:
        assert of["in parts"]["told"] == [1, {"cursor": 3}] and of["in parts"]["differ"] == []
        assert of["alone"]["told"] == [1, {"cursor": 5}] and of["alone"]["differ"] == []


@pytest.mark.slow
def test_no_process_writes_more_than_its_part(kept: Path) -> None:
    files = sorted(file.name for file in (kept / "in parts" / "u000001").iterdir())
    parts = [f"{kind}-0000{part}-of-00003.safetensors" for kind in ("model", "optimiser") for part in (1, 2, 3)]
    assert files == [*parts, "state.json"]
    sizes = [(kept / "in parts" / "u000001" / name).stat().st_size for name in parts[:3]]
    assert max(sizes) < 0.5 * (kept / "alone" / "u000001" / "model.safetensors").stat().st_size


@pytest.mark.slow
def test_one_process_finds_all_of_what_three_have_written(kept: Path) -> None:
    whole = load_file(kept / "in parts" / "whole.safetensors")
    one = learner(Ranks(), 4)
    assert checkpoint.load(kept / "in parts" / "u000001", one.model, one.optimizer) == (1, {"cursor": 3})
    found = put_together(one)
    assert found.keys() == whole.keys() and all(torch.equal(found[name], whole[name]) for name in whole)
    other = learner(Ranks(), 5)
    checkpoint.load_weights(kept / "in parts" / "u000001", other.model)
    assert all(torch.equal(weight, whole[name]) for name, weight in other.model.named_parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "optimiser-00003-of-00003.safetensors"])
def test_a_part_that_is_missing_or_damaged_is_named(kept: Path, name: str, tmp_path: Path) -> None:
    path = tmp_path / "u000001"
    shutil.copytree(kept / "in parts" / "u000001", path)
    one = learner(Ranks(), 4)
    (path / name).write_bytes((path / name).read_bytes()[:-1] + b"x")
    with pytest.raises(BadCheckpoint, match=f"{name} is damaged; delete"):
        checkpoint.load(path, one.model, one.optimizer)
    (path / name).unlink()
    with pytest.raises(BadCheckpoint, match=f"{name} is missing; delete"):
        checkpoint.load(path, one.model, one.optimizer)
