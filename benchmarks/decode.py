"""The transformers engine beside vLLM: ``.venv-vllm/bin/python benchmarks/decode.py``.

Both sample from the same weights in one process and one thread, in turn, the same number of tokens after the same
contexts. A wave of replies of one token is what reading costs; what a wave of longer replies costs beyond that is
decoding. Times are CPU seconds, of both the least of several rounds, so that a busy machine matters little.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

# Before PyTorch is imported: vLLM's own threads are counted by it, too.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

# This file's folder comes first otherwise, and its files then hide the packages of their names.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

from r3lbench.engines.engine import Engine, Request, Sampling  # noqa: E402
from r3lbench.engines.settings import EngineConfig  # noqa: E402
from r3lbench.engines.transformers import TransformersEngine  # noqa: E402
from r3lbench.engines.vllm import VLLMEngine, version  # noqa: E402
from r3lbench.policies.loading import find_policy, load_policy  # noqa: E402


class Speed(NamedTuple):
    """Seconds of a wave: reading all contexts, and decoding beyond the first token."""

    reading: float
    decoding: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="smollm2")
    parser.add_argument("--env", default="webshop", help="whose tiny policy")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, nargs="*", default=[32])
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| replies at once | computed in | reading, tokens/s: transformers | vLLM | ratio "
        "| decoding, tokens/s: transformers | vLLM | ratio |\n|--:|:--|--:|--:|--:|--:|--:|--:|"
    )
    for dtype in given.dtype:
        policy = load_policy(find_policy(given.policy, given.env), dtype=getattr(torch, dtype))
        limit = given.context + given.tokens + 32
        settings = EngineConfig(name="vllm", cache_gib=1)
        engines = (
            TransformersEngine(policy.model, context_limit=limit),
            VLLMEngine(policy.model, context_limit=limit, settings=settings),
        )
        for batch in given.batch:
            contexts = contexts_of(batch, given.context, policy.model.config.vocab_size)
            measured = [[speed(engine, contexts, given.tokens) for engine in engines] for _ in range(given.rounds)]
            ours, theirs = (Speed(*(min(part) for part in zip(*of, strict=True))) for of in zip(*measured, strict=True))
            read, drawn = batch * given.context, batch * (given.tokens - 1)
            cells = [batch, dtype]
            for one, other, count in (
                (ours.reading, theirs.reading, read),
                (ours.decoding, theirs.decoding, drawn),
            ):
                cells += [f"{count / one:,.0f}", f"{count / other:,.0f}", f"{other / one:.2f}"]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))
    print(f"\n{version()}, {versions}, Python {platform.python_version()}, {given.policy}, one thread")


def contexts_of(batch: int, length: int, vocabulary: int) -> list[tuple[int, ...]]:
    """Contexts that have nothing in common."""
    rng = np.random.default_rng(0)
    return [tuple(rng.integers(100, vocabulary, length).tolist()) for _ in range(batch)]


def speed(engine: Engine, contexts: list[tuple[int, ...]], tokens: int) -> Speed:
    """CPU seconds of a wave, nothing being at hand."""
    seconds = []
    for length in (1, tokens):
        engine.forget()
        sampling = Sampling(max_tokens=length)
        requests = [Request(context, sampling, seed, "act", f"{seed:06d}") for seed, context in enumerate(contexts)]
        began = time.process_time()
        engine.wave(requests)
        seconds.append(time.process_time() - began)
    return Speed(seconds[0], seconds[1] - seconds[0])


if __name__ == "__main__":
    main()
