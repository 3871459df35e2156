"""Checkpoints: everything a run needs to go on as if nothing had happened.

A checkpoint is a folder that appears under its name only when complete. It holds weights and optimiser state as
safetensors and the rest as JSON, with the digest of every file, so that a damaged one is refused and never half-loaded.
Where processes hold a model in parts, each writes its rows of every tensor to files of its own, and reads the rows that
it needs from whichever files have them: any number of processes goes on from what any other number has written.
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
from safetensors.torch import save_file

from r3lbench.errors import BadCheckpoint
from r3lbench.files import sha256_of, sync, to_json, write_atomic
from r3lbench.training.parts import Parts
from r3lbench.training.ranks import Ranks
from r3lbench.training.sharding import is_spread, own

_MODEL, _OPTIMISER, _STATE = "model", "optimiser", "state.json"


def save(
    folder: Path,
    update: int,
    model: Any,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    ranks: Ranks | None = None,
) -> Path:
    """Write a checkpoint after ``update`` updates and drop all but the last two.

    Args:
        folder: The run's checkpoint folder; all processes must see the same one.
        update: Updates done.
        model: Whose trainable weights to keep.
        optimizer: Whose state to keep; of weights that it has copies of, those are kept.
        state: JSON values; those of the first process are kept.
        ranks: The processes, all of which take part; this one alone if None.

    Returns:
        The checkpoint's folder, once it stands.
    """
    ranks = ranks or Ranks()
    final, temporary = folder / f"u{update:06d}", folder / f".u{update:06d}.tmp"
    if ranks.leads:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        temporary.mkdir()
    ranks.gather(None)
    digests = _write_tensors(temporary, model, optimizer, ranks)
    written = {name: digest for of in ranks.gather(digests) for name, digest in of.items()}
    if ranks.leads:
        head = json.loads(to_json({"update": update, "digests": written, "state": state}))
        write_atomic(temporary / _STATE, to_json({**head, "digest": _digest(head)}, indent=1))
        if final.exists():
            _discard(final)
        temporary.rename(final)
        sync(folder)
        for old in list_checkpoints(folder)[:-2]:
            _discard(old)
    # No process goes on before the checkpoint stands.
    ranks.gather(None)
    return final


def _write_tensors(folder: Path, model: Any, optimizer: torch.optim.Optimizer, ranks: Ranks) -> dict[str, str]:
    """Write what this process is to write; returns the digest of each file."""
    weights = _optimised(model, optimizer)
    in_parts = any(map(is_spread, weights.values()))
    if not (in_parts or ranks.leads):
        return {}
    digests = {}
    part = f"-{ranks.rank + 1:05d}-of-{ranks.count:05d}" * in_parts
    for kind, tensors in ((_MODEL, weights), (_OPTIMISER, _moments(weights, optimizer))):
        file = folder / f"{kind}{part}.safetensors"
        held = {name: tensor.detach() for name, tensor in tensors.items() if is_spread(tensor) or ranks.leads}
        save_file({name: own(tensor).cpu().contiguous() for name, tensor in held.items()}, file)
        sync(file)
        digests[file.name] = sha256_of(file)
    return digests


def list_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("u[0-9]*")) if folder.is_dir() else []


def sweep(folder: Path) -> None:
    """Delete what a kill has left half-written or half-deleted."""
    for leftover in folder.glob(".u*"):
        shutil.rmtree(leftover)


def load(
    path: Path, model: Any, optimizer: torch.optim.Optimizer, ranks: Ranks | None = None
) -> tuple[int, dict[str, Any]]:
    """Load a checkpoint into model and optimiser.

    Args:
        path: The checkpoint.
        model: Whose weights are replaced.
        optimizer: Whose state is replaced.
        ranks: The processes, all of which take part; this one alone if None.

    Returns:
        Updates done, and the saved state.

    Raises:
        BadCheckpoint: A file is missing, damaged, or of another model; nothing has been loaded then.
    """
    head = _intact(path, ranks or Ranks())
    stored, moments = _weights_in(path, head, model), _parts(path, head, _OPTIMISER)
    weights = _optimised(model, optimizer)
    _copy(stored, weights)
    _copy(stored, dict(_trainable(model)))
    names = list(weights)
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key in moments.names:
        kind, _, name = key.partition(":")
        states.setdefault(names.index(name), {})[kind] = moments.read_like(weights[name], key)
    saved = optimizer.state_dict()
    optimizer.load_state_dict({"state": states, "param_groups": saved["param_groups"]})
    return int(head["update"]), head["state"]


def load_weights(path: Path, model: Any) -> None:
    """Load a checkpoint's weights into the model that the run began with.

    Raises:
        BadCheckpoint: As ``load``.
    """
    _copy(_weights_in(path, _intact(path, Ranks()), model), dict(_trainable(model)))


def _weights_in(path: Path, head: Mapping[str, Any], model: Any) -> Parts:
    stored = _parts(path, head, _MODEL)
    if {name: stored.shape(name) for name in stored.names} != {
        name: tuple(parameter.shape) for name, parameter in _trainable(model)
    }:
        raise BadCheckpoint(f"{path} holds the weights of another model than the run's")
    return stored


def _parts(path: Path, head: Mapping[str, Any], kind: str) -> Parts:
    return Parts([path / name for name in sorted(head["digests"]) if name.startswith(kind)])


@torch.no_grad()
def _copy(stored: Parts, weights: Mapping[str, torch.Tensor]) -> None:
    for name, weight in weights.items():
        stored.copy_into(weight, name)


def _intact(path: Path, ranks: Ranks) -> dict[str, Any]:
    """A checkpoint's JSON part, once every file has been found to be what it says; each process looks at some."""
    head = read_state(path)
    faults = [_fault(path / name, digest) for name, digest in ranks.own(sorted(head["digests"].items()))]
    for fault in (fault for of in ranks.gather(faults) for fault in of if fault is not None):
        raise BadCheckpoint(f"{fault}; {_remedy(path)}")
    return head


def _fault(file: Path, digest: str) -> str | None:
    if not file.is_file():
        return f"{file} is missing"
    return None if sha256_of(file) == digest else f"{file} is damaged"


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


def _moments(weights: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{kind}:{name}": tensor
        for name, weight in weights.items()
        for kind, tensor in optimizer.state.get(weight, {}).items()
    }
