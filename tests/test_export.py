"""An exported policy: that others can load it, that its card tells the truth, and that nothing else is overwritten."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import export, run
from r3lbench.config import dump
from r3lbench.evaluate import main as evaluate
from r3lbench.policies.finding import find_policy
from r3lbench.policies.loading import load_policy
from r3lbench.recording import RunFolder
from r3lbench.results import read
from r3lbench.standings import Kind, compare

FLAGS = (
    *("--tasks-per-update", "1", "--budget.updates", "1", "--budget.seconds", "99", "--optimiser.betas", "0.8", "0.95"),
    *("--method.group-size", "2", "--env.rooms", "4", "--evaluation.tasks", "3", "--evaluation.temperature", "0.8"),
)


@pytest.fixture(scope="module")
def complete(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run that was exported as it ended, beside it; copy what is to be changed."""
    folder = tmp_path_factory.mktemp("complete")
    ask = ("--env", "toy", "--policy", str(toy_policy), "--method", "grpo", "--out", str(folder / "run"), "--quiet")
    assert run.main((*ask, *FLAGS, "--export", str(folder / "exported"))) == 0
    return folder / "run"


@pytest.fixture
def exported(complete: Path, tmp_path: Path) -> Path:
    """A copy of the export."""
    shutil.copytree(complete.parent / "exported", tmp_path / "exported")
    return tmp_path / "exported"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def logits(model: object, tokens: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([tokens])).logits  # type: ignore[operator]
    return found


def test_transformers_loads_it_and_it_is_the_policy_that_was_trained(complete: Path, exported: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(exported), AutoModelForCausalLM.from_pretrained(exported)
    trained = load_policy(find_policy(str(complete), "toy"))
    chat = [{"role": "user", "content": "Step 0: A room."}]
    tokens = tuple(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))
    assert torch.equal(logits(model, tokens), logits(trained.model, tokens))
    start = load_policy(find_policy(str(RunFolder(complete).names(["policy"])["policy"]), "toy"))
    assert not torch.equal(logits(model, tokens), logits(start.model, tokens))
    reply = model.generate(torch.tensor([tokens]), do_sample=False)[0, len(tokens) :].tolist()
    assert reply[-1] in trained.template.stop_ids or len(reply) == 3


def test_replies_are_drawn_and_end_as_in_the_evaluation(exported: Path) -> None:
    told = GenerationConfig.from_pretrained(exported)
    policy = load_policy(find_policy(str(exported), "toy"))
    stops = told.eos_token_id if isinstance(told.eos_token_id, list) else [told.eos_token_id]
    assert tuple(stops) == policy.template.stop_ids
    assert (told.do_sample, told.temperature, told.top_p, told.max_new_tokens) == (True, 0.8, 1.0, 3)


def test_it_is_evaluated_here_as_it_was_trained(exported: Path, tmp_path: Path) -> None:
    assert evaluate(("--env", "toy", "--policy", str(exported), "--out", str(tmp_path / "record"), "--quiet")) == 0
    config = json.loads((tmp_path / "record" / "manifest.json").read_bytes())["config"]
    assert (config["env"]["rooms"], config["agent"]["max_tokens"], config["evaluation"]["tasks"]) == (4, 3, 3)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed")
def test_vllm_loads_it(exported: Path) -> None:
    from vllm import LLM, SamplingParams

    prompt = "Step 0: A room."
    policy = load_policy(find_policy(str(exported), "toy"))
    tokens = tuple(policy.tokenizer(prompt)["input_ids"])
    drawn = LLM(str(exported), dtype="float32", enforce_eager=True).generate(
        [{"prompt_token_ids": list(tokens)}], SamplingParams(temperature=0, max_tokens=1)
    )
    assert drawn[0].outputs[0].token_ids[0] == int(logits(policy.model, tokens)[0, -1].argmax())


def test_the_card_holds_the_results_with_their_intervals(complete: Path, exported: Path) -> None:
    card = ModelCard.load(exported / "README.md")
    told = {of.metric_name: of.metric_value for of in card.data.eval_results}
    record = read(RunFolder(complete))
    for mode in ("sampled", "greedy"):
        ((group,), _) = compare([record], mode=mode)
        for row in group.rows:
            value = row.values["score"]
            assert f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]" in card.text
            if row.kind is Kind.METHOD:
                assert told[f"score, {mode}"] == pytest.approx(value.value, abs=1e-6)
    assert {of.dataset_args["panel"] for of in card.data.eval_results} == {record.panel.hash}
    assert card.data.library_name == "transformers" and "base_model" not in card.data.to_dict()


def test_the_card_says_what_was_run(complete: Path, exported: Path) -> None:
    text, manifest = (exported / "README.md").read_text(), RunFolder(complete).manifest
    for panel in manifest["panels"].values():
        assert panel["hash"] in text
    for part in (
        "group_size `2`",
        "rooms `4`",
        "seconds `99.0`, updates `1`",
        "env_steps",
        manifest["packages"]["torch"],
    ):
        assert part in text


def test_the_command_on_the_card_is_that_of_the_run(
    complete: Path, exported: Path, toy_policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = next(line for line in (exported / "README.md").read_text().splitlines() if "r3lbench.run" in line)
    python, module, name, *flags = shlex.split(line.removeprefix("$ "))
    assert (python, module, name) == ("python", "-m", "r3lbench.run")
    # Only what is not usual is said.
    assert "--optimiser.betas" in flags and "--optimiser.lr" not in flags and "--reflection.style" not in flags
    monkeypatch.chdir(toy_policy.parent)
    again = {key: value for key, value in dump(run.parse(flags)).items() if key not in run.UNRECORDED}
    again["policy"]["name"] = str(toy_policy)
    assert {**again, "quiet": True} == RunFolder(complete).manifest["config"]


def test_nothing_names_a_folder_from_the_root_of_this_machine(exported: Path, toy_policy: Path) -> None:
    said = {name: content for name, content in contents(exported).items() if not name.endswith(".safetensors")}
    assert json.loads(said["r3lbench.json"])["manifest"]["config"]["policy"]["name"] == toy_policy.name
    assert [name for name, content in said.items() if str(toy_policy.parent).encode() in content] == []


# Where it goes


def test_the_command_exports_the_same_and_may_repeat_itself(complete: Path, exported: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert export.main((str(complete), "--out", str(tmp_path / "new" / "folder"), "--quiet")) == 0
        assert contents(tmp_path / "new" / "folder") == contents(exported)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["folder"]


def test_a_complete_run_is_exported_when_it_is_resumed(complete: Path, exported: Path, tmp_path: Path) -> None:
    assert run.main(("--resume", str(complete), "--export", str(tmp_path / "late"), "--quiet")) == 0
    assert contents(tmp_path / "late") == contents(exported)


def add_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def add_a_folder(folder: Path) -> None:
    (folder / "adapters").mkdir()


def edit_the_card(folder: Path) -> None:
    (folder / "README.md").write_text("mine")


def forget_the_record(folder: Path) -> None:
    (folder / "r3lbench.json").unlink()


def break_the_record(folder: Path) -> None:
    (folder / "r3lbench.json").write_text("[]")


@pytest.mark.parametrize(
    "change", [add_a_file, add_a_folder, edit_the_card, forget_the_record, break_the_record], ids=lambda of: of.__name__
)
def test_what_an_export_has_not_written_is_left_alone(
    change: Callable[[Path], None], complete: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(exported)
    before = contents(exported)
    assert export.main((str(complete), "--out", str(exported))) == 2
    assert contents(exported) == before
    errors = capsys.readouterr().err
    assert "was not written by an export; nothing was overwritten" in errors and errors.count("\n") == 1


def test_a_run_is_not_begun_when_its_policy_could_not_be_exported(
    complete: Path, toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    ask = ("--env", "toy", "--policy", str(toy_policy), "--method", "grpo", *FLAGS, "--out", str(tmp_path / "run"))
    assert run.main((*ask, "--export", str(tmp_path / "file"))) == 2
    assert "was not written by an export" in capsys.readouterr().err
    assert run.main((*ask, "--export", str(complete / "here"))) == 2
    assert "lies in the record" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_run_that_is_not_complete_is_refused(
    complete: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(complete, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "run" / "policy")
    for arguments, said in (
        ((str(tmp_path / "run"), "--out", str(tmp_path / "out")), "is not complete; continue it with --resume"),
        ((str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")), "is not a run folder"),
        ((str(complete),), "r3lbench export RUN --out FOLDER"),
    ):
        assert export.main(arguments) == 2
        errors = capsys.readouterr().err
        assert said in errors and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
