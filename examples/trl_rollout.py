"""Train with TRL in the environments of this suite: a ``rollout_func`` for ``trl.GRPOTrainer`` (TRL 1.16).

TRL's trainer hands over prompts and wants tokens, log-probabilities and whatever its reward functions read. Here a
prompt is the id of a task, and what comes back is a whole episode of it: the model's turns, and between them what the
environment showed, which ``env_mask`` keeps out of the loss. Model, chat template and sampling are the trainer's own.

    $ pip install trl
    $ python examples/trl_rollout.py --env webshop --policy tiny --steps 20 --out trained
    $ python -m r3lbench.evaluate --env webshop --policy trained

The model is sampled in this process (``use_vllm=False``), on one or several devices with a whole copy of it each.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.config import options_of
from r3lbench.engines.engine import Sampling
from r3lbench.engines.template import ChatTemplate
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.errors import R3LBenchError
from r3lbench.evaluate import parse
from r3lbench.files import to_json
from r3lbench.policies.finding import CARD, find_policy
from r3lbench.policies.loading import load_policy
from r3lbench.registry import REFLECTORS, make
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.rollout.workers import EnvSource


class Episodes:
    """The ``rollout_func``: plays the tasks that it is given, one episode for each prompt, all side by side.

    Args:
        env: Name of the environment.
        options: Its settings.
        agent: How observations are told and actions are read.
    """

    def __init__(self, env: str, options: Mapping[str, Any], agent: Agent) -> None:
        self.agent = agent
        self.meter = Meter()
        self._envs = EnvPool(EnvSource.of(env, dict(options)))
        self._calls = 0

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        """Play.

        Args:
            prompts: Ids of tasks, e.g. ``"train/17"``, each as often as episodes of it are wanted.
            trainer: The ``GRPOTrainer``.

        Returns:
            In the order of the prompts: ``prompt_ids``, ``completion_ids`` and ``logprobs`` (nats, as sampled; 0 where
            the model did not write), ``env_mask`` (1 where it did), and for reward functions ``episode_return``,
            ``episode_score`` and ``episode_success``.

        Raises:
            R3LBenchError: An episode has no room for its first turn.
        """
        args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
        # While training, gradient checkpointing (TRL's default) keeps no keys and values.
        training = model.training
        model.eval()
        engine = TransformersEngine(model, context_limit=model.config.max_position_embeddings)
        rollout = Rollout(
            agent=self.agent,
            envs=self._envs,
            waves=Waves(engine, self.meter),
            template=ChatTemplate(trainer.processing_class),
            seed=args.seed,
            sampling=Sampling(temperature=args.temperature, top_p=args.top_p, top_k=args.top_k),
            meter=self.meter,
            reflectors=lambda name: REFLECTORS.load(name)(),
        )
        self._calls += 1
        called = f"{self._calls}/{trainer.accelerator.process_index}"
        with self._envs.borrow() as env:
            tasks = [env.resolve(task) for task in prompts]
        groups = [Group(task, f"{called}/{place}/{task.id}", rollout) for place, task in enumerate(tasks)]

        async def play() -> list[dict[str, Any]]:
            await rollout.waves.gather(group.attempt() for group in groups)
            return [in_trls_words(group) for group in groups]

        episodes = asyncio.run(play())
        model.train(training)
        return {name: [episode[name] for episode in episodes] for name in episodes[0]}


def in_trls_words(group: Group) -> dict[str, Any]:
    """The only attempt of a group as one prompt and one completion."""
    (attempt,) = group.attempts
    if not attempt.turns or attempt.turns[-1].node is None:
        raise R3LBenchError(f"{group.task.id}: the model's context has no room for the first turn")
    prompt, *rest = (node.segment for node in group.forest.path(attempt.turns[-1].node))
    return {
        "prompt_ids": list(prompt.token_ids),
        "completion_ids": [token for part in rest for token in part.token_ids],
        "logprobs": [value for part in rest for value in (part.logprobs or [0.0] * len(part.token_ids))],
        "env_mask": [int(part.sampled) for part in rest for _ in part.token_ids],
        "episode_return": attempt.ret,
        "episode_score": attempt.score,
        "episode_success": float(attempt.success),
    }


def episode_return(episode_return: list[float], **_: Any) -> list[float]:
    """TRL's reward function: what the environment paid."""
    return episode_return


def main() -> None:
    """Train; every further flag is one of ``python -m r3lbench.evaluate``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps")
    parser.add_argument("--group", type=int, default=8, help="episodes of a task")
    parser.add_argument("--tasks", type=int, default=4, help="tasks of a step")
    parser.add_argument("--out", required=True, help="folder of the trained policy")
    given, flags = parser.parse_known_args()
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = parse(flags)
    policy = load_policy(find_policy(config.policy.name, config.env.name))
    env = make(config.env.name, **options_of(config.env))
    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=episode_return,
        args=GRPOConfig(
            output_dir=given.out,
            max_steps=given.steps,
            num_generations=given.group,
            per_device_train_batch_size=given.group * given.tasks,
            learning_rate=1e-4,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            bf16=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),
            seed=config.seed,
        ),
        train_dataset=Dataset.from_dict({"prompt": [task.id for task in env.panel(env.splits[0])]}),
        processing_class=policy.tokenizer,
        rollout_func=Episodes(config.env.name, options_of(config.env), config.agent),
    )
    trainer.train()
    trainer.save_model(given.out)
    # So that it is evaluated as it was trained.
    settings = configuration.dump(config)
    card = {"environment": config.env.name, "defaults": {kind: settings[kind] for kind in ("env", "agent")}}
    (Path(given.out) / CARD).write_bytes(to_json(card, indent=2))


if __name__ == "__main__":
    main()
