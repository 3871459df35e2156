"""The environment is a Gymnasium environment, with everything that Gymnasium's own checker asks for."""

from __future__ import annotations

import warnings

import gymnasium
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from r3lbench.env import TextEnv
from r3lbench.testing.under_test import EnvUnderTest


class GymnasiumContract(EnvUnderTest):
    """What users of ``gymnasium.make`` rely on."""

    def test_gymnasium_finds_nothing_to_warn_about(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = gymnasium.make(self.gymnasium_id, **self.arguments)
            check_env(made.unwrapped)
            made.close()

    def test_nothing_stands_between_the_caller_and_the_environment(self) -> None:
        made = gymnasium.make(self.gymnasium_id, **self.arguments)
        # A wrapper's own memory (of a reset, of elapsed steps) would not follow a restored state.
        assert isinstance(made, TextEnv), f"{made} is wrapped; register the id without wrappers"
        made.close()

    def test_the_spec_survives_json(self) -> None:
        made = gymnasium.make(self.gymnasium_id, **self.arguments)
        assert made.spec is not None
        again = gymnasium.make(EnvSpec.from_json(made.spec.to_json()))
        assert isinstance(made, TextEnv) and isinstance(again, TextEnv)
        assert again.reset(seed=7) == made.reset(seed=7)
        assert again.panel(made.splits[0]).hash == made.panel(made.splits[0]).hash
        made.close()
        again.close()

    @pytest.mark.parametrize("mode", ["sync", "async"])
    def test_it_can_be_vectorised(self, mode: str) -> None:
        # Text has no fixed size, so it cannot lie in shared memory; a forked process would inherit running threads.
        settings = {} if mode == "sync" else {"shared_memory": False, "context": "spawn"}
        vector = gymnasium.make_vec(
            self.gymnasium_id, num_envs=2, vectorization_mode=mode, vector_kwargs=settings, **self.arguments
        )
        try:
            vector.action_space.seed(11)
            observations, info = vector.reset(seed=7)
            with self.made() as alone:
                assert observations == (alone.reset(seed=7)[0], alone.reset(seed=8)[0])
            assert list(info["elapsed_steps"]) == [0, 0]
            for _ in range(3):
                observations, rewards, *_ended, info = vector.step(vector.action_space.sample())
                assert len(observations) == len(rewards) == len(info["score"]) == 2
        finally:
            vector.close()
