"""What a plan says is held is what is held."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.baseline import PolicyLoss
from r3lbench.footprint import Load, footprint, shape_of
from r3lbench.run import main
from r3lbench.scaling import LoraConfig, MemoryConfig
from r3lbench.training.learner import Learner, Optimiser
from tests.conversations import Conversations
from tests.random_models import CONFIGS

QWEN: dict[str, Any] = {"num_hidden_layers": 28, "max_position_embeddings": 32768}
SMOLLM2 = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)
SIZES = {
    "SmolLM2-135M": (SMOLLM2, 134_515_008),
    "Qwen2.5-1.5B": (
        Qwen2Config(
            **QWEN,
            vocab_size=151936,
            hidden_size=1536,
            intermediate_size=8960,
            num_attention_heads=12,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        ),
        1_543_714_304,
    ),
    "Qwen2.5-7B": (
        Qwen2Config(
            **QWEN,
            vocab_size=152064,
            hidden_size=3584,
            intermediate_size=18944,
            num_attention_heads=28,
            num_key_value_heads=4,
            tie_word_embeddings=False,
        ),
        7_615_616_512,
    ),
}


def load(tokens: int = 64, *, rank: int = 0, dtype: torch.dtype = torch.float32, **memory: Any) -> Load:
    return Load(
        dtype=dtype,
        autocast=False,
        lora=LoraConfig(rank=rank),
        memory=MemoryConfig(**memory),
        micro_batch_tokens=tokens,
        reference=False,
        rows=4,
        context=100,
    )


def empty(config: Any) -> Any:
    """A model of whatever numbers lie in memory."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    return model


class Peak(TorchDispatchMode):
    """The most bytes of tensors that were alive at once, besides those that were there before."""

    def __init__(self, before: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.most = self.alive = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self._known:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self._known.add(storage)
        weakref.finalize(storage, self._free, size)
        self.alive += size
        self.most = max(self.most, self.alive)

    def _free(self, size: int) -> None:
        self.alive -= size


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_those_of_the_published_models(name: str) -> None:
    config, parameters = SIZES[name]
    shape = shape_of(config, load(dtype=torch.bfloat16))
    assert shape.parameters == shape.trained == shape.reduced == parameters
    assert shape.bytes == 2 * parameters


@pytest.mark.parametrize("name", [name for name in CONFIGS if "window" not in name])
def test_what_a_forward_pass_keeps_is_counted(name: str) -> None:
    model, tokens = empty(CONFIGS[name]), 256
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = getattr(model, model.base_model_prefix)(torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert hidden is not None
    assert shape_of(CONFIGS[name], load(tokens)).saved == pytest.approx(real, rel=0.1)


@pytest.mark.parametrize(
    ("config", "tokens"),
    [(CONFIGS["llama"], 500), pytest.param(SMOLLM2, 64, marks=pytest.mark.slow)],
    ids=["tiny", "SmolLM2"],
)
def test_an_update_holds_what_the_plan_says(config: Any, tokens: int) -> None:
    """Weights, gradients and moments to the byte; the peak, which is formed by what PyTorch frees when, within 15 %."""
    model = empty(config)
    made = Conversations()
    terms = [made.growing([(2, tokens - 2)]).term(1.0)]
    settings = Optimiser(measure_kl=False, micro_batch_tokens=tokens)
    learner = Learner(model, settings, PolicyLoss(ratio=None, clip=None))
    with torch.no_grad():
        # What has just been given memory holds anything, the rotary frequencies among the buffers, too.
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01)
    with Peak(model.parameters()) as peak:
        learner.step(terms)
    planned = footprint(shape_of(config, load(tokens)), load(tokens))
    parameters = list(model.parameters())
    assert planned.held["weights"] == sum(parameter.nbytes for parameter in parameters)
    assert planned.update["gradients"] == sum(parameter.grad.nbytes for parameter in parameters)
    moments = [state[kind] for state in learner.optimizer.state.values() for kind in ("exp_avg", "exp_avg_sq")]
    assert planned.held["AdamW moments"] == sum(moment.nbytes for moment in moments)
    # AdamW's moments come to be with the first step, when activations and logits are gone.
    before = planned.update["gradients"] + planned.update["activations"] + planned.update["logits"]
    assert peak.most == pytest.approx(
        max(before, planned.update["gradients"] + planned.held["AdamW moments"]), rel=0.15
    )


def test_adapters_are_what_is_trained() -> None:
    pytest.importorskip("peft")
    whole, adapted = shape_of(SMOLLM2, load()), shape_of(SMOLLM2, load(rank=8, dtype=torch.bfloat16))
    # 30 layers of q, k, v, o, gate, up, down: rank x (inputs + outputs) each.
    sides = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)]
    assert adapted.trained == 30 * 8 * sum(map(sum, sides)) == 2_442_240
    assert adapted.parameters == whole.parameters + adapted.trained
    assert adapted.bytes == 2 * whole.parameters + 4 * adapted.trained and adapted.reduced == 0
    plan = footprint(adapted, load(rank=8, dtype=torch.bfloat16))
    assert plan.held["AdamW moments"] == 8 * adapted.trained and plan.held["reference policy"] == 0


def test_less_is_held_with_checkpoints_chunks_and_parts() -> None:
    shape = shape_of(SMOLLM2, load(512))
    plain, lean = (
        footprint(shape, load(512)),
        footprint(shape, load(512, gradient_checkpointing=True, logprob_chunk=64)),
    )
    # A layer's input is 512 x 576 numbers; the final norm and one whole layer are kept besides.
    inputs, layer = 30 * 512 * 576 * 4, plain.update["activations"] / 30
    assert inputs < lean.update["activations"] < inputs + 1.5 * layer
    assert plain.update["logits"] == 16 * 512 * 49152 == 8 * lean.update["logits"]
    parts = footprint(shape, load(512), devices=4, shard=True)
    for name in ("weights", "AdamW moments"):
        assert parts.held[name] == plain.held[name] // 4
    assert parts.update["gradients"] == plain.update["gradients"] // 4
    assert parts.held["policy that plays"] == plain.held["weights"]
    assert footprint(shape, load(512), devices=4) == plain


def test_reduced_weights_have_copies_that_learn() -> None:
    shape = shape_of(SMOLLM2, load(dtype=torch.bfloat16))
    plan = footprint(shape, load(dtype=torch.bfloat16))
    count = shape.parameters
    assert (plan.held["weights"], plan.held["float32 master weights"]) == (2 * count, 4 * count)
    assert plan.rollout["keys and values"] == 4 * 100 * 2 * 30 * 3 * 64 * 2


def test_conversations_take_no_more_than_they_are_allowed() -> None:
    shape, whole = shape_of(SMOLLM2, load()), 4 * 100 * 2 * 30 * 3 * 64 * 4
    for allowed in (whole, whole - 1):
        bound = load(kept_gib=0.5, batch_gib=allowed / 2**30)
        plan = footprint(shape, bound)
        assert (plan.held["conversations kept"], plan.rollout["keys and values"]) == (2**29, allowed)


def test_a_plan_needs_no_weights_and_leaves_nothing(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_policy, tmp_path / "policy")
    (tmp_path / "policy" / "model.safetensors").unlink()
    ask = ("--env", "toy", "--policy", "policy", "--plan", "--plan-devices", "3", "--plan-gib")
    for gib, fits in ((64, "yes"), (1, "no")):
        assert main((*ask, str(gib))) == 0
        said = capsys.readouterr().out
        assert "34,080 parameters" in said and "each of 3, FSDP2" in said
        assert f"taken to have {gib} GiB" in said
        lines = [line.split() for line in said.splitlines() if line.split()[:1] == ["fits"]]
        assert lines == [["fits", fits, fits, fits]] * 2
    assert [file.name for file in tmp_path.iterdir()] == ["policy"]
    (tmp_path / "policy" / "config.json").write_text("{}")
    assert main((*ask, "1")) == 2
    assert "has no readable configuration" in capsys.readouterr().err
