"""Settings of recorded runs: which are not the default, what they are called, how they are spelled on a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from r3lbench import ablation
from r3lbench.baseline import Ablations
from r3lbench.config import dotted, dump, plugin_model
from r3lbench.engines.settings import EngineConfig
from r3lbench.errors import UnknownName
from r3lbench.registry import AGENTS, BASELINES, Registry
from r3lbench.scaling import TrainedPolicyConfig

_ELSEWHERE = ("method", "env", "agent", "policy", "engine", "budget", "evaluation", "seed")
"""Settings that set rows or groups apart by themselves."""
_WITHOUT_EFFECT = ("out", "quiet", "threads", "checkpoint_every", "resume", "pool", "memory", "rollout")
"""Settings without effect on what is learned."""


def called(method: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A method's name, which is that of an ablation where its paper gave it one, and its other switches."""
    name, switches = str(method.get("name")), non_default(BASELINES, method)
    known: Ablations = {}
    # Of a method that is not installed nobody knows any. To ask for all names first would read what all packages say.
    with suppress(UnknownName):
        known = BASELINES.load(name).ablations
    found = ablation.named(switches, known)
    return (name, switches) if found is None else (f"{name} {found}", {})


def player(config: Mapping[str, Any], policy: str) -> tuple[str, dict[str, Any]]:
    """What an evaluated agent is called, with its policy if it has one, and its settings that are not the default."""
    agent = config.get("agent") or {}
    name = str(agent.get("name"))
    return (f"{name}, policy {policy}" if policy else name), non_default(AGENTS, agent)


def limits(config: Mapping[str, Any]) -> dict[str, float]:
    """What a run could spend, by name; what was not limited is left out."""
    return {name: limit for name, limit in (config.get("budget") or {}).items() if limit is not None}


def others(config: Mapping[str, Any]) -> dict[str, Any]:
    """What else may influence learning, by dotted name; of the policy, which of its weights learn, and in what."""
    usual = dotted(dump(TrainedPolicyConfig()))
    policy = {**usual, **dotted(config.get("policy") or {})}
    engine = {**dump(EngineConfig()), **(config.get("engine") or {})}
    return {
        **{f"policy.{name}": policy[name] for name in usual if name not in ("name", "device")},
        **{f"engine.{name}": engine[name] for name in ("name", "importance_cap", "dtype")},
        **{
            name: value
            for name, value in dotted(config).items()
            if name.split(".")[0] not in (*_ELSEWHERE, *_WITHOUT_EFFECT)
        },
    }


def non_default(registry: Registry[Any], values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of a plug-in that are not its default; all where the plug-in is not installed."""
    given = dict(values or {})
    name = given.pop("name", None)
    defaults: dict[str, Any] = {}
    if name is not None:
        try:
            entry = registry.entry(name)
        except UnknownName:
            return given
        model: type[BaseModel] = plugin_model(name, entry.load())
        fields = {key: field.get_default(call_default_factory=True) for key, field in model.model_fields.items()}
        defaults = to_jsonable_python({**fields, **entry.defaults}, fallback=str)
    return {key: value for key, value in given.items() if key not in defaults or defaults[key] != value}


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings on one line."""
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in sorted(shown.items()))


def as_key(value: Any) -> str:
    """Equal texts for equal JSON values."""
    return json.dumps(value, sort_keys=True)
