from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from r3lbench import TextEnv
from r3lbench.agents.reflection.report import KEYS
from r3lbench.reflection import FAILURE, INEFFICIENT, SUCCESS, Reflection
from tests.stage import EXPERT, Ledger, play, stage
from tests.toy import Toy


def corridor() -> TextEnv:
    return Toy(rooms=3, max_steps=6)


def judged(actions: tuple[str, ...], style: str = "full", make_env: Callable[[], TextEnv] = corridor) -> Reflection:
    """The oracle's reflection on an attempt."""
    at = stage({"a0": actions}, style=style, make_env=make_env)
    group = at.group()

    async def reflect() -> Reflection:
        return await group.reflect((await group.attempt())[0], "oracle")

    reflection = play(reflect())
    assert not any(request.purpose == "reflect" for wave in at.waves for request in wave)
    return reflection


@pytest.mark.parametrize(
    ("actions", "outcome", "pivot"),
    [
        (EXPERT, SUCCESS, None),
        (("take key", "sing", "go east", "go east", "open door"), INEFFICIENT, 1),
        (("go east", "go east", "open door", "sing", "sing", "sing"), FAILURE, 2),
    ],
)
def test_the_oracle_tells_what_the_environment_knows(actions: tuple[str, ...], outcome: str, pivot: int | None) -> None:
    reflection = judged(actions)
    assert (reflection.valid, reflection.outcome, reflection.pivot) == (True, outcome, pivot)
    assert reflection.asks_for_retry == (outcome != SUCCESS)
    assert bool(reflection.guidance) == (outcome != SUCCESS)
    assert reflection.sample is None
    assert tuple(json.loads(reflection.text)) == KEYS


def test_the_oracle_speaks_in_both_styles() -> None:
    actions = ("sing",) * 6
    assert judged(actions, "compact").guidance == "Guidance: Take the key to the door."
    assert '"improvement_suggestion": "Take the key to the door."' in judged(actions).guidance


def test_where_the_environment_cannot_tell_there_is_no_reflection() -> None:
    reflection = judged(("0.5", "0.5"), make_env=Ledger)
    assert not reflection.valid and not reflection.asks_for_retry
    assert reflection.problem == "the environment has no diagnosis"
