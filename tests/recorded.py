"""Small records, written as runs and evaluations write them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r3lbench.recording import FORMAT, RunFolder

MANIFEST: dict[str, Any] = {
    "format": FORMAT,
    "created": "2026-01-01T00:00:00+00:00",
    "config": {
        "method": {"name": "grpo", "group_size": 8},
        "env": {"name": "toy", "rooms": 5, "max_steps": 20},
        "agent": {"name": "chat", "format": "plain"},
        "policy": {"name": "tiny", "device": "auto"},
        "seed": 0,
        "budget": {"updates": 4, "seconds": None},
        "evaluation": {"split": None, "tasks": 4, "temperature": 1.0},
        "optimiser": {"lr": 0.001},
        "threads": 0,
    },
    "env": "Toy-v0",
    "panels": {"test": {"tasks": 8, "hash": "ab" * 32, "settings": {"rooms": 5}}},
    "policy": {"name": "tiny", "digest": "cd" * 32, "parameters": 720_000},
    "sees": {"agent": ["admissible"]},
}
R3L = {"name": "r3l", "group_size": 8}
COST = {
    "attempt": {"env_steps": 100, "generated_tokens": 1000},
    "evaluate": {"env_steps": 7, "generated_tokens": 7},
    "reflect": {"generated_tokens": 500},
    "retry": {"env_steps": 20, "generated_tokens": 200},
    "train": {"trained_tokens": 3000},
}


def manifest(**changes: Any) -> dict[str, Any]:
    """The manifest with some values replaced; keys are dotted, double underscores are dots, None deletes."""
    values = copy.deepcopy(MANIFEST)
    for path, value in changes.items():
        *parents, last = path.split("__")
        table = values
        for parent in parents:
            table = table[parent]
        if value is None:
            del table[last]
        else:
            table[last] = value
    return values


def record(
    folder: Path,
    after: Sequence[float],
    before: Sequence[float] | None = (0.0, 0.0, 0.0, 0.0),
    *,
    mode: str = "sampled",
    complete: bool = True,
    episodes: int = 1,
    **changes: Any,
) -> RunFolder:
    """Write a run that scored so on the first tasks; a task is solved where the score is 1."""
    run = RunFolder.create(folder, manifest(**changes))
    updates = 0 if before is None else 4
    means: dict[str, Mapping[str, Any]] = {}
    for when, update, scores in (("before", 0, before), ("after", updates, after)):
        if scores is None:
            continue
        for index, score in enumerate(scores):
            line = {"update": update, "mode": mode, "task": f"test/{index}", "score": score, "success": score == 1}
            for _ in range(episodes):
                run.append("evaluation.jsonl", {**line, "return": score, "steps": 3, "invalid": 0})
        solved = sum(score == 1 for score in scores) / len(scores)
        means[when] = {mode: {"score": sum(scores) / len(scores), "success": solved, "steps": 3.0}}
    for update in range(1, updates):
        run.append("metrics.jsonl", {"update": update})
    if complete:
        run.write_result(
            {"updates": updates, "seconds": 12.5, "cost": COST, "evaluation": means, "stopped_by": "updates"}
        )
    return run


def record_agent(folder: Path, name: str, sees: str, scores: Sequence[float], **changes: Any) -> RunFolder:
    """Write the evaluation of an agent without a model."""
    return record(
        folder,
        scores,
        None,
        config__method=None,
        config__policy=None,
        config__budget=None,
        config__agent={"name": name},
        policy={},
        sees={"agent": [sees]},
        **changes,
    )


def comparison(path: Path) -> Path:
    """Write GRPO and R3L with two seeds each, floor and ceiling; returns the folder."""
    record(path / "g0", [0.0, 0.5, 0.5, 1.0])
    record(path / "g1", [0.0, 0.5, 0.0, 1.0], config__seed=1)
    settings: dict[str, Any] = {
        "config__method": R3L,
        "sees": {"agent": ["admissible"], "reflector report": ["reward"]},
    }
    record(path / "r0", [0.5, 1.0, 1.0, 1.0], **settings)
    record(path / "r1", [0.5, 1.0, 0.5, 1.0], config__seed=1, **settings)
    record_agent(path / "random", "random", "admissible", [0.0, 0.0, 0.5, 0.0])
    record_agent(path / "oracle", "oracle", "expert", [1.0, 1.0, 1.0, 1.0])
    return path
