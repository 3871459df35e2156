"""The contract of every environment, for each protocol."""

from __future__ import annotations

from r3lbench.testing import EnvContract


class TestWebShop(EnvContract):
    env = "webshop"
    options = {"data": "generated"}


class TestCompact(EnvContract):
    env = "webshop"
    options = {"data": "generated", "protocol": "compact"}
    examples = 8


class TestR3L(EnvContract):
    env = "webshop"
    options = {"data": "generated", "protocol": "r3l", "observation_mode": "text"}
    examples = 8


class TestGiGPO(EnvContract):
    env = "webshop"
    options = {"data": "generated", "protocol": "gigpo", "strict_upstream": True}
    examples = 8
