"""Acting by calls of the tool, from play with a scripted voice to an update of a real policy."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from r3lbench.agent import Message
from r3lbench.agents.chat import ChatAgent
from r3lbench.run import main
from r3lbench.tools import write_call
from tests.stage import EXPERT, play, read, report, stage

AGENT = ChatAgent(format="tools", max_tokens=256)


def said(*actions: str) -> list[str]:
    return [f"Well.\n{write_call(action)}" for action in actions]


def test_an_episode_is_played_by_calls_and_their_answers() -> None:
    at = stage({"a0": said(*EXPERT)}, agent=AGENT)
    group = at.group()
    (attempt,) = play(group.attempt())
    assert attempt.success and attempt.trajectory.actions == EXPERT
    assert [message.role for turn in attempt.turns for message in turn.prompt] == ["tools", "user", *["tool"] * 3]
    whole = read(group, attempt.turns[-1].node)
    assert whole.count("<tools>") == 1 and whole.count("<tool_response>\nStep ") == 3
    assert all(text in whole for text in said(*EXPERT))


@pytest.mark.parametrize("text", ["take key", '<tool_call>{"name": "act", "arguments": "take key"}</tool_call>'])
def test_a_reply_without_a_call_is_an_invalid_action_and_is_answered(text: str) -> None:
    at = stage({"a0": [text, *said(*EXPERT)]}, agent=AGENT)
    (attempt,) = play(at.group().attempt())
    assert attempt.trajectory.actions == ("", *EXPERT)
    assert [state.valid for state in attempt.trajectory.states[1:]] == [False, *[True] * 4]
    (heard,) = attempt.turns[1].prompt
    assert heard.role == "tool" and heard.content.startswith("Step 1: Nothing happens.")


@pytest.mark.parametrize("style", ["full", "compact"])
def test_a_guided_retry_continues_behind_the_answer(style: str) -> None:
    replies = {"a0": said("take key", "go east", *["sing"] * 4), "a0?0": [report(2)], "a0.r0": said(*EXPERT[2:])}
    at = stage(replies, agent=AGENT, style=style)
    group = at.group()

    async def explore() -> None:
        (base,) = await group.attempt()
        reflection = await group.reflect(base)
        await group.retry(base, at=2, guidance=reflection.guidance)

    play(explore())
    (retry,) = group.retries
    assert retry.success and retry.trajectory.actions == EXPERT
    answered, guided = retry.turns[2].prompt
    assert (answered.role, guided.role) == ("tool", "system") and "PLAN" in guided.content
    assert "PLAN" not in read(group, group.distill(retry).turns[-1])
    question = at.requests("a0?0")[0].token_ids
    own = tuple(group.forest.token_ids(group.attempts[0].turns[-1].node))
    assert (question[: len(own)] == own) is (style == "compact")


def test_rules_that_are_replaced_leave_the_tool() -> None:
    at = stage({"a0": said(*EXPERT)}, agent=ChatAgent(format="tools", rules=True, max_tokens=256))
    (attempt,) = play(at.group().attempt())
    rules, tools, first = at.rollout.agent.instructed(attempt.turns[0].prompt, "NEW")
    assert rules == Message("system", "NEW\n\nAct by calling the tool act, once a turn.")
    assert (tools.role, first.role) == ("tools", "user")


def test_a_policy_explores_distills_and_learns(tmp_path: Path) -> None:
    from tests.toy_policy import ACTIONS, make_toy_policy  # imports torch

    policy = make_toy_policy(tmp_path / "policy", ChatAgent(format="tools"))
    ask = [
        *("--env", "toy", "--policy", str(policy), "--agent.format", "tools", "--method", "r3l"),
        *("--method.group-size", "6", "--method.reflection", "oracle", "--tasks-per-update", "2"),
        *("--budget.updates", "1", "--evaluation.tasks", "1", "--threads", "1", "--quiet", "--out"),
    ]
    assert main([*ask, str(tmp_path / "run")]) == 0
    (metrics,) = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert metrics["explore"]["retries"] > 0
    evaluated = [json.loads(line) for line in (tmp_path / "run" / "evaluation.jsonl").read_text().splitlines()]
    acted = [action in ACTIONS for line in evaluated for action in line["actions"]]
    assert sum(acted) > 0.9 * len(acted)
    tree = gzip.decompress((tmp_path / "run" / "trees" / "u000001.jsonl.gz").read_bytes())
    groups: list[dict[str, Any]] = [json.loads(line) for line in tree.splitlines()]
    assert {"base", "distilled"} <= {term["label"] for group in groups for term in group["terms"] if term["weight"]}
    before, after = (load_file(at / "model.safetensors") for at in (policy, tmp_path / "run" / "policy"))
    assert any((before[name] != after[name]).any() for name in before)
