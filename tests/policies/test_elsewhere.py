"""A policy that was trained by anything else: a folder as transformers saves it, and nothing of ours in it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.evaluate import main, parse
from r3lbench.files import sha256_of
from r3lbench.recording import RunFolder
from r3lbench.results import read
from r3lbench.standings import Kind, compare
from tests.random_models import SHAPE

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|im_start|>", "<|im_end|>")
FEW = ("--tasks", "2", "--env.max-steps", "2", "--agent.max-tokens", "8")


def foreign(folder: Path, *, template: str | None = CHATML, max_shard_size: str = "5GB") -> Path:
    """A Llama with random weights in bfloat16 and a byte-level tokenizer, saved in transformers' way."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=SPECIAL[1], pad_token=SPECIAL[1])
    fast.chat_template = template
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {**SHAPE, "vocab_size": len(fast), "max_position_embeddings": 4096}
    model = LlamaForCausalLM(LlamaConfig(**shape, eos_token_id=fast.eos_token_id)).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return folder


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder; not to be written to."""
    return foreign(tmp_path_factory.mktemp("foreign") / "policy")


def test_it_is_told_everything_unless_told_otherwise(tmp_path: Path) -> None:
    agent = parse(["--env", "toy", "--model", str(foreign(tmp_path))]).agent
    assert (agent.format, agent.rules, agent.show_admissible, agent.max_tokens) == ("plain", True, True, 128)


@pytest.mark.parametrize("format", ["plain", "think", "tools"])
def test_it_is_evaluated_in_every_format_and_stands_in_the_table(format: str, tmp_path: Path) -> None:
    folder, out = foreign(tmp_path / "trained-by-others"), tmp_path / "out"
    arguments = ["--env", "toy", "--policy", str(folder), *FEW, "--agent.format", format]
    assert main([*arguments, "--out", str(out), "--quiet"]) == 0
    run = RunFolder.open(out)
    assert [(line["mode"], line["task"]) for line in run.evaluations()] == [
        (mode, f"test/{task}") for mode in ("sampled", "greedy") for task in (0, 1)
    ]
    policy = run.manifest["policy"]
    assert policy["name"] == "trained-by-others"
    assert policy["digest"] == sha256_of(folder / "model.safetensors")
    assert run.result is not None and run.result["cost"]["evaluate"]["generated_tokens"] > 0
    (group,), _ = compare([read(run)])
    (row,) = group.rows
    assert row.kind is Kind.EVALUATED and row.label.startswith("chat, policy trained-by-others (")


def test_weights_in_several_files_are_loaded_like_those_in_one(tmp_path: Path) -> None:
    episodes = []
    for name, size in (("whole", "5GB"), ("sharded", "50KB")):
        folder, out = foreign(tmp_path / name, max_shard_size=size), tmp_path / f"{name}-out"
        assert main(["--env", "toy", "--policy", str(folder), *FEW, "--out", str(out), "--quiet"]) == 0
        episodes.append(RunFolder.open(out).evaluations())
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 1
    assert episodes[0] == episodes[1]


# What cannot be evaluated


def configured(**changes: Any) -> Callable[[Path], None]:
    """A change to config.json."""

    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def without(*names: str) -> Callable[[Path], None]:
    """The loss of files."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def with_code(folder: Path) -> None:
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    configured(model_type="new", auto_map={"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"})(folder)


def as_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")


def cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def with_fewer_embeddings(folder: Path) -> None:
    """As if special tokens had been added to the tokenizer alone."""
    model = LlamaForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(256)
    model.save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("chat_template.jinja"), "has no chat template; use an instruction-tuned model"),
        (without("config.json"), "is not a policy: it holds no config.json"),
        (without("model.safetensors"), "cannot be loaded: Error no file named model.safetensors"),
        (without("tokenizer.json", "tokenizer_config.json"), "cannot be loaded: Couldn't instantiate the backend"),
        (cut, "cannot be loaded: Error while deserializing header"),
        (
            configured(model_type="frobnicator"),
            "cannot be loaded: The checkpoint you are trying to load has model type",
        ),
        (configured(model_type="t5"), "cannot be loaded: Unrecognized configuration class"),
        (configured(model_type="bert"), "lacks weights, first of all bert.embeddings"),
        (configured(vocab_size=100), "has weights of another config.json: lm_head.weight is (258, 32), not (100, 32)"),
        (with_code, "contains custom code"),
        (as_adapter, "is an adapter; merge it into its model first"),
        (with_fewer_embeddings, "has a chat template that writes token 257, and weights for 256 tokens only"),
    ],
    ids=lambda of: of if isinstance(of, str) else "",
)
def test_what_is_no_policy_is_refused_in_one_line(
    change: Callable[[Path], None],
    said: str,
    untouched: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(untouched, tmp_path / "policy")
    change(tmp_path / "policy")
    caplog.clear()
    arguments = ("--env", "toy", "--model", str(tmp_path / "policy"), "--out", str(tmp_path / "out"), "--quiet")
    library = logging.getLogger("transformers")
    library.addHandler(caplog.handler)
    try:
        assert main(arguments) == 2
    finally:
        library.removeHandler(caplog.handler)
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and not caplog.records
    assert not (tmp_path / "out").exists() and not (tmp_path / "policy" / "ran").exists()


@pytest.mark.parametrize("name", ["", "no-such-model", "./no/model", "/no/model", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "toy", "--model", name]) == 2
    errors = capsys.readouterr().err
    assert f"no policy {name!r}: give tiny" in errors and "--agent api" in errors and errors.count("\n") == 1


def test_a_missing_folder_that_could_be_a_name_is_told_to_be_neither(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["--env", "toy", "--model", "no-such/model", "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert "the policy 'no-such/model' cannot be loaded: there is no such folder, and as a Hugging Face id " in errors
    assert errors.count("\n") == 1
