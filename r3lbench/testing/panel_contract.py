"""A task id means the same task everywhere: results are compared on it."""

from __future__ import annotations

import itertools

import pytest

from r3lbench.env import TextEnv
from r3lbench.errors import UnknownName
from r3lbench.testing.elsewhere import ends
from r3lbench.testing.transcript import View, view
from r3lbench.testing.under_test import EnvUnderTest


class PanelContract(EnvUnderTest):
    """What ``panel`` and ``reset(options={"task": ...})`` promise."""

    def test_every_split_has_tasks_numbered_in_order(self) -> None:
        with self.made() as env:
            assert len(set(env.splits)) == len(env.splits) > 0
            for split in env.splits:
                panel = env.panel(split)
                assert (panel.env, panel.split) == (env.name, split)
                assert len(panel) > 0
                for index in _some(len(panel)):
                    assert panel[index].id == f"{split}/{index}"
                    assert env.resolve(f"{split}/{index}") == panel[index]

    def test_no_task_is_in_two_splits(self) -> None:
        with self.made() as env:
            for one, other in itertools.combinations(env.splits, 2):
                shared = set(env.panel(one).keys) & set(env.panel(other).keys)
                assert not shared, f"{len(shared)} tasks are in {one} and in {other}, e.g. {min(shared)!r}"

    def test_panels_are_the_same_in_another_instance(self) -> None:
        with self.made() as env, self.made() as other:
            for split in env.splits:
                assert other.panel(split).hash == env.panel(split).hash
                assert list(other.panel(split).keys) == list(env.panel(split).keys)

    @pytest.mark.parametrize("reverse_directories", [False, True], ids=["another-hash-seed", "another-directory-order"])
    def test_tasks_are_the_same_in_another_process(self, reverse_directories: bool) -> None:
        with self.made() as env, self.elsewhere(reverse_directories=reverse_directories) as elsewhere:
            for split in env.splits:
                panel = env.panel(split)
                here = {"hash": panel.hash, "length": len(panel), "keys": ends(panel.keys)}
                assert elsewhere.panel(split) == here
                for index in _some(len(panel)):
                    assert elsewhere.reset(f"{split}/{index}") == _reset(env, f"{split}/{index}")

    def test_a_task_looks_the_same_in_another_instance_and_again(self) -> None:
        with self.made() as env, self.made() as other:
            tasks = [f"{split}/{index}" for split in env.splits for index in _some(len(env.panel(split)))]
            first = [_reset(env, task) for task in tasks]
            assert [_reset(other, task) for task in reversed(tasks)] == first[::-1]
            assert [_reset(env, task) for task in tasks] == first

    def test_tasks_that_do_not_exist_are_refused_in_one_line(self) -> None:
        with self.made() as env:
            split = env.splits[0]
            beyond = f"{split}/{len(env.panel(split))}"
            for task in (beyond, f"{split}/-1", "nowhere/0", "", "0", f"{split}/", f"{split}/" + "9" * 5000):
                with pytest.raises(UnknownName) as refusal:
                    env.reset(options={"task": task})
                assert "\n" not in str(refusal.value)


def _some(length: int) -> list[int]:
    return sorted({0, 1, length // 2, length - 1} & set(range(length)))


def _reset(env: TextEnv, task: str) -> View:
    return view(env, *env.reset(options={"task": task}))
