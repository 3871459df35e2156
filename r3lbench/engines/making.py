"""From settings to an engine; only the one that is asked for is imported."""

from __future__ import annotations

from typing import Any

import transformers

from r3lbench.engines.engine import GIB, Engine
from r3lbench.engines.settings import EngineConfig
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.errors import BadConfig
from r3lbench.scaling import MemoryConfig


def make_engine(
    settings: EngineConfig,
    model: Any,
    *,
    context_limit: int,
    memory: MemoryConfig | None = None,
    processes: int = 1,
) -> Engine:
    """The engine that settings describe.

    Args:
        settings: Which.
        model: What it samples from; later changes of its weights are told by ``Engine.weights_changed``.
        context_limit: Most tokens of context and reply together.
        memory: How much of it keys and values may take.
        processes: How many train together.

    Raises:
        BadConfig: It cannot serve several processes.
        R3LBenchError: It cannot run here, or not this model.
    """
    if settings.name == "transformers":
        memory = memory or MemoryConfig()
        kept, at_once = int(memory.kept_gib * GIB), int(memory.batch_gib * GIB)
        return TransformersEngine(model, context_limit=context_limit, cache_bytes=kept, batch_bytes=at_once)
    if processes > 1:
        raise BadConfig(f"--engine {settings.name} serves one process; with several each samples by itself")
    if settings.name == "vllm":
        from r3lbench.engines.vllm import VLLMEngine

        return VLLMEngine(model, context_limit=context_limit, settings=settings)
    from r3lbench.engines.vllm_server import VLLMServer

    return VLLMServer(model, context_limit=context_limit, settings=settings)


def engine_json(settings: EngineConfig, engine: Engine) -> dict[str, Any]:
    """What sampled, as recorded in a manifest."""
    return {"name": settings.name, "version": engine.version or transformers.__version__}
