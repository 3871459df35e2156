"""Traces from elsewhere are played again, held against what they claim, and recorded only if all of it is so."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import foreign
from r3lbench.evaluate import main as evaluate
from r3lbench.formats import document, markdown
from r3lbench.grids import evaluations
from r3lbench.importing import main
from r3lbench.recording import SEAL, RunFolder
from r3lbench.results import read
from r3lbench.standings import Kind, compare
from r3lbench.verify import main as verify
from tests.judges.chat_server import Answer, chat_server
from tests.toy import Toy

Lines = list[dict[str, Any]]
Import = Callable[..., int]


def header(**changes: Any) -> dict[str, Any]:
    """The first line of a trace of the expert; None deletes."""
    usual = {
        "format": "r3lbench-traces-1",
        "name": "Foreign 7B",
        "description": "Plays by the expert's book.",
        "environment": "toy",
        "panel": Toy().panel("test").hash,
        "tasks": 3,
        "seed": 4,
        "sees": ["admissible"],
        "training": None,
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def play(task: str, **changes: Any) -> dict[str, Any]:
    """A line of the expert's play, with all its claims."""
    env = Toy()
    env.reset(options={"task": task})
    actions: list[str] = []
    while not env.done:
        actions.append(str(env.expert_action()))
        env.step(actions[-1])
    claims = {"return": 1.0, "score": 1, "success": True, "steps": len(actions), "invalid": 0}
    return {"task": task, "actions": actions, **claims, "generated_tokens": 5 * len(actions), **changes}


def expert(tasks: int = 3) -> Lines:
    """A whole trace."""
    return [header(tasks=tasks), *(play(f"test/{index}") for index in range(tasks))]


def written(file: Path, lines: Sequence[Any]) -> Path:
    """The lines as a file; text and bytes as they are."""
    parts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    file.write_bytes(b"".join(part + b"\n" for part in parts))
    return file


@pytest.fixture
def bring(tmp_path: Path) -> Import:
    """Import lines and return the exit status."""

    def go(lines: Sequence[Any], *flags: object, out: str = "out") -> int:
        file = written(tmp_path / "traces.jsonl", lines)
        return main([str(file), "--out", str(tmp_path / out), *map(str, flags), "--quiet"])

    return go


# What is so


def test_what_is_imported_is_recorded_as_if_it_had_been_played_here(bring: Import, tmp_path: Path) -> None:
    assert bring(expert()) == 0
    ours = ["--env", "toy", "--agent", "oracle", "--tasks", "3", "--seed", "4", "--out", str(tmp_path / "ours")]
    assert evaluate([*ours, "--quiet"]) == 0
    theirs, own = RunFolder.open(tmp_path / "out"), RunFolder.open(tmp_path / "ours")
    assert theirs.evaluations() == own.evaluations()
    assert theirs.result is not None and own.result is not None
    assert theirs.result["evaluation"] == own.result["evaluation"]
    assert theirs.result["intervals"] == own.result["intervals"]
    assert theirs.manifest["panels"] == own.manifest["panels"]
    assert theirs.manifest["config"]["env"] == own.manifest["config"]["env"]
    assert set(theirs.manifest["config"]) == set(own.manifest["config"])
    steps = sum(line["steps"] for line in own.evaluations())
    assert theirs.result["cost"] == {
        "evaluate": {"env_steps": steps, "replayed_steps": 0, "generated_tokens": 5 * steps}
    }
    assert (theirs.path / SEAL).is_file()


def test_what_cannot_be_checked_is_recorded_as_told(bring: Import, tmp_path: Path) -> None:
    training = {"description": "PPO in another framework", "cost": {"env_steps": 1000, "seconds": 12.5}}
    told = {"training": training, "url": "https://example.org/run", "sees": ["reward", "admissible"]}
    assert bring([header(**told), *expert()[1:]]) == 0
    manifest = RunFolder.open(tmp_path / "out").manifest
    assert manifest["sees"] == {"agent": ["admissible", "reward"]}
    assert manifest["policy"] == {"name": "Foreign 7B"}
    elsewhere = manifest["elsewhere"]
    assert re.fullmatch("[0-9a-f]{64}", elsewhere.pop("traces"))
    assert elsewhere == {
        "kind": "imported",
        "reproducible": False,
        "model": "Foreign 7B",
        "description": "Plays by the expert's book.",
        "training": training,
        "url": "https://example.org/run",
    }


def test_the_leaderboard_lists_it_as_imported_with_all_its_seeds(bring: Import, tmp_path: Path) -> None:
    for seed in (0, 1):
        assert bring([header(seed=seed), *expert()[1:]], out=f"s{seed}") == 0
    assert bring([header(name="oracle"), *expert()[1:]], out="namesake") == 0
    ours = ["--env", "toy", "--agent", "oracle", "--tasks", "3", "--out", str(tmp_path / "ours")]
    assert evaluate([*ours, "--quiet"]) == 0
    (group,), notes = compare([read(RunFolder.open(tmp_path / name)) for name in ("s0", "s1", "namesake", "ours")])
    rows = {row.label: row for row in group.rows}
    # It cannot pass for what was played here, whatever it calls itself.
    assert set(rows) == {"imported, policy Foreign 7B", "imported, policy oracle", "oracle"} and not notes
    assert rows["imported, policy Foreign 7B"].seeds == (0, 1)
    assert rows["imported, policy Foreign 7B"].kind is rows["imported, policy oracle"].kind is Kind.EVALUATED


def test_the_leaderboard_marks_what_is_only_told(bring: Import, tmp_path: Path) -> None:
    training = {"description": "PPO in another framework", "cost": {"env_steps": 12000, "seconds": 12.5}}
    assert bring([header(training=training, sees=["expert"]), *expert()[1:]], out="trained") == 0
    first, *episodes = expert()
    assert bring([{**first, "name": "Silent"}, *({**line, "generated_tokens": None} for line in episodes)]) == 0
    (group,), _ = compare([read(RunFolder.open(tmp_path / name)) for name in ("trained", "out")])
    steps = sum(len(line["actions"]) for line in episodes) / 3
    found = evaluations(group)
    assert found is not None
    assert dict(zip(found.columns, zip(*found.rows, strict=True), strict=True)) == {
        "agent": ("imported, policy Foreign 7B", "imported, policy Silent"),
        "played": ("imported", "imported"),
        "generated tokens an episode": (f"{5 * steps:.1f}, as told", ""),
        "prefilled tokens an episode": ("", ""),
        # These were taken again here.
        "env steps an episode": (f"{steps:.1f}", f"{steps:.1f}"),
        "sees": ("agent: expert, as told", "agent: admissible, as told"),
        "trained": ("12 k env steps, 12 seconds, as told", "not for this environment, as told"),
    }
    page = markdown(document([], [group], [], "score"))
    assert "12 k env steps, 12 seconds, as told" in page


def test_lines_may_come_in_any_order_and_claim_nothing(bring: Import, tmp_path: Path) -> None:
    first, *episodes = expert()
    silent = [{"task": line["task"], "actions": line["actions"]} for line in reversed(episodes)]
    assert bring([first, *silent]) == 0
    folder = RunFolder.open(tmp_path / "out")
    assert [line["task"] for line in folder.evaluations()] == ["test/0", "test/1", "test/2"]
    # One line without its tokens, and the sum is not known.
    assert bring([first, *episodes[:-1], silent[0]], out="partly") == 0
    for name in ("out", "partly"):
        result = RunFolder.open(tmp_path / name).result
        assert result is not None and set(result["cost"]["evaluate"]) == {"env_steps", "replayed_steps"}


def test_tasks_can_be_played_several_times_and_with_other_settings(bring: Import, tmp_path: Path) -> None:
    panel = Toy(rooms=3, max_steps=2).panel("test")
    settings = {"env": {"rooms": 3, "max_steps": 2}, "panel": panel.hash, "tasks": ..., "episodes_per_task": 2}
    lines = [
        {"task": task.id, "episode": number, "actions": ["go east", "sing"][: 2 - number]}
        for task in panel
        for number in (0, 1)
    ]
    assert bring([header(**settings), *lines]) == 0
    folder = RunFolder.open(tmp_path / "out")
    episodes = folder.evaluations()
    assert len(episodes) == 2 * len(panel)
    # An episode may end early: a player may have had no room for more.
    assert [line["steps"] for line in episodes[:2]] == [2, 1]
    assert folder.manifest["config"]["env"] == {"name": "toy", "rooms": 3, "max_steps": 2}
    assert len(read(folder).panels["after", "sampled"]["score"]) == len(panel)


def test_without_a_folder_it_is_only_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path / "t.jsonl", expert()))]) == 0
    said = capsys.readouterr().out
    assert "Foreign 7B on Toy-v0" in said and "3 episodes played again" in said and "success 1.000" in said
    assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]


def test_flags_say_what_is_a_machines_own(bring: Import, tmp_path: Path) -> None:
    panel = Toy(rooms=3).panel("test").hash
    lines = [header(panel=panel, tasks=1), {"task": "test/0", "actions": ["sing"]}]
    assert bring(lines) == 2
    assert bring(lines, "--env.rooms", 3) == 0
    assert RunFolder.open(tmp_path / "out").manifest["config"]["env"]["rooms"] == 3


# What is not so


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": 0.5}, "score is said to be 0.5, and is 1.0"),
        ({"score": 1.00001}, "score is said to be 1.00001, and is 1.0"),
        ({"return": 2}, "return is said to be 2.0, and is 1.0"),
        ({"success": False}, "success is said to be false, and is true"),
        ({"steps": 1}, "steps is said to be 1, and is"),
        ({"invalid": 3}, "invalid is said to be 3, and is 0"),
        ({"actions": ["sing"]}, "success is said to be true, and is false"),
        ({"actions": [*play("test/1")["actions"], "go west"]}, "not all actions can be taken"),
    ],
)
def test_a_claim_that_is_not_so_is_named_with_its_line(
    changes: dict[str, Any], said: str, bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = expert()
    lines[2] |= changes
    assert bring(lines) == 1
    errors = capsys.readouterr().err.splitlines()
    assert all(line.startswith(f"{tmp_path / 'traces.jsonl'}:3: ") for line in errors[:-1])
    assert any(said in line for line in errors[:-1])
    assert errors[-1] == f"r3lbench import: {len(errors) - 1} differences; nothing was recorded"
    assert not (tmp_path / "out").exists()


def test_every_difference_is_listed_in_the_order_of_the_lines(
    bring: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *episodes = expert()
    wrong = [{**line, "score": 0.25, "success": False} for line in reversed(episodes)]
    assert bring([first, *wrong]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [int(line.split(":")[1]) for line in errors[:-1]] == [2, 2, 3, 3, 4, 4]


def test_claims_may_be_rounded(bring: Import) -> None:
    lines = expert()
    lines[1] |= {"score": 1.0000004, "return": 0.9999996}
    assert bring(lines) == 0


# What is no trace


BAD_HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"format": "r3lbench-traces-2"}, "format"),
    ({"name": ""}, "name"),
    ({"name": "two\nlines"}, "name"),
    ({"name": "x" * 81}, "name"),
    ({"sees": ["everything"]}, "sees.0"),
    ({"sees": ...}, "sees: Field required"),
    ({"training": ...}, "training: Field required"),
    ({"training": {"description": "x", "cost": {"money": 1}}}, "training.cost"),
    ({"panel": "abc"}, "panel"),
    ({"tasks": 0}, "tasks"),
    ({"tasks": "3"}, "tasks"),
    ({"episodes_per_task": 101}, "episodes_per_task"),
    ({"episodes_per_task": 2, "mode": "greedy"}, "greedy play is not repeated"),
    ({"temperature": 0}, "temperature"),
    ({"url": "file:///etc/passwd"}, "url"),
    ({"url": "https://me:secret@example.org"}, "url"),
    ({"env": {"rooms": "/etc"}}, "env.rooms"),
    ({"env": {"rooms": "http://example.org"}}, "env.rooms"),
    ({"env": {"rooms": "C:"}}, "env.rooms"),
    ({"env": {"rooms": {"a": 1}}}, "env.rooms"),
    ({"env": {"room": 3}}, "unknown setting 'env.room'"),
    ({"env": {"rooms": "many"}}, "env.rooms"),
    ({"environment": "toi"}, "unknown environment 'toi': did you mean 'toy'"),
    ({"split": "tests"}, "no split 'tests'"),
    ({"panel": "ab" * 32}, "was another panel where this was played: abababababab, here"),
    ({"more": 1}, "more: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("changes", "said"), BAD_HEADERS, ids=lambda of: str(of)[:40])
def test_a_first_line_that_says_something_else_is_refused(
    changes: dict[str, Any], said: str, bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring([header(**changes), *expert()[1:]]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and errors.startswith("r3lbench import: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "1 episodes are missing, the first of them test/2, episode 0"),
        (lambda lines: [*lines, play("test/3")], ":5: test/3, episode 0, was not to be played"),
        (lambda lines: [*lines, play("train/0")], ":5: train/0, episode 0, was not to be played"),
        (lambda lines: [*lines, lines[1]], ":5: test/0, episode 0, stands in line 2 already"),
        (lambda lines: [*lines[:2], {**lines[2], "episode": 1}, lines[3]], ":3: test/1, episode 1, was not to be"),
        (lambda lines: [lines[0], {**lines[1], "actions": "go east"}, *lines[2:]], ":2: actions: "),
        (lambda lines: [lines[0], {**lines[1], "actions": [1]}, *lines[2:]], ":2: actions.0: "),
        (lambda lines: [lines[0], {**lines[1], "actions": ["x" * 8193]}, *lines[2:]], ":2: actions.0: "),
        (lambda lines: [lines[0], {**lines[1], "generated_tokens": -1}, *lines[2:]], ":2: generated_tokens: "),
        (lambda lines: [lines[0], {**lines[1], "score": "1"}, *lines[2:]], ":2: score: "),
        (lambda lines: [lines[0], b'{"score": NaN}', *lines[2:]], ":2: "),
        (lambda lines: [lines[0], b"\xff\xfe", *lines[2:]], ":2: "),
        (lambda lines: [lines[0], b"[" * 100_000, *lines[2:]], ":2: "),
        (lambda lines: [lines[0], b"", *lines[1:]], ":2: not a JSON object on a line of its own: EOF while parsing"),
        (lambda lines: [*lines, b""], ":5: not a JSON object"),
        (
            lambda lines: [*lines[:-1], json.dumps(lines[-1]).encode()[:-20]],
            ":4: not a JSON object on a line of its own",
        ),
        (lambda lines: [json.dumps(lines, indent=1).encode()], ":1: not a JSON object on a line of its own"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], ":2: task: Field required"),
        (lambda lines: lines[1:], ":1: format: Field required"),
        (lambda lines: [lines[0], b" " * (foreign.LONGEST_LINE + 1), *lines[1:]], ":2: longer than 4,194,304 bytes"),
        (lambda lines: [], "traces.jsonl:1: "),
        (lambda lines: [b"#!/bin/sh"], "traces.jsonl:1: "),
    ],
)
def test_lines_that_are_no_whole_panel_are_refused(
    change: Callable[[Lines], list[Any]],
    said: str,
    bring: Import,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert bring(change(expert())) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in (tmp_path / "none.jsonl", tmp_path):
        assert main([str(file)]) == 2
        errors = capsys.readouterr().err
        assert f"{file} cannot be read" in errors and errors.count("\n") == 1
    assert main([]) == main(["--out", "x"]) == 2
    assert capsys.readouterr().err.count("name the file of traces first") == 2


def test_a_line_without_end_is_read_no_further_than_it_may_be_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "t.jsonl", expert())
    with file.open("ab") as stream:
        stream.write(b'{"task": "test/3", "actions": ["')
        # 100 MB that take no room on a disk.
        stream.truncate(100_000_000)
    tracemalloc.start()
    assert main([str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    assert capsys.readouterr().err == f"r3lbench import: {file}:5: longer than 4,194,304 bytes\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--env", "webshop"), "--env webshop: t.jsonl was played in toy"),
        (("--traces", "other.jsonl"), "--traces: t.jsonl is named already; import files one by one"),
        (("other.jsonl",), "unexpected argument 'other.jsonl'"),
        (("--env.rooms", "many"), "--env.rooms many: "),
        (("--tasks", "2"), "unknown flag --tasks"),
        (("--out",), "--out needs a value"),
    ],
)
def test_flags_that_contradict_the_file_are_refused(
    flags: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written(Path("t.jsonl"), expert())
    written(Path("other.jsonl"), expert())
    assert main(["t.jsonl", "--quiet", *flags]) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1


def test_nothing_is_overwritten(bring: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring(expert()) == 0
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    assert bring(expert()) == 2
    assert capsys.readouterr().err == f"r3lbench import: {tmp_path / 'out'} is not empty; give another --out\n"
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert bring(expert(), out="out/manifest.json") == bring(expert(), out="out/manifest.json/below") == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("manifest.json is a file; give another --out" in line for line in errors)


def test_a_record_is_verified_like_any_other(bring: Import, tmp_path: Path) -> None:
    assert bring(expert()) == 0
    assert verify([str(tmp_path / "out"), "--quiet"]) == 0


def test_a_file_does_not_say_whom_to_ask_with_whose_key(
    bring: Import, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME_KEY", "sk-very-secret")
    with chat_server([Answer()]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        asks = {"judge": "openai", "judge_model": "small", "judge_key_env": "HOME_KEY"}
        lines = [header(environment="rubric_judge", env=asks), *expert()[1:]]
        assert bring(lines) == bring(lines, "--env.judge", "scripted", "--env.judge-model=None") == 2
        assert server.requests == []
        said = "settings of rubric_judge are not taken from a file, as they may ask somebody outside; give "
        assert f"{said}--env.judge-key-env" in capsys.readouterr().err.splitlines()[-1]
        # With all of them given it comes to the tasks, which are others.
        flags = ("--env.judge", "scripted", "--env.judge_model", "None", "--env.judge-key-env=None")
        assert bring(lines, *flags) == 2
        assert "was another panel" in capsys.readouterr().err and server.requests == []


def test_who_played_elsewhere_does_not_play_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(["--env", "toy", "--agent", "imported", "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert "bring some in with r3lbench import" in errors and errors.count("\n") == 1
