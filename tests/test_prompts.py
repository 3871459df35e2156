from __future__ import annotations

import re

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.prompts import main

SHORT = ("--env", "toy", "--env.max-steps", "3")
RULES = "You solve a task in a text environment"


@pytest.mark.parametrize(
    ("method", "step", "told"),
    [
        # At the pivot, behind the observation there.
        (["r3l"], 1, r"\[user\]\nStep 1: [^\[]*\[system\]\nHere is an analysis"),
        # At the start, at the end of the system prompt.
        (["r3l", "--method.restart", "start"], 0, rf"\[system\]\n{RULES}[^\[]*\n\nHere is an analysis"),
        (["reflect_grpo"], 0, rf"\[system\]\n{RULES}[^\[]*\n\nHere is an analysis"),
        (["herl"], 0, rf"\[system\]\n{RULES}[^\[]*\n\nBelow are an earlier draft"),
        (["critique_grpo"], 0, rf"\[system\]\n{RULES}[^\[]*\n\nAn earlier attempt of yours"),
        (["erl", "--method.reflection", "none"], 0, rf"\[system\]\n{RULES}[^\[]*\n\nWhat follows is the record"),
        # In place of the system prompt.
        (["erl"], 0, r"\[system\]\n\(the rules\)\n\nAnswer with the action alone.\n\[user\]\nStep 0: "),
        (["erl", "--agent.rules", "False"], 0, r"\[system\]\n\(the rules\)\n\[user\]\nStep 0: "),
    ],
    ids=str,
)
def test_guidance_is_shown_where_the_method_puts_it(
    method: list[str], step: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--method", *method, *SHORT]) == 0
    opens, reflects, retries = re.split(r"^.* -{9,}\n", capsys.readouterr().out, flags=re.MULTILINE)[1:]
    assert "[user]\nStep 0: " in opens
    assert ("(no model is asked)" in reflects) is (method[0] == "herl" or "none" in method)
    assert re.match(told, retries)


def test_each_kind_of_prompt_is_shown_once_and_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--method", "erl", *SHORT]) == 0
    out = capsys.readouterr().out
    assert out.count("Toy-v0 train/0: what opens an episode ---") == 1
    assert out.count("reflector rulebook: about an episode of the player 'careless' ---") == 1
    assert out.count("a retry from step 0: what stands before the model's move ---") == 1
    # With what the method itself says to the reflector.
    assert "Of 4 attempts at this task 0 solved it; their mean reward is 0." in out


def test_a_method_that_does_not_reflect_shows_what_opens_an_episode(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--method", "grpo", *SHORT]) == 0
    assert capsys.readouterr().out.endswith("\n\nThis method reflects on nothing.\n")


def test_players_are_tried_until_one_fails(capsys: pytest.CaptureFixture[str]) -> None:
    # In nine steps the careless player opens the door at its first two attempts, and not at its third.
    assert main(["--method", "erl", "--env", "toy", "--env.max-steps", "9"]) == 0
    assert "of the player 'careless'" in capsys.readouterr().out
    # In twenty all do, but who plays at random.
    assert main(["--method", "erl", "--env", "toy"]) == 0
    assert "of the player 'random'" in capsys.readouterr().out


def test_it_is_said_if_there_is_nothing_to_reflect_on_or_to_retry(capsys: pytest.CaptureFixture[str]) -> None:
    # With so many steps even random play opens the door.
    endless = ("--env", "toy", "--env.rooms", "2", "--env.max-steps", "500")
    assert main(["--method", "erl", *endless]) == 0
    assert "nothing to reflect on" in capsys.readouterr().out
    assert main(["--method", "r3l", "--method.reflection", "oracle", *endless]) == 0
    assert "no retry follows: success" in capsys.readouterr().out


def test_the_compact_wording_can_be_seen_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "toy", "--reflection.style", "compact", "--task", "train/1"]) == 0
    out = capsys.readouterr().out
    assert ". Reflect." in out and "Guidance: (what to do instead)" in out and "Toy-v0 train/1" in out


def test_unknown_names_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--method", "r3", "--env", "toy"]) == 2
    errors = capsys.readouterr().err
    assert "did you mean" in errors and errors.count("\n") == 1
