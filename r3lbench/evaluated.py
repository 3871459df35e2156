"""How an evaluation is recorded: what it was made with, what every episode came to, and the summary."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r3lbench import config as configuration
from r3lbench.config import PanelConfig
from r3lbench.errors import R3LBenchError
from r3lbench.recording import RunFolder, panels_json, privileges_json, provenance
from r3lbench.rollout.evaluation import Score, summary
from r3lbench.rollout.improvement import Round
from r3lbench.rollout.meter import Meter
from r3lbench.stats import Estimate
from r3lbench.tasks import TaskPanel

if TYPE_CHECKING:
    from r3lbench.evaluate import EvaluateConfig

_DRAFT = ".draft"
"""Folder of a record that is being written."""


def check_vacant(out: Path) -> None:
    """Make sure that an evaluation can be recorded in a folder, before much is done for it; nothing is made.

    Raises:
        R3LBenchError: Something is there already, or it cannot be made.
    """
    # A draft is what a kill left of a record that was being written.
    if out.is_dir() and any(file.name != _DRAFT for file in out.iterdir()):
        raise R3LBenchError(f"{out} is not empty; give another --out")
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise R3LBenchError(f"nothing can be recorded in {out}: {nearest} is a file; give another --out")
    if not os.access(nearest, os.W_OK):
        raise R3LBenchError(f"nothing can be recorded in {out}: {nearest} cannot be written to; give another --out")


def make(out: Path) -> None:
    """Make the folder of a record.

    Raises:
        R3LBenchError: It cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise R3LBenchError(f"nothing can be recorded in {out}: {error.strerror}") from error


def manifest_json(config: EvaluateConfig, panels: Mapping[str, TaskPanel], policy: dict[str, Any]) -> dict[str, Any]:
    """What an evaluation was made with, as recorded; ``policy`` says which model spoke, and is empty if none did."""
    values = configuration.dump(config)
    # As in a run's manifest: what was measured stands together, and where the record lies is no part of it.
    values["evaluation"] = {name: values.pop(name) for name in PanelConfig.model_fields}
    del values["out"], values["quiet"]
    if not config.improve:
        del values["improve"], values["improve_with"], values["reflection"]
    if config.agent.speaks:
        values["policy"]["name"] = policy["name"]
    else:
        del values["policy"]
    return {
        **provenance(),
        "config": values,
        "env": next(iter(panels.values())).env,
        "panels": panels_json(panels),
        "policy": policy,
        "sees": privileges_json(config.agent),
    }


def result_json(
    played: Mapping[str, Sequence[Score]], intervals: Mapping[str, Mapping[str, Estimate]], meter: Meter
) -> dict[str, Any]:
    """Episodes by mode, with their ``estimates``, summed up as recorded."""
    return {
        "stopped_by": "evaluation",
        "updates": 0,
        "evaluation": {"after": {mode: summary(scores) for mode, scores in played.items()}},
        "intervals": {
            mode: {name: [of.low, of.high] for name, of in found.items()} for mode, found in intervals.items()
        },
        "cost": meter.to_json(),
        "seconds": 0.0,
    }


def record(
    out: Path,
    manifest: Mapping[str, Any],
    config: EvaluateConfig,
    played: Mapping[str, Sequence[Score]],
    rounds: Mapping[str, Sequence[Round]],
    result: Mapping[str, Any],
    seconds: float,
) -> None:
    """Write and seal the record of an evaluation: all of it, or nothing."""
    make(out)
    shutil.rmtree(out / _DRAFT, ignore_errors=True)
    try:
        folder = RunFolder.create(out / _DRAFT, manifest)
        for mode, scores in played.items():
            for position, score in enumerate(scores):
                episode = position % config.episodes(mode)
                folder.append("evaluation.jsonl", {"update": 0, "mode": mode, "episode": episode, **score.to_json()})
        for mode, of in rounds.items():
            for number, one in enumerate(of[1:], start=1):
                for position, draft in enumerate(one.drafts):
                    at = {"mode": mode, "episode": position % config.episodes(mode), "round": number}
                    folder.append("improvement.jsonl", {**at, **draft.to_json()})
        folder.append("timings.jsonl", {"update": 0, "evaluate": seconds})
        folder.write_result(result)
        # What says that the record is complete comes last.
        for file in sorted(folder.path.iterdir(), key=lambda file: (file.name == "result.json", file.name)):
            file.replace(out / file.name)
    finally:
        shutil.rmtree(out / _DRAFT, ignore_errors=True)
