"""Two attempts in a corridor whose every step can be judged by hand, as methods credit them and runs record them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from r3lbench.agent import Agent
from r3lbench.baseline import Baseline
from r3lbench.baselines.grpo import GRPO
from r3lbench.baselines.r3l import R3L
from r3lbench.recording import group_json
from r3lbench.rollout.group import Group
from r3lbench.traces import RecordedGroup
from tests.baselines.attempts import reflectors
from tests.stage import EXPERT, Stage, play, report, stage
from tests.toy import Toy

# Worked by hand: in a corridor of three rooms the key lies at the start, the door is at the other end, and six steps
# are allowed. Four are needed, so one step east can be taken back and a second one cannot: after it the key can still
# be had, half of the score, but the door is out of reach. V along DAWDLE: 1, 1, .5, .5, .5, .5, .5; k* = 1.
DAWDLE = ["go east", "go east", "go west", "go west", "take key", "wait"]
MENDED = ["go west", "take key", "go east", "go east", "open door"]
"""From step 1 of DAWDLE on."""
PRAISE = report(None, outcome="success", plan=None)


def corridor(**options: Any) -> Toy:
    return Toy(rooms=3, max_steps=6, **options)


def recorded(group: Group, method: Baseline) -> RecordedGroup:
    """A group as a run writes and this command reads it."""
    return RecordedGroup.model_validate_json(json.dumps(group_json(group, method.credit(group))))


def tried(
    method: Baseline, replies: dict[str, Sequence[str]], agent: Agent | None = None, **settings: Any
) -> tuple[Stage, Group, RecordedGroup]:
    at = stage(replies, agent=agent, reflectors=reflectors(), **settings)
    group = at.group()
    play(method.explore(group))
    return at, group, recorded(group, method)


def by_grpo() -> RecordedGroup:
    return tried(GRPO(group_size=2), {"a0": DAWDLE, "a1": EXPERT})[2]


def by_r3l(pivot: int = 1, **switches: Any) -> RecordedGroup:
    replies = {"a0": DAWDLE, "a0?0": [report(pivot)], "a0.r0": MENDED, "a1": EXPERT, "a1?0": [PRAISE]}
    return tried(R3L(group_size=4, **switches), replies)[2]
