"""``torchrun -m tests.training.in_parts FOLDER``: a model in parts learns, and is kept and found again.

Writes that checkpoint and one of a process by itself, the tensors of both, and what each process found when it loaded
them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from r3lbench.scaling import MemoryConfig
from r3lbench.training import checkpoint
from r3lbench.training.learner import Learner, Optimiser
from r3lbench.training.ranks import Ranks
from r3lbench.training.sharding import own, whole
from tests.random_models import random_model
from tests.training.test_memory import LOSS, some_terms


def learner(ranks: Ranks, seed: int) -> Learner:
    """Rows of some of its tensors cannot be divided evenly."""
    model = random_model(dtype=torch.float32, seed=seed)
    return Learner(model, Optimiser(lr=1e-2), LOSS, memory=MemoryConfig(shard=True), ranks=ranks)


def tensors(of: Learner) -> dict[str, Tensor]:
    """Weights and moments by name."""
    found: dict[str, Tensor] = dict(of.model.named_parameters())
    for name, weight in list(found.items()):
        found |= {f"{kind}:{name}": tensor for kind, tensor in of.optimizer.state[weight].items()}
    return {name: tensor.detach() for name, tensor in found.items()}


def put_together(of: Learner) -> dict[str, Tensor]:
    """All of its tensors whole; every process must ask."""
    return {name: whole(tensor).contiguous() for name, tensor in tensors(of).items()}


def main(folder: Path) -> None:
    ranks = Ranks.join("cpu")
    in_parts, alone = learner(ranks, 0), learner(Ranks(), 1)
    in_parts.step(some_terms() if ranks.leads else [])
    alone.step(some_terms())
    paths = [checkpoint.save(folder / "in parts", 1, in_parts.model, in_parts.optimizer, {"cursor": 3}, ranks)]
    if ranks.leads:
        checkpoint.save(folder / "alone", 1, alone.model, alone.optimizer, {"cursor": 5})
    ranks.gather(None)
    paths.append(folder / "alone" / paths[0].name)
    found: dict[str, Any] = {}
    for path, expected in zip(paths, (put_together(in_parts), put_together(alone)), strict=True):
        other = learner(ranks, 2)
        told = checkpoint.load(path, other.model, other.optimizer, ranks)
        differ = [name for name, tensor in put_together(other).items() if not torch.equal(tensor, expected[name])]
        rows = len(own(other.model.get_input_embeddings().weight))
        found[path.parent.name] = {"told": told, "differ": differ, "rows": rows}
        if ranks.leads:
            save_file(expected, path.parent / "whole.safetensors")
    everyones = ranks.gather(found)
    if ranks.leads:
        (folder / "found.json").write_text(json.dumps(everyones))
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
