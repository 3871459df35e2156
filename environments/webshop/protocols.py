"""Published ways to play WebShop, as data: steps, page, rewards, what ends an episode, and which goals are held out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from r3lbench.errors import BadData


class GoalKind(StrEnum):
    """Where goals come from."""

    HUMAN = "human"
    SYNTHETIC = "synthetic"


Split = tuple[int, int | None]
"""First and end position in the shuffled goals; the end None means all that are left."""

SPLITS = ("train", "dev", "test")
UPSTREAM_SPLITS: dict[str, Split] = {"test": (0, 500), "dev": (500, 1500), "train": (1500, None)}
"""Convention of the WebShop authors (``baseline_models/env.py``); their "eval" is our "dev"."""


@dataclass(frozen=True)
class Protocol:
    """One published setting.

    Attributes:
        name: As in ``protocol="r3l"``.
        max_steps: Episodes are cut after this many actions.
        page_size: Products on a results page.
        goals: Kind of goal; None takes human goals where there are enough of them for ``splits``, else synthetic ones.
        splits: Positions of each split in the shuffled goals, where the goals suffice for them; else ``small_splits``.
        success_reward: Reward of a purchase worth 1.0, all others being 0; None pays what the purchase is worth.
        unbought_reward: Reward of the step that ends an episode without a purchase.
        invalid_reward: Reward of a step whose action did nothing.
        invalid_text: Observation after an action that did nothing; None shows the page again.
        search_anywhere: ``search[...]`` works on every page, as upstream allows, and not only on the search page.
        malformed_ends: Text that is neither ``search[...]`` nor ``click[...]`` ends the episode.
        repeat_limit: Taking the same action so many times in a row ends the episode; None never does.
        repeat_exempt: Actions that hold one of these words may be repeated.
    """

    name: str
    max_steps: int = 15
    page_size: int = 10
    goals: GoalKind | None = None
    splits: tuple[tuple[str, Split], ...] = tuple(UPSTREAM_SPLITS.items())
    success_reward: float | None = None
    unbought_reward: float = 0.0
    invalid_reward: float = 0.0
    invalid_text: str | None = None
    search_anywhere: bool = True
    malformed_ends: bool = False
    repeat_limit: int | None = None
    repeat_exempt: tuple[str, ...] = ()

    def repeats_end(self, action: str, repeats: int) -> bool:
        """Whether taking ``action`` for the ``repeats``-th time in a row ends the episode."""
        if self.repeat_limit is None or repeats < self.repeat_limit:
            return False
        return not any(word in action.lower() for word in self.repeat_exempt)

    def ranges(self, goals: int) -> tuple[str, dict[str, range]]:
        """Name of the splitting rule that applies to so many goals, and each split's positions."""
        if self.suffices(goals):
            return "published", {name: range(start, end or goals) for name, (start, end) in self.splits}
        return "small", small_splits(goals)

    def suffices(self, goals: int) -> bool:
        """Whether so many goals fill the published splits, with as many again beyond them."""
        return goals >= 2 * max(end or start for _, (start, end) in self.splits)


def small_splits(goals: int) -> dict[str, range]:
    """Splits of a small set of goals: a tenth, at most 500, for test; as many for dev; the rest for training.

    Raises:
        BadData: There are fewer goals than splits.
    """
    if goals < len(SPLITS):
        raise BadData(f"{goals} goals cannot be split into {', '.join(SPLITS)}; use more products")
    held_out = min(500, max(1, goals // 10))
    return {
        "test": range(held_out),
        "dev": range(held_out, 2 * held_out),
        "train": range(2 * held_out, goals),
    }


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("default"),
        # R3L (arXiv 2601.03715): sessions 0-4095 for training and the next hundred for test; so it trains on what the
        # WebShop authors call test. Its dev split is ours.
        Protocol(
            "r3l",
            goals=GoalKind.HUMAN,
            splits=(("train", (0, 4096)), ("test", (4096, 4196)), ("dev", (4196, 4296))),
            unbought_reward=-0.1,
            invalid_text=(
                "Invalid action: it is not available on this page. Use search[words] where there is a search bar, or "
                "click[value] with one of the values shown."
            ),
            search_anywhere=False,
            malformed_ends=True,
            repeat_limit=2,
            repeat_exempt=("next", "prev", "search"),
        ),
        # GiGPO (arXiv 2505.10978, verl-agent): 10 for success and nothing else; an action that does nothing costs 0.1.
        # It trains on all goals from 500 on; the first 500 of them are our dev split.
        Protocol(
            "gigpo",
            goals=GoalKind.SYNTHETIC,
            splits=(("test", (0, 500)), ("dev", (500, 1000)), ("train", (1000, None))),
            success_reward=10.0,
            invalid_reward=-0.1,
            search_anywhere=False,
        ),
        # Short pages for policies of a few hundred thousand weights.
        Protocol("compact", max_steps=12, page_size=5, invalid_text="Invalid action.", search_anywhere=False),
    )
}
REWARD_RANGE = (-0.1, 10.0)
"""Bounds of a step's reward under all protocols."""
