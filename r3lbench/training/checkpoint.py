"""Checkpoints: everything a run needs to go on as if nothing had happened.

A checkpoint is a folder that appears under its name only when complete. It holds weights and optimiser state as
safetensors and the rest as JSON, with the digest of every file, so that a damaged one is refused and never half-loaded.
All randomness of a run is derived from its seed and from names, so there is no generator state to keep.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from r3lbench.errors import BadCheckpoint
from r3lbench.files import sha256_of, sync, to_json, write_atomic
from r3lbench.training.sharding import like, whole

_MODEL, _OPTIMISER, _STATE = "model.safetensors", "optimiser.safetensors", "state.json"


def save(
    folder: Path,
    update: int,
    model: Any,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    *,
    write: bool = True,
) -> Path:
    """Write a checkpoint after ``update`` updates and drop all but the last two.

    Args:
        folder: The run's checkpoint folder.
        update: Updates done.
        model: Whose trainable weights to keep.
        optimizer: Whose state to keep; of weights that it has copies of, those are kept.
        state: JSON values.
        write: Whether this process writes; of a model in parts all must take part, and one writes.

    Returns:
        The checkpoint's folder.
    """
    final = folder / f"u{update:06d}"
    optimised = _optimised(model, optimizer)
    weights = {name: _stored(weight, write) for name, weight in optimised.items()}
    moments = _moments(optimised, optimizer, write)
    if not write:
        return final
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    temporary = folder / f".u{update:06d}.tmp"
    temporary.mkdir()
    save_file(weights, temporary / _MODEL)
    save_file(moments, temporary / _OPTIMISER)
    for name in (_MODEL, _OPTIMISER):
        sync(temporary / name)
    digests = {name: sha256_of(temporary / name) for name in (_MODEL, _OPTIMISER)}
    head = json.loads(to_json({"update": update, "digests": digests, "state": state}))
    write_atomic(temporary / _STATE, to_json({**head, "digest": _digest(head)}, indent=1))
    if final.exists():
        _discard(final)
    temporary.rename(final)
    sync(folder)
    for old in list_checkpoints(folder)[:-2]:
        _discard(old)
    return final


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("u[0-9]*")) if folder.is_dir() else []


def sweep(folder: Path) -> None:
    """Delete what a kill has left half-written or half-deleted."""
    for leftover in folder.glob(".u*"):
        shutil.rmtree(leftover)


def load(path: Path, model: Any, optimizer: torch.optim.Optimizer) -> tuple[int, dict[str, Any]]:
    """Load a checkpoint into model and optimiser.

    Returns:
        Updates done, and the saved state.

    Raises:
        BadCheckpoint: A file is missing, damaged, or of another model; nothing has been loaded then.
    """
    head = _intact(path)
    moments = load_file(path / _OPTIMISER)
    stored = _read_weights(path, model)
    weights = _optimised(model, optimizer)
    _copy(stored, weights)
    _copy(stored, dict(_trainable(model)))
    names = list(weights)
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in moments.items():
        kind, _, name = key.partition(":")
        states.setdefault(names.index(name), {})[kind] = like(tensor, weights[name])
    saved = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": saved["param_groups"]})
    return int(head["update"]), head["state"]


def load_weights(path: Path, model: Any) -> None:
    """Load a checkpoint's weights into the model that the run began with.

    Raises:
        BadCheckpoint: As ``load``.
    """
    _intact(path)
    _copy(_read_weights(path, model), dict(_trainable(model)))


def _read_weights(path: Path, model: Any) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(path / _MODEL)
    if {name: tensor.shape for name, tensor in weights.items()} != {
        name: parameter.shape for name, parameter in _trainable(model)
    }:
        raise BadCheckpoint(f"{path / _MODEL} holds the weights of another model than the run's")
    return weights


@torch.no_grad()
def _copy(stored: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(like(stored[name], weight))


def _intact(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON part, once every file has been found to be what it says."""
    head = read_state(path)
    for name, digest in head["digests"].items():
        file = path / name
        if not file.is_file():
            raise BadCheckpoint(f"{file} is missing; {_remedy(path)}")
        if sha256_of(file) != digest:
            raise BadCheckpoint(f"{file} is damaged; {_remedy(path)}")
    return head


def read_state(path: Path) -> dict[str, Any]:
    """A checkpoint's JSON part.

    Raises:
        BadCheckpoint: It is missing or malformed.
    """
    file = path / _STATE
    try:
        head = json.loads(file.read_bytes())
        intact = isinstance(head, dict) and head.pop("digest", None) == _digest(head)
    except OSError as error:
        raise BadCheckpoint(f"{file} cannot be read ({error.strerror}); {_remedy(path)}") from error
    except ValueError as error:
        raise BadCheckpoint(f"{file} is damaged ({error}); {_remedy(path)}") from error
    if not intact:
        raise BadCheckpoint(f"{file} is damaged; {_remedy(path)}")
    values: dict[str, Any] = head
    return values


def _remedy(path: Path) -> str:
    return f"delete {path} to resume from the checkpoint before it"


def _digest(head: dict[str, Any]) -> str:
    return hashlib.sha256(to_json(head)).hexdigest()


def _discard(path: Path) -> None:
    """Delete a checkpoint; while that is under way it no longer looks like one."""
    hidden = path.with_name(f".{path.name}.old")
    path.rename(hidden)
    shutil.rmtree(hidden)


def _trainable(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _optimised(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """By name, what the optimiser works on: the trainable weights, or copies of higher precision in their place."""
    optimised = [weight for group in optimizer.param_groups for weight in group["params"]]
    own, known = {id(parameter) for parameter in model.parameters()}, {id(weight) for weight in optimised}
    copies = (weight for weight in optimised if id(weight) not in own)
    return {name: weight if id(weight) in known else next(copies) for name, weight in _trainable(model)}


def _moments(
    weights: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer, write: bool
) -> dict[str, torch.Tensor]:
    return {
        f"{kind}:{name}": _stored(tensor, write)
        for name, weight in weights.items()
        for kind, tensor in optimizer.state.get(weight, {}).items()
    }


def _stored(tensor: torch.Tensor, write: bool) -> torch.Tensor:
    """All of a tensor, where it is written; elsewhere it is gathered and let go."""
    gathered = whole(tensor.detach())
    return gathered.cpu().contiguous() if write else gathered.new_empty(0)
