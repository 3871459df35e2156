r"""A lossless word-level tokenizer as a plain Hugging Face folder.

A tiny model learns to act by *copying*: product codes, options and words move from the page into the action. Copying is
one attention step only if a thing has the same tokens where it is read and where it is written. So
text is cut by one regular expression, in this order: *joints* (literal strings such as ``"\n[button] "`` or
``"click["`` that frame a value and absorb the spaces next to it), *identifier pieces* (a pattern given by the
caller), cents, digits one by one, words with at most one leading space, and any other single character. A word that
directly follows a joint therefore has no leading space on either side of the copy.

A cut that is in the vocabulary is one token; any other is spelled in characters, and those not in the vocabulary in
UTF-8 bytes. All 256 bytes are tokens, hence ``decode(encode(text)) == text`` for every valid text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = (PAD, END, *(f"<|{role}|>" for role in ROLES))

JSON_JOINTS = ('{"', '": "', '", "', '"}', '": null, "', '": null}', '": ', ', "')
"""The joints of a one-line JSON object of strings, numbers and nulls."""

TEXT_JOINTS = (", and ", ", ", ": ", ".\n")
"""Joints of plain prose."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{ '<|assistant|>' }}{% generation %}{{ message['content'] + '<|end|>' }}{% endgeneration %}"
    "{%- elif message['role'] in ('system', 'user') -%}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{%- else -%}"
    "{{ raise_exception('this template knows the roles system, user and assistant, not ' + message['role']) }}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}"
)
"""Append-only: a longer conversation renders to a longer text with the same beginning; a system message may stand
anywhere."""


def split_pattern(joints: Sequence[str], identifiers: str | None = None) -> str:
    """Return the regular expression that cuts text; its matches cover every text without a gap.

    Args:
        joints: Literal strings that are always one cut; where several fit, the longest wins.
        identifiers: A pattern (without capturing groups) for pieces of identifiers, or None.
    """
    cuts = [re.escape(joint) for joint in sorted(set(joints), key=lambda joint: (-len(joint), joint))]
    if identifiers:
        cuts.append(identifiers)
    return "|".join([*cuts, r"\.[0-9][0-9](?![0-9])", r"[0-9]", r" ?[A-Za-z]+", r"[\s\S]"])


def build_tokenizer(
    texts: Iterable[str],
    *,
    joints: Sequence[str] = (),
    identifiers: str | None = None,
    min_count: int = 3,
    max_length: int = 8192,
) -> PreTrainedTokenizerFast:
    """Make a tokenizer whose vocabulary is the cuts seen at least ``min_count`` times in ``texts``.

    Args:
        texts: A sample of what the policy will read and write. Order does not matter.
        joints: Joints of the environment's pages and actions, added to those of JSON and prose.
        identifiers: Pattern for pieces of identifiers, for example ``"B0|[CDF][2-9]"``.
        min_count: A rarer cut is spelled in characters or bytes.
        max_length: Recorded as the model's longest context, in tokens.

    Returns:
        A tokenizer with the chat template; ``save_pretrained`` writes the usual files.

    Raises:
        ValueError: If a joint is empty or would be read as a byte token or a special token.
    """
    all_joints = (*JSON_JOINTS, *TEXT_JOINTS, *joints)
    for joint in all_joints:
        if not joint or joint in SPECIAL_TOKENS or re.fullmatch(r"<0x[0-9A-F]{2}>", joint):
            raise ValueError(f"{joint!r} cannot be a joint: it is empty or the name of a byte or special token.")
    pattern = split_pattern(all_joints, identifiers)
    splitter = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(cut for cut, _ in splitter.pre_tokenize_str(text))
    kept = sorted(cut for cut, count in counts.items() if count >= min_count)
    names = dict.fromkeys(
        (*SPECIAL_TOKENS, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(set(all_joints)), *kept)
    )
    tokenizer = Tokenizer(
        models.BPE(
            vocab={name: index for index, name in enumerate(names)}, merges=[], ignore_merges=True, byte_fallback=True
        )
    )
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[name for name in SPECIAL_TOKENS if name not in (PAD, END)],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )
