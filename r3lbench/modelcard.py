"""The card of an exported policy: what it is, how good, how it came about, and how to get it again.

It is the README.md of a Hugging Face model folder: metadata as YAML, then text. All of it comes from the run's record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from r3lbench.config import dotted
from r3lbench.results import MEASURES, TRAINED, Record
from r3lbench.standings import COSTS, Kind, Row, compare
from r3lbench.stats import Estimate

_TEXT = """---
{metadata}
---

# {method} on {env}

A language-model agent for {env}: it reads observations as chat messages and answers with actions. \
The policy `{start}` ({parameters:,} parameters) was trained by `{method}`, \
{updates:,} update{plural}, with r3lbench {version}.

## Results

First attempts on the first {tasks:,} of {panel:,} tasks of the split `{split}`, without reflection, retry or memory. \
Intervals hold 95 %; they come from one run, so they speak of the choice of tasks and not of other seeds.

{results}

## Training

{training}

The tasks, by the SHA-256 of their panels (`python -m r3lbench.panels` prints those of an installation):

{panels}

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH")
model = AutoModelForCausalLM.from_pretrained("PATH")
```

`vllm serve PATH` serves it. The chat template, the end of a turn and the sampling that it was evaluated with are part \
of the folder. To measure it again, on other tasks or beside other policies:

```console
$ python -m r3lbench.evaluate --env {environment} --policy PATH
```

## Reproduction

At revision `{revision}`, with torch {torch} and transformers {transformers}{from_policy}:

```console
$ {command}
```

The same command on the same machine gives the same bytes. `r3lbench.json` holds the run's whole manifest and summary.
"""


def model_card(record: Record, manifest: Mapping[str, Any], command: str) -> str:
    """The text of README.md.

    Args:
        record: The complete run.
        manifest: Its manifest, all of it.
        command: What repeats the run.
    """
    config, env = record.config, record.config["env"]["name"]
    method, start = record.config["method"]["name"], record.manifest.policy
    rows = {mode: _rows(record, mode) for when, mode in record.panels if when == TRAINED}
    packages = manifest.get("packages", {})
    digest = f", from the policy with weights `{start.digest[:12]}`" if start.digest else ""
    return _TEXT.format(
        metadata=_metadata(record, rows),
        method=method,
        env=record.manifest.env,
        environment=env,
        start=Path(start.name).name,
        parameters=start.parameters,
        updates=record.result.updates,
        plural="" if record.result.updates == 1 else "s",
        version=manifest.get("r3lbench"),
        tasks=record.tasks,
        panel=record.panel.tasks,
        split=record.split,
        results=_results(rows, config),
        training=_training(record, manifest, next(iter(rows.values()))[1]),
        panels=_table(
            ("split", "tasks", "hash"),
            [(split, f"{of.tasks:,}", f"`{of.hash}`") for split, of in sorted(record.manifest.panels.items())],
        ),
        revision=manifest.get("revision") or "unknown",
        torch=packages.get("torch"),
        transformers=packages.get("transformers"),
        from_policy=digest,
        command=command,
    )


def _rows(record: Record, mode: str) -> tuple[Row | None, Row]:
    """What was measured before training, if it was, and after."""
    ((group,), _) = compare([record], mode=mode)
    by_kind = {row.kind: row for row in group.rows}
    return by_kind.get(Kind.WARM_START), by_kind[Kind.METHOD]


def _metadata(record: Record, rows: Mapping[str, tuple[Row | None, Row]]) -> str:
    env, method, start = record.config["env"]["name"], record.config["method"]["name"], record.manifest.policy.name
    results = [
        EvalResult(
            task_type="reinforcement-learning",
            dataset_type=env,
            dataset_name=record.manifest.env,
            dataset_split=record.split,
            dataset_args={"tasks": record.tasks, "panel": record.panel.hash},
            metric_type=measure,
            metric_name=f"{measure}, {mode}",
            metric_value=round(after.values[measure].value, 6),
        )
        for mode, (_, after) in rows.items()
        for measure in MEASURES
    ]
    card = ModelCardData(
        model_name=f"{method} on {record.manifest.env}",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["r3lbench", "reinforcement-learning", "agent", env, method],
        # Of a hub id only: a folder's name says nothing to others.
        base_model=start if start.count("/") == 1 and not start.startswith((".", "/", "~")) else None,
        eval_results=results,
    )
    return str(card.to_yaml()).strip()


def _results(rows: Mapping[str, tuple[Row | None, Row]], config: Mapping[str, Any]) -> str:
    temperature = config.get("evaluation", {}).get("temperature", 1.0)
    lines = []
    for mode, (before, after) in rows.items():
        actions = "likeliest" if mode == "greedy" else f"drawn at temperature {temperature:g}"
        for measure in MEASURES:
            begun = None if before is None else before.values[measure]
            change = None if after.change is None else after.change[measure]
            cells = (_interval(begun), _interval(after.values[measure]), _interval(change, sign="+"))
            lines.append((f"{measure}, actions {actions}", *cells))
    return _table(("", "before training", "after", "change"), lines)


def _training(record: Record, manifest: Mapping[str, Any], row: Row) -> str:
    config = record.config
    budget = {name: limit for name, limit in config["budget"].items() if limit is not None}
    cost = {name: round(value) for name in COSTS if (value := (row.cost or {}).get(name)) is not None}
    sees = {who: ", ".join(what) or "nothing" for who, what in sorted(record.manifest.sees.items())}
    hardware = manifest.get("hardware", {})
    machine = " and ".join([*hardware.get("gpus", []), f"{hardware.get('cores')} cores, {hardware.get('cpu')}"])
    lines = [(kind, _settings(config[kind])) for kind in ("method", "env", "agent", "sampling", "optimiser")]
    lines += [
        ("budget", _settings(budget)),
        ("spent", _settings(cost)),
        ("given beyond observations", _settings(sees)),
        ("seed", f"`{record.seed}`"),
        ("machine", machine),
    ]
    return _table(("", ""), lines)


def _settings(values: Mapping[str, Any]) -> str:
    words = (f"{value:,}" if type(value) is int else f"{value}" for value in dotted(values).values())
    return ", ".join(f"{name} `{word}`" for name, word in zip(dotted(values), words, strict=True))


def _interval(of: Estimate | None, *, sign: str = "") -> str:
    return "" if of is None else f"{of.value:{sign}.3f} [{of.low:{sign}.3f}, {of.high:{sign}.3f}]"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, [":--"] * len(head), *lines))
