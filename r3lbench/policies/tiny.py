"""A tiny Llama that can copy before it is taught anything.

An agent in a text shop or a text adventure mostly *copies*: "find the place in the page like this one, and write what
followed it". Transformers do that with a pair of heads: a previous-token head in one layer marks each
position with the token before it, and an induction head in the next looks up the current token among those marks and
copies the token found there (Elhage et al. 2021; Olsson et al. 2022). From a random start a model of half a
million parameters does not form the pair within minutes on a CPU, and without it imitation stays at zero success. So
the pair is written into the initial weights:

1. Token embeddings leave some directions of the residual stream free; ``lm_head`` starts as a copy of them (untied),
   and each layer's other outputs are scaled down: the residual stream starts as the token itself.
2. Layer 0, heads 0 and 1 attend to the previous token and to the one before it. Position alone decides: the query and
   key *biases* (hence ``attention_bias=True``) are unit phasors in the fastest RoPE frequencies, the key
   turned back by the wanted offset. The heads write a projection of the token they see, its *mark*, into the free
   directions.
3. Layer 1, heads 0 and 1 compare the current token with the mark "previous token" (half of head 1 compares the previous
   token with the mark "two back"), in the slow RoPE frequencies only, where distance hardly turns the
   comparison, and copy the token they find.

A short *copy warm-up* (random strings, repeated) then tunes the pair. ``structured=False`` gives the plain random
start, to measure what the choice is worth. The result is an ordinary ``LlamaForCausalLM``.
"""

from __future__ import annotations

import math
import random

import torch
from pydantic import Field
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from r3lbench.plugin import Plugin
from r3lbench.policies.imitation import ImitationConfig, ImitationReport, WeightedSequence, imitate


class TinyConfig(Plugin):
    """Shape of the policy. The default has about 0.53 million parameters with a vocabulary of 500."""

    hidden: int = Field(128, ge=1)
    """Width of the residual stream."""
    intermediate: int = Field(384, ge=1)
    """Width of the feed-forward layers."""
    layers: int = Field(2, ge=1)
    """Number of layers; the structured start uses the first two."""
    heads: int = Field(4, ge=1)
    """Attention heads in a layer."""
    rope_theta: float = Field(1e8, gt=1)
    """Base of the RoPE frequencies. Large, so that the slower ones hardly turn within a context of a few thousand
    tokens."""
    context: int = Field(8192, ge=1)
    """Longest context, in tokens."""
    structured: bool = True
    """Write the copying heads into the initial weights."""


PHASOR = 7.0
"""Length of the positional heads' phasors."""
MARK = 1.0
"""Length of a mark in the residual stream, in token embeddings."""
SHARPNESS = 24.0
"""Scale of queries and keys of the content comparison."""
COPY = 6.0
"""Length of what an induction head writes, in token embeddings."""


def build_model(
    tokenizer: PreTrainedTokenizerFast, config: TinyConfig | None = None, *, seed: int = 0
) -> LlamaForCausalLM:
    """Make an untrained policy for a tokenizer.

    Args:
        tokenizer: Gives the vocabulary size and the end and padding tokens.
        config: The shape.
        seed: Of every random number in the weights. PyTorch's global generator is left as it was.

    Raises:
        ValueError: If the structured start does not fit the shape.
    """
    config = config or TinyConfig()
    if config.structured and (config.layers < 2 or config.heads < 4 or config.hidden // config.heads < 16):
        raise ValueError(
            "the structured start needs at least 2 layers, 4 heads and 16 dimensions a head; "
            f"got {config}. Pass structured=False for a plain random start."
        )
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        intermediate_size=config.intermediate,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.context,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        attention_bias=True,
        tie_word_embeddings=False,
        initializer_range=config.hidden**-0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(llama).float()
        if config.structured:
            _write_copying_heads(model)
    return model


@torch.no_grad()
def _write_copying_heads(model: LlamaForCausalLM) -> None:
    """Overwrite heads 0 and 1 of layers 0 and 1, and scale the rest, as the module docstring says."""
    hidden = int(model.config.hidden_size)
    size = hidden // int(model.config.num_attention_heads)
    pairs = size // 2
    fast = 3 * pairs // 8
    slow = [index for index in range(size) if index % pairs >= fast]
    compared = len(slow)
    frequencies = float(model.config.rope_parameters["rope_theta"]) ** (-torch.arange(fast) / pairs)

    # Orthonormal rows: directions of tokens, of the marks "previous token", and of the marks "two back".
    tokens, previous, two_back = torch.linalg.qr(torch.randn(hidden, hidden)).Q.split(
        [hidden - 2 * compared, compared, compared]
    )
    embedding = model.model.embed_tokens.weight
    embedding.copy_(functional.normalize(embedding @ tokens.T @ tokens))
    model.lm_head.weight.copy_(embedding)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.mul_(0.15)
        layer.self_attn.o_proj.weight.mul_(0.2)

    def gain(dimensions: int) -> float:
        """Return what scales a projection of a normalised token on so many directions to unit length."""
        return math.sqrt(len(tokens) / (hidden * dimensions))

    first = model.model.layers[0].self_attn
    for head, (offset, mark) in enumerate(((1, previous), (2, two_back))):
        rows = slice(head * size, (head + 1) * size)
        first.q_proj.weight[rows] = 0
        first.k_proj.weight[rows] = 0
        first.q_proj.bias[rows][:fast] = PHASOR
        first.k_proj.bias[rows][:fast] = PHASOR * torch.cos(offset * frequencies)
        first.k_proj.bias[rows][pairs : pairs + fast] = PHASOR * torch.sin(offset * frequencies)
        first.v_proj.weight[rows] = 0
        first.v_proj.weight[rows][:compared] = tokens[:compared]
        first.o_proj.weight[:, rows] = 0
        first.o_proj.weight[:, rows][:, :compared] = mark.T * (MARK * gain(compared))

    second = model.model.layers[1].self_attn
    half = compared // 2
    comparisons = (
        (tokens[:compared], previous),
        (torch.cat([tokens[:half], previous[half:]]), torch.cat([previous[:half], two_back[half:]])),
    )
    for head, (query, key) in enumerate(comparisons):
        rows = slice(head * size, (head + 1) * size)
        for projection, directions in ((second.q_proj, query), (second.k_proj, key)):
            projection.weight[rows] = 0
            projection.weight[[head * size + index for index in slow]] = directions * (SHARPNESS / math.sqrt(hidden))
        copied = tokens[head * size : (head + 1) * size]
        second.v_proj.weight[rows] = copied
        second.o_proj.weight[:, rows] = copied.T * (COPY * gain(size))


def copy_strings(tokenizer: PreTrainedTokenizerFast, *, count: int, seed: int) -> list[WeightedSequence]:
    """Draw strings of 6 to 32 random tokens, each repeated after ``<|assistant|>`` with weight 1."""
    rng = random.Random(seed)
    special = set(tokenizer.all_special_ids)
    letters = sorted(
        index for name, index in tokenizer.get_vocab().items() if index not in special and not name.startswith("<0x")
    )
    assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
    strings = []
    for _ in range(count):
        string = [rng.choice(letters) for _ in range(rng.randint(6, 32))]
        strings.append(
            WeightedSequence((*string, assistant, *string), (*[0.0] * (len(string) + 1), *[1.0] * len(string)))
        )
    return strings


def warm_up_copying(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    *,
    steps: int = 80,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> ImitationReport:
    """Tune the copying heads on random strings, before the first word of any environment."""
    config = ImitationConfig(steps=steps, learning_rate=learning_rate)
    return imitate(model, copy_strings(tokenizer, count=60 * steps, seed=seed), config, seed=seed)
