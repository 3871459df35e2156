"""The contract that environments are held to, on the toy environment."""

from __future__ import annotations

import tests.toy  # noqa: F401 - registers it
from r3lbench.testing import EnvContract


class TestToy(EnvContract):
    env = "toy"
    options = {"rooms": 4}
