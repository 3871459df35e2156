"""Which engine samples, and its settings; what they stand for is loaded when it is made."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from r3lbench.plugin import Plugin


class EngineConfig(Plugin):
    """Who samples the policy's replies. Of the other settings, transformers has none."""

    name: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    """transformers: the trained model itself; vllm: vLLM in this process; vllm-server: a running `vllm serve`."""
    importance_cap: float | None = Field(2.0, ge=1)
    """vLLM's probabilities are not quite the trainer's: a token's gradient is weighted with their ratio, at most this
    much (truncated importance sampling); None: not at all. The gap is reported either way."""
    dtype: Literal["policy", "float32", "bfloat16"] = "policy"
    """Of vllm: what it computes in; policy: in what the policy does."""
    cache_gib: float = Field(4.0, gt=0)
    """Of vllm: memory for keys and values."""
    url: str = "http://localhost:8000"
    """Of vllm-server: where it listens."""
    folder: str | None = None
    """Of vllm-server: where weights are left for it; both must see it. None: a temporary folder of this machine."""
    timeout: float = Field(600.0, gt=0)
    """Of vllm-server: seconds to wait for an answer."""

    @property
    def shares_weights(self) -> bool:
        """Whether the trained model itself samples, so that both agree on every probability."""
        return self.name == "transformers"

    @property
    def corrected_up_to(self) -> float | None:
        """The cap of importance weights; None where there are none."""
        return None if self.shares_weights else self.importance_cap
