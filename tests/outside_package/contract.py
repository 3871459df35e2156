"""The tests of the package itself: pytest contract.py."""

from __future__ import annotations

from r3lbench.testing import EnvContract


class TestGuess(EnvContract):
    env = "guess"
    examples = 5
