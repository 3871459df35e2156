from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import r3lbench
import tests.toy  # noqa: F401 - registers the environment
from r3lbench import methods
from r3lbench.__main__ import COMMANDS, MODULES, main
from r3lbench.registry import AGENTS, BASELINES, REFLECTORS, Entry

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_module_with_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"r3lbench {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_unknown_flag_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = importlib.import_module(f"r3lbench.{MODULES.get(command, command)}").main(["--no-such-flag", "1"])
    errors = capsys.readouterr().err
    assert status == 2 and errors.count("\n") == 1 and errors.startswith(f"r3lbench {command}: ")


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["help"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        for command, purpose in COMMANDS.items():
            assert f"r3lbench {command}" in out and purpose in out


def test_the_arguments_reach_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--env", "toy", "--agent", "oracle", "--tasks", "1"]) == 0
    assert "1 of 8 tasks" in capsys.readouterr().out
    assert main(["evaluate", "--env", "nowhere"]) == 2


def test_an_unknown_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evalute"]) == 2
    errors = capsys.readouterr().err
    assert "did you mean 'evaluate'" in errors and errors.count("\n") == 1


def test_the_console_script_and_the_module_are_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"r3lbench": "r3lbench.__main__:main"}
    done = subprocess.run([sys.executable, "-m", "r3lbench", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f"r3lbench {r3lbench.__version__}\n"


def test_all_methods_agents_and_reflectors_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods.main([]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for registry in (BASELINES, AGENTS, REFLECTORS):
        for name in registry.names():
            assert any(words[:1] == [name] for words in lines)


def test_a_method_is_shown_with_its_switches(capsys: pytest.CaptureFixture[str]) -> None:
    assert methods.main(["--method", "r3l", "--agent", "oracle"]) == 0
    out = capsys.readouterr().out
    assert "--method.pivotal-credit" in out and "Reflect, then retry from the failure step" in out
    assert "needs no model; sees beyond observations: expert" in out


def test_a_plug_in_that_does_not_load_does_not_stop_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BASELINES._entries, "grpo", Entry("grpo", "nowhere.to:Find", "announced"))
    assert methods.main([]) == 0
    assert methods.main(["--method", "grppo"]) == 2
    assert "did you mean 'grpo'" in capsys.readouterr().err
