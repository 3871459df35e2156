"""The tokenizer loses nothing, copies are token-identical, and the folder loads without our code."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from r3lbench.policies.tokenizer import END, build_tokenizer, split_pattern

JOINTS = ("\n[button] ", "  [button] ", " [button_]\n", "click[", "search[", "with color")
PAGE = (
    "color\n  [button] navy blue [button_]\n  [button] red [button_]\n\n[button] B0C2D3F4G5 [button_]\nPrice: $12.99\n"
)
TEXTS = [
    PAGE,
    "Find me soft sofa with color: navy blue, and price lower than 40.00 dollars",
    "click[navy blue]",
    "red",
] * 3


def make() -> PreTrainedTokenizerFast:
    return build_tokenizer(TEXTS, joints=JOINTS, identifiers="B0|[CDFGHJKM][2-9]")


TOKENIZER = make()


@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.lists(st.sampled_from([*JOINTS, *TEXTS, "é", "<0x41>", "\r\n", "  "])).map("".join)
)
def test_decoding_gives_back_every_text(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text).input_ids) == text


def test_words_and_codes_have_the_same_tokens_on_the_page_and_in_the_action() -> None:
    def tokens(text: str) -> list[str]:
        return TOKENIZER.convert_ids_to_tokens(TOKENIZER(text).input_ids)

    assert tokens("  [button] navy blue [button_]\n") == ["  [button] ", "navy", " blue", " [button_]\n"]
    assert tokens("click[navy blue]") == ["click[", "navy", " blue", "]"]
    assert tokens("color: navy blue") == ["color", ": ", "navy", " blue"]
    assert tokens("click[B0C2D3F4G5]") == ["click[", "B0", "C2", "D3", "F4", "G5", "]"]
    assert tokens("$12.99") == ["$", "1", "2", ".99"]


def test_unknown_words_are_spelled() -> None:
    assert len(TOKENIZER(" zebra").input_ids) == 6
    assert len(TOKENIZER("ü").input_ids) == 2


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts() -> None:
    other = build_tokenizer(reversed(TEXTS), joints=tuple(reversed(JOINTS)), identifiers="B0|[CDFGHJKM][2-9]")
    assert other.get_vocab() == TOKENIZER.get_vocab()


def test_a_saved_tokenizer_loads_as_any_other(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(PAGE).input_ids == TOKENIZER(PAGE).input_ids
    assert (loaded.eos_token_id, loaded.pad_token_id) == (TOKENIZER.eos_token_id, TOKENIZER.pad_token_id)
    assert loaded.chat_template == TOKENIZER.chat_template


def test_the_chat_template_is_append_only_and_takes_a_system_message_anywhere() -> None:
    messages = [
        {"role": "user", "content": " Step 0: x\n"},
        {"role": "assistant", "content": "click[red]"},
        {"role": "user", "content": "Step 1: y"},
        {"role": "system", "content": "Guidance: z"},
    ]
    rendered = [TOKENIZER.apply_chat_template(messages[: n + 1], tokenize=False) for n in range(len(messages))]
    assert rendered[1] == f"<|user|> Step 0: x\n<|assistant|>click[red]{END}"
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(rendered))
    prompt = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert prompt == rendered[-1] + "<|assistant|>"


def test_the_chat_template_marks_what_the_assistant_wrote() -> None:
    messages = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "red"}]
    rendered = TOKENIZER.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert rendered["assistant_masks"] == [0, 0, 0, 1, 1]


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(Exception, match="not tool"):
        TOKENIZER.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


@pytest.mark.parametrize("joint", ["", END, "<0x41>"])
def test_a_joint_that_would_be_mistaken_is_refused(joint: str) -> None:
    with pytest.raises(ValueError, match="cannot be a joint"):
        build_tokenizer(TEXTS, joints=(joint,))


def test_the_longest_joint_wins() -> None:
    assert split_pattern(["a", "ab"]).startswith("ab|a|")
