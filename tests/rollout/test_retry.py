"""A retry continues its base's states and tokens, and its distilled copy knows nothing of guidance."""

from __future__ import annotations

import pytest

from r3lbench.agents.chat import ChatAgent
from r3lbench.rollout.group import Attempt, Ended, Group, Placement
from r3lbench.tokens import Kind
from tests.stage import EXPERT, Drifting, Replayed, Stage, encode, lines, play, read, report, stage

BASE = ("take key", "sing", "go west", "sing", "go east")
"""Five turns of a base that fails; the sixth is ``wait``."""
REST = ("go east", "go east", "open door")
GUIDANCE = "GUIDANCE: walk on."


def retried(
    at: Stage, k: int, guidance: str = GUIDANCE, placement: Placement = Placement.PIVOT
) -> tuple[Group, Attempt, Attempt]:
    """A base and its retry from step ``k``."""
    group = at.group()

    async def explore() -> tuple[Attempt, Attempt]:
        base = (await group.attempt())[0]
        return base, await group.retry(base, at=k, guidance=guidance, placement=placement)

    base, retry = play(explore())
    return group, base, retry


def acts(k: int, **settings: bool) -> Stage:
    """A base that fails, and a retry that succeeds from any ``k``: from the start, or with the key in hand."""
    return stage({"a0": BASE, "a0.r0": EXPERT if k == 0 else REST}, agent=ChatAgent(**settings))


# States and tokens are shared


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_a_retry_shares_states_and_tokens_before_the_pivot_and_nothing_is_sampled_again(k: int) -> None:
    at = acts(k)
    group, base, retry = retried(at, k)
    assert retry.trajectory.states[: k + 1] == base.trajectory.states[: k + 1]
    assert retry.turns[:k] == base.turns[:k]
    assert {turn.node for turn in retry.turns[k:]}.isdisjoint(turn.node for turn in base.turns)
    assert retry.trajectory.observations[: k + 1] == base.trajectory.observations[: k + 1]
    assert (retry.base, retry.pivot, retry.guidance, retry.diverged) == (base, k, GUIDANCE, False)
    assert [int(request.key[-4:]) for request in at.requests("a0.r0")] == list(range(k, retry.steps))
    assert {request.purpose for request in at.requests("a0.r0")} == {"retry"}
    assert retry.success and retry.steps == k + (4 if k == 0 else 3)
    assert group.retries == [retry] and group.bases == [base]


def test_the_prefix_costs_no_step_where_the_environment_can_return_at_once() -> None:
    at = acts(2)
    retried(at, 2)
    assert at.meter.counts["retry"]["env_steps"] == len(REST)
    assert at.meter.counts["retry"]["replayed_steps"] == 0


def test_steps_of_a_replayed_prefix_are_counted_apart() -> None:
    at = stage({"a0": BASE, "a0.r0": REST, "a0.r1": REST}, make_env=lambda: Replayed(rooms=3, max_steps=6))
    group, base, retry = retried(at, 2)
    assert at.meter.counts["retry"]["env_steps"] == len(REST)
    assert at.meter.counts["retry"]["replayed_steps"] == 2
    assert retry.trajectory.observations[:3] == base.trajectory.observations[:3]
    play(group.retry(base, at=3))
    assert at.meter.counts["retry"]["replayed_steps"] == 2 + 3


def test_side_by_side_every_retry_finds_the_instance_that_knows_its_state() -> None:
    at = stage({f"a{n}": BASE for n in range(4)} | {f"a{n}.r0": REST for n in range(4)})
    group = at.group()

    async def explore() -> None:
        bases = await group.attempt(4)
        await group.gather(group.retry(base, at=2) for base in bases)

    play(explore())
    assert at.meter.counts["retry"]["replayed_steps"] == 0
    assert all(retry.success for retry in group.retries)


def test_the_step_limit_counts_the_prefix() -> None:
    at = stage({"a0": BASE, "a0.r0": ["sing"] * 9})
    _, _, retry = retried(at, 4)
    assert (retry.ended, retry.steps) == (Ended.TRUNCATED, 6)
    assert at.meter.counts["retry"]["env_steps"] == 2


@pytest.mark.parametrize("k", [-1, 6, 100])
def test_a_retry_from_a_step_that_was_not_taken_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"retry at step {k} of an attempt with 6 steps"):
        retried(acts(2), k)


# Guidance, and the copy without it


def unguided(retry: Attempt, opening: str) -> str:
    """What the retry's conversation would be had nobody guided it."""
    parts = [opening]
    for step, turn in enumerate(retry.turns):
        parts.append(f"<|user|>Step {step}: {retry.trajectory.observations[step]}<|assistant|>{turn.text}<|end|>")
    return "".join(parts)


@pytest.mark.parametrize("style", ["full", "compact"])
@pytest.mark.parametrize("rules", [False, True])
@pytest.mark.parametrize("k", [0, 2])
def test_a_copy_holds_no_guidance_and_remembers_where_it_was_sampled(k: int, rules: bool, style: str) -> None:
    replies = {"a0": BASE, "a0?0": [report(k)], "a0.r0": EXPERT if k == 0 else REST}
    at = stage(replies, agent=ChatAgent(rules=rules), style=style)
    group = at.group()

    async def explore() -> tuple[Attempt, Attempt]:
        base = (await group.attempt())[0]
        reflection = await group.reflect(base)
        return base, await group.retry(base, at=k, guidance=reflection.guidance)

    base, retry = play(explore())
    copy, guided = group.distill(retry), group.sample(retry)
    opening = read(group, base.turns[0].prompt_node).partition("<|user|>")[0]
    assert opening.startswith("<|system|>You solve a task") == rules

    assert read(group, copy.turns[-1]) == unguided(retry, opening)
    for step, (node, origin) in enumerate(zip(copy.turns, copy.sampled_in, strict=True)):
        assert "PLAN" not in read(group, node)
        assert ("PLAN" in read(group, origin)) == (step >= k)
        assert (node == origin) == (step < k)
    assert copy.sampled_in == guided.turns == tuple(turn.node for turn in retry.turns)
    assert copy.turns[:k] == tuple(turn.node for turn in base.turns[:k])
    # What the copy remembers is how likely the tokens were with guidance.
    for node, origin in zip(copy.turns, copy.sampled_in, strict=True):
        assert group.forest.nodes[node].segment.logprobs == group.forest.nodes[origin].segment.logprobs


def test_guidance_stands_just_before_the_turn_at_the_pivot() -> None:
    group, base, retry = retried(acts(2), 2)
    before = read(group, base.turns[2].prompt_node).removesuffix("<|assistant|>")
    assert read(group, retry.turns[2].node) == f"{before}<|system|>{GUIDANCE}<|assistant|>go east<|end|>"
    assert read(group, retry.turns[-1].node).count(GUIDANCE) == 1


def test_guidance_at_the_start_is_appended_to_the_system_prompt() -> None:
    group, base, retry = retried(acts(0, rules=True), 0)
    system, user, rest = read(group, base.turns[0].prompt_node).partition("<|user|>")
    assert read(group, retry.turns[0].prompt_node) == f"{system}\n\n{GUIDANCE}{user}{rest}"
    assert read(group, retry.turns[-1].node).count("<|system|>") == 1


def test_guidance_at_the_start_follows_the_observation_where_there_is_no_system_prompt() -> None:
    group, base, retry = retried(acts(0), 0)
    before = read(group, base.turns[0].prompt_node).removesuffix("<|assistant|>")
    assert read(group, retry.turns[0].prompt_node) == f"{before}<|system|>{GUIDANCE}<|assistant|>"


def test_a_guided_retry_can_be_imitated_in_its_guided_context_only_below_the_pivot() -> None:
    group, _, retry = retried(acts(2), 2)
    term = group.sample(retry).term(1.0, from_turn=retry.pivot, kind=Kind.LIKELIHOOD)
    assert term.turns == tuple(turn.node for turn in retry.turns[2:])
    assert all(GUIDANCE in read(group, turn) for turn in term.turns)
    assert term.tokens == sum(len(encode(action)) + 1 for action in REST)


def test_distilling_twice_adds_nothing() -> None:
    group, _, retry = retried(acts(2), 2)
    first = group.distill(retry)
    count = len(group.forest.nodes)
    assert group.distill(retry).turns == first.turns
    assert len(group.forest.nodes) == count


def test_a_retry_without_guidance_distills_to_the_same_contexts() -> None:
    group, base, retry = retried(acts(2), 2, guidance="")
    assert retry.turns[2].prompt_node == base.turns[2].prompt_node
    copy, own = group.distill(retry), group.sample(retry)
    assert [group.forest.token_ids(node) for node in copy.turns] == [group.forest.token_ids(node) for node in own.turns]


def test_a_first_attempt_distills_to_itself() -> None:
    group, base, _ = retried(acts(2), 2)
    assert group.distill(base).turns == group.distill(base).sampled_in == group.sample(base).turns


# A replaced system prompt


@pytest.mark.parametrize("rules", [False, True])
def test_a_replaced_system_prompt_takes_the_place_of_the_rules(rules: bool) -> None:
    group, base, retry = retried(acts(0, rules=rules), 0, placement=Placement.SYSTEM)
    opening = read(group, base.turns[0].prompt_node).partition("<|user|>")[0]
    told = read(group, retry.turns[-1].node)
    reminder = "\n\nAnswer with the action alone." if rules else ""
    assert told.startswith(f"<|system|>{GUIDANCE}{reminder}<|user|>Step 0: ")
    assert "You solve a task" not in told and told.count("<|system|>") == 1
    copy = group.distill(retry)
    assert read(group, copy.turns[-1]) == unguided(retry, opening)
    assert copy.sampled_in == group.sample(retry).turns


def test_a_replaced_system_prompt_is_for_retries_from_the_start() -> None:
    with pytest.raises(ValueError, match="retries from the start"):
        retried(acts(2), 2, placement=Placement.SYSTEM)


# A retry of a retry


@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1), (2, 2), (0, 2), (2, 0), (0, 0)])
def test_a_retry_of_a_retry_continues_it_and_distills_free_of_both_guidances(first: int, second: int) -> None:
    at = stage({"a0": BASE, "a0.r0": ["sing", "go west"], "a0.r0.r0": EXPERT})
    group = at.group()

    async def explore() -> tuple[Attempt, Attempt, Attempt]:
        base = (await group.attempt())[0]
        once = await group.retry(base, at=first, guidance="FIRST")
        return base, once, await group.retry(once, at=second, guidance="SECOND")

    _, once, twice = play(explore())
    assert (twice.base, twice.pivot, twice.key) == (once, second, "u1/train/0/a0.r0.r0")
    assert twice.trajectory.states[: second + 1] == once.trajectory.states[: second + 1]
    assert twice.turns[:second] == once.turns[:second]
    # The first guidance is part of the history that the second retry continues.
    assert ("FIRST" in read(group, twice.turns[second].node)) == (second >= first)
    assert "SECOND" in read(group, twice.turns[second].node)
    copy = group.distill(twice)
    assert read(group, copy.turns[-1]) == unguided(twice, "")
    assert set(copy.turns) <= {part.id for part in group.forest.path(copy.turns[-1])}
    assert copy.sampled_in == tuple(turn.node for turn in twice.turns)
    assert read(group, group.distill(once).turns[-1]) == unguided(once, "")


@pytest.mark.parametrize("rules", [False, True])
@pytest.mark.parametrize(("first", "second"), [(1, 3), (3, 1), (2, 2), (0, 2), (2, 0), (0, 0)])
def test_a_retry_of_an_unguided_retry_reads_its_own_guidance_alone(first: int, second: int, rules: bool) -> None:
    at = stage({"a0": BASE, "a0.r0": ["sing", "go west"], "a0.r0.r0": EXPERT}, agent=ChatAgent(rules=rules))
    group = at.group()

    async def explore() -> tuple[Attempt, Attempt, Attempt, Attempt]:
        base = (await group.attempt())[0]
        once = await group.retry(base, at=first, guidance="FIRST")
        draft = group.unguided(once)
        return base, once, draft, await group.retry(draft, at=second, guidance="SECOND")

    base, once, draft, twice = play(explore())
    opening = read(group, base.turns[0].prompt_node).partition("<|user|>")[0]
    assert (draft.trajectory, draft.pivot, draft.key) == (once.trajectory, first, once.key)
    assert [turn.text for turn in draft.turns] == [turn.text for turn in once.turns]
    assert draft.turns[:first] == base.turns[:first]
    assert read(group, draft.turns[-1].node) == unguided(once, opening)
    told = [message.content for turn in (*draft.turns, *twice.turns) for message in turn.prompt]
    assert not any("FIRST" in content for content in told) and sum("SECOND" in content for content in told) == 1
    last = read(group, twice.turns[-1].node)
    assert "FIRST" not in last and last.count("SECOND") == 1
    assert read(group, group.distill(twice).turns[-1]) == unguided(twice, opening)


def test_what_nobody_guided_is_unguided_already() -> None:
    group, base, retry = retried(acts(2), 2)
    assert group.unguided(base) is base
    count = len(group.forest.nodes)
    once = group.unguided(retry)
    added = len(group.forest.nodes) - count
    assert added == 2 * len(REST) - 1
    assert group.unguided(once).turns == once.turns and len(group.forest.nodes) == count + added


# When the state is lost


def test_a_state_that_cannot_be_restored_lets_the_retry_begin_at_the_start() -> None:
    at = stage(
        {"a0": BASE, "a0.r0": EXPERT}, make_env=lambda: Drifting(rooms=3, max_steps=6), agent=ChatAgent(rules=True)
    )
    group, base, retry = retried(at, 2)
    assert (retry.diverged, retry.pivot, retry.base) == (True, 0, base)
    assert retry.success and retry.trajectory.actions == EXPERT
    assert retry.trajectory.states[0] is base.trajectory.states[0]
    assert set(retry.trajectory.states[1:]).isdisjoint(base.trajectory.states)
    assert at.meter.counts["retry"]["env_steps"] == len(EXPERT)
    # The guidance is where a retry from the start finds it, and nowhere in the copy.
    assert GUIDANCE in read(group, retry.turns[0].prompt_node).partition("<|user|>")[0]
    assert GUIDANCE not in read(group, group.distill(retry).turns[-1])
    assert len(group.distill(retry).turns) == len(EXPERT)


def test_a_base_whose_opening_did_not_fit_can_be_retried_with_a_shorter_one_and_has_no_copy() -> None:
    rules = ChatAgent(rules=True, max_tokens=16)
    free = stage({}, agent=rules)
    play(free.group().attempt())
    room = len(free.requests("a0")[0].token_ids)
    at = stage({"a0.r0": EXPERT}, agent=rules, context_limit=room)
    group, base, retry = retried(at, 0, guidance="Go.", placement=Placement.SYSTEM)
    assert (base.ended, base.steps) == (Ended.CONTEXT, 0)
    assert retry.steps > 0
    # Without its guidance the conversation has no room, so there is nothing that could be trained.
    assert group.distill(retry).turns == group.unguided(retry).turns == ()


def test_turns_that_fit_only_under_the_replaced_prompt_are_left_out_of_the_copy() -> None:
    agent = ChatAgent(rules=True, max_tokens=16)
    free = stage({"a0": ["sing"] * 6}, agent=agent)
    play(free.group().attempt())
    room = len(free.requests("a0")[2].token_ids) + 16
    at = stage({"a0": ["sing"] * 6, "a0.r0": ["sing"] * 6}, agent=agent, context_limit=room)
    group, base, retry = retried(at, 0, guidance="Go.", placement=Placement.SYSTEM)
    copy = group.distill(retry)
    assert base.steps == len(copy.turns) == 3 < retry.steps
    assert copy.sampled_in == group.sample(retry).turns[:3]
    assert max(group.forest.nodes[node].end for node in copy.turns) <= room


def test_a_guided_turn_that_does_not_fit_ends_the_retry_at_the_pivot() -> None:
    free = acts(2)
    retried(free, 2)
    room = max(len(request.token_ids) for request in free.requests("a0")) + 48
    long = "so it is " * room
    at = stage(lines({"a0": BASE}), context_limit=room)
    _, base, retry = retried(at, 2, guidance=long)
    assert (retry.ended, retry.steps, retry.ret) == (Ended.CONTEXT, 2, base.trajectory.rewards[0])
    assert retry.trajectory.leaf is base.trajectory.states[2]
