"""WebShop as a text environment: one goal, one shopper, one purchase."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from r3lbench.env import Outcome, TextEnv
from r3lbench.errors import UnknownName
from r3lbench.registry import register_env, unknown
from r3lbench.rubric import Rubric
from r3lbench.tasks import Task, TaskPanel
from r3lbench.teaching import Demonstrator, Diagnosis, Player

from . import feedback
from .columns import LookedUp
from .diagnosis import diagnose
from .expert import Expert
from .game import advance, judge, parse_action
from .goals import ORDER_SEED, Goal
from .pages import Mode, Pages, pages_of
from .players import Manner, demonstrations
from .protocols import PROTOCOLS, REWARD_RANGE, SPLITS, GoalKind, Protocol
from .shop import Shop, open_shop, splits_of
from .state import START, Page, State

if TYPE_CHECKING:
    from r3lbench.episode import Trajectory

_NO_BRACKETS = str.maketrans("[]\n", "   ")


@register_env("webshop")
class WebShop(TextEnv):
    """Buy the product that an instruction describes (Yao et al. 2022, arXiv 2207.01206).

    Args:
        protocol: Name of a published setting, see ``protocols.PROTOCOLS``.
        data: Folder with WebShop's files; None takes ``WEBSHOP_DATA_DIR``, and the generated catalogue where that is
            not set either; ``"generated"`` always takes the latter.
        num_products: Use only the first so many products of the files.
        goals: ``"human"`` or ``"synthetic"``, overriding the protocol.
        observation_mode: ``"text_rich"`` or ``"text"``.
        max_steps: Step limit, overriding the protocol's.
        catalogue_seed: Seed of the generated catalogue.
        price_seed: Seed of the prices and price limits drawn for WebShop's files; None draws anew in every process, as
            upstream does, and so does 0 with ``strict_upstream``.
        order_seed: Seed of the order of the goals of WebShop's files; None shuffles anew in every process, as trainers
            that seed every worker on its own do.
        strict_upstream: Repeat upstream's errors: options are compared as it compares them, which leaves some goals
            out of reach, and prices are drawn without a seed unless another than 0 is given. (Its second purchase after
            the end is in ``game.advance``; an environment takes no step after the end.)
        **options: Passed on to ``TextEnv``.
    """

    name: ClassVar[str] = "WebShop-v0"
    kind: ClassVar[str] = "web"
    splits: ClassVar[tuple[str, ...]] = SPLITS
    reward_range: ClassVar[tuple[float, float]] = REWARD_RANGE
    instructions: ClassVar[str] = (
        "You are shopping online. Find the product that the instruction describes, choose the options it names, and "
        "buy it. Write search[words] to search, or click[text] to press one of the buttons, products or options shown."
    )

    def __init__(
        self,
        *,
        protocol: str = "default",
        data: str | None = None,
        num_products: int | None = None,
        goals: str | None = None,
        observation_mode: str = "text_rich",
        max_steps: int | None = None,
        catalogue_seed: int = 0,
        price_seed: int | None = 0,
        order_seed: int | None = ORDER_SEED,
        strict_upstream: bool = False,
        **options: Any,
    ) -> None:
        rules: Protocol = _known("protocol", protocol, PROTOCOLS)
        super().__init__(max_steps=rules.max_steps if max_steps is None else max_steps, **options)
        self.protocol = replace(rules, max_steps=self.max_steps)
        self.mode: Mode = _known("observation mode", observation_mode, {mode.value: mode for mode in Mode})
        self.strict = strict_upstream
        self.shop = open_shop(
            data,
            self.protocol,
            goals=None if goals is None else _known("kind of goals", goals, {kind.value: kind for kind in GoalKind}),
            num_products=num_products,
            catalogue_seed=catalogue_seed,
            price_seed=None if strict_upstream and price_seed == 0 else price_seed,
            order_seed=order_seed,
        )
        self.pages = pages_of(self.shop.catalogue, self.mode, self.protocol.page_size)
        _, self._positions = splits_of(self.shop, self.protocol)
        self.goal: Goal
        self.state: State = START

    def panel(self, split: str) -> TaskPanel:
        """The split's goals; the settings name the catalogue and everything else that decides what they mean."""
        if split not in self.splits:
            raise UnknownName(unknown("split", split, self.splits))
        return _panel(self.shop, self.protocol, self.mode, self.strict, split)

    def start(self, task: Task) -> str:
        """The search page with the task's instruction."""
        self.goal, self.state = self._goal_of(task), START
        return self.pages.render(self.goal, self.state)

    def act(self, action: str) -> Outcome:
        """Search or click; anything else does nothing."""
        turn = advance(self.pages, self.goal, self.state, action, self.protocol, strict=self.strict)
        self.state = turn.state
        rules, last = self.protocol, self.elapsed_steps + 1 >= self.max_steps
        reward = 0.0 if turn.valid else rules.invalid_reward
        if self.state.reward is not None:
            paid = rules.success_reward
            reward = self.state.score if paid is None else paid * self.success()
        elif turn.ended or last:
            reward += rules.unbought_reward
        silent = turn.valid or rules.invalid_text is None
        shown = self.pages.render(self.goal, self.state) if silent else rules.invalid_text or ""
        return Outcome(shown, reward, turn.ended, turn.valid)

    def score(self) -> float:
        """What the purchase is worth; 0 before it."""
        return self.state.score

    def success(self) -> bool:
        """Whether a purchase worth 1.0 was made."""
        return self.state.score == 1.0

    def feedback(self) -> str:
        """The parts of the purchase's reward in words."""
        return feedback.in_words(self.state.reward)

    def rubrics(self) -> tuple[Rubric, ...]:
        """Type, attributes, options and price of the item looked at or bought, and the purchase itself."""
        looked_at = self.state.reward
        if looked_at is None and self.state.product >= 0:
            looked_at = judge(self.pages, self.goal, self.state, strict=self.strict)
        return feedback.rubrics(self.goal, looked_at, self.state.page is Page.DONE)

    def admissible_actions(self) -> tuple[str, ...]:
        """Every click that does something, and on the search page a search for the instruction."""
        if self.done:
            return ()
        if self.state.page is Page.SEARCH:
            words = self.goal.instruction_text.translate(_NO_BRACKETS).strip()
            return (f"search[{words or self.goal.query}]",)
        clicks = {f"click[{text}]": text for text in self.pages.texts(self.state)}
        # A bracket or line break inside an option's name defeats the action grammar, here as upstream.
        return tuple(action for action, text in clicks.items() if parse_action(action) == ("click", text.lower()))

    def expert_action(self) -> str | None:
        """The next action of a shopper who knows every product."""
        return None if self.done else next(iter(self.expert.route(self.state)), None)

    def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """The step to do differently, and a plan from there."""
        expert = _expert(self.pages, self._goal_of(self.resolve(trajectory.task.id)), self.strict)
        return diagnose(expert, trajectory.actions, self.protocol)

    def demonstrators(self) -> tuple[Demonstrator, ...]:
        """An expert, a careless shopper, and one who makes mistakes and mends them."""
        return tuple(Demonstrator(manner.name, manner.weight, _beginning(manner)) for manner in demonstrations())

    @property
    def expert(self) -> Expert:
        """The oracle of the running episode's goal."""
        return _expert(self.pages, self.goal, self.strict)

    def capture(self) -> State:
        """The state itself: it is immutable."""
        return self.state

    def reinstate(self, payload: State) -> None:
        """Return to a captured state."""
        self.goal, self.state = self._goal_of(self.task), payload

    @property
    def native_owner(self) -> Hashable:
        """Every environment of this process that plays the same shop by the same rules."""
        return self.name, self.shop, self.protocol, self.mode, self.strict

    def _goal_of(self, task: Task) -> Goal:
        return self.shop.goals[self._positions[task.split][task.index]]


@lru_cache(maxsize=64)
def _panel(shop: Shop, protocol: Protocol, mode: Mode, strict: bool, split: str) -> TaskPanel:
    """The panel of a split, one for all environments that play it."""
    rule, splits = splits_of(shop, protocol)
    positions = splits[split]
    settings = {
        "protocol": protocol.name,
        "catalogue": shop.catalogue.name,
        "catalogue_hash": shop.catalogue.hash,
        "title_nouns": shop.catalogue.nouns.name,
        "goals": shop.kind,
        "split_rule": rule,
        "observation_mode": mode.value,
        "max_steps": protocol.max_steps,
        "strict_upstream": strict,
    }
    keys = LookedUp(len(positions), lambda index: shop.keys[positions[index]], 0)
    return TaskPanel(WebShop.name, split, keys, settings)


@lru_cache(maxsize=256)
def _expert(pages: Pages, goal: Goal, strict: bool) -> Expert:
    """One oracle a goal, as it remembers what it has judged."""
    return Expert(pages, goal, strict)


def _beginning(manner: Manner) -> Callable[[np.random.Generator], Player]:
    """A manner of shopping as a player of the environment."""

    def begin(rng: np.random.Generator) -> Player:
        play = manner.begin(rng)

        def player(env: TextEnv) -> tuple[str, bool]:
            if not isinstance(env, WebShop):
                raise TypeError(f"a shopper plays {WebShop.name}, not {env.name}")
            return play(env.expert, env.state)

        return player

    return begin


def _known(kind: str, name: str, table: dict[str, Any]) -> Any:
    """The table's entry of this name.

    Raises:
        UnknownName: There is none.
    """
    if name not in table:
        raise UnknownName(unknown(kind, name, table))
    return table[name]
