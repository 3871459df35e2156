from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.agent import Conversation, Message, Turn, View
from r3lbench.agents.chat import ChatAgent, Format
from r3lbench.errors import R3LBenchError
from r3lbench.tools import write_call
from tests.stage import EXPERT, play, read, stage
from tests.toy import Toy

FORMATS = get_args(Format)


def view(agent: ChatAgent, *actions: str) -> View:
    """The corridor after some actions, as the agent sees it."""
    env = Toy(rooms=3, max_steps=6)
    env.reset(options={"task": "train/0"})
    for action in actions:
        env.step(action)
    return View(env, agent.sees, "the agent")


# Reading replies


@settings(deadline=None)
@given(st.text())
def test_a_plain_reply_is_the_action_without_the_space_around_it(text: str) -> None:
    assert ChatAgent().parse(text) == text.strip()


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<action>take key</action>", "take key"),
        ("<think>The key!</think>\n<action> take key\n</action>", "take key"),
        ("<think>a</think><action>go\neast</action>", "go\neast"),
        ("<action></action>", ""),
        ("take key", ""),
        ("<think>take key</think>", ""),
        ("<action>take key", ""),
        ("<action>go east</action><action>go west</action>", ""),
        ("", ""),
    ],
)
def test_a_thinking_reply_holds_one_action(text: str, action: str) -> None:
    assert ChatAgent(format="think").parse(text) == action


@settings(deadline=None)
@given(st.text(), st.text(st.characters(exclude_characters="<>")))
def test_any_reply_is_read_without_an_error(before: str, inside: str) -> None:
    agent = ChatAgent(format="think")
    agent.parse(before)
    ChatAgent(format="tools").parse(before)
    if "<action>" not in before:
        assert agent.parse(f"{before}<action>{inside}</action>") == inside.strip()


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (f"The key!\n{write_call('take key')}", "take key"),
        ('{"name": "act", "parameters": {"action": "take key"}}', "take key"),
        (f"{write_call('go east')}\n{write_call('go west')}", "go east"),
        ("take key", ""),
        ('<tool_call>{"name": "act", "arguments": {"action": "take', ""),
    ],
)
def test_a_reply_by_tools_acts_by_its_first_call(text: str, action: str) -> None:
    assert ChatAgent(format="tools").parse(text) == action


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.text(st.characters(exclude_characters="<>")))
def test_what_is_said_is_read(format: Format, action: str) -> None:
    agent = ChatAgent(format=format)
    assert agent.parse(agent.say(action)) == action.strip()


# What it is told


def test_every_observation_stands_under_its_step() -> None:
    agent = ChatAgent()
    assert agent.opening(view(agent)) == [
        Message("user", f"Step 0: {view(agent).observation}"),
    ]
    assert agent.hear(view(agent, "take key", "sing")).content.startswith("Step 2: Nothing happens.")


def test_the_valid_actions_are_listed_if_wanted() -> None:
    agent = ChatAgent(show_admissible=True)
    assert agent.hear(view(agent)).content.endswith("\nValid actions: go east, take key")
    assert "Valid actions" not in ChatAgent().hear(view(agent)).content


@pytest.mark.parametrize(
    ("format", "wanted"),
    [
        ("plain", "Answer with the action alone."),
        ("think", "one action in <action>...</action>."),
        ("tools", "Act by calling the tool act, once a turn."),
    ],
)
def test_the_rules_open_the_conversation_if_wanted(format: Format, wanted: str) -> None:
    agent = ChatAgent(rules=True, format=format)
    system, *_, first = opening = agent.opening(view(agent))
    assert (system.role, first.role) == ("system", "user")
    assert "At most 6 actions" in system.content
    assert system.content.endswith(wanted)
    # Whoever reads the opening reads how actions are written, and reads it once.
    assert "\n".join(message.content for message in opening).count(Toy.instructions) == 1


def test_by_tools_the_first_observation_is_told_and_the_others_are_answers() -> None:
    agent = ChatAgent(format="tools", show_admissible=True)
    tools, first = agent.opening(view(agent))
    assert (tools.role, first.role) == ("tools", "user")
    assert tools.content == f"Take one action in the environment. {Toy.instructions}"
    later = agent.hear(view(agent, "take key"))
    assert later.role == "tool" and later.content.startswith("Step 1: ") and "Valid actions: " in later.content


# Guidance


def test_guidance_goes_behind_the_observation_at_the_pivot() -> None:
    messages = [Message("user", "Step 3: x")]
    assert ChatAgent().guided(messages, "G", at=3) == [*messages, Message("system", "G")]
    warned = [Message("system", "NIGHT FALLS"), *messages]
    assert ChatAgent().guided(warned, "G", at=3) == [*warned, Message("system", "G")]


def test_guidance_at_the_start_joins_the_system_prompt() -> None:
    opening = [Message("system", "RULES"), Message("user", "Step 0: x")]
    assert ChatAgent().guided(opening, "G", at=0) == [Message("system", "RULES\n\nG"), opening[1]]
    assert opening[0].content == "RULES"
    assert ChatAgent().guided(opening[1:], "G", at=0) == [opening[1], Message("system", "G")]


def test_instructions_take_the_place_of_every_system_message() -> None:
    opening = [Message("system", "RULES"), Message("user", "Step 0: x"), Message("system", "G")]
    assert ChatAgent().instructed(opening, "NEW") == [Message("system", "NEW"), opening[1]]
    assert ChatAgent().instructed(opening[1:2], "NEW") == [Message("system", "NEW"), opening[1]]


@pytest.mark.parametrize("format", FORMATS)
def test_rules_that_are_replaced_leave_the_reminder_of_the_format(format: Format) -> None:
    agent = ChatAgent(rules=True, format=format)
    system, *rest = opening = agent.opening(view(agent))
    reminder = system.content.splitlines()[-1]
    assert agent.instructed(opening, "NEW") == [Message("system", f"NEW\n\n{reminder}"), *rest]
    assert ChatAgent(format=format).instructed(opening, "NEW") == [Message("system", "NEW"), *rest]


# The conversation


def test_the_history_holds_all_that_was_said() -> None:
    histories: list[list[Message]] = []

    class Remembers(ChatAgent):
        async def act(self, conversation: Conversation) -> Turn:
            histories.append(list(conversation.history))
            return await super().act(conversation)

    at = stage({"a0": EXPERT}, agent=Remembers())
    (attempt,) = play(at.group().attempt())
    expected: list[Message] = []
    for history, turn in zip(histories, attempt.turns, strict=True):
        assert history == expected
        expected += [*turn.prompt, Message("assistant", turn.text)]


def test_a_thinking_agent_is_trained_on_its_thoughts_and_acts_on_its_action() -> None:
    texts = [f"<think>hm</think><action>{action}</action>" for action in EXPERT]
    at = stage({"a0": texts}, agent=ChatAgent(format="think"))
    group = at.group()
    (attempt,) = play(group.attempt())
    assert attempt.success and attempt.trajectory.actions == EXPERT
    assert [turn.text for turn in attempt.turns] == texts
    assert all(text in read(group, attempt.turns[-1].node) for text in texts)


def test_an_agent_without_a_voice_cannot_speak() -> None:
    agent = ChatAgent()
    conversation = Conversation(view(agent), rng=stage().group().rng("any"))
    with pytest.raises(R3LBenchError, match="has no model"):
        play(agent.act(conversation))
