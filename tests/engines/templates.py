"""Chat templates as they are in the wild, cut down to what matters here."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from r3lbench.engines.template import ChatTemplate, Message
from r3lbench.policies.tokenizer import build_tokenizer
from tests.stage import WORDS

START, END, TURN_END, BOS, EOS = "<|im_start|>", "<|im_end|>", "<|eot|>", "<s>", "</s>"
SPECIAL = (
    *(START, END, TURN_END, BOS, EOS, "<|head|>", "<|/head|>", "[INST]", "[/INST]"),
    *("[TOOLS]", "[/TOOLS]", "[TOOL_CALLS]", "[RESULTS]", "[/RESULTS]"),
)

CHATML_TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

# As Qwen 2.5: a system prompt of its own where none is given.
CHATML = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}{% for m in messages %}" + CHATML_TURN + "{% endfor %}" + CHATML_PROMPT
)
# As Llama 3: begins with a token of its own, trims, and says the date in a system prompt that is always there.
LLAMA = (
    "{{ bos_token + '<|head|>system<|/head|>\n\nCutting Knowledge Date: December 2023\n\n' }}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}{% set messages = messages[1:] %}"
    "{% endif %}{{ '<|eot|>' }}{% for m in messages %}"
    "{{ '<|head|>' + m['role'] + '<|/head|>\n\n' + m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
# As Qwen 3: what was thought in earlier turns is left out.
FORGETS_THOUGHTS = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{% set content = m['content'] %}"
    "{% if m['role'] == 'assistant' and loop.index0 < ns.last %}{% set content = content.split('</think>')[-1] %}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + content + '<|im_end|>\n' }}{% endfor %}" + CHATML_PROMPT
)
# As Qwen 3.5 and others: a system message only at the beginning.
SYSTEM_FIRST = (
    "{% for m in messages %}{% if m['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}" + CHATML_TURN + "{% endfor %}"
) + CHATML_PROMPT
# As Gemma: no system message at the beginning, and in even places nobody but the user.
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{{ '<|im_start|>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' + m['content'] | trim + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif %}"
)
# As Mistral 7B: the turn ends with the end of the sequence, nothing prompts it, the system message goes into the last
# user message.
INSTRUCT = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ bos_token }}"
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + (system if loop.last else '') + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}{% endfor %}"
)
# Gathers all system messages at the beginning.
HOISTS = (
    "{% for m in messages if m['role'] == 'system' %}" + CHATML_TURN + "{% endfor %}"
    "{% for m in messages if m['role'] != 'system' %}" + CHATML_TURN + "{% endfor %}" + CHATML_PROMPT
)
# Says nothing of system messages.
DROPS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}" + CHATML_TURN + "{% endfor %}" + CHATML_PROMPT


# Templates that know tools. As Qwen 2.5 and 3: signatures in the system prompt, calls between tags, answers as a user.
_ANSWER = "<tool_response>\n' + m['content'] + '\n</tool_response><|im_end|>\n"
QWEN_TOOLS_WITHOUT_CALL = (
    "{% if tools %}{{ '<|im_start|>system\n' }}{% if messages[0]['role'] == 'system' %}"
    "{{ messages[0]['content'] + '\n\n' }}{% endif %}{{ '# Tools\n<tools>' }}"
    "{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}{{ '\n</tools><|im_end|>\n' }}"
    "{% elif messages[0]['role'] == 'system' %}"
    "{{ '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'tool' %}{{ '<|im_start|>user\n" + _ANSWER + "' }}"
    "{% elif m.tool_calls %}{{ '<|im_start|>assistant\n' }}{% set call = m.tool_calls[0].function %}CALL"
    "{{ '<|im_end|>\n' }}{% elif m['role'] != 'system' or not loop.first %}" + CHATML_TURN + "{% endif %}{% endfor %}"
) + CHATML_PROMPT
JSON_CALL = (
    """{{ '<tool_call>\n{"name": "' + call.name + '", "arguments": ' }}{{ call.arguments | tojson }}"""
    """{{ '}\n</tool_call>' }}"""
)
QWEN_TOOLS = QWEN_TOOLS_WITHOUT_CALL.replace("CALL", JSON_CALL)
# As Qwen 3 Coder and 3.5: calls in tags throughout; and a system message only at the beginning.
TAGS = QWEN_TOOLS_WITHOUT_CALL.replace(
    "CALL",
    "{{ '<tool_call>\n<function=' + call.name + '>\n' }}{% for key, value in call.arguments | items %}"
    "{{ '<parameter=' + key + '>\n' + value + '\n</parameter>\n' }}{% endfor %}{{ '</function>\n</tool_call>' }}",
).replace(
    "{% elif m['role'] != 'system' or not loop.first %}",
    "{% elif m['role'] == 'system' and not loop.first %}{{ raise_exception('No system here.') }}"
    "{% elif not loop.first or m['role'] != 'system' %}",
)
# As Llama 3.1: signatures before the first user message, calls bare and with "parameters", answers in JSON.
LLAMA_TOOLS = (
    "{{ bos_token + '<|head|>system<|/head|>\n\n' }}{% if tools %}{{ 'Environment: ipython\n' }}{% endif %}"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}{% set messages = messages[1:] %}"
    "{% endif %}{{ '<|eot|>' }}{% for m in messages %}{% if m['role'] == 'tool' %}"
    "{{ '<|head|>ipython<|/head|>\n\n' }}{{ {'output': m['content']} | tojson }}{{ '<|eot|>' }}"
    "{% elif m.tool_calls %}{% set call = m.tool_calls[0].function %}"
    """{{ '<|head|>assistant<|/head|>\n\n{"name": "' + call.name + '", "parameters": ' }}"""
    "{{ call.arguments | tojson }}{{ '}<|eot|>' }}"
    "{% else %}{{ '<|head|>' + m['role'] + '<|/head|>\n\n' }}"
    "{% if tools and loop.first %}{{ tools[0] | tojson(indent=4) }}{{ '\n\n' }}{% endif %}"
    "{{ m['content'] | trim + '<|eot|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
# As Mistral 7B v0.3: signatures before the last user message, calls in a list, ids of nine letters, strict roles.
MISTRAL_TOOLS = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{{ bos_token }}"
    "{% set users = messages | selectattr('role', 'equalto', 'user') | list %}{% set ns = namespace(said=0) %}"
    "{% for m in messages %}{% if m['role'] != 'tool' and not m.tool_calls %}"
    "{% if (m['role'] == 'user') != (ns.said % 2 == 0) %}{{ raise_exception('Roles must alternate.') }}{% endif %}"
    "{% set ns.said = ns.said + 1 %}{% endif %}{% endfor %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% if tools and m == users[-1] %}{{ '[TOOLS] ' }}{{ tools | tojson }}{{ '[/TOOLS]' }}{% endif %}"
    "{{ '[INST] ' + (system if loop.first else '') + m['content'] + '[/INST]' }}"
    "{% elif m.tool_calls %}{% set call = m.tool_calls[0] %}"
    "{% if call.id | length != 9 %}{{ raise_exception('Nine letters, please.') }}{% endif %}"
    "{{ '[TOOL_CALLS] [' }}{{ (call.function | tojson)[:-1] }}{{ ', \"id\": \"' + call.id + '\"}]' + eos_token }}"
    "{% elif m['role'] == 'tool' %}"
    "{% if not messages[loop.index0 - 1].tool_calls %}{{ raise_exception('Nobody called.') }}{% endif %}"
    "{% if m.tool_call_id | length != 9 %}{{ raise_exception('Nine letters, please.') }}{% endif %}"
    "{{ '[RESULTS] {\"content\": ' + m['content'] + ', \"call_id\": \"' + m.tool_call_id + '\"}[/RESULTS]' }}"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] + eos_token }}"
    "{% else %}{{ raise_exception('No such role.') }}{% endif %}{% endfor %}"
)

KNOWS_TOOLS = {
    "qwen": QWEN_TOOLS,
    "tags": TAGS,
    "llama with tools": LLAMA_TOOLS,
    "mistral": MISTRAL_TOOLS,
    # As Hermes 2 Pro: another template where there are tools.
    "two templates": {"default": CHATML, "tool_use": QWEN_TOOLS},
}
GOOD: dict[str, str | dict[str, str]] = {
    "chatml": CHATML,
    "llama": LLAMA,
    "forgets thoughts": FORGETS_THOUGHTS,
    "system first": SYSTEM_FIRST,
    "no system": NO_SYSTEM,
    "instruct": INSTRUCT,
    "hoists": HOISTS,
    "drops system": DROPS_SYSTEM,
    **KNOWS_TOOLS,
}


def speaking(chat_template: str | dict[str, str] | None, eos: str = EOS) -> PreTrainedTokenizerFast:
    """The stage's tokenizer with another template and its special tokens behind."""
    tokenizer = build_tokenizer([f"{WORDS} {WORDS}."], min_count=1)
    tokens = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.bos_token, tokenizer.eos_token = BOS, eos
    tokenizer.chat_template = chat_template
    return tokenizer


TEMPLATES = {name: ChatTemplate(speaking(text)) for name, text in GOOD.items()}
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>[]"), min_size=1).map(
    lambda text: f"x{text.strip()}."
)


def whole(template: ChatTemplate, messages: Sequence[Message]) -> tuple[int, ...]:
    """The tokens of a conversation as the template writes it, up to the model's next turn."""
    plain = [{"role": message.role, "content": message.content} for message in messages]
    text = template.tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
    return tuple(template.tokenizer(text, add_special_tokens=False)["input_ids"])


def text_of(template: ChatTemplate, tokens: Sequence[int]) -> str:
    return str(template.tokenizer.decode(tokens))


def user(text: str) -> Message:
    return Message("user", text)


def system(text: str) -> Message:
    return Message("system", text)


def told(description: str) -> Message:
    return Message("tools", description)


def answered(text: str) -> Message:
    return Message("tool", text)


def placed(name: str, *messages: Message, opening: bool) -> str:
    """What the model reads."""
    template = TEMPLATES[name]
    return text_of(template, template.opening(messages) if opening else template.between(messages, closed=True))
