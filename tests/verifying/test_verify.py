"""A record that is what it says passes, and what cannot be told is said to be so."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench import Outcome, register_env
from r3lbench import evaluate as evaluating
from r3lbench import run as training
from r3lbench.errors import BadCheckpoint, MissingExtra
from r3lbench.judging import JudgementFailed
from r3lbench.nature import Fidelity, Isolation
from r3lbench.recording import SEAL, VERIFICATION, RunFolder
from r3lbench.registry import ENVIRONMENTS, Entry
from r3lbench.verdict import Check, Verdict, verdict_on
from r3lbench.verify import main
from tests.judges.chat_server import Answer, chat_server
from tests.toy import Toy
from tests.verifying.records import METRICS, TREE, Copy, Make, change, differences, read, train, verified, write

UNSHARED = "model_tokens_unshared"
LAST_TREE = "trees/u000002.jsonl.gz"

# What passes


def test_records_are_what_they_say(
    records: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for of in records.values() for file in of.rglob("*") if file.is_file()}
    assert main([str(of) for of in records.values()]) == 0
    out = capsys.readouterr().out
    assert out.count(": verified\n") == 4 and out.endswith("4 verified\n")
    for part in ("8 episodes played again", "4 groups played again", "4 groups explored again", "by the agent random"):
        assert part in out
    assert {file: file.read_bytes() for of in records.values() for file in of.rglob("*") if file.is_file()} == before
    run = json.loads((records["run"] / "result.json").read_bytes())
    assert run["cost"]["retry"]["env_steps"] > 0, "a run without retries shows little"


@pytest.mark.parametrize("method", ["dapo", "erl", "herl", "reflect_grpo"])
def test_runs_of_methods_that_turn_down_remember_draw_and_reflect_are_what_they_say(make: Make, method: str) -> None:
    folder = train(make, method, "--optimiser.minibatches", "2", "--evaluation.every", "1")
    found = verified(folder)
    assert differences(found) == [] and found.verdict is Verdict.VERIFIED
    # Without the groups of the first update only what a method remembers is not known in the second.
    (folder / TREE).unlink()
    found = verified(folder)
    assert differences(found) == [] and found.verdict is Verdict.VERIFIED
    notes = next(check for check in found.checks if check.name == "method").notes
    assert notes == (["2 groups come after others that it learned from and that are gone"] if method == "erl" else [])


def test_a_published_record_may_leave_out_its_trees(copy: Copy) -> None:
    folder = copy("run")
    shutil.rmtree(folder / "trees")
    found = {check.name: check for check in verified(folder).checks}
    assert {check.verdict for check in found.values()} == {Verdict.VERIFIED}
    assert "not in this record: policy, trees" in found["seal"].notes
    assert found["trees"].absent == found["method"].absent == "not in this record"


def test_a_published_record_may_keep_some_of_its_trees(copy: Copy) -> None:
    folder = copy("run")
    (folder / TREE).unlink()
    found = {check.name: check for check in verified(folder).checks}
    assert {check.verdict for check in found.values()} == {Verdict.VERIFIED}
    assert "not in this record: policy, 1 of 2 files of trees" in found["seal"].notes
    assert found["trees"].notes == ["not in this record: the groups of 1 of 2 updates"]
    assert found["trees"].said.startswith("2 groups") and found["method"].said.startswith("2 groups")
    assert found["metrics"].said.endswith("explored and counted in 1 of them")
    assert verdict_on(RunFolder(folder)) is Verdict.OPEN, "nobody wrote down that it was verified"
    groups = read(folder / LAST_TREE)
    groups[0]["terms"][0]["weight"] += 1
    write(folder / LAST_TREE, groups)
    told = verified(folder)
    assert differences(told, "seal")[0].startswith(f"{LAST_TREE}: was changed")
    assert differences(told, "method")[0].startswith(f"{LAST_TREE}:1 terms.0.weight")
    assert verdict_on(RunFolder(folder)) is Verdict.FAILED


@register_env("restless")
class Restless(Toy):
    """A corridor that is described in other words each time, which an environment may call the same."""

    name = "Restless-v0"
    fidelity = Fidelity.EQUIVALENT
    ticks = itertools.count()

    def look(self) -> str:
        return " ".join(super().look().split()[:: -1 if next(self.ticks) % 3 else 1])

    def canonical(self, observation: str) -> str:
        return " ".join(sorted(observation.split()))


def test_equal_states_may_be_shown_in_other_words(make: Make) -> None:
    folder = train(make, "r3l", "--method.reflection", "oracle", env="restless")
    assert differences(verified(folder)) == []
    groups = read(folder / TREE)
    groups[0]["states"][1]["score"] = 0.25
    groups[0]["states"][2]["observation"] = "Room 7."
    write(folder / TREE, groups)
    found = differences(verified(folder), "trees")
    assert any("states.1.score: recorded 0.25" in one for one in found)
    assert any("states.2.observation" in one for one in found)


def test_versions_before_passed_every_row_through_the_model_by_itself(copy: Copy) -> None:
    folder = copy("run")
    assert read(folder / METRICS)[0]["learn"]["model_tokens"] < read(folder / METRICS)[0]["learn"][UNSHARED]

    def unshared(lines: list[Any]) -> None:
        passed = 0
        for line in lines:
            line["learn"]["model_tokens"] = line["learn"].pop(UNSHARED)
            passed += int(line["learn"]["model_tokens"])
            line["cost"]["train"]["trained_tokens"] = passed

    change(folder, METRICS, unshared)
    cost = read(folder / METRICS)[-1]["cost"]["train"]
    change(folder, "result.json", lambda of: of[0]["cost"].update(train=cost))
    assert any("learn.model_tokens: recorded" in one for one in differences(verified(folder), "metrics"))
    change(folder, "manifest.json", lambda of: of[0]["config"]["optimiser"].pop("share_prefixes"))
    assert verified(folder).verdict is Verdict.VERIFIED


def test_where_the_first_policy_is_gone_the_trained_one_knows_the_same_words(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, out = shutil.copytree(toy_policy, tmp_path / "begun"), tmp_path / "run"
    short = ("--budget.updates", "1", "--tasks-per-update", "1", "--evaluation.tasks", "1", "--threads", "1", "--quiet")
    assert training.main(["--env", "toy", "--method", "grpo", "--policy", str(begun), *short, "--out", str(out)]) == 0
    shutil.rmtree(begun)
    assert main([str(out)]) == 0
    assert "its digest was not compared" in capsys.readouterr().out
    (out / "policy" / "config.json").write_text("{}")
    assert main([str(out)]) == 1
    told = capsys.readouterr().out
    assert "policy/config.json: was changed" in told and "? method     cannot be checked here: the policy" in told


def test_an_episode_may_end_with_the_context_of_the_model(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = shutil.copytree(toy_policy, tmp_path / "forgetful")
    config = json.loads((policy / "config.json").read_bytes())
    (policy / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 90}))
    flags = ("--env", "toy", "--policy", str(policy), "--tasks", "2", "--modes", "greedy", "--quiet")
    assert evaluating.main([*flags, "--out", str(tmp_path / "record")]) == 0
    assert main([str(tmp_path / "record")]) == 0
    assert "2 were not over: that the model's context was full is the record's word" in capsys.readouterr().out


def test_who_played_elsewhere_is_the_records_word_and_the_play_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="needs the openai package: pip install 'r3lbench[api]'")
    for name, value in {"R3LBENCH_CACHE": str(tmp_path), "OPENAI_API_KEY": "key", "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, value)
    folder, panel = tmp_path / "record", ("--env", "toy", "--tasks", "2", "--quiet")
    with chat_server(lambda asked: Answer("take key")) as server:
        asked = ("--agent", "api", "--model", "small", "--base-url", server.url)
        assert evaluating.main([*panel, *asked, "--out", str(folder)]) == 0
    found = verified(folder)
    assert found.verdict is Verdict.VERIFIED
    assert "the model was elsewhere" in found.checks[1].notes[0]
    change(folder, "manifest.json", lambda of: of[0]["elsewhere"].update(model="large"))
    change(folder, "evaluation.jsonl", lambda lines: lines[0].update(success=True))
    assert [one.partition(":")[0] for one in differences(verified(folder), "manifest")] == ["manifest.json policy.name"]
    assert "evaluation.jsonl:1 success: recorded true, found false" in differences(verified(folder), "evaluation")


# What cannot be told


def test_a_quick_look_finds_what_it_looks_at_and_vouches_for_nothing(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy("run")
    assert main([str(folder), "--tasks", "1"]) == 3
    out = capsys.readouterr().out
    assert "4 episodes played again; cannot be checked here: only 1 of 2 tasks were asked for" in out
    assert out.count("trees were not asked for") == 2 and "0 verified" not in out
    change(folder, "evaluation.jsonl", lambda lines: lines[1].update(digest="0" * 64))
    assert main([str(folder), "--tasks", "1"]) == 3
    change(folder, "evaluation.jsonl", lambda lines: lines[0].update(digest="0" * 64))
    assert main([str(folder), "--tasks", "1"]) == 1
    assert "evaluation.jsonl:1 digest: recorded" in capsys.readouterr().out
    assert main([str(folder), "--tasks", "9"]) == 1
    assert "evaluation.jsonl:2 digest: recorded" in capsys.readouterr().out


@register_env("asking")
class Asking(Toy):
    """A corridor in which somebody outside is asked about every step."""

    name = "Asking-v0"
    isolation = Isolation.THREAD
    answers = True

    def act(self, action: str) -> Outcome:
        if not self.answers:
            raise JudgementFailed("nobody answers")
        return super().act(action)


def test_nobody_outside_is_asked_in_the_words_of_a_stranger(
    make: Make, records: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make(evaluating, "--tasks", "2", "--agent", "random", env="asking")
    monkeypatch.setattr(Asking, "answers", False)
    assert main([str(folder)]) == 3
    assert "asking with rooms, max_steps may ask somebody outside; --ask-outside allows it" in capsys.readouterr().out
    assert main([str(folder), str(records["floor"]), "--ask-outside"]) == 3
    out = capsys.readouterr().out
    assert "cannot be checked here: nobody answers" in out and "1 verified, 1 not verified" in out
    monkeypatch.setattr(Asking, "answers", True)
    assert main([str(folder), "--ask-outside"]) == 0


def test_a_record_of_an_earlier_version_is_not_verified_and_no_error(
    copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy("floor")
    lines = read(folder / "evaluation.jsonl")
    for line in lines:
        del line["actions"], line["digest"]
    write(folder / "evaluation.jsonl", lines)
    (folder / SEAL).unlink()
    assert main([str(folder), "--write"]) == 3
    out = capsys.readouterr().out
    assert f"{folder}: not verified" in out and "the record is not sealed" in out and "did not keep actions" in out
    assert not (folder / VERIFICATION).exists() and verdict_on(RunFolder(folder)) is Verdict.OPEN


def test_settings_of_another_version_are_no_difference(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy("floor")
    change(folder, "manifest.json", lambda of: of[0]["config"].update(speed=1))
    assert main([str(folder)]) == 1
    assert "manifest.json config: manifest.json: unknown setting 'speed'" in capsys.readouterr().out
    change(folder, "manifest.json", lambda of: of[0].update(r3lbench="0.0.1"))
    assert main([str(folder)]) == 3
    assert "made by r3lbench 0.0.1, whose settings are not those of this version" in capsys.readouterr().out


def test_a_run_under_way_is_not_verified(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy("run")
    (folder / "result.json").unlink()
    (folder / SEAL).unlink()
    assert main([str(folder)]) == 3
    assert capsys.readouterr().out.count("cannot be checked here: the run is not complete") == 6


class Absent(Toy):
    """An environment whose package is not installed."""

    def __init__(self, rooms: int = 5, *, max_steps: int = 20, **options: Any) -> None:
        raise MissingExtra("toy needs its box: pip install 'r3lbench[alfworld]'")


def test_without_the_environment_it_is_said_what_is_needed(
    records: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENVIRONMENTS._entries, "toy", Entry("toy", Absent))
    assert main([str(records["run"])]) == 3
    out = capsys.readouterr().out
    assert out.count("cannot be checked here: toy needs its box: pip install 'r3lbench[alfworld]'") == 5
    assert "✓ seal" in out and "✓ result" in out
    monkeypatch.delitem(ENVIRONMENTS._entries, "toy")
    assert main([str(records["run"])]) == 3
    assert "cannot be checked here: unknown environment 'toy'" in capsys.readouterr().out


# What is written


def test_a_note_speaks_of_one_seal(copy: Copy, tmp_path: Path) -> None:
    folder = copy("floor")
    run = RunFolder(folder)
    assert verdict_on(run) is Verdict.OPEN
    assert main([str(folder), "--write", "--json", str(tmp_path / "all.json"), "--quiet"]) == 0
    note = (folder / VERIFICATION).read_bytes()
    (told,) = json.loads((tmp_path / "all.json").read_bytes())["runs"]
    assert told == {"run": folder.as_posix(), **json.loads(note)}
    assert told["verdict"] == "verified" and told["checks"][0]["name"] == "seal"
    assert main([str(folder), "--write", "--quiet"]) == 0 and (folder / VERIFICATION).read_bytes() == note
    assert verdict_on(run) is Verdict.VERIFIED
    run.seal()
    assert verdict_on(run) is Verdict.VERIFIED, "the note is outside of the seal"
    (folder / "timings.jsonl").write_text("")
    assert verdict_on(run) is Verdict.FAILED, "a file was changed since"
    run.seal()
    assert verdict_on(run) is Verdict.OPEN, "nobody has looked at this record"
    assert main([str(folder), "--write", "--quiet"]) == 0
    lines = read(folder / "evaluation.jsonl")
    lines[0]["score"] = 1.0
    write(folder / "evaluation.jsonl", lines)
    run.seal()
    assert main([str(folder), "--write", "--quiet"]) == 1 and verdict_on(run) is Verdict.FAILED
    (folder / VERIFICATION).write_text("{}")
    with pytest.raises(BadCheckpoint, match=r"verification\.json is damaged"):
        verdict_on(run)


def test_no_more_than_twenty_differences_of_a_check_are_told(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy("run")
    states = read(folder / TREE)
    for group in states:
        for state in group["states"]:
            state["feedback"] = "well done"
    write(folder / TREE, states)
    change(folder, "manifest.json", lambda of: of[0].update(revision="1b2c3d"))
    count = sum(len(group["states"]) for group in states)
    assert count > 20 and main([str(folder)]) == 1
    out = capsys.readouterr().out
    assert out.count('feedback: recorded "well done", found') == 20 and f"      and {count - 20} more\n" in out
    assert "made at revision 1b2c3d, verified at" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the folder of a run"),
        (("nowhere",), "nowhere is not a folder"),
        (("empty",), "no run folder (with a manifest.json) below empty"),
        (("{floor}", "--json", "foreign.json"), "foreign.json exists and was not made by this command"),
        (("{floor}", "--strict"), "unknown flag --strict"),
        (("{floor}", "--tasks", "1", "--write"), "--write is for whole verifications; leave out --tasks"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_in_one_line(
    arguments: tuple[str, ...],
    said: str,
    records: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.json").write_text("[]")
    assert main([argument.replace("{floor}", str(records["floor"])) for argument in arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith("r3lbench verify: ") and said in errors


# The law of comparing

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text("xyz", max_size=1), of, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_two_values_differ_unless_they_are_written_the_same(one: Any, two: Any) -> None:
    check = Check("law")
    check.compare("here", one, two)
    same = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert bool(check.differences) != same
    assert all(difference.place.startswith("here") for difference in check.differences)


@pytest.mark.parametrize(
    ("one", "two", "same"), [(0.1 + 0.2, 0.3, True), (1, 1.0, True), (1, True, False), (0.3, 0.31, False)]
)
def test_numbers_are_the_same_up_to_rounding(one: Any, two: Any, same: bool) -> None:
    check = Check("law")
    check.compare("here", [one], [two])
    assert (not check.differences) == same
