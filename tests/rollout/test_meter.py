from __future__ import annotations

import json

import pytest

from r3lbench.rollout.meter import COUNTS, EVALUATION, Meter
from tests.stage import EXPERT, play, report, stage


def test_counts_add_up_by_purpose() -> None:
    meter = Meter()
    meter.add("attempt", env_steps=3, generated_tokens=10)
    meter.add("attempt", env_steps=2)
    meter.add("retry", env_steps=4, replayed_steps=1)
    assert meter.to_json() == {
        "attempt": {"env_steps": 5, "generated_tokens": 10},
        "retry": {"env_steps": 4, "replayed_steps": 1},
    }
    assert meter.total("env_steps") == 9
    assert meter.total("replayed_steps") == 1
    assert meter.total("trained_tokens") == 0


def test_evaluation_is_counted_apart() -> None:
    meter = Meter()
    for purpose in ("attempt", "reflect", "retry", "train", EVALUATION):
        meter.add(purpose, generated_tokens=1)
    assert meter.total("generated_tokens") == 4


def test_an_unknown_count_is_refused() -> None:
    with pytest.raises(KeyError, match="env_step"):
        Meter().add("attempt", env_step=1)


def test_a_meter_resumes_from_its_record() -> None:
    meter = Meter()
    for place, name in enumerate(COUNTS):
        meter.add("retry", **{name: place})
        meter.add("attempt", **{name: 2 * place})
    resumed = Meter()
    resumed.add("train", trained_tokens=99)
    resumed.load_json(json.loads(json.dumps(meter.to_json())))
    assert resumed.to_json() == meter.to_json()
    assert json.dumps(resumed.to_json()) == json.dumps(meter.to_json())


def test_a_method_is_charged_for_everything_it_does() -> None:
    at = stage({"a0": ["sing", *EXPERT], "a0?0": [report(1)], "a0.r0": EXPERT})
    group = at.group()

    async def explore() -> None:
        base = (await group.attempt())[0]
        reflection = await group.reflect(base)
        await group.retry(base, at=1, guidance=reflection.guidance)

    play(explore())
    counts = at.meter.to_json()
    assert counts["attempt"]["env_steps"] == 5
    assert counts["retry"]["env_steps"] == 4
    assert "env_steps" not in counts["reflect"]
    tokens = {purpose: of["generated_tokens"] for purpose, of in counts.items()}
    segments = [node.segment for node in group.forest.nodes if node.segment.sampled]
    assert sum(tokens.values()) == sum(len(segment.token_ids) for segment in segments)
    assert all(count > 0 for count in tokens.values())
    assert at.meter.total("prefilled_tokens") == sum(len(request.token_ids) for wave in at.waves for request in wave)


def test_every_env_step_is_a_state_of_the_tree() -> None:
    at = stage({"a0": ["sing", *EXPERT], "a0.r0": EXPERT, "a1": EXPERT})
    group = at.group()

    async def explore() -> None:
        base = (await group.attempt(2))[0]
        await group.retry(base, at=1)

    play(explore())
    assert at.meter.total("env_steps") == len(group.tree.states) - 1
