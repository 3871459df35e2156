"""Where a purchase went wrong, why, and a plan that can be carried out from there.

Each state is a known number of steps away from the best purchase (the length of the expert's route). Three rules find
the *pivot*, the step to do differently:

* something wrong was bought: the search, if it left out what the instruction asks for and led to the product; else the
  click on the product; else the click on the wrong option; else the purchase that came too early;
* nothing was bought: the step taken when the purchase was nearest, for the first time, with enough steps left. Whatever
  followed, invalid actions included, brought it no nearer;
* the best was bought, but late: the first step that brought it no nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from r3lbench.teaching import Diagnosis

from .expert import Expert, Wording
from .game import advance
from .protocols import Protocol
from .state import START, Page, State


class RootCause(StrEnum):
    """Kinds of mistake."""

    VAGUE_SEARCH = "vague search"
    """The search left out attributes or option values, and its hits misled."""
    WRONG_PRODUCT = "wrong product"
    """A product was opened that cannot be right."""
    OPTION_MISSING = "option missing"
    """The right product was bought before all options were chosen."""
    OPTION_WRONG = "option wrong"
    """Another option value was chosen than the one asked for."""
    INVALID_ACTION = "invalid action"
    """An action did nothing, and nothing better followed."""
    DETOUR = "detour"
    """A valid action brought the purchase no nearer."""


def diagnose(expert: Expert, actions: Sequence[str], protocol: Protocol) -> Diagnosis | None:
    """Judge an episode by its actions.

    Args:
        expert: The expert for the episode's goal.
        actions: The actions taken since the start.
        protocol: The rules they were taken under.

    Returns:
        The diagnosis; ``success`` where the purchase is worth as much as any that a search leads to. None when there
        was no action yet.
    """
    if not actions:
        return None
    states, valid = _replay(expert, actions, protocol)
    distances = [len(expert.route(state)) for state in states]
    if states[-1].page is not Page.DONE:
        feasible = [step for step in range(len(actions)) if step + distances[step] <= protocol.max_steps] or [0]
        nearest = min(feasible, key=distances.__getitem__)
        pivot, cause = _mistake(expert, states, valid, nearest)
        summary, outcome = f"bought nothing in {len(actions)} steps: {cause}", "failure"
    elif not expert.is_best(states[-1].score):
        pivot, cause = _wrong_purchase(expert, states)
        summary, outcome = f"bought for score {states[-1].score:.2f}: {cause}", "failure"
    else:
        late = next((step for step in range(len(actions)) if distances[step + 1] >= distances[step]), None)
        if late is None:
            return Diagnosis("bought the right product with the right options", "success")
        pivot, cause = _mistake(expert, states, valid, late)
        summary, outcome = f"bought the right product in {len(actions)} steps: {cause}", "success_but_inefficient"
    plan = expert.in_words(expert.route(states[pivot]))
    return Diagnosis(summary, outcome, root_cause=str(cause), suggestion=plan, pivot=pivot)


def _replay(expert: Expert, actions: Sequence[str], protocol: Protocol) -> tuple[list[State], list[bool]]:
    """The ``steps + 1`` states of an episode, and whether each action was valid."""
    states, valid = [START], []
    for action in actions:
        turn = advance(expert.pages, expert.goal, states[-1], action, protocol, strict=expert.strict)
        states.append(turn.state)
        valid.append(turn.valid)
    return states, valid


def _wrong_purchase(expert: Expert, states: list[State]) -> tuple[int, RootCause]:
    """Pivot and cause of an episode that ended in a purchase worth less than the best."""
    last = len(states) - 2
    item = states[last]
    if not expert.is_right(item.product):
        opened = max(k for k in range(last) if states[k].page is Page.RESULTS and states[k + 1].page is Page.ITEM)
        return _wrong_product(expert, states, opened)
    needed = set(expert.choices(item.product))
    groups = dict(expert.pages.catalogue.products[item.product].options)
    chosen_wrong = [
        max(k for k in range(last) if dict(states[k].options).get(group) != value)
        for group, value in item.options
        if value not in needed and needed & set(groups[group])
    ]
    if chosen_wrong:
        return min(chosen_wrong), RootCause.OPTION_WRONG
    return last, RootCause.OPTION_MISSING


def _mistake(expert: Expert, states: list[State], valid: list[bool], step: int) -> tuple[int, RootCause]:
    """Pivot and cause, given a step that brought the purchase no nearer."""
    before, after = states[step], states[step + 1]
    if not valid[step]:
        return step, RootCause.INVALID_ACTION
    if after.page is Page.ITEM and before.page is Page.RESULTS:
        return _wrong_product(expert, states, step)
    if after.page is Page.RESULTS and after.query != before.query and not _is_full(expert, after.query):
        return step, RootCause.VAGUE_SEARCH
    if after.options != before.options and after.page is Page.ITEM:
        return step, RootCause.OPTION_WRONG
    return step, RootCause.DETOUR


def _wrong_product(expert: Expert, states: list[State], opened: int) -> tuple[int, RootCause]:
    """The search is to blame for a wrong product if it was incomplete and no better hit stood above the opened one."""
    results, product = states[opened], states[opened + 1].product
    shown = expert.pages.shown(results)
    above = shown[: shown.index(product)]
    if _is_full(expert, results.query) or any(expert.is_right(position) for position in above):
        return opened, RootCause.WRONG_PRODUCT
    searched = max(k for k in range(opened) if states[k].query != results.query or states[k].page is Page.SEARCH)
    return searched, RootCause.VAGUE_SEARCH


def _is_full(expert: Expert, query: str) -> bool:
    """Whether a query names everything that the instruction asks for, in any order."""
    asked = expert.words(Wording.FULL).lower().replace(",", " ").split()
    return set(asked) <= set(query.lower().replace(",", " ").split())
