"""The tiny policy: its structured start copies, and it is an ordinary Llama folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from r3lbench.policies.imitation import imitation_loss, pad
from r3lbench.policies.tiny import TinyConfig, build_model, copy_strings, warm_up_copying
from r3lbench.policies.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer([" ".join(first + second for first in "abcdefgh" for second in "abcdefgh")] * 3)


def test_the_copying_heads_attend_where_they_should(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_model(tokenizer)
    model.set_attn_implementation("eager")
    length = 24
    string = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:length] + 270
    ids = torch.cat([string, string])[None]
    with torch.no_grad():
        first, second = model(ids, output_attentions=True).attentions
    for head, offset in enumerate((1, 2)):
        assert first[0, head].diagonal(-offset)[8:].min() > 0.9
    # A query in the repetition looks at the token after its own earlier self.
    for head in (0, 1):
        copied = second[0, head, length + 3 :].diagonal(4)
        assert copied.mean() > 0.5


def test_the_warm_up_teaches_copying_that_a_plain_start_does_not_learn(tokenizer: PreTrainedTokenizerFast) -> None:
    held_out = pad(copy_strings(tokenizer, count=16, seed=1), tokenizer.pad_token_id)
    losses = {}
    for structured in (True, False):
        model = build_model(tokenizer, TinyConfig(hidden=64, intermediate=64, structured=structured))
        warm_up_copying(model, tokenizer, steps=30, learning_rate=3e-3)
        with torch.no_grad():
            losses[structured] = float(imitation_loss(model, *held_out))
    assert losses[True] < 0.5 * losses[False]


def test_the_model_is_an_ordinary_llama_folder(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = build_model(tokenizer, seed=5)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded).__name__ == "LlamaForCausalLM"
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert (tmp_path / "model.safetensors").stat().st_size < 3_000_000


def test_equal_seeds_give_equal_models(tokenizer: PreTrainedTokenizerFast) -> None:
    one, same, other = (build_model(tokenizer, seed=seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_shape_without_room_for_the_copying_heads_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="structured=False"):
        build_model(tokenizer, TinyConfig(layers=1))
    build_model(tokenizer, TinyConfig(layers=1, structured=False))
