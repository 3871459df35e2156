"""Calls of the tool: every way in which models write them, what is no call, and OpenAI's form of a conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r3lbench.engines.template import Message
from r3lbench.tools import Call, answer, declaration, from_openai, legible, read_call, schema, to_openai, write_call

GO = '{"name": "act", "arguments": {"action": "go east"}}'


# Reading


@pytest.mark.parametrize(
    ("text", "before"),
    [
        (f"<tool_call>\n{GO}\n</tool_call>", ""),
        (f"East, then.\n\n<tool_call>{GO}</tool_call> Done.", "East, then."),
        (f"<tools>\n{GO}\n</tools>", "<tools>"),
        ('{"name": "act", "parameters": {"action": "go east"}}', ""),
        ('{"parameters": {"action": " go east\\n"}, "name": "act"}', ""),
        (f"[TOOL_CALLS] [{GO[:-1]}, " + '"id": "call00000"}]', ""),
        (f" [{GO}, {GO}]", ""),
        ("<tool_call>\n<function=act>\n<parameter=action>\ngo east\n</parameter>\n</function>\n</tool_call>", ""),
        ("Well. <function=act><parameter=action>go east</parameter></function>", "Well."),
        (f"<think>It is {GO.replace('east', 'west')}, no.</think>{GO}", None),
        (f"It is {GO.replace('east', 'west')}, no.</think>\n{GO}<think>or {GO}", None),
        (f"{{x}} {{}} {GO}", "{x} {}"),
        (f'{{"name": "look", "arguments": {{}}}} {GO}', None),
        (f"{GO} {GO.replace('east', 'west')}", ""),
    ],
)
def test_the_first_call_that_can_be_read_counts(text: str, before: str | None) -> None:
    call = read_call(text)
    assert call is not None and call.action == "go east"
    assert before is None or call == Call("go east", before)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "go east",
        "act(go east)",
        GO[:-1],
        GO.replace("act", "Act"),
        GO.replace("action", "move"),
        GO.replace('"go east"', "7"),
        GO.replace('{"action": "go east"}', '"go east"'),
        GO.replace('"', "'"),
        f'{{"call": {GO}}}',
        json.dumps(GO),
        "<function=act><parameter=action>go east",
        "<function=look><parameter=action>go east</parameter></function>",
        f"<think>{GO}</think>",
        f"<think>{GO}",
        f"<think>a</think> <think>{GO}",
        "{" * 5_000,
        '{"name": ' * 1_500,
    ],
)
def test_what_is_no_call_is_none(text: str) -> None:
    assert read_call(text) is None
    assert legible(text) == text


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
@example("", "<think> </think> {}", "")
def test_a_written_call_is_read_whatever_it_asks_for(before: str, action: str, after: str) -> None:
    assert read_call(write_call(action)) == Call(action.strip(), "")
    read_call(before + action + after)


def test_a_reader_sees_what_was_said_and_the_action() -> None:
    assert legible(f"The key!\n{write_call('take key')}\n") == "The key!\nact: take key"
    assert legible(write_call("take key")) == "act: take key"


# Offering


def test_the_tool_is_a_function_with_one_required_string() -> None:
    function = schema("Do it.")["function"]
    assert (function["name"], function["description"]) == ("act", "Do it.")
    assert function["parameters"]["required"] == list(function["parameters"]["properties"]) == ["action"]
    assert function["parameters"]["properties"]["action"]["type"] == "string"


def test_in_words_the_tool_stands_between_tags_and_shows_a_call_that_is_none() -> None:
    words = declaration("Write \u2192 or one of: go.")
    assert json.loads(words.partition("<tools>")[2].partition("</tools>")[0]) == schema("Write \u2192 or one of: go.")
    assert "\u2192" in words and "<tool_call>" in words and read_call(words) is None
    assert answer("Step 1") == "<tool_response>\nStep 1\n</tool_response>"


# In OpenAI's form

TALK = [
    Message("system", "RULES"),
    Message("tools", "Do it."),
    Message("user", "Step 0"),
    Message("assistant", f"The key!\n{write_call('take key')}"),
    Message("tool", "Step 1"),
    Message("system", "GUIDANCE"),
    Message("assistant", "go east"),
    Message("tool", "Step 2"),
    Message("assistant", write_call('say "\u2192"')),
    Message("user", "Reflect."),
    Message("assistant", write_call("open door")),
]


def test_a_conversation_becomes_a_request() -> None:
    messages, tools = to_openai(TALK)
    function = {"name": "act", "arguments": '{"action": "take key"}'}
    assert tools == [schema("Do it.")]
    assert messages[:3] == [
        {"role": "system", "content": "RULES"},
        {"role": "user", "content": "Step 0"},
        {
            "role": "assistant",
            "content": "The key!",
            "tool_calls": [{"id": "call00002", "type": "function", "function": function}],
        },
    ]
    assert messages[3:5] == [
        {"role": "tool", "tool_call_id": "call00002", "content": "Step 1"},
        {"role": "system", "content": "GUIDANCE"},
    ]
    # An answer to what was not called, and calls that were not answered, would be refused.
    assert messages[5:] == [
        {"role": "assistant", "content": "go east"},
        {"role": "user", "content": "Step 2"},
        {"role": "assistant", "content": write_call('say "\u2192"')},
        {"role": "user", "content": "Reflect."},
        {"role": "assistant", "content": write_call("open door")},
    ]


def test_a_turn_of_nothing_but_a_call_has_no_content() -> None:
    (said, _), _ = to_openai([Message("assistant", write_call("\ud800")), Message("tool", "\udfff?")])
    assert said["content"] is None
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"action": "?"}


def response(content: str | None, *arguments: str, name: str = "act") -> dict[str, Any]:
    calls = [{"id": "x", "type": "function", "function": {"name": name, "arguments": given}} for given in arguments]
    return {"role": "assistant", "content": content, "tool_calls": calls or None}


@settings(deadline=None)
@given(st.text(), st.sampled_from([None, "", "The key!"]))
def test_a_response_is_read_back_as_it_was_sent(action: str, content: str | None) -> None:
    text = from_openai(response(content, json.dumps({"action": action}), json.dumps({"action": "other"})))
    assert read_call(text) == Call(action.strip(), content or "")
    (sent, _), _ = to_openai([Message("assistant", text), Message("tool", "Step 1")])
    assert read_call(from_openai(sent)) == read_call(text.encode("utf-8", "replace").decode())


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": None},
        {"content": None, "tool_calls": [{"type": "custom"}]},
        {"content": None, "tool_calls": [{"function": {"name": None, "arguments": None}}]},
        response("go east"),
        response(None, '{"action": "go'),
        response(None, "go east"),
        response(None, '{"action": "go east"}', name="move"),
    ],
)
def test_a_response_without_a_sound_call_is_text_without_one(message: dict[str, Any]) -> None:
    text = from_openai(message)
    assert read_call(text) is None
    assert text.startswith(message.get("content") or "")
