"""What every method samples, in which context, and what of it is trained; with a script in the model's place.

Papers and released implementations disagree, and some implementations do not do what they say. Where each such fault
would be found:

    a lone attempt is worth its return -> test_first_attempts_are_credited_as_worked_by_hand
    GRPO: mean over tokens or over sequences -> test_every_method_has_the_loss_and_the_group_of_its_paper
    DAPO: no dynamic sampling -> test_groups_without_a_difference_are_not_kept
    DAPO: a divergence is kept -> test_every_method_has_the_loss_and_the_group_of_its_paper
    DAPO: the penalty counts observations -> test_the_longest_reply_counts_and_not_the_episode
    GSPO: groups of one -> test_every_method_has_the_loss_and_the_group_of_its_paper
    RAFT: what was rejected leaves an empty row -> test_what_succeeded_is_imitated_and_nothing_else
    RAFT: groups of one -> test_every_method_has_the_loss_and_the_group_of_its_paper
    OPMD: a divergence nobody asked for -> test_every_method_has_the_loss_and_the_group_of_its_paper
    Reflect-GRPO: no retry ever happens -> test_reflect_grpo_retries_from_the_restored_start
    Reflect-GRPO: retries of what succeeded -> test_a_method_explores_what_its_paper_says
    Reflect-GRPO: groups larger than N -> test_a_method_explores_what_its_paper_says
    Critique-GRPO: the critique is trained on -> test_guidance_is_trained_on_only_where_that_is_the_aim
    Critique-GRPO: a refinement in its own group -> test_it_takes_the_place_of_its_attempt_in_one_group_of_n
    ERL: no gate -> test_a_method_explores_what_its_paper_says
    ERL: memory that is never written -> test_the_memory_keeps_the_rules_of_a_success_and_not_of_less
    ERL: a memory per worker -> test_what_is_remembered_reaches_no_first_attempt_or_evaluation
    ERL: memory in first attempts -> test_what_is_remembered_reaches_no_first_attempt_or_evaluation
    ERL: distillation by surrogate -> test_what_was_earned_is_learned_without_the_rules_in_proportion
    ERL: reflections are trained twice -> test_no_words_are_trained_twice
    ERL: the reflector sees other symbols -> test_a_reflection_reads_what_the_agent_read
    ERL: aggregation -> test_every_method_has_the_loss_and_the_group_of_its_paper
    HeRL: the denominator -> test_revised_tokens_are_shaped_by_the_ratio_to_the_policy_that_had_the_hindsight
    HeRL: the hindsight is trained on -> test_guidance_is_trained_on_only_where_that_is_the_aim
    HeRL: prompts without a chat template -> test_every_context_is_a_conversation_in_the_template
    HeRL: a shaping that is read from nowhere -> test_each_switch_changes_only_what_it_names
    HeRL: the group grows or shrinks -> test_herl_compares_as_many_as_it_drafted
    R3L: alpha for the best of failures -> test_every_reading_of_r3l_amplifies_as_worked_by_hand
    R3L: division by the std -> test_every_reading_of_r3l_amplifies_as_worked_by_hand
    R3L: groups that all succeed -> test_a_group_that_succeeded_altogether_can_be_left_out
    R3L: a divergence nobody asked for -> test_every_method_has_the_loss_and_the_group_of_its_paper
    R3L: aggregation -> test_each_reading_has_its_own_aggregate
    R3L: which retries are imitated -> test_a_retry_that_only_improved_is_imitated_in_the_paper_s_reading_alone
    R3L: imitation as an advantage of 1 -> test_a_likelihood_is_a_policy_gradient_of_its_weight
    R3L: temperature of reflections -> test_reflections_have_a_temperature_of_their_own
    R3L: from the start, yet masked -> test_both_of_a_pair_are_masked_at_the_same_step
    R3L: the reflector knows the answer -> test_reflections_see_no_more_than_what_was_earned
    R3L: the suffix is masked, not the prefix -> test_both_of_a_pair_are_masked_at_the_same_step
    R3L: guidance is trained on -> test_guidance_is_trained_on_only_where_that_is_the_aim
    R3L: the pivot's observation comes twice -> test_a_retry_reads_its_base_s_history_and_its_guidance_once
    R3L: stricter rules for bases -> test_retries_are_played_by_the_rules_of_first_attempts
    R3L: a pivot that is text -> test_a_pivot_may_be_written_as_text
    groups of other sizes -> test_every_method_has_the_loss_and_the_group_of_its_paper
    several tries at evaluation -> test_what_is_remembered_reaches_no_first_attempt_or_evaluation
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from r3lbench.agent import Sees
from r3lbench.agents.chat import ChatAgent
from r3lbench.baseline import Baseline
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.herl import HeRL
from r3lbench.baselines.r3l import PRESETS, R3L
from r3lbench.baselines.reflect_grpo import ReflectGRPO
from r3lbench.registry import BASELINES, REFLECTORS
from r3lbench.rollout.evaluation import evaluate
from r3lbench.rollout.group import Attempt, Group
from r3lbench.rollout.meter import EVALUATION
from r3lbench.tokens import Term
from tests.baselines.attempts import FAILED, MARK, METHODS, MIXED, REFLECTION, credited, facts, paying, reflectors
from tests.stage import TOKENIZER, Ledger, Stage, play, read, report, stage
from tests.toy import Toy

TESTS = Path(__file__).parents[1]
VARIANTS: dict[str, Baseline] = {
    **{name: BASELINES.load(name)(group_size=8 if name in ("r3l", "reflect_grpo") else 4) for name in METHODS},
    **{f"r3l {preset}": R3L(preset=preset, group_size=8) for preset in PRESETS},  # type: ignore[arg-type]
    "r3l from the start": R3L(restart="start", group_size=8),
    "reflect_grpo reflections": ReflectGRPO(train_reflections=True, group_size=8),
    "erl clipped": ERL(internalisation="clipped"),
    "erl without reflection": ERL(reflection="none"),
    "erl without gate": ERL(gate=False),
    "herl surrogate": HeRL(shaping=False, group_size=4),
}
"""Every method, and those settings of ours that change what is sampled or trained."""
WORLDS = {"mixed": MIXED, "failed": FAILED}
GUIDED = {"guided", "reflection", "rules", "second"}
"""Labels of terms whose aim is to reflect, or to follow guidance: they are trained where they were sampled."""

every_play = pytest.mark.parametrize(
    ("name", "world", "style", "rules"),
    [
        (name, world, style, rules)
        for name in VARIANTS
        for world in WORLDS
        for style, rules in (("full", True), ("compact", False))
    ],
)


@cache
def played(name: str, world: str, style: Any, rules: bool) -> tuple[Stage, Group, tuple[Term, ...]]:
    """A group that a method explored, and its terms; not to be changed."""
    at, group, terms = credited(VARIANTS[name], WORLDS[world], style=style, agent=ChatAgent(rules=rules))
    return at, group, tuple(terms)


def short(attempt: Attempt) -> str:
    return attempt.key.rpartition("/")[2]


def conversation(group: Group, attempt: Attempt, turns: int) -> str:
    """What an attempt's conversation is up to the end of a turn if nobody guides it."""
    opening = read(group, group.bases[0].turns[0].prompt_node).partition("<|user|>")[0]
    shown = zip(attempt.trajectory.observations, attempt.turns[:turns], strict=False)
    said = (f"<|user|>Step {step}: {seen}<|assistant|>{turn.text}<|end|>" for step, (seen, turn) in enumerate(shown))
    return opening + "".join(said)


def attempt_of(group: Group, term: Term) -> Attempt | None:
    """Whose turns a term trains; None for a reflection's."""
    by_nodes = {tuple(turn.node for turn in attempt.turns): attempt for attempt in group.attempts}
    return by_nodes.get(term.sample.sampled_in)


# The table above


def test_the_table_names_tests_that_exist() -> None:
    rows = re.findall(r"^    (.+) -> (test_\w+)$", __doc__ or "", re.MULTILINE)
    assert len(rows) == sum(line.startswith("    ") for line in (__doc__ or "").splitlines()) > 40
    written = "".join(file.read_text(encoding="utf-8") for file in sorted(TESTS.rglob("test_*.py")))
    assert [name for _, name in rows if f"def {name}(" not in written] == []


# What is sampled

FIRST = {"a0", "a1", "a2", "a3"}
FAILURES = {"mixed": FIRST - {"a2"}, "failed": FIRST}
NOTHING: dict[str, set[str]] = {"mixed": set(), "failed": set()}
REFLECTED_ON = {
    **dict.fromkeys(["dapo", "gigpo", "grpo", "gspo", "opmd", "raft", "raft++"], NOTHING),
    **dict.fromkeys(["critique_grpo", "erl", "reflect_grpo"], FAILURES),
    # The best where nothing is solved: the two that return .5.
    "herl": {"mixed": set(), "failed": {"a1", "a2"}},
    "r3l": dict.fromkeys(WORLDS, FIRST),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_explores_what_its_paper_says(name: str, world: str) -> None:
    _, group, _ = played(name, world, "full", True)
    assert {short(attempt) for attempt in group.bases} == FIRST
    assert sorted(short(attempt) for attempt, _ in group.reflections) == sorted(REFLECTED_ON[name][world])
    assert sorted(short(retry) for retry in group.retries) == sorted(f"{of}.r0" for of in REFLECTED_ON[name][world])
    beyond = {"critique_grpo", "erl", "herl"}  # their N counts first attempts
    assert name in beyond or len(group.attempts) <= VARIANTS[name].group_size


@every_play
def test_methods_without_a_reflector_ask_for_attempts_alone(name: str, world: str, style: str, rules: bool) -> None:
    at, _, _ = played(name, world, style, rules)
    purposes = {request.purpose for wave in at.waves for request in wave}
    assert purposes <= {"attempt", "reflect", "retry"}
    if not VARIANTS[name].reflectors:
        assert purposes == {"attempt"}


@every_play
def test_first_attempts_read_the_task_and_nothing_else(name: str, world: str, style: str, rules: bool) -> None:
    _, group, _ = played(name, world, style, rules)
    for attempt in group.bases:
        assert read(group, attempt.turns[-1].node) == conversation(group, attempt, attempt.steps)
        assert conversation(group, attempt, 1).startswith("<|system|>You solve a task") == rules


@every_play
def test_a_retry_reads_its_base_s_history_and_its_guidance_once(name: str, world: str, style: str, rules: bool) -> None:
    _, group, _ = played(name, world, style, rules)
    for retry in group.retries:
        base, k = retry.base, retry.pivot
        assert base is not None and retry.trajectory.states[: k + 1] == base.trajectory.states[: k + 1]
        assert retry.turns[:k] == base.turns[:k]
        guided = read(group, retry.turns[-1].node)
        assert guided.count(retry.guidance) == 1
        for context in (guided, read(group, group.distill(retry).turns[-1])):
            assert [context.count(f"<|user|>Step {step}: ") for step in range(retry.steps)] == [1] * retry.steps
            assert f"<|user|>Step {k}: {base.trajectory.observations[k]}" in context


@every_play
def test_a_reflection_reads_what_the_agent_read(name: str, world: str, style: str, rules: bool) -> None:
    _, group, _ = played(name, world, style, rules)
    for attempt, reflection in group.reflections:
        if reflection.sample is not None:
            asked = read(group, reflection.sample.turns[0])
            assert all(observation in asked for observation in attempt.trajectory.observations[:-1])
            assert all(turn.text in asked for turn in attempt.turns)


@every_play
def test_every_context_is_a_conversation_in_the_template(name: str, world: str, style: str, rules: bool) -> None:
    at, _, _ = played(name, world, style, rules)
    for request in (request for wave in at.waves for request in wave):
        asked = str(TOKENIZER.decode(request.token_ids))
        assert asked.startswith(("<|system|>", "<|user|>")) and asked.endswith("<|assistant|>")


@pytest.mark.parametrize("name", VARIANTS)
def test_reflections_see_no_more_than_what_was_earned(name: str) -> None:
    for reflector in VARIANTS[name].reflectors:
        assert REFLECTORS.load(reflector).sees <= {Sees.REWARD, Sees.RUBRICS}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_pivot_may_be_written_as_text(name: str) -> None:
    number, text = '"retry_from_step": 1', '"retry_from_step": "1"'
    assert number in REFLECTION
    world = {speaker: [line.replace(number, text) for line in said] for speaker, said in MIXED.items()}
    _, group, terms = played(name, "mixed", "full", True)
    _, other, others = credited(VARIANTS[name], world)
    assert [retry.pivot for retry in other.retries] == [retry.pivot for retry in group.retries]
    assert [(term.weight, len(term.turns)) for term in others] == [(term.weight, len(term.turns)) for term in terms]


@pytest.mark.parametrize("outcome", ["success", "success_but_inefficient", "failure", "unreadable"])
@pytest.mark.parametrize("solved", [True, False])
def test_r3l_reflects_on_everything_and_retries_unless_the_report_is_of_success(solved: bool, outcome: str) -> None:
    said = "?" if outcome == "unreadable" else report(0, outcome=outcome)
    _, group, _ = credited(R3L(group_size=2), paying(1 if solved else 0) | {"a0?0": [said]})
    assert len(group.reflections) == 1
    assert len(group.retries) == (outcome in ("success_but_inefficient", "failure"))


@pytest.mark.parametrize("k", range(4))
def test_retries_are_played_by_the_rules_of_first_attempts(k: int) -> None:
    # An action that is not understood, one that changes nothing, one that is repeated, and the step limit.
    deeds = ["take key", "sing", "go west", "go east", "go east", "go east"]
    at = stage({"a0": deeds, "a0.r0": deeds[k:]}, make_env=lambda: Toy(rooms=3, max_steps=6))
    group = at.group()

    async def explore() -> tuple[Attempt, Attempt]:
        (base,) = await group.attempt()
        return base, await group.retry(base, at=k, guidance=MARK)

    base, retry = (one.trajectory for one in play(explore()))
    assert (retry.actions, retry.rewards, retry.observations) == (base.actions, base.rewards, base.observations)
    assert [state.valid for state in retry.states] == [state.valid for state in base.states]
    assert retry.leaf.truncated and base.leaf.truncated


@pytest.mark.parametrize("name", METHODS)
def test_what_is_remembered_reaches_no_first_attempt_or_evaluation(name: str) -> None:
    method = VARIANTS[name].model_copy(deep=True)
    # Every task of the update is solved by guided retries, in groups of their own.
    solved = MIXED | {f"a{number}.r0": ["1 end"] for number in range(4)}
    at = stage(solved, make_env=Ledger, agent=ChatAgent(rules=True), reflectors=reflectors())
    groups = [at.group(f"u1/train/{index}") for index in range(3)]
    play(at.rollout.waves.gather(method.explore(group) for group in groups))
    method.end_update(groups)
    before = len(at.waves)
    group = at.group("u2/train/5")
    play(method.explore(group))
    at.rollout = replace(at.rollout, first_purpose=EVALUATION)
    with at.rollout.envs.borrow() as env:
        tasks = list(env.panel("test"))[:2]
    scores = play(evaluate(at.rollout, tasks, "sampled"))
    asked = [
        (request.purpose, str(TOKENIZER.decode(request.token_ids))) for wave in at.waves[before:] for request in wave
    ]
    first = [text for purpose, text in asked if purpose in ("attempt", EVALUATION)]
    assert len(first) > 8 and not any(MARK in text for text in first)
    # One attempt at each task is all that an evaluation is.
    assert len(scores) == 2 and {text.count("<|system|>") for text in first} == {1}
    if name == "erl":
        reflected = [text for purpose, text in asked if purpose == "reflect"]
        assert reflected and all(MARK in text for text in reflected)


# What is trained


@every_play
def test_only_what_the_model_wrote_is_trained(name: str, world: str, style: str, rules: bool) -> None:
    _, group, terms = played(name, world, style, rules)
    assert terms
    for term in terms:
        attempt = attempt_of(group, term)
        origins = dict(zip(term.sample.turns, term.sample.sampled_in, strict=True))
        assert set(term.turns) <= set(term.sample.turns)
        for turn in term.turns:
            written, original = group.forest.nodes[turn].segment, group.forest.nodes[origins[turn]].segment
            assert original.sampled and written.token_ids == original.token_ids
            text = str(TOKENIZER.decode(written.token_ids))
            texts = [said.text for _, said in group.reflections] if attempt is None else [t.text for t in attempt.turns]
            assert text.removesuffix("<|end|>") in texts and text.endswith("<|end|>")


@every_play
def test_guidance_is_trained_on_only_where_that_is_the_aim(name: str, world: str, style: str, rules: bool) -> None:
    _, group, terms = played(name, world, style, rules)
    for term in terms:
        attempt = attempt_of(group, term)
        if term.label in GUIDED:
            assert term.sample.turns == term.sample.sampled_in
            continue
        assert attempt is not None
        for step, turn in enumerate(term.sample.turns):
            context = read(group, turn)
            assert context == conversation(group, attempt, step + 1)
            assert MARK not in context and (not attempt.guidance or attempt.guidance not in context)
        # What was guided is a copy that remembers where it was sampled.
        own = [step for step, turn in enumerate(term.sample.turns) if turn != term.sample.sampled_in[step]]
        assert own == list(range(attempt.pivot, attempt.steps) if attempt.guidance else [])
        assert all(attempt.guidance in read(group, term.sample.sampled_in[step]) for step in own)


@every_play
def test_no_words_are_trained_twice(name: str, world: str, style: str, rules: bool) -> None:
    _, group, terms = played(name, world, style, rules)
    trained = Counter(turn for term in terms for turn in term.turns)
    assert set(trained.values()) == {1}
    written = [said.sample.turns for _, said in group.reflections if said.sample is not None]
    rules_trained = [term.turns for term in terms if term.label in ("rules", "reflection")]
    assert len(rules_trained) == len(set(rules_trained)) and set(rules_trained) <= set(written)
    if name.startswith("erl") and name != "erl without reflection":
        assert len(rules_trained) == len(written)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("restart", ["pivot", "start"])
def test_both_of_a_pair_are_masked_at_the_same_step(preset: Any, k: int, restart: Any) -> None:
    replies = paying([0, 0.1, 0.1], 1) | {"a0?0": [report(k)], "a0.r0": ["0.5", "0.5 end"], "a1?0": ["?"]}
    _, group, terms = credited(R3L(group_size=4, preset=preset, restart=restart), replies)
    (retry,) = group.retries
    base, unpaired = (next(one for one in group.bases if short(one) == key) for key in ("a0", "a1"))
    shared = k if restart == "pivot" else 0
    assert retry.pivot == shared
    turns = {(term.label, attempt_of(group, term)): term.turns for term in terms if term.label != "reflection"}
    assert turns["base", base] == tuple(turn.node for turn in base.turns[shared:])
    assert turns["distilled", retry] == group.distill(retry).turns[shared:]
    assert turns["guided", retry] == tuple(turn.node for turn in retry.turns[shared:])
    assert turns["base", unpaired] == tuple(turn.node for turn in unpaired.turns)


@pytest.mark.parametrize("injection", ["random", "lowest", "none"])
@pytest.mark.parametrize("revised", [["0.9 end"], ["0.5 end"], ["0.1 end"], ["1 end"]])
def test_herl_compares_as_many_as_it_drafted(injection: Any, revised: list[str]) -> None:
    method = HeRL(group_size=4, injection=injection)
    for update in range(6):
        at = stage({**FAILED, "a1.r0": revised, "a2.r0": revised}, make_env=Ledger, reflectors=reflectors())
        group = at.group(f"u{update}/train/0")
        play(method.explore(group))
        terms = method.credit(group)
        assert len(terms) == 4 and len(group.retries) == 2
        taken = Counter(term.label for term in terms)["revised"]
        assert taken == (injection != "none" and group.retries[0].ret >= 0.5)


@every_play
def test_credit_depends_on_the_group_and_on_no_order_in_which_retries_ended(
    name: str, world: str, style: str, rules: bool
) -> None:
    _, group, terms = played(name, world, style, rules)
    method = VARIANTS[name]
    assert facts(method.credit(group)) == facts(terms)
    other = replace_order(group)
    assert Counter(facts(method.credit(other))) == Counter(facts(terms))


def replace_order(group: Group) -> Group:
    """The group with retries and reflections the other way round."""
    other = Group(group.task, group.key, group.rollout)
    other.tree, other.forest = group.tree, group.forest
    other.attempts = [*group.bases, *reversed(group.retries)]
    other.reflections = group.reflections[::-1]
    return other
