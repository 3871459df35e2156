from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from r3lbench.agents.chat import ChatAgent
from r3lbench.agents.reflection.record import RecordReflector
from r3lbench.agents.reflection.rulebook import RulebookReflector
from r3lbench.baseline import PolicyLoss
from r3lbench.baselines.erl import ERL
from r3lbench.baselines.grpo import GRPO, z_scores
from r3lbench.rollout.group import Attempt, Group
from r3lbench.tokens import Kind, OldLogprobs, Term
from tests.baselines.attempts import facts
from tests.stage import EXPERT, Ledger, Stage, play, read, stage


def rules(text: str) -> str:
    return f"I see. <PROMPT>\n{text}\n</PROMPT>"


REPLIES: dict[str, Sequence[str]] = {
    "a0": ["1 end"],
    "a1": ["0.2", "0.1 end"],
    "a2": ["0 end"],
    "a3": ["0.5 end"],
    "a1?0": [rules("RULES 1")],
    "a2?0": ["no rules"],
    "a3?0": [rules("RULES 3")],
    "a1.r0": ["1 end"],
    "a2.r0": ["0 end"],
    "a3.r0": ["0.4", "0.5 end"],
}


def explored(
    method: ERL, replies: Mapping[str, Sequence[str]] = REPLIES, key: str = "u1/train/0", **settings: Any
) -> tuple[Stage, Group]:
    settings = {"make_env": Ledger, "agent": ChatAgent(rules=True), **settings}
    at = stage(replies, reflectors={"rulebook": RulebookReflector(), "record": RecordReflector()}, **settings)
    group = at.group(key)
    play(method.explore(group))
    return at, group


def labelled(terms: Sequence[Term], label: str) -> list[Term]:
    return [term for term in terms if term.label == label]


def by_key(group: Group) -> dict[str, Attempt]:
    return {attempt.key.rpartition("/")[2]: attempt for attempt in group.attempts}


def test_only_what_failed_is_reflected_on_and_tried_again_once_from_the_start() -> None:
    at, group = explored(ERL())
    assert sorted(by_key(group)) == ["a0", "a1", "a1.r0", "a2", "a2.r0", "a3", "a3.r0"]
    assert all(second.pivot == 0 for second in group.retries)
    assert {request.sampling.temperature for who in ("a1?0", "a2?0") for request in at.requests(who)} == {0.5}


def test_the_second_attempt_reads_the_rules_in_place_of_the_first_prompt_and_nothing_else() -> None:
    _, group = explored(ERL())
    told = read(group, by_key(group)["a1.r0"].turns[0].prompt_node)
    reminder = "Answer with the action alone."
    assert told == f"<|system|>RULES 1\n\n{reminder}<|user|>Step 0: The ledger is empty.<|assistant|>"


def test_without_a_block_the_prompt_in_use_is_kept() -> None:
    _, group = explored(ERL())
    first, second = by_key(group)["a2"], by_key(group)["a2.r0"]
    assert second.turns[0].prompt_node == first.turns[0].prompt_node
    method = ERL()
    method.load_state_dict({"memories": {"": "OLD RULES"}})
    _, group = explored(method)
    assert read(group, by_key(group)["a2.r0"].turns[0].prompt_node).startswith("<|system|>OLD RULES\n\n")


def test_first_attempts_rules_and_second_attempts_are_groups_of_their_own() -> None:
    _, group = explored(ERL())
    terms = ERL().credit(group)
    returns = {name: attempt.ret for name, attempt in by_key(group).items()}
    firsts = z_scores([returns[f"a{number}"] for number in range(4)], normalise=True)
    # What the seconds earned, in the order of their bases.
    expected = dict(zip(["a1", "a2", "a3"], z_scores([1.0, 0.0, 0.9], normalise=True), strict=True))
    assert [term.weight for term in labelled(terms, "first")] == firsts
    for (of, _), term in zip(group.reflections, labelled(terms, "rules"), strict=True):
        assert term.weight == pytest.approx(expected[of.key.rpartition("/")[2]])
        assert (term.kind, term.old) == (Kind.POLICY, OldLogprobs.RECOMPUTED)
    for second, term in zip(group.retries, labelled(terms, "second"), strict=True):
        assert second.base is not None
        assert term.weight == pytest.approx(expected[second.base.key.rpartition("/")[2]])
        assert ("RULES" in read(group, term.turns[-1])) == (second.guidance != "")


def test_what_was_earned_is_learned_without_the_rules_in_proportion() -> None:
    _, group = explored(ERL())
    learned = labelled(ERL().credit(group), "internalised")
    assert sorted(term.weight for term in learned) == [0.9, 1.0]
    for term in learned:
        assert term.kind is Kind.LIKELIHOOD
        context = read(group, term.turns[-1])
        assert "RULES" not in context and context.startswith("<|system|>You solve a task")
        assert all("RULES" in read(group, origin) for origin in term.sample.sampled_in)


def test_a_lone_failure_is_credited_with_its_return() -> None:
    replies = {"a0": ["1 end"], "a1": ["0 end"], "a1?0": [rules("R")], "a1.r0": ["0.3 end"]}
    _, group = explored(ERL(group_size=2), replies)
    terms = ERL().credit(group)
    assert [term.weight for label in ("rules", "second", "internalised") for term in labelled(terms, label)] == [
        0.3
    ] * 3


def test_the_memory_keeps_the_rules_of_a_success_and_not_of_less() -> None:
    method = ERL()
    for second, memories in ((["0.9 end"], {}), (["1 end"], {"": "RULES 1"})):
        _, group = explored(method, {"a1?0": [rules("RULES 1")], "a1.r0": second, "a0": ["1 end"]})
        method.end_update([group])
        assert method.state_dict() == {"memories": memories}


def test_the_memory_is_read_by_reflections_alone_and_only_from_the_next_update_on() -> None:
    method = ERL(group_size=2)
    at, group = explored(method)
    assert "There is none yet." in read(group, at_rules(group))
    method.end_update([group])
    at, group = explored(method, key="u2/train/1")
    told = read(group, at_rules(group))
    assert "(it was inferred and may be wrong):\nRULES 1\n" in told
    # Two attempts return 1 and .3.
    assert "Of 2 attempts at this task 1 solved it; their mean reward is 0.65." in told
    assert not any("RULES 1" in read(group, attempt.turns[-1].node) for attempt in group.bases)
    assert at.meter.total("generated_tokens") > 0


def at_rules(group: Group) -> int:
    """Where the last rules were written."""
    sample = group.reflections[-1][1].sample
    assert sample is not None
    return sample.turns[0]


def test_the_last_group_in_task_order_has_the_last_word() -> None:
    method = ERL(group_size=1)
    groups = [
        explored(method, {"a0?0": [rules(f"R{place}")], "a0.r0": ["1 end"]}, f"u1/train/{place}")[1]
        for place in range(3)
    ]
    method.end_update(groups)
    assert method.state_dict() == {"memories": {"": "R2"}}


@pytest.mark.parametrize(("scope", "told"), [("run", "RULES 1"), ("task-type", "There is none yet.")])
def test_a_memory_may_belong_to_a_type_of_task(scope: Any, told: str) -> None:
    def kept(kind: str) -> Callable[[], Ledger]:
        class Account(Ledger):
            def task_type(self) -> str:
                return kind

        return Account

    method = ERL(group_size=2, memory_scope=scope)
    _, group = explored(method, make_env=kept("savings"))
    method.end_update([group])
    assert method.state_dict() == {"memories": {"savings" if scope == "task-type" else "": "RULES 1"}}
    _, other = explored(method, key="u2/train/1", make_env=kept("wages"))
    _, same = explored(method, key="u2/train/2", make_env=kept("savings"))
    assert told in read(other, at_rules(other))
    assert "RULES 1" in read(same, at_rules(same))


def test_the_memory_survives_a_checkpoint() -> None:
    method, resumed = ERL(), ERL()
    _, group = explored(method)
    method.end_update([group])
    resumed.load_state_dict(json.loads(json.dumps(method.state_dict())))
    assert resumed.state_dict() == method.state_dict() != ERL().state_dict()


def test_in_the_corridor_the_second_attempt_is_a_fresh_episode() -> None:
    replies = {"a0": ["sing"] * 6, "a0?0": [rules("Take the key first.")], "a0.r0": EXPERT}
    at = stage(replies, reflectors={"rulebook": RulebookReflector(), "record": RecordReflector()})
    group = at.group()
    play(ERL(group_size=1).explore(group))
    (second,) = group.retries
    assert second.success and second.trajectory.actions == EXPERT
    assert at.meter.counts["retry"]["env_steps"] == 4
    assert second.trajectory.states[0] is group.bases[0].trajectory.states[0]


def test_a_method_that_keeps_no_state_refuses_one() -> None:
    GRPO().load_state_dict({})
    with pytest.raises(ValueError, match=r"GRPO keeps no state, but the checkpoint holds \['memories'\]"):
        GRPO().load_state_dict(ERL().state_dict())


def test_without_memory_nothing_is_kept() -> None:
    method = ERL(memory=False)
    _, group = explored(method)
    method.end_update([group])
    assert method.state_dict() == {"memories": {}}


def test_without_reflection_the_record_itself_is_put_before_the_second_attempt() -> None:
    method = ERL(reflection="none")
    at, group = explored(method)
    assert method.reflectors == ("record",)
    assert not any(request.purpose == "reflect" for wave in at.waves for request in wave)
    told = read(group, by_key(group)["a1.r0"].turns[0].prompt_node)
    assert told.startswith("<|system|>You solve a task") and "[agent] 0.1 end" in told
    terms = method.credit(group)
    assert labelled(terms, "rules") == [] and len(labelled(terms, "second")) == 3
    for term in labelled(terms, "internalised"):
        assert "[agent]" not in read(group, term.turns[-1])
    method.end_update([group])
    assert method.state_dict() == {"memories": {}}


def test_without_the_gate_every_attempt_is_reflected_on() -> None:
    replies = {**REPLIES, "a0?0": [rules("RULES 0")], "a0.r0": ["1 end"]}
    _, group = explored(ERL(gate=False), replies)
    assert len(group.retries) == len(group.reflections) == 4


def test_internalisation_may_go_through_the_surrogate_or_not_at_all() -> None:
    _, group = explored(ERL())
    clipped = labelled(ERL(internalisation="clipped", internalisation_weight=0.5).credit(group), "internalised")
    assert sorted(term.weight for term in clipped) == [0.45, 0.5]
    assert {(term.kind, term.old) for term in clipped} == {(Kind.POLICY, OldLogprobs.RECOMPUTED)}
    assert labelled(ERL(internalisation="none").credit(group), "internalised") == []


@pytest.mark.parametrize("returns", [(1, 1, 1, 1), (1, 1)])
def test_without_a_second_attempt_it_is_grpo_with_its_constants(returns: tuple[float, ...]) -> None:
    method = ERL(group_size=len(returns))
    grpo = GRPO(group_size=len(returns), clip=(0.2, 0.28), kl=0.001, aggregate="seq-mean-token-sum")
    _, group = explored(method, {f"a{number}": [f"{value} end"] for number, value in enumerate(returns)})
    assert group.retries == []
    assert facts(method.credit(group)) == facts(grpo.credit(group))
    assert ERL(dual_clip=None).loss == grpo.loss
    # The gate closed, failures are first attempts like any other.
    _, failed = explored(ERL(success=-1.0), {"a0": ["0.5 end"], "a1": ["0.2 end"], "a2": ["0 end"], "a3": ["1 end"]})
    assert failed.retries == [] and facts(ERL().credit(failed)) == facts(grpo.credit(failed))


def test_the_loss_has_erls_constants() -> None:
    assert ERL().loss == PolicyLoss(
        ratio="token", clip=(0.2, 0.28), dual_clip=3.0, kl=0.001, kl_estimator="k3", aggregate="seq-mean-token-sum"
    )
