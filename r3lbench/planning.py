"""``--plan``: what a run would hold in memory on this machine and on several devices, and whether that fits."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r3lbench.engines.engine import GIB
from r3lbench.errors import BadCheckpoint
from r3lbench.footprint import Load, Shape, footprint, shape_of
from r3lbench.policies.finding import Source

if TYPE_CHECKING:
    from r3lbench.run import RunConfig

CONTEXT = 4096
"""Tokens of a conversation, where the policy reads so many."""
DEVICES = 8
"""Planned for beside one where there are no several."""


def show_plan(config: RunConfig, source: Source, device: str, console: Console) -> None:
    """Print the table.

    Args:
        config: Of the run.
        source: Where its policy comes from; only its configuration is read.
        device: What it would run on.
        console: Where to print.

    Raises:
        BadCheckpoint: The policy's configuration cannot be read.
    """
    model = _config_of(source)
    load = load_of(config, model)
    shape = shape_of(model, load)
    count = config.plan_devices or int(os.environ.get("WORLD_SIZE", 0)) or torch.cuda.device_count()
    count = count if count > 1 else DEVICES
    size = int(config.plan_gib * GIB) or memory_of(device)
    layouts = {
        "one device": (1, False),
        f"each of {count}, DDP": (count, False),
        f"each of {count}, FSDP2": (count, True),
    }
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("memory", no_wrap=True)
    for name in layouts:
        table.add_column(name, justify="right", no_wrap=True)
    for cells in rows(shape, load, list(layouts.values()), size):
        table.add_row(*cells)
    what = (
        f"{source.name}: {shape.parameters:,} parameters, {shape.trained:,} of them trained, in {config.policy.dtype}"
    )
    console.print(Text(what, style="bold"))
    console.print(table)
    console.print(Text(_assumptions(load, size, device)))


def load_of(config: RunConfig, model: Any) -> Load:
    """What a run with a model of this configuration holds."""
    limit = int(getattr(model.get_text_config(), "max_position_embeddings", CONTEXT))
    return Load(
        dtype=getattr(torch, config.policy.dtype),
        autocast=config.optimiser.autocast == "bfloat16",
        lora=config.policy.lora,
        memory=config.memory,
        micro_batch_tokens=config.optimiser.micro_batch_tokens,
        reference=bool(config.method.loss.kl or config.optimiser.measure_kl),
        rows=config.tasks_per_update * getattr(config.method, "group_size", 1),
        context=min(limit, CONTEXT),
    )


def rows(shape: Shape, load: Load, layouts: list[tuple[int, bool]], size: int) -> list[tuple[str, ...]]:
    """The table's lines.

    Args:
        shape: The model.
        load: What it is to do.
        layouts: A column each: number of devices, and whether they hold parts.
        size: Bytes of a device.
    """
    plain, again = (
        [
            footprint(
                shape, replace(load, memory=load.memory.model_copy(update={"gradient_checkpointing": chosen})), n, s
            )
            for n, s in layouts
        ]
        for chosen in (False, True)
    )

    def line(name: str, values: list[int]) -> tuple[str, ...]:
        return (name, *(_size(value) for value in values))

    lines = []
    for part in ("held", "update", "rollout"):
        for name in getattr(plain[0], part):
            values = [getattr(of, part)[name] for of in plain]
            lines += [line(name, values)] if any(values) else []
            if name == "activations":
                lines.append(line(f"{name}, checkpointed", [of.update[name] for of in again]))
    for name, of in (("peak", plain), ("peak, checkpointed", again)):
        lines.append(line(name, [each.peak for each in of]))
        lines.append(("fits", *("yes" if each.peak <= size else "no" for each in of)))
    return lines


def memory_of(device: str) -> int:
    """Bytes of a device; of the machine for the CPU."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _config_of(source: Source) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source.path, trust_remote_code=False)
    except Exception as error:
        # transformers raises many kinds here; all mean the same.
        reason = str(error).strip().split("\n", 1)[0]
        raise BadCheckpoint(
            f"the policy {source.name!r} ({source.path}) has no readable configuration: {reason}"
        ) from error


def _size(value: int) -> str:
    exponent = 30 if value >= GIB / 10 else 20
    return f"{value / (1 << exponent):,.1f} {'GiB' if exponent == 30 else 'MiB'}"


def _assumptions(load: Load, size: int, device: str) -> str:
    return (
        f"A device is taken to have {size / GIB:.0f} GiB ({device}; --plan-gib says otherwise). Activations and logits "
        f"are those of {load.micro_batch_tokens:,} tokens, all of them trained (--optimiser.micro-batch-tokens); "
        f"{load.rows:,} conversations of {load.context:,} tokens play at once. Checkpointed: with "
        "--memory.gradient-checkpointing. Less is also held with --memory.logprob-chunk, --policy.lora.rank, "
        "--policy.dtype bfloat16, --optimiser.measure-kl False. FSDP2: with --memory.shard."
    )
