from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import gymnasium
import pytest

import r3lbench
from r3lbench import registry
from r3lbench.errors import UnknownName
from r3lbench.registry import ENVIRONMENTS, Entry, Registry, register_env, unknown
from tests.toy import Toy


@pytest.fixture
def toys() -> Registry[Toy]:
    """A registry of its own, with two names."""
    fresh: Registry[Toy] = Registry("environment", "tests.no_such_group")
    fresh.add(Entry("toy", Toy, "A toy."))
    fresh.add(Entry("toy-long", "tests.toy:Toy", "A long toy.", {"rooms": 9}))
    return fresh


def announce(monkeypatch: pytest.MonkeyPatch, group: str, **values: str) -> None:
    """Pretend that installed packages announce these entry points."""
    points = EntryPoints(EntryPoint(name, value, group) for name, value in values.items())
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))


def module(path: Path, name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write an importable module."""
    (path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(path)
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_registered_name_gives_its_class(toys: Registry[Toy]) -> None:
    assert toys.names() == ("toy", "toy-long")
    assert toys.load("toy") is Toy
    assert toys.load("toy-long") is Toy
    assert toys.entry("toy-long").path == toys.entry("toy").path == "tests.toy:Toy"


def test_make_adds_the_callers_options_to_the_names_own() -> None:
    register_env("toy-long", "tests.toy:Toy", id="ToyLong-v0", rooms=9)
    assert r3lbench.make("toy-long").rooms == 9
    assert r3lbench.make("toy-long", rooms=3, max_steps=7).rooms == 3
    assert gymnasium.make("r3lbench/ToyLong-v0").unwrapped.rooms == 9


def test_an_unknown_name_is_answered_with_the_nearest_in_one_line(toys: Registry[Toy]) -> None:
    with pytest.raises(UnknownName, match=r"unknown environment 'tyo'.*did you mean 'toy'") as refusal:
        toys.load("tyo")
    assert "\n" not in str(refusal.value)
    with pytest.raises(UnknownName, match="known: toy, toy-long"):
        toys.entry("chess")


def test_a_message_without_any_names_says_how_to_install() -> None:
    assert "pip install" in unknown("agent", "chat", [])


def test_a_name_is_taken_once(toys: Registry[Toy]) -> None:
    toys.add(Entry("toy", "tests.toy:Toy"))
    with pytest.raises(ValueError, match=r"'toy' is taken by tests\.toy:Toy"):
        toys.add(Entry("toy", "other.module:Toy"))


def test_a_gymnasium_id_is_taken_once() -> None:
    with pytest.raises(ValueError, match=r"r3lbench/Toy-v0 is taken by tests\.toy:Toy"):
        register_env("other-toy", "other.module:Toy", id="Toy-v0")
    assert "other-toy" not in ENVIRONMENTS.names()


def test_registering_by_path_needs_an_id() -> None:
    with pytest.raises(ValueError, match="needs id="):
        register_env("nameless", "tests.toy:Toy")


def test_the_summary_is_the_first_line_of_the_docstring() -> None:
    assert (
        ENVIRONMENTS.entry("toy").summary
        == "A corridor of rooms with a key in one of them and a locked door in the last."
    )


def test_listing_names_imports_nothing(toys: Registry[Toy], monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, toys.group, absent="no_such_module_at_all:Env")
    assert toys.names() == ("absent", "toy", "toy-long")


def test_an_entry_point_may_name_the_module_that_registers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "from r3lbench import register_agent\n@register_agent('parrot', summary='Repeats.')\nclass Parrot:\n    pass\n"
    )
    module(tmp_path, "parrot_by_module", text, monkeypatch)
    announce(monkeypatch, "r3lbench.agents", parrot="parrot_by_module")
    monkeypatch.setattr(registry.AGENTS, "_entries", {})
    assert registry.AGENTS.names() == ("parrot",)
    assert registry.AGENTS.load("parrot").__name__ == "Parrot"
    assert registry.AGENTS.entry("parrot").summary == "Repeats."


def test_an_entry_point_that_registers_another_name_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, "r3lbench.environments", tyo="tests.toy")
    with pytest.raises(UnknownName, match=r"plug-in tests\.toy announces the environment 'tyo'"):
        ENVIRONMENTS.load("tyo")


def test_an_entry_point_may_name_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "parrot_by_class", "class Parrot:\n    '''Repeats.'''\n", monkeypatch)
    for plugins, group in (
        (registry.AGENTS, "r3lbench.agents"),
        (registry.REFLECTORS, "r3lbench.reflectors"),
        (registry.BASELINES, "r3lbench.baselines"),
    ):
        announce(monkeypatch, group, parrot="parrot_by_class:Parrot")
        monkeypatch.setattr(plugins, "_entries", {})
        assert plugins.load("parrot").__name__ == "Parrot"
        assert plugins.entry("parrot").summary == "Repeats."


def test_a_plug_in_that_does_not_load_is_named_and_the_others_load(
    toys: Registry[Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(tmp_path, "broken_plugin", "raise RuntimeError('no such game')\n", monkeypatch)
    announce(monkeypatch, "r3lbench.environments", broken="broken_plugin", zoo="tests.toy")
    with pytest.warns(UserWarning, match=r"'broken' \(broken_plugin\) does not load.*no such game"):
        ENVIRONMENTS.load_all()
    assert ENVIRONMENTS.load("toy") is Toy


def test_a_plug_in_in_the_middle_of_its_import_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As when a user imports the plug-in first: it imports r3lbench, which loads the plug-ins.
    text = "from r3lbench.registry import ENVIRONMENTS\nENVIRONMENTS.load_all()\nclass Late:\n    pass\n"
    module(tmp_path, "late_plugin", text, monkeypatch)
    announce(monkeypatch, "r3lbench.environments", late="late_plugin:Late")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        __import__("late_plugin")


def test_importing_the_package_makes_every_environment_known_to_gymnasium() -> None:
    script = """
import gymnasium, r3lbench
from r3lbench.registry import ENVIRONMENTS
for name in ENVIRONMENTS.names():
    assert f"r3lbench/{ENVIRONMENTS.load(name).name}" in gymnasium.registry, name
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
