"""``torchrun -m tests.training.uneven FILE``: updates in which one of the processes has nothing to learn from.

The first process writes how far reports and weights are from those of one process by itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from r3lbench.policies.adapters import attach
from r3lbench.scaling import LoraConfig, MemoryConfig
from r3lbench.training.learner import Learner, Optimiser
from r3lbench.training.ranks import Ranks
from tests.random_models import random_model
from tests.training.test_memory import LOSS, some_terms


def main(file: Path) -> None:
    ranks, found = Ranks.join("cpu"), {}
    # Several micro-batches, and a look at all of them before the first step.
    settings = Optimiser(lr=1e-3, micro_batch_tokens=14, epochs=2)
    for adapters in (False, True):
        together, alone = (random_model(dtype=torch.float32) for _ in range(2))
        if adapters:
            for model in (together, alone):
                attach(model, LoraConfig(rank=4), 0)
        sharing = Learner(together, settings, LOSS, memory=MemoryConfig(shard=True, logprob_chunk=2), ranks=ranks)
        one, other = (
            sharing.step(some_terms() if ranks.leads else []),
            Learner(alone, settings, LOSS).step(some_terms()),
        )
        pairs = zip(together.parameters(), alone.parameters(), strict=True)
        found["adapters" if adapters else "weights"] = {
            "report": max(abs(one[name] - other[name]) / max(1.0, abs(other[name])) for name in other),
            "weights": max(float((weight - twin).detach().abs().max()) for weight, twin in pairs),
            "steps": one["steps"],
        }
    if ranks.leads:
        file.write_text(json.dumps(found))
    ranks.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
