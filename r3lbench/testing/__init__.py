"""Contract tests that a plug-in author inherits: subclass, name the plug-in, and pytest receives the tests.

>>> from r3lbench.testing import EnvContract
>>> class TestMaze(EnvContract):
...     env = "maze"
...     options = {"size": 5}

They need pytest and hypothesis (the extra ``test``), which nothing else in the library does.
"""

from r3lbench.errors import MissingExtra

try:
    import hypothesis  # noqa: F401 - only its presence is asked for
    import pytest
except ImportError as error:
    raise MissingExtra(f"r3lbench.testing needs {error.name}: pip install 'r3lbench[test]'") from error

# Before the import below, so that a failing assertion in a contract shows its values.
for _part in ("gymnasium", "panel", "episode", "snapshot", "teaching"):
    pytest.register_assert_rewrite(f"r3lbench.testing.{_part}_contract")

from r3lbench.testing.env_contract import EnvContract  # noqa: E402

__all__ = ["EnvContract"]
