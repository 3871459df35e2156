"""A recorded run, opened to go back to its states: with its environment, and with the policy that it trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.config import PoolConfig, SamplingConfig
from r3lbench.engines.engine import Sampling
from r3lbench.env import TextEnv
from r3lbench.errors import BadCheckpoint, R3LBenchError
from r3lbench.policies.finding import find_policy
from r3lbench.recording import RunFolder
from r3lbench.registry import BASELINES, REFLECTORS
from r3lbench.rollout.group import Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.rollout.workers import EnvSource
from r3lbench.scaling import TrainedPolicyConfig
from r3lbench.settings import in_words, non_default


class Made(BaseModel):
    """What a run's states depend on; ``env`` and ``agent`` take the fields of what they name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    env: Any = None
    agent: Any = None
    policy: TrainedPolicyConfig = TrainedPolicyConfig()
    seed: int = 0
    sampling: SamplingConfig = SamplingConfig()
    pool: PoolConfig = PoolConfig()


@dataclass(frozen=True)
class PastRun:
    """A run as its record describes it.

    Attributes:
        folder: The record.
        made: What its states depend on.
        method: Name, and the switches that are not the default.
    """

    folder: RunFolder
    made: Made
    method: str

    @classmethod
    def open(cls, path: Path) -> PastRun:
        """Read a manifest.

        Raises:
            R3LBenchError: The folder is no run, or one that cannot be made here.
        """
        folder = RunFolder.open(path)
        if "method" not in folder.manifest["config"]:
            raise BadCheckpoint(f"{path} is an evaluation: nothing was trained, so there is nothing to look into")
        name = folder.names(("method",))["method"]
        switches = in_words(non_default(BASELINES, folder.manifest["config"]["method"]))
        entries = {kind: configuration.PLUGINS[kind] for kind in ("env", "agent")}
        model = configuration.with_plugins(Made, folder.names(entries), entries)
        made: Made = configuration.validate(model, folder.manifest["config"], f"{path}/manifest.json")
        return cls(folder, made, f"{name} ({switches})" if switches else name)

    @property
    def path(self) -> Path:
        """Its folder, as given."""
        return self.folder.path

    def environments(self) -> EnvPool:
        """Instances of its environment; to be closed."""
        source = EnvSource.of(self.made.env.name, configuration.options_of(self.made.env))
        return EnvPool(source, **self.made.pool.model_dump())

    def check_tasks(self, env: TextEnv, tasks: Sequence[str]) -> None:
        """Make sure that the ids of tasks mean here what they meant in the run.

        Raises:
            R3LBenchError: They do not.
        """
        for split in sorted({task.rpartition("/")[0] for task in tasks}):
            recorded = self.folder.manifest["panels"].get(split)
            if not isinstance(recorded, dict) or recorded.get("hash") != env.panel(split).hash:
                raise R3LBenchError(
                    f"{self.path}: its {split} tasks are not those of {env.name} here (panel hash differs); it was "
                    "made with another version or other data"
                )

    def rollout(self, envs: EnvPool, *, threads: int) -> Rollout:
        """Its trained policy, playing as it explored.

        Args:
            envs: Where to play.
            threads: CPU threads of the model; 0: PyTorch's choice.

        Raises:
            BadCheckpoint: It has no trained policy yet.
        """
        # Seconds that those who do without a policy need not wait for.
        import torch

        from r3lbench.engines.transformers import TransformersEngine
        from r3lbench.policies.loading import choose_device, load_policy

        if threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        made, meter = self.made, Meter()
        assert isinstance(made.agent, Agent)
        source = find_policy(str(self.path), made.env.name)
        policy = load_policy(source, device=choose_device(made.policy.device))
        return Rollout(
            agent=made.agent,
            envs=envs,
            waves=Waves(TransformersEngine(policy.model, context_limit=policy.context_limit), meter),
            template=policy.template,
            seed=made.seed,
            sampling=Sampling(**made.sampling.model_dump()),
            meter=meter,
            reflectors=lambda name: REFLECTORS.load(name)(),
        )
