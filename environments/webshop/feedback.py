"""A purchase's judgement in the terms of the suite: milestones that can be checked, and a sentence."""

from __future__ import annotations

from r3lbench.rubric import Rubric

from .goals import Goal
from .reward import Reward

NOTHING_BOUGHT = "nothing has been bought"


def rubrics(goal: Goal, reward: Reward | None, bought: bool) -> tuple[Rubric, ...]:
    """Type, attributes, options and price of an item, and its purchase; equal weights, distinct names.

    Args:
        goal: What is asked for.
        reward: Judgement of the item looked at or bought; None when there is none.
        bought: Whether it was bought.
    """
    options = ((f"{group}: " if group else "", value) for group, value in goal.goal_options)
    names = [
        f"a product of type: {goal.query}",
        *(f"with the attribute: {attribute}" for attribute in goal.attributes),
        *(f"with the option chosen: {group}{value}" for group, value in options),
        f"at a price of at most ${goal.price_upper:.2f}",
    ]
    met = [False] * len(names)
    if reward is not None:
        met = [reward.type == 1.0, *reward.attributes, *reward.options, reward.price]
    numbered = (name if names.index(name) == at else f"{name} ({at})" for at, name in enumerate(names))
    return (*map(Rubric, numbered, met), Rubric("bought", bought))


def in_words(reward: Reward | None) -> str:
    """The parts of a purchase's reward."""
    if reward is None:
        return NOTHING_BOUGHT
    parts = (
        f"score {reward.total:.2f}",
        f"attributes {sum(reward.attributes)} / {len(reward.attributes)}",
        f"options {sum(reward.options)} / {len(reward.options)}",
        f"price {'ok' if reward.price else 'too high'}",
        f"type {'ok' if reward.type == 1.0 else 'wrong'}",
    )
    return ", ".join(parts)
