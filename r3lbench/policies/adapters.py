"""Low-rank adapters (LoRA, arXiv 2106.09685): put into a model in place, taken off for a moment, merged at the end."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.core_model_loading import revert_weight_conversion

from r3lbench.engines.engine import seed_of
from r3lbench.errors import BadConfig, MissingExtra
from r3lbench.files import to_json, write_atomic
from r3lbench.scaling import LoraConfig

_NAME = "default"
"""What peft calls adapters that are put into a model in place."""


def attach(model: Any, settings: LoraConfig, seed: int) -> None:
    """Put adapters into a model, which then computes what it did before; from now on only they are trained.

    Args:
        model: A Hugging Face causal language model; it is changed in place.
        settings: Which layers, and of what rank.
        seed: The run's; adapters begin with random numbers on one side and zeros on the other.

    Raises:
        MissingExtra: peft is not installed.
        BadConfig: No layer is named so.
    """
    peft = _peft()
    targets = settings.targets
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=targets[0] if targets == ("all-linear",) else list(targets),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "adapters") % (1 << 63))
        try:
            peft.inject_adapter_in_model(config, model)
        except ValueError as error:
            raise BadConfig(f"--policy.lora.targets {' '.join(targets)}: {error}") from error
    # They are small, and what is trained is held in float32 at least.
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.itemsize < 4:
            parameter.data = parameter.data.float()
    model.eval()


def adapted(model: Any) -> bool:
    """Whether a model has adapters."""
    return bool(_adapters(model))


@contextmanager
def without(model: Any) -> Iterator[None]:
    """The model as it was before it got adapters, for the duration of the block."""
    adapters = _adapters(model)
    for _, layer in adapters:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for _, layer in adapters:
            layer.enable_adapters(True)


def merge(model: Any) -> None:
    """Add the adapters, if any, to the weights and drop them; what is computed stays the same but for rounding."""
    for name, layer in _adapters(model):
        layer.merge()
        model.set_submodule(name, layer.get_base_layer().requires_grad_(True))


def base_weights(model: Any) -> dict[str, torch.Tensor]:
    """The weights without adapters, not copied, by the names that files of them use."""
    own = {
        name.replace(".base_layer.", "."): tensor for name, tensor in model.state_dict().items() if ".lora_" not in name
    }
    reverted: dict[str, torch.Tensor] = revert_weight_conversion(model, own)
    return reverted


def rank_of(model: Any) -> int:
    """The rank of a model's adapters; 0 where it has none."""
    return max((int(layer.r[_NAME]) for _, layer in _adapters(model)), default=0)


def save_adapters(model: Any, folder: Path) -> None:
    """Write a model's adapters as peft does, for others to load."""
    layers = _adapters(model)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank_of(model),
        "lora_alpha": next(layer.lora_alpha[_NAME] for _, layer in layers),
        "target_modules": sorted({name.rpartition(".")[2] for name, _ in layers}),
        "bias": "none",
    }
    pairs = [
        (f"base_model.model.{name}.lora_{side}.weight", getattr(layer, f"lora_{side}")[_NAME].weight)
        for name, layer in layers
        for side in "AB"
    ]
    folder.mkdir(parents=True)
    save_file({name: weight.detach().contiguous() for name, weight in pairs}, folder / "adapter_model.safetensors")
    write_atomic(folder / "adapter_config.json", to_json(config, indent=2))


def _adapters(model: Any) -> list[tuple[str, Any]]:
    # Who has adapters has imported peft; all others need not have it.
    return [(name, layer) for name, layer in model.named_modules() if hasattr(layer, "get_base_layer")]


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise MissingExtra("--policy.lora.rank needs peft: pip install 'r3lbench[lora]'") from error
