"""What chat templates can carry, and what becomes of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from r3lbench.agents.chat import ChatAgent, Format
from r3lbench.engines.template import ChatTemplate, Message
from r3lbench.errors import TemplateUnsuitable
from tests.engines.templates import (
    CHATML,
    CHATML_PROMPT,
    CHATML_TURN,
    END,
    EOS,
    GOOD,
    START,
    SYSTEM_FIRST,
    TEMPLATES,
    TURN_END,
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
from tests.stage import EXPERT, play, stage

# What each template can carry


@pytest.mark.parametrize(
    ("name", "first", "midway", "end"),
    [
        ("chatml", True, True, END),
        ("llama", True, True, TURN_END),
        ("forgets thoughts", True, True, END),
        ("system first", True, False, END),
        ("no system", False, False, END),
        ("instruct", True, False, EOS),
        ("hoists", True, False, END),
        ("drops system", False, False, END),
        ("qwen", True, True, END),
        ("tags", True, False, END),
        ("llama with tools", True, True, TURN_END),
        ("mistral", True, False, EOS),
        ("two templates", True, True, END),
    ],
)
def test_a_template_is_probed_once_for_what_it_can_carry(name: str, first: bool, midway: bool, end: str) -> None:
    template = TEMPLATES[name]
    assert (template.system_first, template.system_midway) == (first, midway)
    assert template.tokenizer.convert_ids_to_tokens(template.end_id) == end
    assert template.stop_ids[0] == template.end_id
    assert set(template.stop_ids) == {template.end_id, template.tokenizer.eos_token_id}


# A conversation grows into what the template would have written


@pytest.mark.parametrize("name", sorted(GOOD))
@settings(deadline=None, max_examples=8)
@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=4), WORD, st.data())
def test_opening_and_between_make_the_tokens_of_the_whole_conversation(
    name: str, turns: list[tuple[str, str]], last: str, data: st.DataObject
) -> None:
    template = TEMPLATES[name]
    (first, reply), *later = turns
    messages = [user(first)]
    if template.system_first and name != "instruct":
        messages = [system("Rules."), *messages]
    tokens = template.opening(messages)
    for heard, next_reply in [*((heard, said) for heard, said in later), (last, "")]:
        between = [user(heard)]
        if template.system_midway and data.draw(st.booleans()):
            between = [*between, system("Guidance.")]
        # However the turn ended, the whole is the same.
        cut_off = data.draw(st.booleans())
        said = tuple(template.tokenizer(reply, add_special_tokens=False)["input_ids"])
        tokens += said + (() if cut_off else (template.end_id,)) + template.between(between, closed=not cut_off)
        messages += [Message("assistant", reply), *between]
        reply = next_reply
    assert text_of(template, tokens) == text_of(template, whole(template, messages))
    assert tokens == whole(template, messages)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_turn_that_was_cut_off_is_closed_by_the_template(name: str) -> None:
    template = TEMPLATES[name]
    closed, cut_off = template.between([user("next")], closed=True), template.between([user("next")], closed=False)
    assert cut_off == (template.end_id, *closed)
    assert template.end_id not in closed[:1]


def test_a_tokenizer_that_marks_the_beginning_of_a_text_does_not_mark_every_turn() -> None:
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz\n\u2581"))
    vocabulary = {token: place for place, token in enumerate(["<unk>", START, END, EOS, *letters])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.decoder = decoders.Metaspace(prepend_scheme="first")
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (START, END, EOS)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=EOS, chat_template=SYSTEM_FIRST)
    tokenizer.add_special_tokens({"additional_special_tokens": [START, END]})
    assert tokenizer.tokenize("\n")[0] == "\u2581"
    template = ChatTemplate(tokenizer)
    messages = [user("a"), Message("assistant", "b"), user("c")]
    between = template.between([user("c")], closed=True)
    assert between == whole(template, messages)[-len(between) :]
    assert tokenizer.convert_ids_to_tokens(between[0]) == "\n"


# Thoughts


def test_thoughts_stay_where_they_were_sampled() -> None:
    template = TEMPLATES["forgets thoughts"]
    thought = "<think>hm</think>go east"
    rendered = text_of(template, whole(template, [user("a"), Message("assistant", thought), user("b")]))
    assert "hm" not in rendered
    said = tuple(template.tokenizer(thought, add_special_tokens=False)["input_ids"])
    stream = (*template.opening([user("a")]), *said, template.end_id, *template.between([user("b")], closed=True))
    assert text_of(template, stream) == rendered.replace("go east", thought)


# System messages that find no place


@pytest.mark.parametrize("name", ["no system", "drops system"])
def test_rules_that_cannot_open_a_conversation_open_its_first_message(name: str) -> None:
    merged = placed(name, user("Rules.\n\nStep 0"), opening=True)
    assert placed(name, system("Rules."), user("Step 0"), opening=True) == merged
    assert "Rules.\n\nStep 0" in merged


@pytest.mark.parametrize("name", ["system first", "no system", "instruct", "hoists", "drops system"])
@pytest.mark.parametrize("opening", [True, False])
def test_guidance_that_cannot_stand_alone_ends_the_observation(name: str, opening: bool) -> None:
    merged = placed(name, user("Step 2\n\nGuidance."), opening=opening)
    assert placed(name, user("Step 2"), system("Guidance."), opening=opening) == merged
    assert "Step 2\n\nGuidance." in merged


@pytest.mark.parametrize("name", ["system first", "no system", "instruct", "hoists", "drops system"])
def test_in_mid_conversation_a_system_message_is_no_opening_even_if_it_comes_first(name: str) -> None:
    assert placed(name, system("Guidance."), user("Step 2"), opening=False) == placed(
        name, user("Guidance.\n\nStep 2"), opening=False
    )
    assert placed(name, system("Guidance."), opening=False) == placed(name, user("Guidance."), opening=False)


@pytest.mark.parametrize("name", ["no system", "drops system"])
def test_of_several_system_messages_none_is_lost(name: str) -> None:
    merged = placed(name, user("Rules.\n\nMemory.\n\nStep 0\n\nGuidance."), opening=True)
    told = [system("Rules."), system("Memory."), user("Step 0"), system("Guidance.")]
    assert placed(name, *told, opening=True) == merged


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("format", ["plain", "tools"])
def test_whatever_the_template_a_retry_is_guided_and_its_copy_is_not(name: str, k: int, format: Format) -> None:
    template, agent = TEMPLATES[name], ChatAgent(rules=True, format=format, max_tokens=256)
    base = [agent.say(action) for action in ("take key", "go east", *["sing"] * 4)]
    at = stage({"a0": base, "a0.r0": [agent.say(action) for action in EXPERT[k:]]}, template=template, agent=agent)
    group = at.group()

    async def explore() -> None:
        base = (await group.attempt())[0]
        await group.retry(base, at=k, guidance="Guidance.")

    play(explore())
    (retry,) = group.retries
    assert retry.success and retry.trajectory.actions == EXPERT
    copy = group.distill(retry)

    def read(node: int) -> str:
        return text_of(template, group.forest.token_ids(node))

    for step, (node, origin) in enumerate(zip(copy.turns, copy.sampled_in, strict=True)):
        assert ("Guidance." in read(origin)) == (step >= k)
        assert "Guidance." not in read(node)
        assert "You solve a task" in read(node)
    # Token for token, the copy is what the template would have made of the play without guidance.
    opening = group.attempts[0].turns[0].prompt
    hears = user if format == "plain" else answered
    later = [hears(f"Step {step}: {seen}") for step, seen in enumerate(retry.trajectory.observations) if step]
    context = template.opening(opening)
    for action, heard, node in zip(EXPERT, later, copy.turns, strict=True):
        said = template.tokenizer(agent.say(action), add_special_tokens=False)["input_ids"]
        context = (*context, *said, template.end_id)
        assert tuple(group.forest.token_ids(node)) == context
        context = (*context, *template.between([heard], closed=True))


# Templates that cannot be used


REFUSED = {
    "rewrites earlier messages": {
        "keeps the last four messages": "{% for m in messages[-4:] %}" + CHATML_TURN + "{% endfor %}" + CHATML_PROMPT,
        "drops earlier observations": (
            "{% for m in messages %}{% if m['role'] == 'assistant' or loop.last or loop.first %}" + CHATML_TURN
        )
        + "{% endif %}{% endfor %}"
        + CHATML_PROMPT,
        "counts the messages": "{{ messages | length }}{% for m in messages %}" + CHATML_TURN + "{% endfor %}",
        "shortens earlier replies": (
            "{% for m in messages %}{% set early = loop.index < messages | length - 2 %}"
            "{{ '<|im_start|>' + ('...' if early and m['role'] == 'assistant' else m['content']) + '<|im_end|>' }}"
            "{% endfor %}"
        ),
    },
    "depending on the turns before it": {
        "numbers the turns": "{% for m in messages %}{{ loop.index }}" + CHATML_TURN + "{% endfor %}",
    },
    "drops or repeats the model's turns": {
        "hears only the user": "{% for m in messages if m['role'] == 'user' %}" + CHATML_TURN + "{% endfor %}",
        "says everything twice": "{% for m in messages %}" + CHATML_TURN + CHATML_TURN + "{% endfor %}",
    },
    "does not close the model's turn with a special token": {
        "plain text": "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}",
        "runs on": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    },
    "refuses a plain conversation": {
        "wants a system message": (
            "{% if messages[0]['role'] != 'system' %}{{ raise_exception('No system prompt!') }}{% endif %}"
            "{% for m in messages %}" + CHATML_TURN + "{% endfor %}"
        ),
        "one turn only": "{% if messages | length > 1 %}{{ raise_exception('One turn!') }}{% endif %}",
    },
}


@pytest.mark.parametrize(
    ("reason", "name"), [(reason, name) for reason, templates in REFUSED.items() for name in templates]
)
def test_a_template_that_cannot_be_appended_to_is_refused_with_the_reason(reason: str, name: str) -> None:
    with pytest.raises(TemplateUnsuitable, match=reason):
        ChatTemplate(speaking(REFUSED[reason][name]))


def test_a_model_without_a_template_is_refused() -> None:
    with pytest.raises(TemplateUnsuitable, match="instruction-tuned"):
        ChatTemplate(speaking(None))


# Text


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_reply_is_read_without_its_end(name: str) -> None:
    template = TEMPLATES[name]
    tokens: list[int] = template.tokenizer("go east", add_special_tokens=False)["input_ids"]
    assert template.decode(tokens) == "go east"
    assert template.decode([*tokens, template.end_id]) == "go east"
    assert template.decode([*tokens, template.tokenizer.eos_token_id]) == "go east"
    assert template.decode([template.end_id]) == ""


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\u241fREPLY\u241f", "{{ messages }}", "{% raw %}"])
@pytest.mark.parametrize("name", ["chatml", "no system", "qwen"])
def test_any_text_can_be_observed(name: str, text: str) -> None:
    template = TEMPLATES[name]
    shown = text.encode("utf-8", "replace").decode()
    assert shown in text_of(template, template.opening([user(text)]))
    assert template.opening([told(text), user("")]) == template.opening([told(shown), user("")])
    assert shown in text_of(template, template.between([user(text)], closed=True))


def test_the_end_of_the_sequence_is_no_second_stop_where_it_is_the_end_of_the_turn_or_missing() -> None:
    same, none = speaking(CHATML, eos=END), speaking(CHATML)
    none.eos_token = None
    for tokenizer in (same, none):
        template = ChatTemplate(tokenizer)
        assert template.stop_ids == (template.end_id,)
