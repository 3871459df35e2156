"""Same seed, same bytes: in another process, with other hash seeds and other thread settings around it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from tests.conftest import Command
from tests.end_to_end.conftest import METHODS, Arguments, Whole
from tests.end_to_end.processes import Processes, record


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_records(
    method: str, whole: Whole, processes: Processes, arguments: Arguments, tmp_path: Path
) -> None:
    status, _ = processes.run(arguments(method, tmp_path / "again"), folder=tmp_path)
    assert status == 0
    assert record(tmp_path / "again") == record(whole.folder(method))


def test_neither_hash_seed_nor_thread_settings_nor_folder_matter(
    whole: Whole, arguments: Arguments, command: Command, tmp_path: Path
) -> None:
    elsewhere = {
        "PYTHONHASHSEED": "7",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "TOKENIZERS_PARALLELISM": "true",
    }
    (tmp_path / "deep").mkdir()
    process = command("run", *arguments("r3l", Path("deep") / "run"), cwd=tmp_path, **elsewhere)
    output, errors = process.communicate()
    assert (process.returncode, output, errors) == (0, "", "")
    assert record(tmp_path / "deep" / "run") == record(whole.folder("r3l"))


def test_another_seed_gives_another_run(
    whole: Whole, processes: Processes, arguments: Arguments, tmp_path: Path
) -> None:
    status, _ = processes.run(arguments("grpo", tmp_path / "other", "--seed", "1"), folder=tmp_path)
    assert status == 0
    mine, theirs = record(tmp_path / "other"), record(whole.folder("grpo"))
    assert mine.keys() == theirs.keys()
    same = {name for name in mine if mine[name] == theirs[name]}
    assert not same & {"metrics.jsonl", "evaluation.jsonl", "policy/model.safetensors", "trees/u000001.jsonl.gz"}


@pytest.mark.parametrize("method", METHODS)
def test_the_compared_runs_are_worth_comparing(method: str, whole: Whole, toy_policy: Path) -> None:
    """Weights have moved, rewards have varied, and what the method is about has happened."""
    folder = whole.folder(method)
    before, after = load_file(toy_policy / "model.safetensors"), load_file(folder / "policy" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all((before[name] != after[name]).any() for name in before if "embed" not in name)
    metrics = lines(folder / "metrics.jsonl")
    assert [line["update"] for line in metrics] == [1, 2, 3]
    assert any(line["explore"]["no_signal"] < 1 for line in metrics)
    evaluated = {(line["update"], line["mode"]) for line in lines(folder / "evaluation.jsonl")}
    assert evaluated == {(update, mode) for update in (0, 2, 3) for mode in ("sampled", "greedy")}
    if method == "r3l":
        assert sum(line["explore"]["retries"] for line in metrics) > 0
        tree = gzip.decompress((folder / "trees" / "u000001.jsonl.gz").read_bytes())
        groups = [json.loads(line) for line in tree.splitlines()]
        assert any(attempt["pivot"] > 0 for group in groups for attempt in group["attempts"])
        assert {term["label"] for group in groups for term in group["terms"]} >= {"base", "distilled"}
    if method == "r3l on its own":
        assert sum(line["cost"]["reflect"]["generated_tokens"] for line in metrics) > 0


def test_methods_begin_from_the_same_measurement(whole: Whole) -> None:
    """The first evaluation depends on seed and policy only, so that methods are compared from one point."""
    first = [
        [line for line in lines(whole.folder(method) / "evaluation.jsonl") if line["update"] == 0] for method in METHODS
    ]
    assert first[0] == first[1] == first[2]
