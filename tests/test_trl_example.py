"""TRL's trainer plays our environments: the example's ``rollout_func``, by itself and in TRL where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from examples.trl_rollout import Episodes, episode_return
from r3lbench.agents.chat import ChatAgent
from r3lbench.errors import R3LBenchError
from r3lbench.policies.finding import find_policy
from r3lbench.policies.loading import Policy, load_policy
from tests.random_models import full_pass
from tests.toy import Toy

OPTIONS = {"rooms": 3, "max_steps": 4}
AGENT = ChatAgent(max_tokens=3)


@pytest.fixture(scope="module")
def policy(toy_policy: Path) -> Policy:
    return load_policy(find_policy(str(toy_policy), "toy"))


def trainer(policy: Policy, *, temperature: float = 1.0, seed: int = 0) -> Any:
    """What the example reads of a ``GRPOTrainer``; names as TRL documents them."""
    return SimpleNamespace(
        model=policy.model,
        processing_class=policy.tokenizer,
        args=SimpleNamespace(seed=seed, temperature=temperature, top_p=1.0, top_k=0),
        accelerator=SimpleNamespace(unwrap_model=lambda model: model, process_index=0),
    )


def test_every_prompt_becomes_an_episode_in_its_place(policy: Policy) -> None:
    prompts = ["train/1", "train/0", "train/1", "train/1"]
    told = Episodes("toy", OPTIONS, AGENT)(prompts, trainer(policy))
    assert {len(values) for values in told.values()} == {4}
    env = Toy(**OPTIONS)
    firsts = [policy.tokenizer.decode(ids) for ids in told["prompt_ids"]]
    for prompt, first in zip(prompts, firsts, strict=True):
        env.reset(options={"task": prompt})
        assert first == f"<|user|>Step 0: {env.observation}<|assistant|>"
    assert len({tuple(told["completion_ids"][place]) for place in (0, 2, 3)}) > 1
    assert episode_return(prompts=prompts, completions=[], **told) == told["episode_return"]


def test_the_return_is_that_of_the_actions_in_the_completion(policy: Policy) -> None:
    told = Episodes("toy", OPTIONS, AGENT)(["train/0"] * 8, trainer(policy))
    stop, env = policy.template.end_id, Toy(**OPTIONS)
    for place, (ids, mask) in enumerate(zip(told["completion_ids"], told["env_mask"], strict=True)):
        env.reset(options={"task": "train/0"})
        rewards, action = [], []
        for token, own in zip([*ids, None], [*mask, 0], strict=True):
            if own:
                action.append(token)
            elif action:
                said = policy.tokenizer.decode([part for part in action if part != stop]).strip()
                rewards.append(env.step(said)[1])
                action = []
        assert env.done and sum(rewards) == pytest.approx(told["episode_return"][place])
        assert env.score() == told["episode_score"][place] and env.success() == told["episode_success"][place]
    assert len(set(told["episode_return"])) > 1


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_tokens_the_model_wrote(temperature: float, policy: Policy) -> None:
    told = Episodes("toy", OPTIONS, AGENT)(["train/0", "train/1"], trainer(policy, temperature=temperature))
    for prompt, ids, logprobs, mask in zip(
        *(told[name] for name in ("prompt_ids", "completion_ids", "logprobs", "env_mask")), strict=True
    ):
        assert len(ids) == len(logprobs) == len(mask) and mask[0] == mask[-1] == 1 and 0 in mask
        whole = (*prompt, *ids)
        expected = (full_pass(policy.model, whole) / temperature).log_softmax(-1)
        for place, (token, logprob, own) in enumerate(zip(ids, logprobs, mask, strict=True)):
            before = len(prompt) + place - 1
            assert logprob == (pytest.approx(float(expected[before, token]), abs=1e-4) if own else 0.0)


def test_a_second_call_draws_anew_and_a_second_run_draws_the_same(policy: Policy) -> None:
    first, again = (Episodes("toy", OPTIONS, AGENT) for _ in range(2))
    prompts = ["train/0"] * 6
    told = [rollout(prompts, trainer(policy)) for rollout in (first, first, again, again)]
    assert told[0] == told[2] and told[1] == told[3]
    assert told[0]["completion_ids"] != told[1]["completion_ids"]
    other = Episodes("toy", OPTIONS, AGENT)(prompts, trainer(policy, seed=1))
    assert other["completion_ids"] != told[0]["completion_ids"]


def test_the_weights_of_the_moment_are_sampled(policy: Policy, toy_policy: Path) -> None:
    own = load_policy(find_policy(str(toy_policy), "toy"))
    rollout = Episodes("toy", OPTIONS, AGENT)
    rollout(["train/0"], trainer(own))
    with torch.no_grad():
        own.model.get_output_embeddings().weight.zero_()
    told = rollout(["train/0"], trainer(own))
    chance = -torch.tensor(float(own.model.config.vocab_size)).log()
    written = [value for value, mine in zip(told["logprobs"][0], told["env_mask"][0], strict=True) if mine]
    assert written == pytest.approx([float(chance)] * len(written), abs=1e-4)


def test_an_episode_without_room_is_an_error(policy: Policy) -> None:
    with pytest.raises(R3LBenchError, match="train/0: the model's context has no room"):
        Episodes("toy", OPTIONS, ChatAgent(max_tokens=5000))(["train/0"], trainer(policy))


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="needs TRL: pip install 'trl>=1.16'")
def test_trl_trains_on_our_episodes(toy_policy: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    policy = load_policy(find_policy(str(toy_policy), "toy"))
    before = {name: value.clone() for name, value in policy.model.named_parameters()}
    rollout = Episodes("toy", OPTIONS, AGENT)
    trained = GRPOTrainer(
        model=policy.model,
        reward_funcs=episode_return,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            num_generations=4,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=Dataset.from_dict({"prompt": [task.id for task in Toy(rooms=3).panel("train")]}),
        processing_class=policy.tokenizer,
        rollout_func=rollout,
    )
    trained.train()
    logged = [line for line in trained.state.log_history if "reward" in line]
    assert len(logged) == 2 and rollout.meter.counts["attempt"]["env_steps"] >= 16
    assert all(0.0 <= line["reward"] <= 1.0 and line["completions/mean_length"] <= 12 for line in logged)
    assert any(line["reward_std"] > 0 for line in logged)
    assert any(not torch.equal(before[name], value) for name, value in policy.model.named_parameters())
