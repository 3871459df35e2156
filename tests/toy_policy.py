"""A policy for the toy environment that knows its four actions and little else: some episodes succeed, most do not."""

from __future__ import annotations

import json
import random
from pathlib import Path

from r3lbench.agent import View
from r3lbench.agents.chat import ChatAgent
from r3lbench.engines.template import ChatTemplate, Message
from r3lbench.policies.finding import CARD
from r3lbench.policies.imitation import ImitationConfig, WeightedSequence, imitate
from r3lbench.policies.tiny import TinyConfig, build_model
from r3lbench.policies.tokenizer import build_tokenizer
from r3lbench.tools import declaration
from tests.toy import Toy

ACTIONS = ("go west", "go east", "take key", "open door")
DEFAULTS = {
    "env": {"rooms": 3, "max_steps": 8},
    "agent": {"name": "chat", "max_tokens": 3},
    "reflection": {"style": "compact", "max_tokens": 6},
    "evaluation": {"tasks": 2},
    "optimiser": {"lr": 1e-3},
}
"""What the policy's card says suits it."""


def make_toy_policy(folder: Path, agent: ChatAgent | None = None) -> Path:
    """Write the policy as a Hugging Face folder; takes a few seconds, and is the same on every call.

    It has learned to act as ``agent`` does; plainly by default.
    """
    agent, env, rng = agent or ChatAgent(), Toy(rooms=3), random.Random(0)
    observations = []
    for task in env.panel("train"):
        env.reset(options={"task": task.id})
        for _ in range(6):
            observations.append(f"Step {env.elapsed_steps}: {env.observation}")
            if env.done:
                break
            env.step(rng.choice([action for action in env.admissible_actions() if action != "open door"]))
    *offered, _ = agent.opening(View(env, agent.sees, "the agent"))
    # Joints are single tokens: an action is one draw, and another ends the turn.
    said = {action: agent.say(action) for action in ACTIONS}
    texts = [*observations, *(declaration(message.content) for message in offered)]
    tokenizer = build_tokenizer(texts, joints=list(said.values()), min_count=1)
    model = build_model(tokenizer, TinyConfig(hidden=32, intermediate=32, heads=2, context=1024, structured=False))
    template = ChatTemplate(tokenizer)
    lessons = []
    for observation in observations:
        for action in ACTIONS:
            prompt = template.opening([*offered, Message("user", observation)])
            reply = (*tokenizer(said[action])["input_ids"], template.end_id)
            lessons.append(WeightedSequence((*prompt, *reply), (*[0.0] * len(prompt), *[1.0] * len(reply))))
    imitate(model, lessons, ImitationConfig(steps=40, learning_rate=2e-2, warm_up_steps=5), seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / CARD).write_text(json.dumps({"environment": "toy", "defaults": DEFAULTS}))
    return folder
