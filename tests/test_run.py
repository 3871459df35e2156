"""The command's manners: what it is asked for, what it refuses, and that a refusal leaves no trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.run import main
from tests.conftest import Command
from tests.toy_policy import DEFAULTS

Refused = Callable[..., str]
SHORT = ("--tasks-per-update", "1", "--method.group-size", "2", "--budget.updates", "1", "--evaluation.tasks", "1")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Give the command something that it must refuse in one line; nothing may change on disk."""
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments: object) -> str:
        before = contents(tmp_path)
        assert main([str(argument) for argument in arguments]) == 2
        assert contents(tmp_path) == before
        errors = capsys.readouterr().err
        assert errors.count("\n") == 1 and errors.endswith("\n") and errors.startswith("r3lbench run: ")
        return errors

    return refuse


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--env", "toyy"), "unknown environment 'toyy': did you mean 'toy'?"),
        (("--method", "grppo"), "unknown method 'grppo': did you mean 'grpo'"),
        (("--agent", "chatt"), "unknown agent 'chatt': did you mean 'chat'"),
        (("--env=nothing-like-it",), "there is none like it"),
        (("--method",), "--method needs a value"),
        (("--agent", "oracle"), "has no model to train"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    arguments: tuple[str, ...], said: str, refused: Refused, toy_policy: Path
) -> None:
    assert said in refused("--env", "toy", "--policy", toy_policy, *arguments)


def test_a_bare_argument_is_refused(refused: Refused, toy_policy: Path) -> None:
    assert "unexpected argument 'grpo'" in refused("grpo", "--env", "toy", "--policy", toy_policy)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seeed", "1"), "unknown flag --seeed; did you mean --seed"),
        (("--method.pivotal-credits", "True"), "did you mean --method.pivotal-credit"),
        (("--method.pivotal_credits", "True"), "did you mean --method.pivotal-credit"),
        (("--method.clip", "0.2", "0.2"), "unknown flag --method.clip"),  # another method's
        (("--env.room", "3"), "--env.rooms"),
        (("--seed", "one"), "--seed one: "),
        (("--seed", "-1"), "--seed -1: "),
        (("--seed", "1.5"), "--seed 1.5: "),
        (("--seed",), "--seed needs a value"),
        (("--seed", "1", "2"), "unexpected argument '2'"),
        (("--tasks-per-update", "0"), "--tasks-per-update 0: "),
        (("--optimiser.lr", "fast"), "--optimiser.lr fast: "),
        (("--optimiser.lr", "nan"), "--optimiser.lr nan: "),
        (("--optimiser.betas", "0.9"), "--optimiser.betas 0.9: "),
        (("--optimiser.betas", "0.9", "1"), "--optimiser.betas 0.9 1: "),
        (("--optimiser.autocast", "float8"), "'none' or 'bfloat16'"),
        (("--method.preset", "mine"), "'author', 'released' or 'paper'"),
        (("--method.pivotal-credit", "perhaps"), "perhaps"),
        (("--evaluation.modes", "sampled", "lucky"), "lucky"),
        (("--env.rooms", "many"), "--env.rooms many: "),
        (("--env.max-steps", "0"), "max_steps must be at least 1"),
        (("--evaluation.split", "trian"), "Toy-v0 has no split 'trian'; it has train, valid, test"),
        (("--budget.updates", "None"), "a run needs a budget"),
        (("--policy.device", "gpu"), "no such device"),
        (("--policy.name", "tiny"), "ships no tiny policy"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused(
    arguments: tuple[str, ...], said: str, refused: Refused, toy_policy: Path
) -> None:
    assert said in refused("--env", "toy", "--policy", toy_policy, "--method", "r3l", *arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seeed = 1", "unknown setting 'seeed'; did you mean seed"),
        (b"[method]\nname = 'grpo'\npreset = 'paper'", "unknown setting 'method.preset'"),
        (b"[budget]\nupdate = 1", "'budget.update'; did you mean budget.updates"),
        (b"seed = 'one'", "seed: "),
        (b"method = 3", "method is a name, or a table"),
        (b"method = ['grpo']", "method is a name, or a table"),
        (b"policy = 1", "policy is a name, or a table"),
        (b"[method]\nname = 3", "method is a name, or a table"),
        (b"budget = 1", "budget"),
        (b"[evaluation]\nmodes = 'sampled'", "evaluation.modes: "),
        (b"seed = ", "not TOML"),
        (b"\xff", "not TOML"),
        (b"resume = 'elsewhere'", "give --resume as a flag"),
        (b"[env]\nname = 'toyy'", "did you mean 'toy'?"),
    ],
)
def test_a_file_of_settings_that_makes_no_sense_is_refused(
    content: bytes, said: str, refused: Refused, toy_policy: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_bytes(content)
    flags = () if b"toyy" in content else ("--env", "toy")
    asked = () if b"policy" in content else ("--policy", toy_policy)
    assert said in refused(*flags, *asked, "--config", "run.toml")


def test_a_file_of_settings_that_is_not_there_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "--config absent.toml: No such file" in refused("--config", "absent.toml")
    assert "--config . " in refused("--config", tmp_path).replace(f"{tmp_path}:", ". ")
    assert "--config needs a value" in refused("--config")


# Policies


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def break_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def cut_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def drop_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def drop_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def drop_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def break_card(folder: Path) -> None:
    (folder / "policy.json").write_text("{")


def list_as_card(folder: Path) -> None:
    (folder / "policy.json").write_text("[]")


def unknown_setting_on_card(folder: Path) -> None:
    (folder / "policy.json").write_text(json.dumps({"defaults": {"optimiser": {"learning_rate": 1}}}))


def another_architecture(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


BROKEN: dict[Callable[[Path], None], str] = {
    break_config: "cannot be loaded",
    break_json: "cannot be loaded",
    cut_weights: "cannot be loaded",
    drop_weights: "cannot be loaded",
    drop_a_tensor: "lacks weights, first of all model.layers.1.mlp.up_proj.weight",
    drop_config: "holds no config.json",
    drop_template: "no chat template",
    drop_tokenizer: "cannot be loaded",
    break_card: "policy.json is not JSON",
    list_as_card: "policy.json is not a policy's card",
    unknown_setting_on_card: "'optimiser.learning_rate'",
    another_architecture: "MambaForCausalLM",
}


@pytest.mark.parametrize("breaking", BROKEN, ids=lambda breaking: breaking.__name__)
def test_a_policy_that_is_none_is_refused(
    breaking: Callable[[Path], None], refused: Refused, toy_policy: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_policy, tmp_path / "policy")
    breaking(tmp_path / "policy")
    assert BROKEN[breaking] in refused("--env", "toy", "--policy", tmp_path / "policy", "--quiet")


def test_a_policy_that_is_not_there_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "./no/where", tmp_path / "file"):
        assert "no policy" in refused("--env", "toy", "--policy", name)


# Where the record goes


def test_a_folder_that_is_not_empty_is_left_alone(refused: Refused, toy_policy: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").touch()
    (tmp_path / "file").touch()
    ask = ("--env", "toy", "--policy", toy_policy, "--out")
    assert "is not empty; continue it with --resume" in refused(*ask, tmp_path / "run")
    assert "is a file; give another --out" in refused(*ask, tmp_path / "file")
    assert "no run can be recorded in" in refused(*ask, tmp_path / "file" / "run")


@pytest.fixture(scope="module")
def complete(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run; copy it before changing it."""
    folder = tmp_path_factory.mktemp("complete") / "run"
    ask = ("--env", "toy", "--policy", str(toy_policy), "--method", "grpo", *SHORT, "--out", str(folder), "--quiet")
    assert main(ask) == 0
    return folder


@pytest.fixture
def stopped(complete: Path, tmp_path: Path) -> Path:
    """A copy of it as if it had been killed before its summary."""
    shutil.copytree(complete, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    return tmp_path / "run"


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **changes}))


def test_a_run_that_is_none_cannot_be_resumed(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        assert f"{name} is not a run folder: manifest.json cannot be read" in refused("--resume", name)
    assert "--resume needs the folder of a run" in refused("--resume")
    assert "--seed cannot be given beside it" in refused("--resume", "empty", "--seed", "1")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"format": 1}', b'{"format": 99, "config": {}}']
)
def test_a_manifest_that_is_none_is_refused(content: bytes, refused: Refused, stopped: Path) -> None:
    (stopped / "manifest.json").write_bytes(content)
    assert "manifest.json" in refused("--resume", stopped)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": None}, "does not say which method"),
        ({"env": {}}, "does not say which env"),
        ({"method": {"name": "grppo"}}, "did you mean 'grpo'"),
        ({"seed": "one"}, "manifest.json: seed"),
        ({"seeed": 1}, "did you mean seed"),
    ],
)
def test_a_manifest_with_impossible_settings_is_refused(
    change: dict[str, object], said: str, refused: Refused, stopped: Path
) -> None:
    config = json.loads((stopped / "manifest.json").read_bytes())["config"]
    edit(stopped / "manifest.json", config={**config, **change})
    assert said in refused("--resume", stopped, "--quiet")


def test_a_run_does_not_go_on_from_another_policy_or_on_other_tasks(refused: Refused, stopped: Path) -> None:
    whole = json.loads((stopped / "manifest.json").read_bytes())
    edit(stopped / "manifest.json", policy={**whole["policy"], "digest": "0"})
    assert "began from another version of the policy" in refused("--resume", stopped)
    edit(stopped / "manifest.json", policy=whole["policy"], panels={**whole["panels"], "train": {"hash": "0"}})
    assert "other train tasks" in refused("--resume", stopped)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def delete(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("damage", [flip_a_bit, delete], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_refused_with_the_files_name(
    name: str, damage: Callable[[Path], None], refused: Refused, stopped: Path
) -> None:
    file = max((stopped / "checkpoints").iterdir()) / name
    damage(file)
    assert str(file) in refused("--resume", stopped, "--quiet")


def test_the_checkpoint_before_a_damaged_one_leads_to_the_same_end(complete: Path, stopped: Path) -> None:
    shutil.rmtree(max((stopped / "checkpoints").iterdir()))
    assert main(["--resume", str(stopped), "--quiet"]) == 0
    before, after = contents(complete), contents(stopped)
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"timings.jsonl", "result.json", "SHA256SUMS", "checkpoints/u000001/state.json"}


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation.jsonl", "timings.jsonl"])
def test_a_record_that_has_lost_its_end_is_refused_before_any_of_it_is_cut(
    name: str, refused: Refused, stopped: Path
) -> None:
    content = (stopped / name).read_bytes()
    (stopped / name).write_bytes(content[: len(content) // 3])
    assert f"{name} is shorter than at the last checkpoint" in refused("--resume", stopped, "--quiet")
    (stopped / name).unlink()
    assert f"{name} is shorter than at the last checkpoint" in refused("--resume", stopped, "--quiet")


def test_a_complete_run_has_nothing_left_to_do(complete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(complete)
    assert main(["--resume", str(complete)]) == 0
    output = capsys.readouterr()
    assert "is complete already; nothing to do" in output.out and output.err == ""
    assert contents(complete) == before


# What it says


def test_a_run_tells_what_it_does_and_ends_with_a_table(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ("--env", "toy", "--policy", str(toy_policy), *SHORT, "--out", str(tmp_path / "run"))
    assert main(ask) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for part in ("r3l on Toy-v0", "held-out panel test: 3 tasks", "evaluation after update 1", "success, sampled"):
        assert part in output.out
    assert f"recorded in {tmp_path / 'run'}" in output.out


def test_a_quiet_run_says_nothing(toy_policy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ask = ("--env", "toy", "--policy", str(toy_policy), *SHORT, "--out", str(tmp_path / "run"), "--quiet")
    assert main(ask) == 0
    assert capfd.readouterr() == ("", "")


def test_a_run_is_recorded_where_its_settings_say(
    toy_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(("--env", "toy", "--policy", str(toy_policy), *SHORT, "--seed", "3", "--quiet")) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == "toy-r3l-toy-s3"


def test_a_trained_policy_can_be_trained_on(complete: Path, tmp_path: Path) -> None:
    """A run's folder stands for its policy, which brings what it was trained with."""
    ask = ("--env", "toy", "--policy", str(complete), *SHORT, "--out", str(tmp_path / "run"), "--quiet")
    assert main(ask) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_bytes())
    assert manifest["config"]["env"]["rooms"] == DEFAULTS["env"]["rooms"]  # type: ignore[index]


def test_the_manifest_describes_the_run(complete: Path, toy_policy: Path) -> None:
    manifest = json.loads((complete / "manifest.json").read_bytes())
    assert manifest["env"] == "Toy-v0"
    assert manifest["panels"]["test"]["tasks"] == 3 and len(manifest["panels"]["test"]["hash"]) == 64
    assert manifest["policy"]["name"] == toy_policy.name and len(manifest["policy"]["digest"]) == 64
    assert manifest["sees"] == {"agent": ["admissible"]}
    assert manifest["packages"]["torch"] and manifest["hardware"]["threads"] > 0
    assert "out" not in manifest["config"] and "resume" not in manifest["config"]


def test_the_command_refuses_in_a_process_of_its_own(command: Command, tmp_path: Path) -> None:
    process = command("run", "--env", "toyy", cwd=tmp_path)
    output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert errors == (
        "r3lbench run: unknown environment 'toyy': did you mean 'toy'? known: " + errors.partition("known: ")[2]
    )
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
