"""A warm start makes a policy that loads, says how it was made, and is the same when made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.policies.loading import find_policy, load_policy
from r3lbench.run import parse as parse_run
from r3lbench.warmstart import QUICK, main, parse

SMALL = [
    "--env",
    "toy",
    "--shape.hidden",
    "64",
    "--shape.intermediate",
    "64",
    "--copying-steps",
    "2",
    "--basics.steps",
    "3",
    "--imitation.steps",
    "4",
    "--again.steps",
    "2",
    "--lessons.demonstrations",
    "6",
    "--lessons.reflections",
    "4",
    "--lessons.rounds",
    "1",
    "--lessons.own-episodes",
    "4",
    "--evaluation-tasks",
    "4",
    "--quiet",
]


def test_the_policy_loads_and_its_card_says_how_it_was_made(tmp_path: Path) -> None:
    out = tmp_path / "policy"
    assert main([*SMALL, "--env.rooms", "4", "--out", str(out)]) == 0
    source = find_policy(str(out), "toy")
    policy = load_policy(source)
    assert policy.template.system_midway
    card = source.card
    assert card["environment"] == "toy"
    assert card["defaults"]["env"] == {"rooms": 4}
    assert card["defaults"]["reflection"]["style"] == "compact"
    assert [stage["stage"] for stage in card["made"]["stages"]] == ["copying", "basics", "imitation", "round 1"]
    assert card["made"]["config"]["imitation"]["steps"] == 4
    assert set(card["measured"]) == {"greedy", "sampled", "reflection"}
    assert 0 <= card["measured"]["sampled"]["success"] <= 1


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        assert main([*SMALL, "--out", str(tmp_path / name)]) == 0
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    one, two = (json.loads((tmp_path / name / "policy.json").read_text())["measured"] for name in ("one", "two"))
    assert one == two


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious").touch()
    assert main([*SMALL, "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_quick_means_less_of_everything() -> None:
    usual, quick = parse(["--env", "toy"]), parse(["--env", "toy", "--quick"])
    assert quick.imitation.steps < usual.imitation.steps
    for table, less in QUICK.items():
        assert all(getattr(getattr(quick, table), name) == value for name, value in less.items())
    assert quick.again.learning_rate == usual.again.learning_rate


def test_an_environments_own_recipe_is_where_its_settings_begin(tmp_path: Path) -> None:
    config = parse(["--env", "webshop"])
    assert config.env.protocol == "default"
    assert "click[" in config.cuts.joints
    other = tmp_path / "other.toml"
    other.write_text('[cuts]\njoints = ["go "]\n')
    changed = parse(["--env", "webshop", "--config", str(other), "--basics.steps", "3", "--imitation.steps", "7"])
    assert changed.cuts.joints == ("go ",)
    assert changed.cuts.identifiers == config.cuts.identifiers
    assert changed.imitation.steps == 7
    assert parse(["--env", "toy"]).cuts.joints == ()


def test_shares_name_every_demonstrator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--out", str(tmp_path / "policy"), "--lessons.shares", "1.0"]) == 2
    assert "one non-negative number each for expert, careless" in capsys.readouterr().err


def test_a_run_with_the_policy_takes_the_agents_settings_from_its_card(tmp_path: Path) -> None:
    out = tmp_path / "policy"
    assert main([*SMALL, "--out", str(out)]) == 0
    config = parse_run(["--env", "toy", "--policy", str(out)])
    assert (config.agent.rules, config.agent.show_admissible, config.agent.max_tokens) == (False, False, 48)
    assert config.reflection.style == "compact"
    assert config.threads == 1


def test_progress_is_plain_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loud = [flag for flag in SMALL if flag != "--quiet"]
    assert main([*loud, "--out", str(tmp_path / "policy")]) == 0
    printed = capsys.readouterr().out
    for line in ("demonstrations: 10 of 10", "imitation: 4 of 4, loss ", "own episodes of round 1: ", "greedy: "):
        assert line in printed
