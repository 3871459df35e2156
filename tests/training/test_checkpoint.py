"""Checkpoints: complete or absent, intact or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from r3lbench.errors import BadCheckpoint
from r3lbench.training import checkpoint
from tests.interruptions import interrupted
from tests.random_models import random_model

FILES = ("model.safetensors", "optimiser.safetensors", "state.json")
STATE = {"cursor": 7, "seconds": 0.1 + 0.2, "method": {"memory": "é\ud800"}, "offsets": {"metrics.jsonl": 12}}


class Pupil:
    """A model and its optimiser that learn a little at each step."""

    def __init__(self, seed: int = 0, *, name: str = "llama") -> None:
        self.model = random_model(name, dtype=torch.float32, seed=seed)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-2)

    def learn(self, steps: int = 1) -> Pupil:
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.model(input_ids=torch.arange(8)[None]).logits.log_softmax(-1)[0, :, 3].sum().neg().backward()
            self.optimizer.step()
        return self

    def save(self, folder: Path, update: int) -> Path:
        return checkpoint.save(folder, update, self.model, self.optimizer, {**STATE, "update": update})

    def load(self, path: Path) -> tuple[int, dict[str, Any]]:
        return checkpoint.load(path, self.model, self.optimizer)

    def contents(self) -> list[torch.Tensor]:
        """Copies of every weight and moment."""
        weights = list(self.model.parameters())
        moments = [
            state[kind] for weight in weights for state in [self.optimizer.state[weight]] for kind in sorted(state)
        ]
        return [tensor.detach().clone() for tensor in (*weights, *moments)]

    def equals(self, other: Pupil) -> bool:
        mine, theirs = self.contents(), other.contents()
        return len(mine) == len(theirs) and all(map(torch.equal, mine, theirs))


def test_training_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    one, other = Pupil().learn(3), Pupil(seed=1)
    assert other.load(one.save(tmp_path, 3)) == (3, {**STATE, "update": 3})
    assert one.equals(other)
    assert one.learn(2).equals(other.learn(2))
    assert not one.equals(Pupil().learn(4))


def test_a_checkpoint_from_before_the_first_update_loads(tmp_path: Path) -> None:
    path = Pupil().save(tmp_path, 0)
    other = Pupil(seed=1)
    assert other.load(path)[0] == 0
    assert other.equals(Pupil())


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    one, other = (Pupil().learn(2).save(tmp_path / name, 2) for name in "ab")
    assert all((one / file).read_bytes() == (other / file).read_bytes() for file in FILES)


def test_the_last_two_are_kept_in_order(tmp_path: Path) -> None:
    pupil = Pupil()
    for update in (0, 5, 99, 100):
        pupil.learn().save(tmp_path, update)
    assert [path.name for path in checkpoint.list_checkpoints(tmp_path)] == ["u000099", "u000100"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["u000099", "u000100"]


def test_frozen_weights_are_not_kept(tmp_path: Path) -> None:
    pupil = Pupil()
    pupil.model.lm_head.weight.requires_grad_(False)
    with_head = Pupil().save(tmp_path / "all", 1)
    without = pupil.save(tmp_path / "some", 1)
    assert (without / FILES[0]).stat().st_size < (with_head / FILES[0]).stat().st_size
    assert pupil.load(without)[0] == 1


def refused(pupil: Pupil, path: Path) -> str:
    """The reason for which a checkpoint is refused; the pupil must be left as it was."""
    before = pupil.contents()
    with pytest.raises(BadCheckpoint) as error:
        pupil.load(path)
    assert all(map(torch.equal, before, pupil.contents()))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_without_one_of_its_files_is_refused_by_the_files_name(name: str, tmp_path: Path) -> None:
    path = Pupil().learn().save(tmp_path, 1)
    (path / name).unlink()
    assert str(path / name) in refused(Pupil(seed=1).learn(), path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Pupil().learn().save(tmp_path_factory.mktemp("saved"), 1)


def reads_as(content: bytes | bytearray) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(name="state.json", where=0.998, bit=0, cut=True)
@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_any_damage_is_found_and_the_file_named(
    saved: Path, tmp_path: Path, name: str, where: float, bit: int, cut: bool
) -> None:
    path = tmp_path / "damaged"
    shutil.copytree(saved, path, dirs_exist_ok=True)
    content = bytearray((path / name).read_bytes())
    position = int(where * len(content))
    if cut:
        del content[position:]
    else:
        content[position] ^= 1 << bit
    # Of the JSON file the space between and behind its words may change; nothing is lost by that.
    if name == "state.json" and reads_as(content) == reads_as((saved / name).read_bytes()):
        return
    (path / name).write_bytes(content)
    assert str(path / name) in refused(Pupil(seed=1), path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b'{"digest": NaN}', b'{"update": 1}', b"\xff"])
def test_a_state_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    path = Pupil().save(tmp_path, 1)
    (path / "state.json").write_bytes(content)
    assert str(path / "state.json") in refused(Pupil(), path)


def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    path = Pupil(name="qwen2").learn().save(tmp_path, 1)
    assert "another model" in refused(Pupil().learn(), path)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    assert "state.json" in refused(Pupil(), tmp_path)
    assert checkpoint.list_checkpoints(tmp_path / "absent") == []


@pytest.mark.parametrize("again", [False, True], ids=["a new one", "one that is there"])
def test_a_stop_between_any_two_file_operations_leaves_a_complete_checkpoint(again: bool, tmp_path: Path) -> None:
    old = [Pupil().learn(steps) for steps in (1, 2)]
    new = Pupil().learn(3)
    update = 2 if again else 3
    with interrupted(tmp_path / "whole", None) as counting:
        for number, pupil in enumerate(old, start=1):
            pupil.save(tmp_path / "whole", number)
        before = counting.seen
        new.save(tmp_path / "whole", update)
    operations = counting.seen - before
    assert operations > 8
    outcomes: set[str] = set()
    for at in range(operations):
        folder = tmp_path / f"stopped at {at}"
        for number, pupil in enumerate(old, start=1):
            pupil.save(folder, number)
        with interrupted(folder, at) as stopped:
            new.save(folder, update)
            pytest.fail("the stop never came")
        assert stopped.seen == at + 1
        found = checkpoint.list_checkpoints(folder)
        # Whatever looks like a checkpoint is one.
        for path in found:
            loaded = Pupil(seed=1)
            number, _ = loaded.load(path)
            assert any(loaded.equals(pupil) for pupil in ([*old, new] if number == update else [old[number - 1]]))
        outcomes.add(found[-1].name)
        # And the next one cleans up.
        Pupil().learn(4).save(folder, 4)
        assert len(list(folder.iterdir())) == 2
    assert outcomes == ({"u000001", "u000002"} if again else {"u000002", "u000003"})


def test_half_a_file_of_an_earlier_stop_is_swept_away(tmp_path: Path) -> None:
    leftover = tmp_path / ".u000001.tmp"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    assert checkpoint.list_checkpoints(tmp_path) == []
    path = Pupil().save(tmp_path, 1)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Pupil().learn()
    first.save(tmp_path, 1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        Pupil().learn(2).save(tmp_path, 2)
    (path,) = checkpoint.list_checkpoints(tmp_path)
    other = Pupil(seed=1)
    other.load(path)
    assert other.equals(first)
