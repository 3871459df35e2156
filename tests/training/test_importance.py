"""An update on what another engine sampled: the gap that is reported, and the weights that make up for it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from r3lbench.baseline import PolicyLoss
from r3lbench.engines.settings import EngineConfig
from r3lbench.tokens import OldLogprobs, Term
from r3lbench.training.learner import Learner, Optimiser
from tests.conversations import Conversations
from tests.random_models import full_pass, random_model

OFF = (0.0, 0.3, -0.1, 1.0, -0.6)
"""How far the engine's log-probabilities are below the trainer's, token after token."""
VLLM = EngineConfig(name="vllm", importance_cap=2.0)


def sampled_apart(model: Any) -> tuple[Term, Term]:
    """A conversation whose recorded log-probabilities are off by ``OFF``, and a copy of it in another context."""
    made = Conversations(0)
    sample = made.growing([(4, len(OFF))])
    (turn,) = sample.turns
    node = made.forest.nodes[turn]
    tokens = made.forest.token_ids(turn)
    full = full_pass(model, tuple(tokens))
    begin = node.end - len(OFF)
    logprobs = tuple(float(full[begin + i - 1, tokens[begin + i]]) - off for i, off in enumerate(OFF))
    object.__setattr__(node, "segment", dataclasses.replace(node.segment, logprobs=logprobs))
    return sample.term(1.0, old=OldLogprobs.BEHAVIOUR), made.copied(sample, from_turn=0, told=3).term(1.0)


def step(engine: EngineConfig | None, loss: PolicyLoss, *, also_copied: bool = False) -> tuple[dict[str, Any], Any]:
    """Report and model of an update."""
    model = random_model()
    term, copy = sampled_apart(model)
    learner = Learner(model, Optimiser(measure_kl=False), loss, engine=engine)
    return learner.step([term, copy] if also_copied else [term]), model


def test_the_gap_is_that_of_tokens_drawn_in_the_context_they_are_trained_in() -> None:
    report, _ = step(VLLM, PolicyLoss(clip=None), also_copied=True)
    assert report["engine_gap"] == pytest.approx(sum(map(abs, OFF)) / len(OFF), abs=1e-6)
    assert report["engine_gap_max"] == pytest.approx(1.0, abs=1e-6)
    # exp(1.0) alone is above 2; the copy's tokens count among those that could have been cut.
    assert report["importance_capped"] == pytest.approx(1 / (2 * len(OFF)))


def test_ratios_are_to_the_trainer_and_the_weights_make_up_for_the_gap() -> None:
    corrected, _ = step(VLLM, PolicyLoss(clip=None))
    assert corrected["ratio"] == pytest.approx(1.0)
    assert corrected["loss"] == pytest.approx(-sum(min(math.exp(off), 2.0) for off in OFF) / len(OFF), rel=1e-5)
    plain, _ = step(VLLM.model_copy(update={"importance_cap": None}), PolicyLoss(clip=None))
    assert plain["loss"] == pytest.approx(-sum(math.exp(off) for off in OFF) / len(OFF), rel=1e-5)
    assert plain["engine_gap"] == corrected["engine_gap"] and plain["importance_capped"] == 0.0


def test_a_model_that_sampled_itself_has_no_gap_to_report_and_learns_as_ever() -> None:
    for loss in (PolicyLoss(), PolicyLoss(ratio=None, clip=None)):
        (told, one), (said, other) = step(None, loss), step(EngineConfig(), loss)
        assert told == said and not {"engine_gap", "engine_gap_max", "importance_capped"} & told.keys()
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_cap_below_one_would_shrink_every_step_and_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        EngineConfig(importance_cap=0.5)
