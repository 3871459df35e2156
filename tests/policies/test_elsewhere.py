"""A policy that was trained by anything else: a folder as transformers saves it, and nothing of ours in it."""

from __future__ import annotations

from pathlib import Path

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


def test_a_folder_without_a_chat_template_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", "toy", "--policy", str(foreign(tmp_path, template=None)), "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert "has no chat template; use an instruction-tuned model" in errors and errors.count("\n") == 1
