from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.errors import UnknownName
from r3lbench.tasks import Task, TaskPanel, parse_task_id

PANEL = TaskPanel("Toy-v0", "train", ["a", "b", "c"], {"rooms": 3, "protocol": "r3l"})


def test_a_panel_numbers_its_tasks_in_order() -> None:
    assert list(PANEL) == [Task("train", 0, "a"), Task("train", 1, "b"), Task("train", 2, "c")]
    assert [task.id for task in PANEL] == ["train/0", "train/1", "train/2"]
    assert len(PANEL) == 3


@pytest.mark.parametrize("index", [-1, 3, 10**12])
def test_a_task_beyond_the_panel_is_refused_with_the_range(index: int) -> None:
    with pytest.raises(UnknownName, match=r"no task train/.*3 tasks, train/0 to train/2"):
        PANEL[index]


@pytest.mark.parametrize(
    "other",
    [
        replace(PANEL, env="Toy-v1"),
        replace(PANEL, split="test"),
        replace(PANEL, keys=["a", "c", "b"]),
        replace(PANEL, keys=["a", "b"]),
        replace(PANEL, keys=["a", "bc"]),
        replace(PANEL, settings={"rooms": 4, "protocol": "r3l"}),
    ],
)
def test_the_hash_changes_with_anything_that_decides_what_a_task_means(other: TaskPanel) -> None:
    assert other.hash != PANEL.hash


def test_the_hash_is_the_same_on_every_machine_and_run() -> None:
    # Recorded once: results carry this hash, so its definition must not drift.
    assert PANEL.hash == "e1625b6b63850c6b3154454f9423a22dfa61b5ca0be5ddbf1d01697b4fcc4937"
    assert replace(PANEL, settings={"protocol": "r3l", "rooms": 3}).hash == PANEL.hash
    assert replace(PANEL, keys=("a", "b", "c")).hash == PANEL.hash


def test_keys_may_be_any_text() -> None:
    assert len(replace(PANEL, keys=["\ud800", "\x01", "\u00e9"]).hash) == 64


@given(st.text(min_size=1), st.integers(0, 10**12))
def test_a_task_id_parses_back(split: str, index: int) -> None:
    assert parse_task_id(Task(split, index, "key").id) == (split, index)


@pytest.mark.parametrize(
    "text", ["", "/", "train", "train/", "/3", "train/-1", "train/1.0", "train/\u0663", "t/" + "9" * 5000]
)
def test_what_is_no_task_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UnknownName, match="test/0"):
        parse_task_id(text)
