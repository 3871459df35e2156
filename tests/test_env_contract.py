"""The contract that environments are held to: the toy environment keeps it, and each fault is found by its test."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis.errors import Flaky

import tests.toy  # noqa: F401 - registers it
from r3lbench.errors import R3LBenchError
from r3lbench.testing import EnvContract
from tests.faulty_toys import FOUND_BY


class TestToy(EnvContract):
    env = "toy"
    options = {"rooms": 4}


@pytest.mark.parametrize("name", FOUND_BY)
def test_a_fault_is_found_by_the_test_for_it(name: str) -> None:
    class Contract(EnvContract):
        env = name

    test, arguments = FOUND_BY[name]
    with pytest.raises((AssertionError, R3LBenchError, UnicodeEncodeError, Flaky)):
        getattr(Contract(), test)(**arguments)


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_without_the_test_extra_the_contract_says_how_to_install_it(missing: str) -> None:
    script = f"import sys; sys.modules['{missing}'] = None; import r3lbench; import r3lbench.testing"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"r3lbench.testing needs {missing}: pip install 'r3lbench[test]'" in done.stderr.splitlines()[-1]
