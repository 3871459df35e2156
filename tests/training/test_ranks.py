"""Two processes, one run: what is recorded and learned is what one process records and learns."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.errors import MissingExtra
from r3lbench.recording import RunFolder
from r3lbench.run import main
from r3lbench.training.parts import Parts
from r3lbench.training.ranks import Ranks
from r3lbench.verdict import Verdict
from tests.verifying.records import change, differences, verified

pytest.importorskip("accelerate")

FLAGS = (
    *("--env", "toy", "--method.group-size", "3", "--evaluation.tasks", "3", "--budget.updates", "2", "--threads", "1"),
    *("--tasks-per-update", "3", "--checkpoint-every", "1", "--optimiser.lr", "0.01", "--quiet"),
)


WAYS = {
    "two": (),
    "two in parts": ("--memory.shard", "--memory.gradient-checkpointing", "--memory.logprob-chunk", "4"),
}


def test_shares_put_together_are_the_whole() -> None:
    for count in (1, 2, 3, 7):
        ranks = [Ranks(rank, count) for rank in range(count)]
        assert ranks[0].merge([rank.own(range(5)) for rank in ranks]) == list(range(5))


def test_a_process_by_itself_leads_and_exchanges_nothing() -> None:
    alone = Ranks.join("cpu")
    assert (alone.rank, alone.count, alone.leads) == (0, 1, True)
    assert alone.gather({"a": 1}) == [{"a": 1}]


def test_several_processes_need_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtra, match=r"pip install 'r3lbench\[accelerate\]'"):
        Ranks.join("cpu")


def launch(
    processes: int, python_path: str, *flags: object, module: str = "r3lbench.run"
) -> subprocess.CompletedProcess[str]:
    """Not judged by its exit status: gloo now and then aborts as the interpreter ends (PyTorch 2.13)."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), "-m", module, *map(str, flags)]
    environment = {**os.environ, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def run_once(toy_policy: Path, python_path: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same run of a method in one process, in two that hold everything, or in two that hold parts."""
    folder = tmp_path_factory.mktemp("ranks")

    def run(way: str, method: str = "grpo") -> Path:
        out = folder / f"{method}-{way}".replace(" ", "-")
        if not out.exists():
            ask = (*FLAGS, *WAYS.get(way, ()), "--method", method, "--policy", toy_policy, "--out", out)
            done = launch(2 if way in WAYS else 1, python_path, *ask)
            assert (out / "result.json").is_file(), done.stderr[-3000:]
        return out

    return run


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def close(one: Any, other: Any, where: str = "") -> None:
    """Equal, but for rounding of numbers."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            close(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-6), where
    else:
        assert one == other, where


def kept(checkpoint: Path, kind: str) -> dict[str, Any]:
    """A checkpoint's weights or moments by name, from one file or from the parts of all processes."""
    parts = Parts(sorted(checkpoint.glob(f"{kind}*.safetensors")))
    return {name: parts.whole(name) for name in parts.names}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_learn_and_record_what_one_does(way: str, run_once: Callable[..., Path]) -> None:
    runs = {1: run_once("one"), 2: run_once(way)}
    for name in ("metrics.jsonl", "evaluation.jsonl"):
        one, two = (lines(runs[processes] / name) for processes in (1, 2))
        assert len(one) == len(two)
        for line, other in zip(one, two, strict=True):
            for of in (line, other):
                # Prompts that groups have in common are computed once by each process.
                for amounts in of.get("cost", {}).values():
                    amounts.pop("prefilled_tokens", None), amounts.pop("reused_tokens", None)
                # What rows have in common is shared within a process.
                for counted in ("model_tokens", "model_tokens_unshared"):
                    of.get("learn", {}).pop(counted, None)
                of.get("cost", {}).pop("train", None)
            close(line, other, name)
    # After one step AdamW's first moments are the gradients, times 0.1. Where those are nothing but rounding, its steps
    # are as large as anywhere: so weights are compared where there is a gradient.
    moments, weights = (
        [kept(runs[processes] / "checkpoints" / "u000001", kind) for processes in (1, 2)]
        for kind in ("optimiser", "model")
    )
    for name, weight in weights[0].items():
        gradient, other = (of[f"exp_avg:{name}"] for of in moments)
        assert torch.allclose(gradient, other, rtol=1e-4, atol=1e-8)
        steep = gradient.abs() > 1e-5
        assert torch.allclose(weight[steep], weights[1][name][steep], atol=1e-5)
    assert any((of.abs() > 1e-5).any() for name, of in moments[0].items() if name.startswith("exp_avg:"))
    assert (runs[2] / "trees" / "u000002.jsonl.gz").is_file() and (runs[2] / "SHA256SUMS").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["grpo", "dapo"])
def test_what_two_processes_recorded_is_what_it_says(
    method: str, run_once: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(run_once("two", method), tmp_path / "run")
    assert RunFolder(folder).manifest["hardware"]["processes"] == 2
    found = verified(folder)
    assert differences(found) == [] and found.verdict is Verdict.VERIFIED
    assert next(check for check in found.checks if check.name == "method").notes == []

    def one_more(updates: list[Any]) -> None:
        updates[-1]["learn"]["model_tokens"] += 1
        updates[-1]["cost"]["train"]["trained_tokens"] += 1

    change(folder, "metrics.jsonl", one_more)
    assert any("learn.model_tokens: recorded" in one for one in differences(verified(folder), "metrics"))


@pytest.mark.slow
def test_a_process_with_nothing_to_learn_from_keeps_pace_with_the_others(python_path: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    done = launch(2, python_path, tmp_path / "found.json", module="tests.training.uneven")
    assert (tmp_path / "found.json").is_file(), done.stderr[-3000:]
    for found in json.loads((tmp_path / "found.json").read_bytes()).values():
        # Two steps move a weight by up to 2e-3.
        assert found["steps"] == 2 and found["report"] < 1e-4 and found["weights"] < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 1])
def test_as_many_processes_or_fewer_go_on_where_two_stopped(
    processes: int, run_once: Callable[..., Path], python_path: str, tmp_path: Path
) -> None:
    whole = run_once("two in parts")
    shutil.copytree(whole, tmp_path / "run")
    for name in ("result.json", "SHA256SUMS"):
        (tmp_path / "run" / name).unlink()
    for name in ("policy", "checkpoints/u000002"):
        shutil.rmtree(tmp_path / "run" / name)
    done = launch(processes, python_path, "--resume", tmp_path / "run", "--quiet")
    assert (tmp_path / "run" / "result.json").is_file(), done.stderr[-3000:]
    if processes == 2:
        for name in ("metrics.jsonl", "evaluation.jsonl", "policy/model.safetensors"):
            assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name
    for line, other in zip(
        lines(whole / "evaluation.jsonl"), lines(tmp_path / "run" / "evaluation.jsonl"), strict=True
    ):
        close(line, other)


def test_a_method_that_learns_from_all_groups_at_once_is_refused(
    toy_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Ranks, "join", classmethod(lambda cls, device: cls(0, 2, device)))
    assert main((*FLAGS, "--method", "erl", "--policy", str(toy_policy), "--out", str(tmp_path / "run"))) == 2
    assert "which several processes do not share; run it in one" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
