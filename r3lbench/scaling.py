"""Settings that matter with size: adapters in place of weights, and what is computed again or in parts to hold less."""

from __future__ import annotations

from pydantic import Field

from r3lbench.config import PolicyConfig
from r3lbench.engines.engine import BATCH_GIB, KEPT_GIB
from r3lbench.plugin import Plugin


class LoraConfig(Plugin):
    """Low-rank updates of linear layers, trained in place of the weights (arXiv 2106.09685)."""

    rank: int = Field(0, ge=0)
    """0 trains the weights themselves."""
    alpha: float = Field(32.0, gt=0)
    """An update is scaled by alpha / rank."""
    targets: tuple[str, ...] = Field(("all-linear",), min_length=1)
    """Names of the layers that are updated; all-linear: every linear layer but the head."""


class TrainedPolicyConfig(PolicyConfig):
    """Which language model acts and learns, and which of its weights."""

    lora: LoraConfig = LoraConfig()


class MemoryConfig(Plugin):
    """How less is held at once. No result depends on it but by rounding."""

    gradient_checkpointing: bool = False
    """Of every layer keep the input only, and compute the layer a second time for its gradient."""
    logprob_chunk: int = Field(0, ge=0)
    """Trained tokens whose logits exist at once, computed a second time for their gradient; 0: all of a micro-batch."""
    kept_gib: float = Field(KEPT_GIB, ge=0)
    """Keys and values of conversations that wait for their next turn; the least recent ones are dropped beyond this,
    and computed again when they go on."""
    batch_gib: float = Field(BATCH_GIB, gt=0)
    """Keys and values of conversations that are answered at once; fewer are where they are long."""
    shard: bool = False
    """With several processes: each holds a part of what learns (FSDP2), beside a whole policy to play with."""
