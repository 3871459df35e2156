"""Tools in chat templates: put as the template puts them, or in words where it knows none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.agents.chat import ChatAgent
from r3lbench.engines.template import ChatTemplate, Message
from r3lbench.tools import declaration, schema
from tests.engines.templates import (
    GOOD,
    JSON_CALL,
    KNOWS_TOOLS,
    QWEN_TOOLS,
    QWEN_TOOLS_WITHOUT_CALL,
    TEMPLATES,
    WORD,
    answered,
    placed,
    speaking,
    system,
    text_of,
    told,
    user,
    whole,
)


def called(action: str) -> dict[str, Any]:
    """A model's turn as Hugging Face has it."""
    function = {"name": "act", "arguments": {"action": action}}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call00000", "type": "function", "function": function}],
    }


def written(template: ChatTemplate, action: str) -> tuple[int, ...]:
    """The tokens of a call, as the template writes it between what prompts and what ends a turn."""
    messages, tools = [{"role": "user", "content": "a"}, called(action)], [schema("")]
    render = template.tokenizer.apply_chat_template
    prompt = render(messages[:1], tools=tools, tokenize=False, add_generation_prompt=True)
    text = render(messages, tools=tools, tokenize=False).removeprefix(prompt)
    end = template.tokenizer.convert_ids_to_tokens(template.end_id)
    return tuple(template.tokenizer(text.partition(end)[0], add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("name", sorted(GOOD))
def test_it_is_probed_whether_a_template_knows_tools(name: str) -> None:
    assert TEMPLATES[name].knows_tools == (name in KNOWS_TOOLS)


@pytest.mark.parametrize("name", sorted(KNOWS_TOOLS))
@settings(deadline=None, max_examples=8)
@given(WORD, st.lists(st.tuples(WORD, WORD), min_size=1, max_size=4), st.booleans(), st.data())
def test_calls_and_answers_make_the_tokens_of_the_whole_conversation(
    name: str, first: str, turns: list[tuple[str, str]], ruled: bool, data: st.DataObject
) -> None:
    template = TEMPLATES[name]
    rules = [system("Rules.")] if ruled else []
    tokens = template.opening([*rules, told("Do it."), user(first)])
    plain = [*({"role": m.role, "content": m.content} for m in rules), {"role": "user", "content": first}]
    for action, heard in turns:
        cut_off, guided = data.draw(st.booleans()), data.draw(st.booleans())
        between = [answered(heard), *([system("Guidance.")] if guided else [])]
        tokens += written(template, action) + (() if cut_off else (template.end_id,))
        tokens += template.between(between, closed=not cut_off)
        merged = guided and name in ("tags", "mistral")
        content = f"{heard}\n\nGuidance." if merged else heard
        plain += [called(action), {"role": "tool", "tool_call_id": "call00000", "content": content}]
        plain += [{"role": "system", "content": "Guidance."}] if guided and not merged else []
    text = template.tokenizer.apply_chat_template(
        plain, tools=[schema("Do it.")], tokenize=False, add_generation_prompt=True
    )
    assert text_of(template, tokens) == text
    assert tokens == tuple(template.tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("name", sorted(KNOWS_TOOLS))
def test_a_call_is_read_as_the_template_writes_it(name: str) -> None:
    template = TEMPLATES[name]
    for action in ("go east", 'say "→ {x}"', "a\nb"):
        assert ChatAgent(format="tools").parse(template.decode(written(template, action))) == action


@pytest.mark.parametrize("name", sorted(KNOWS_TOOLS))
def test_nothing_stands_between_a_call_and_its_answer(name: str) -> None:
    template = TEMPLATES[name]
    between = template.between([system("Guidance."), answered("Step 2"), system("More.")], closed=True)
    merged = template.between([answered("Guidance.\n\nStep 2"), system("More.")], closed=True)
    assert between == merged


@pytest.mark.parametrize("name", sorted(KNOWS_TOOLS))
def test_a_question_after_a_call_is_put_as_after_any_turn(name: str) -> None:
    """A small policy reflects at the end of the episode's own conversation, whose last call is not answered."""
    template = TEMPLATES[name]
    messages = [user("a"), Message("assistant", "b"), user("Reflect.")]
    between = template.between(messages[2:], closed=True)
    assert whole(template, messages)[-len(between) :] == between


@pytest.mark.parametrize("name", sorted(set(GOOD) - set(KNOWS_TOOLS)))
def test_to_other_templates_tools_are_put_in_words(name: str) -> None:
    words, step = system(f"Rules.\n\n{declaration('Do it.')}"), user("Step 0")
    assert placed(name, system("Rules."), told("Do it."), step, opening=True) == placed(name, words, step, opening=True)
    words = system(declaration("Do it."))
    assert placed(name, told("Do it."), step, opening=True) == placed(name, words, step, opening=True)
    heard = user("<tool_response>\nStep 1\n</tool_response>")
    for more in ([], [system("Guidance.")]):
        assert placed(name, answered("Step 1"), *more, opening=False) == placed(name, heard, *more, opening=False)


PYTHON = QWEN_TOOLS_WITHOUT_CALL.replace("CALL", "{{ call.name + '(' + call.arguments.action + ')' }}")
DOES_NOT_KNOW_TOOLS = {
    "does not declare them": QWEN_TOOLS.replace("{{ tool | tojson }}", "{{ tool.function.name }}"),
    "refuses answers": QWEN_TOOLS.replace("'<|im_start|>user\n<tool", "raise_exception('!') + '<tool"),
    "drops answers": QWEN_TOOLS.replace("+ m['content'] + '\n</tool_response>", "+ '\n</tool_response>"),
    "wants arguments as text": QWEN_TOOLS.replace("{{ call.arguments | tojson }}", "{{ '' + call.arguments }}"),
    "writes calls as Python": PYTHON,
    "shows another call than it writes": PYTHON.replace(
        "</tools>", """</tools>{"name": "act", "arguments": {"action": ""}}"""
    ),
    "writes calls twice": QWEN_TOOLS_WITHOUT_CALL.replace("CALL", JSON_CALL + JSON_CALL),
    "ends calls in a way of its own": QWEN_TOOLS.replace(
        "</tool_call>' }}{{ '<|im_end|>", "</tool_call>' }}{{ '<|eot|>"
    ),
    "numbers answers": QWEN_TOOLS.replace("<tool_response>", "' + loop.index | string + '<tool_response>"),
    "forgets earlier answers": QWEN_TOOLS.replace("m['content'] + '\n</", "m['content'] * loop.last + '\n</"),
    "keeps the last call only": QWEN_TOOLS.replace("{% elif m.tool_calls %}", "{% elif m.tool_calls and loop.last %}"),
}


@pytest.mark.parametrize("reason", sorted(DOES_NOT_KNOW_TOOLS))
def test_tools_that_a_template_knows_badly_are_put_in_words(reason: str) -> None:
    text = DOES_NOT_KNOW_TOOLS[reason]
    assert text not in (QWEN_TOOLS, QWEN_TOOLS_WITHOUT_CALL)
    template = ChatTemplate(speaking(text))
    assert not template.knows_tools
    assert "<tools>" in text_of(template, template.opening([told("Do it."), user("Step 0")]))
