"""Groups of attempts with chosen returns, for the tests of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Literal

from r3lbench.agents.chat import ChatAgent
from r3lbench.baseline import Baseline
from r3lbench.reflection import Reflector
from r3lbench.registry import REFLECTORS
from r3lbench.rollout.group import Group
from r3lbench.tokens import Term
from tests.stage import Ledger, Stage, play, report, stage


def paying(*rewards: float | Sequence[float]) -> dict[str, list[str]]:
    """First attempts that earn these rewards, a step each, and then end."""
    steps = [[reward] if isinstance(reward, int | float) else list(reward) for reward in rewards]
    return {f"a{number}": [*[str(value) for value in own[:-1]], f"{own[-1]} end"] for number, own in enumerate(steps)}


def explored(method: Baseline, replies: Mapping[str, Sequence[str]], **settings: Any) -> tuple[Stage, Group]:
    """A group as the method explores it."""
    at = stage(replies, make_env=settings.pop("make_env", Ledger), **settings)
    group = at.group()
    play(method.explore(group))
    return at, group


def facts(terms: Sequence[Term]) -> list[tuple[Any, ...]]:
    """Everything about terms that training reads, for comparing two methods on one group."""
    return [(term.turns, term.weight, term.kind, term.old, term.sample.sampled_in) for term in terms]


def shipped(group: str) -> list[str]:
    """Names of the plug-ins of one kind that come with the package; one more is there as soon as it is announced."""
    points = entry_points(group=f"r3lbench.{group}")
    return sorted(point.name for point in points if point.value.startswith("r3lbench."))


METHODS = shipped("baselines")
MARK = "BEWARE"
"""A word that only guidance holds."""
REFLECTION = f"<prompt>{MARK} of zeros.</prompt> " + report(1, plan=f"{MARK} of zeros.")
"""An answer that every reflector can read."""
MIXED: dict[str, list[str]] = {
    **paying([0, 0.2, 0], [0.1, 0.4, 0], [0.5, 0.5], [0, -0.3]),
    **{f"a{number}?0": [REFLECTION] for number in range(4)},
    **{"a0.r0": ["0.6", "0.4 end"], "a1.r0": ["0.9 end"], "a2.r0": ["1 end"], "a3.r0": ["0.2 end"]},
}
"""First attempts return .2, .5, 1 and -.3; a retry solves the first task, one from step 1 also the second."""
FAILED = MIXED | paying([0, 0.2, 0], [0.1, 0.4, 0], [0.2, 0.3], [0, -0.3])
"""As before, but the third returns .5, too, so that nothing is solved at first."""


def reflectors(style: Literal["full", "compact"] = "full") -> dict[str, Reflector]:
    """Every reflector, by name."""
    return {name: REFLECTORS.load(name)(style=style) for name in shipped("reflectors")}


def credited(
    method: Baseline, replies: Mapping[str, Sequence[str]] = MIXED, **settings: Any
) -> tuple[Stage, Group, list[Term]]:
    """A group that any method can explore, and what it is credited with."""
    settings = {"agent": ChatAgent(rules=True), "reflectors": reflectors(settings.get("style", "full")), **settings}
    at, group = explored(method, replies, **settings)
    return at, group, method.credit(group)
