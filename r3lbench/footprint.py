"""What a run needs in memory, before anything is loaded: the model is built without weights, and counted.

Weights, gradients and AdamW's state are exact. What a forward pass keeps for its gradient is what autograd keeps of the
same model on PyTorch's meta device, with attention that keeps queries, keys, values, output and one number a row and
head, as the fused kernels do; masks of layers that look back through a window come on top. The largest moment of an
update is the end of a forward pass, when all of that, the gradients so far and the logits are held.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from r3lbench.engines.engine import GIB
from r3lbench.engines.transformers import MAX_ROWS
from r3lbench.policies.adapters import attach
from r3lbench.scaling import LoraConfig, MemoryConfig

_FP32 = 4
_MOMENTS = 2
_LOGIT_BYTES = 16
"""Per logit of the loss: itself, its log-softmax, and two more while entropies or gradients are formed; in float32."""
_DRAWN_BYTES = 28
"""Per logit of a reply's next token: three times float32, twice float64."""
_ATTENTION = "r3lbench_counted"


@dataclass(frozen=True)
class Load:
    """What is to be held.

    Attributes:
        dtype: Of the weights.
        autocast: Whether float32 weights are computed with in bfloat16.
        lora: Adapters, if any are trained.
        memory: What is computed again or in parts.
        micro_batch_tokens: Tokens that pass through the model at once.
        reference: Whether the starting policy is kept beside the trained one.
        rows: Conversations that are continued at once.
        context: Tokens of a conversation.
    """

    dtype: torch.dtype
    autocast: bool
    lora: LoraConfig
    memory: MemoryConfig
    micro_batch_tokens: int
    reference: bool
    rows: int
    context: int


@dataclass(frozen=True)
class Footprint:
    """Bytes on one device.

    Attributes:
        held: By name, what is there throughout.
        update: By name, what is there besides while the policy is trained.
        rollout: By name, what is there besides while it plays.
    """

    held: dict[str, int]
    update: dict[str, int]
    rollout: dict[str, int]

    @property
    def peak(self) -> int:
        """The most that is there at once."""
        return sum(self.held.values()) + max(sum(self.update.values()), sum(self.rollout.values()))


@dataclass(frozen=True)
class Shape:
    """A model, counted.

    Attributes:
        parameters: Numbers in its weights; tied ones count once. Adapters included.
        bytes: Of its weights, adapters included.
        trained: Numbers that are trained.
        reduced: Those of them that are not held in float32.
        layer: Numbers in its largest layer.
        outside: Numbers in what stands outside of the layers.
        saved: Bytes that a forward pass keeps for its gradient.
        recomputed: The same, if of every layer only the input is kept: all inputs, and the largest layer.
        vocabulary: Tokens it knows.
        cache: Bytes of keys and values per token.
    """

    parameters: int
    bytes: int
    trained: int
    reduced: int
    layer: int
    outside: int
    saved: int
    recomputed: int
    vocabulary: int
    cache: int


def footprint(shape: Shape, load: Load, devices: int = 1, shard: bool = False) -> Footprint:
    """Bytes on each of some devices.

    Args:
        shape: The model, counted under the same load.
        load: What is to be held.
        devices: How many share the work.
        shard: Whether each of them holds a part of the training state only, and a whole copy of the policy to play
            with; if not, each holds everything.
    """
    parts = devices if shard else 1
    size = shape.bytes // max(1, shape.parameters)
    tokens = min(load.memory.logprob_chunk or load.micro_batch_tokens, load.micro_batch_tokens)
    adapters = load.lora.rank > 0
    held = {
        # Parts are held in float32, and computed with in the weights' type.
        "weights": _FP32 * shape.parameters // parts if shard else shape.bytes,
        "float32 master weights": 0 if shard else _FP32 * shape.reduced,
        "AdamW moments": _MOMENTS * _FP32 * shape.trained // parts,
        "reference policy": 0 if adapters or not load.reference else shape.bytes // parts,
        "policy that plays": shape.bytes if shard else 0,
        "conversations kept": int(load.memory.kept_gib * GIB),
    }
    update = {
        "gradients": _FP32 * shape.trained // parts,
        "activations": shape.recomputed if load.memory.gradient_checkpointing else shape.saved,
        "logits": _LOGIT_BYTES * shape.vocabulary * tokens,
        "weights in bfloat16": 2 * shape.parameters if load.autocast else 0,
        # One layer is computed with while the next is fetched; embeddings and head are there for the whole pass.
        "gathered weights": size * (shape.outside + 2 * shape.layer) if shard else 0,
    }
    rows = min(load.rows, MAX_ROWS)
    rollout = {
        "keys and values": min(shape.cache * rows * load.context, int(load.memory.batch_gib * GIB)),
        "logits, next tokens": _DRAWN_BYTES * shape.vocabulary * rows,
    }
    return Footprint(held, update, rollout)


def shape_of(config: Any, load: Load) -> Shape:
    """Count a model that exists as a configuration only.

    Args:
        config: Its Hugging Face configuration.
        load: What it is to do.
    """
    # These take seconds to import, which a run spends anyway.
    from transformers import AutoModelForCausalLM

    # transformers writes the attention into the configuration.
    config = copy.deepcopy(config)
    with torch.device("meta"), _counted_attention() as attention:
        model = AutoModelForCausalLM.from_config(config, dtype=load.dtype, attn_implementation=attention)
        if load.lora.rank:
            attach(model, load.lora, seed=0)
        saved, layers, inputs = _saved(model, load.micro_batch_tokens)
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    blocks = [_numel(layer.parameters()) for layer in _layers(model)]
    return Shape(
        parameters=_numel(parameters),
        bytes=sum(parameter.nbytes for parameter in parameters),
        trained=_numel(trained),
        reduced=_numel(parameter for parameter in trained if parameter.dtype != torch.float32),
        layer=max(blocks, default=0),
        outside=_numel(parameters) - sum(blocks),
        saved=saved,
        recomputed=saved - sum(layers) + inputs + max(layers, default=0),
        vocabulary=int(text.vocab_size),
        cache=2 * text.num_hidden_layers * heads * size * load.dtype.itemsize,
    )


def _saved(model: Any, tokens: int) -> tuple[int, list[int], int]:
    """Bytes that a forward pass keeps: in all, within each layer, and of the layers' inputs."""
    # The storages themselves, so that none is freed and its place counted for another.
    kept = {parameter.untyped_storage()._cdata: parameter.untyped_storage() for parameter in model.parameters()}
    sizes: list[int] = []
    marks: list[int] = []
    inputs: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in kept:
            kept[storage._cdata] = storage
            sizes.append(storage.nbytes())
        return tensor

    def enter(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = positional[0] if positional else named["hidden_states"]
        inputs.append(hidden.nbytes)
        marks.append(sum(sizes))

    def leave(_: nn.Module, *__: Any) -> None:
        marks.append(sum(sizes))

    for layer in _layers(model):
        layer.register_forward_pre_hook(enter, with_kwargs=True)
        layer.register_forward_hook(leave)
    body = getattr(model, model.base_model_prefix)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        body(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    layers = [after - before for before, after in zip(marks[::2], marks[1::2], strict=True)]
    return sum(sizes), layers, sum(inputs)


class _Attention(torch.autograd.Function):
    """Keeps what fused kernels keep."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Output [B, heads, T, size], laid out as the projection behind it reads it."""
        batch, heads, length, _ = query.shape
        output = query.new_empty(batch, length, heads, value.shape[3]).transpose(1, 2)
        ctx.save_for_backward(query, key, value, output, query.new_empty(batch, heads, length, dtype=torch.float32))
        return output


@contextmanager
def _counted_attention() -> Iterator[str]:
    """The name of an attention that is counted as fused kernels are; transformers knows it while the block runs."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attend(_: Any, query: Tensor, key: Tensor, value: Tensor, *__: Any, **___: Any) -> tuple[Tensor, None]:
        output: Tensor = _Attention.apply(query, key, value)  # type: ignore[no-untyped-call]
        return output.transpose(1, 2), None

    ALL_ATTENTION_FUNCTIONS[_ATTENTION] = attend
    try:
        yield _ATTENTION
    finally:
        del ALL_ATTENTION_FUNCTIONS[_ATTENTION]


def _layers(model: nn.Module) -> list[nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]


def _numel(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)
