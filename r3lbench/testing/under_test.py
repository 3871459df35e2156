"""What the author of an environment tells the contract, and how its tests make and play instances."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from r3lbench.env import TextEnv
from r3lbench.registry import ENVIRONMENTS, NAMESPACE, Entry, make
from r3lbench.testing.elsewhere import Elsewhere


class EnvUnderTest:
    """The environment under test and how hard to test it."""

    env: ClassVar[str]
    """Short name of a registered environment."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Constructor arguments, JSON values; choose a small catalogue or an easy level."""
    examples: ClassVar[int] = 20
    """Random examples of each law."""
    longest: ClassVar[int] = 8
    """Most actions in each of a law's sequences."""
    expert_tasks: ClassVar[int] = 3
    """The oracle, if any, must solve the first so many tasks of each split."""
    success_is_full_score: ClassVar[bool] = True
    """Whether a solved task always scores 1.0."""

    @property
    def entry(self) -> Entry[TextEnv]:
        """The environment's registration."""
        return ENVIRONMENTS.entry(self.env)

    @property
    def gymnasium_id(self) -> str:
        """The id that ``gymnasium.make`` knows the environment by."""
        return f"{NAMESPACE}/{self.entry.load().name}"

    @property
    def arguments(self) -> dict[str, Any]:
        """All constructor arguments: the registration's and the contract's."""
        return {**self.entry.defaults, **self.options}

    @contextmanager
    def made(self) -> Iterator[TextEnv]:
        """An instance, closed afterwards."""
        env = make(self.env, **self.options)
        try:
            yield env
        finally:
            env.close()

    def elsewhere(self, *, reverse_directories: bool = False) -> Elsewhere:
        """An instance in a fresh interpreter; a context manager."""
        return Elsewhere(self.entry.path, self.arguments, reverse_directories=reverse_directories)

    def law(self, holds: Callable[..., None], *drawn: st.SearchStrategy[Any], examples: int | None = None) -> None:
        """Check a property on random examples, the same ones at every run; the simplest that fails is reported."""
        checked = settings(
            max_examples=examples or self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )(given(*drawn)(holds))
        checked()
