"""What holds for every environment that comes with the package: contract, card and golden transcripts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import pytest

from r3lbench import make
from r3lbench.card import BEGIN, END, PROSE, read_card
from r3lbench.env import TextEnv
from r3lbench.errors import MissingExtra
from r3lbench.panels import SHIPPED, Panels, PanelsFile
from r3lbench.registry import ENVIRONMENTS
from tests import golden

HERE = Path(__file__).parent
NAMES = sorted(
    point.name for point in entry_points(group="r3lbench.environments") if point.value.startswith("r3lbench.")
)


@contextmanager
def made(name: str, **options: object) -> Iterator[TextEnv]:
    try:
        env = make(name, **options)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    try:
        yield env
    finally:
        env.close()


def under_contract() -> set[str]:
    """Names for which some test class inherits the contract."""
    names = set()
    for file in sorted(HERE.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any("EnvContract" in ast.unparse(base) for base in node.bases):
                names |= {
                    ast.literal_eval(line.value)
                    for line in node.body
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "env"
                }
    return names


def test_every_environment_is_held_to_the_contract() -> None:
    assert NAMES and set(NAMES) <= under_contract()


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_of_the_present_panels_with_the_expert_above_the_floor(name: str) -> None:
    entry = ENVIRONMENTS.entry(name)
    assert entry.home is not None
    prose = (entry.home / PROSE).read_text(encoding="utf-8")
    assert prose.index(BEGIN) + 500 < prose.index(END), "its measured part is empty: r3lbench card --write"
    card = read_card(name)
    assert card is not None
    with made(name) as env:
        assert list(card["panels"]) == list(env.splits)
        for split, measured in card["panels"].items():
            panel = env.panel(split)
            assert (measured["tasks"], measured["hash"]) == (len(panel), panel.hash)
            assert measured["ceiling"]["success"] >= 0.95 and measured["ceiling"]["score"] >= 0.95
            assert measured["floor"]["success"] <= 0.35


def test_the_panels_of_every_environment_are_shipped() -> None:
    assert sorted(PanelsFile.read(SHIPPED).environments) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_panels_are_those_of_today(name: str) -> None:
    shipped = PanelsFile.read(SHIPPED).environments[name]
    with made(name) as env:
        assert Panels.of(env) == shipped, "r3lbench panels --json r3lbench/panels.json"


@pytest.mark.parametrize("name", NAMES)
def test_no_task_is_in_two_splits_of_any_protocol(name: str) -> None:
    home = ENVIRONMENTS.load(name).__module__.rpartition(".")[0]
    listed = next(module for module in ("protocols", "challenges") if find_spec(f"{home}.{module}") is not None)
    protocols = list(import_module(f"{home}.{listed}").PROTOCOLS)
    assert "default" in protocols
    for protocol in protocols:
        with made(name, protocol=protocol) as env:
            keys = {split: set(env.panel(split).keys) for split in env.splits}
            for one, other in combinations(keys, 2):
                assert not keys[one] & keys[other], f"{protocol}: {one} and {other}"


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_said_when_its_golden_transcripts_were_recorded(name: str) -> None:
    recorded = golden.read(name)
    changes = []
    with made(name) as env:
        if env.panel(env.splits[-1]).hash != recorded["panel"]:
            changes.append(f"the tasks of {name} are other ones than were recorded")
        for episode in recorded["episodes"]:
            now = golden.transcript(env, episode["task"], episode["actions"])
            changes += golden.changes(episode["states"], now, episode["task"])
    upstream = {
        package: (before, now)
        for package, before in recorded["versions"].items()
        if (now := golden.versions(name)[package]) != before
    }
    assert not changes, f"{len(changes)} changes; upstream versions recorded and now: {upstream or 'the same'}\n" + (
        "\n".join(changes)
    )
