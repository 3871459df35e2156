"""Adapters: the same model at first, the only thing that learns, and gone without a trace when merged."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.errors import BadConfig, MissingExtra
from r3lbench.policies.adapters import adapted, attach, merge, without
from r3lbench.policies.finding import find_policy
from r3lbench.policies.loading import load_policy
from r3lbench.run import main
from r3lbench.scaling import LoraConfig
from tests.random_models import CONFIGS, full_pass, random_model

TOKENS = tuple(range(3, 20))
RANK = LoraConfig(rank=4)
FLAGS = ("--tasks-per-update", "1", "--method.group-size", "2", "--evaluation.tasks", "1", "--checkpoint-every", "1")


def test_without_peft_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"pip install 'r3lbench\[lora\]'"):
        attach(random_model(), RANK, 0)


def stirred(name: str = "llama", *, seed: int = 0) -> Any:
    """A model whose adapters have learned something."""
    pytest.importorskip("peft")
    model = random_model(name)
    attach(model, RANK, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_change_nothing_until_they_learn_and_are_merged_exactly(name: str) -> None:
    pytest.importorskip("peft")
    plain = full_pass(random_model(name), TOKENS)
    model = random_model(name)
    attach(model, RANK, 0)
    assert adapted(model) and torch.equal(full_pass(model, TOKENS), plain)
    changed = stirred(name)
    learned = full_pass(changed, TOKENS)
    assert not torch.allclose(learned, plain)
    with without(changed):
        assert torch.equal(full_pass(changed, TOKENS), plain)
    assert torch.equal(full_pass(changed, TOKENS), learned)
    merge(changed)
    assert not adapted(changed) and torch.allclose(full_pass(changed, TOKENS), learned, atol=1e-9)
    assert {key for key, _ in changed.named_parameters()} == {key for key, _ in random_model(name).named_parameters()}


def test_only_adapters_are_trained_and_they_follow_from_the_seed() -> None:
    model, again, other = stirred(), stirred(), stirred(seed=1)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    assert not any("lm_head" in name or "embed" in name for name in trained)
    tensors = [dict(of.named_parameters()) for of in (model, again, other)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in trained)
    assert not all(torch.equal(tensors[0][name], tensors[2][name]) for name in trained)


def test_layers_can_be_named() -> None:
    pytest.importorskip("peft")
    model = random_model()
    attach(model, LoraConfig(rank=2, targets=("q_proj", "v_proj")), 0)
    named = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert len(named) == 8 and all("q_proj" in name or "v_proj" in name for name in named)
    with pytest.raises(BadConfig, match=r"--policy\.lora\.targets nothing"):
        attach(random_model(), LoraConfig(rank=2, targets=("nothing",)), 0)


def test_adapters_of_a_reduced_model_learn_in_float32() -> None:
    pytest.importorskip("peft")
    model = random_model(dtype=torch.bfloat16)
    attach(model, RANK, 0)
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}
    assert model.lm_head.weight.dtype == torch.bfloat16


@pytest.fixture(scope="module")
def trained(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates that trained adapters."""
    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("lora") / "run"
    ask = ("--env", "toy", "--policy", str(toy_policy), "--method", "grpo", "--policy.lora.rank", "2", "--quiet")
    assert main((*ask, *FLAGS, "--budget.updates", "2", "--optimiser.lr", "0.05", "--out", str(folder))) == 0
    return folder


def test_a_run_keeps_adapters_in_checkpoints_and_leaves_a_whole_policy(trained: Path, toy_policy: Path) -> None:
    kept = load_file(trained / "checkpoints" / "u000002" / "model.safetensors")
    assert kept and all("lora_" in name for name in kept)
    start, end = (load_file(folder / "model.safetensors") for folder in (toy_policy, trained / "policy"))
    assert start.keys() == end.keys()
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert changed and all("_proj" in name for name in changed)
    manifest = json.loads((trained / "manifest.json").read_bytes())
    assert manifest["policy"]["parameters"] == sum(tensor.numel() for tensor in start.values())
    # What is recorded is measured from the base, so the divergence is zero before the first step and not after it.
    first, second = (json.loads(line)["learn"] for line in (trained / "metrics.jsonl").read_text().splitlines())
    assert first["kl_to_start"] == 0 and (second["kl_to_start"] is None or second["kl_to_start"] > 0)


def test_a_checkpoint_with_adapters_stands_for_the_policy_at_that_moment(trained: Path) -> None:
    early, late = (
        load_policy(find_policy(str(trained / "checkpoints" / name), "toy")) for name in ("u000001", "u000002")
    )
    end = load_policy(find_policy(str(trained), "toy"))
    assert torch.allclose(full_pass(late.model, TOKENS), full_pass(end.model, TOKENS), atol=1e-5)
    assert not torch.equal(full_pass(early.model, TOKENS), full_pass(end.model, TOKENS))


def test_a_run_with_adapters_goes_on_as_if_nothing_had_happened(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "run" / "policy")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "u000002")
    assert main(("--resume", str(tmp_path / "run"), "--quiet")) == 0
    for name in ("metrics.jsonl", "policy/model.safetensors", "checkpoints/u000002/model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes()


def test_a_copy_of_an_adapted_model_is_its_own() -> None:
    model = stirred()
    other = copy.deepcopy(model)
    with without(other):
        assert not torch.equal(full_pass(model, TOKENS), full_pass(other, TOKENS))
