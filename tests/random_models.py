"""Small language models with random weights, of several architectures."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
)

VOCABULARY = 61
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SHAPE),
    "llama with grouped queries": LlamaConfig(**SHAPE, num_key_value_heads=2),
    "qwen2": Qwen2Config(**SHAPE, num_key_value_heads=2),
    # Positions are looked up in a table, not rotated.
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=512),
    # Every layer, or every other one, sees the last few tokens only.
    "mistral with a window": MistralConfig(**SHAPE, num_key_value_heads=2, sliding_window=8),
    "gemma3 with a window": Gemma3TextConfig(
        **SHAPE,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
    ),
}


def random_model(name: str = "llama", *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """A model whose next-token distributions are far from uniform and differ from context to context."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(CONFIGS[name]).double().eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.to(dtype)


def exact_model(name: str = "llama") -> Any:
    """A random model that also normalises in float64: the architectures themselves do so in float32 always."""
    model = random_model(name)
    for path, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            model.set_submodule(path, torch.nn.RMSNorm(module.weight.shape, eps=1e-6, dtype=torch.float64))
    return model


@torch.no_grad()
def full_pass(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    """Log-probabilities of the next token at every position, [len(tokens), vocabulary], by one plain forward pass."""
    logits: torch.Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return logits.log_softmax(-1)
