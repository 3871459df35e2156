from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3lbench.ablation import FULL, named, slug, variants
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.opmd import OPMD
from r3lbench.baselines.r3l import R3L
from r3lbench.errors import UnknownName
from r3lbench.registry import BASELINES
from r3lbench.run import main


@pytest.mark.parametrize("name", sorted(set(BASELINES.names()) - {"opmd", "raft", "raft++"}))
def test_every_ablation_changes_its_method_and_has_a_folder_name_of_its_own(name: str) -> None:
    method = BASELINES.load(name)()
    found = variants(method, ["all"])
    assert next(iter(found)) == FULL and found[FULL] is method and len(found) > 1
    assert len({slug(ablation) for ablation in found}) == len(found)
    for ablation, switches in type(method).ablations.items():
        differing = {key for key, value in found[ablation].model_dump().items() if value != getattr(method, key)}
        assert differing == set(switches)


def test_those_of_r3l_are_the_papers() -> None:
    assert {"w/o positive", "w/o credit", "w/o reflect"} <= set(R3L.ablations)
    found = variants(R3L(), ["w/o reflect", "w/o positive"])
    assert list(found) == [FULL, "w/o positive", "w/o reflect"]
    assert found["w/o positive"] == R3L(positive_amplification=None)
    assert found["w/o reflect"] == R3L(reflection="none")


def test_an_ablation_keeps_what_the_method_was_given() -> None:
    found = variants(ERL(group_size=2, kl=0.5), ["w/o memory"])["w/o memory"]
    assert found == ERL(group_size=2, kl=0.5, memory=False)


def test_unknown_ablations_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'w/o credit'"):
        variants(R3L(), ["w/o credits"])
    with pytest.raises(UnknownName, match="unknown ablation 'w/o all'"):
        variants(OPMD(), ["w/o all"])


def test_switches_that_make_up_an_ablation_are_called_by_its_name() -> None:
    assert named({"pivotal_credit": False}, R3L.ablations) == "w/o credit"
    assert named({"pivotal_credit": False, "restart": "start"}, R3L.ablations) is None
    assert named({}, R3L.ablations) is None
    # As recorded: JSON knows no tuples.
    assert named({"clip": [0.2, 0.2]}, {"w/o clip-higher": {"clip": (0.2, 0.2)}}) == "w/o clip-higher"
    assert slug("w/o credit") == "without-credit"


def test_a_method_and_its_ablations_are_run_side_by_side_and_not_twice(toy_policy: Path, tmp_path: Path) -> None:
    out = tmp_path / "r3l"
    flags = ["--method", "r3l", "--env", "toy", "--policy", str(toy_policy), "--method.group-size", "2", "--quiet"]
    flags += ["--tasks-per-update", "1", "--budget.updates", "1", "--evaluation.tasks", "1", "--threads", "1"]
    flags += ["--out", str(out), "--ablate", "w/o credit", "w/o reflect"]
    assert main(flags) == 0
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert folders == ["r3l", "r3l-without-credit", "r3l-without-reflect"]
    methods = {
        name: json.loads((tmp_path / name / "manifest.json").read_text())["config"]["method"] for name in folders
    }
    assert [methods[name]["pivotal_credit"] for name in folders] == [True, False, True]
    assert [methods[name]["reflection"] for name in folders] == ["self", "self", "none"]
    before = {name: (tmp_path / name / "result.json").stat().st_mtime_ns for name in folders}
    assert main(flags) == 0
    assert {name: (tmp_path / name / "result.json").stat().st_mtime_ns for name in folders} == before
