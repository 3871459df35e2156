"""What people type by mistake: one line that says what to do, a status that is not 0, and everything as it was."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench import evaluate as evaluating
from r3lbench import run as training
from r3lbench.__main__ import main
from r3lbench.files import sha256_of
from r3lbench.recording import RunFolder
from tests.test_importing import expert, written

TOY = "--env toy --policy pol"
SHORT = f"{TOY} --env.max-steps 4 --tasks-per-update 2 --method.group-size 2 --evaluation.tasks 2 --threads 1 --quiet"
SPELLINGS = {
    "run": f"run --method grpo {SHORT} --budget.updates 1",
    "evaluate": "evaluate --env toy --agent oracle --tasks 1",
    "sweep": "sweep --methods grpo --envs toy --policy pol",
    "import": "import traces.jsonl",
}
"""Commands that would do something, and take a while or write something; every mistake is one beside them."""


@pytest.fixture(scope="module")
def place(toy_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy, a finished run, an evaluation, and other things."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(toy_policy, folder / "pol")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert training.main([*SPELLINGS["run"].split()[1:], "--out", "runs/done"]) == 0
        assert evaluating.main([*SPELLINGS["evaluate"].split()[1:], "--out", "runs/floor", "--quiet"]) == 0
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    for name, text in {
        "file": "something\n",
        "mine.json": '{"a": 1}',
        "mine.md": "# mine\n",
        "mine.csv": "a,b\n",
        "mine.html": "<html>mine</html>",
        "settings.toml": "[budget]\nupdate = 3\n",
        "plan.toml": "envs = ['toy']\n",
        "half.toml": "[[",
        "header.jsonl": '{"format": "r3lbench-traces-1"}\n',
    }.items():
        (folder / name).write_text(text)
    written(folder / "traces.jsonl", expert())
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its digest; folders are files without one."""
    found = sorted(path for path in folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): sha256_of(path) if path.is_file() else "" for path in found}


MISTAKES = [
    # Names
    ("rnu", "unknown command 'rnu': did you mean 'run'"),
    ("RUN --method r3l", "unknown command 'RUN': did you mean 'run'"),
    ("run --method gpro", "unknown method 'gpro': did you mean "),
    ("run --method GRPO", "unknown method 'GRPO': did you mean 'grpo'"),
    ("run --method baselines/grpo.py", "did you mean 'grpo'"),
    ("run --env Toy-v0", "did you mean 'toy'"),
    ("run --env environments/toy", "did you mean 'toy'"),
    ("run --policy no/such/folder --env toy", "no policy 'no/such/folder': give tiny"),
    ("evaluate --env toy --agent oracl", "unknown agent 'oracl': did you mean 'oracle'"),
    ("sweep --methods gpro --envs toy", "unknown method 'gpro'"),
    ("sweep --methods grpo --envs toyy", "unknown environment 'toyy': did you mean 'toy'"),
    ("envs --env toyy", "unknown environment 'toyy': did you mean 'toy'"),
    ("panels --env toyy", "unknown environment 'toyy': did you mean 'toy'"),
    ("methods --agent chatt", "unknown agent 'chatt': did you mean 'chat'"),
    ("prompts --method grp --env toy", "unknown method 'grp'"),
    ("play --env toyy", "unknown environment 'toyy': did you mean 'toy'"),
    ("warmstart --env toyy", "unknown environment 'toyy': did you mean 'toy'"),
    ("card --env toyy", "unknown environment 'toyy': did you mean 'toy'"),
    ("prompts --env toy --task test/999", "the split has 8 tasks, test/0 to test/7"),
    ("play --env toy --task 5", "'5' is not a task id; write <split>/<index>"),
    (f"run --method grpo {SHORT} --evaluation.split tset", "no split 'tset'; it has train, valid, test"),
    ("credit runs/done --value guess", "--value guess: Input should be 'auto'"),
    ("leaderboard runs --reference gpro", "unknown recorded method 'gpro': did you mean 'grpo'"),
    ("leaderboard runs --reference r3l", "unknown recorded method 'r3l': there is none like it; known: grpo"),
    ("leaderboard runs/floor --reference r3l", "no method is recorded, nor 'r3l'"),
    ("leaderboard runs/floor --methods r3l", "no method is recorded, nor 'r3l'"),
    # Where a name is wanted, or a value
    ("envs toy", "unexpected argument 'toy'; did you mean --env toy?"),
    ("methods r3l", "unexpected argument 'r3l'; did you mean --method r3l?"),
    ("play toy", "unexpected argument 'toy'; did you mean --env toy?"),
    ("card toy", "unexpected argument 'toy'; did you mean --env toy?"),
    ("panels nosuch", "unexpected argument 'nosuch'; settings are given as --name value"),
    ("run --method", "--method needs a value"),
    ("credit runs/done --json", "--json needs a value"),
    ("{run} --seed one", "--seed one: Input should be a valid integer"),
    ("{run} --seed 1 2", "unexpected argument '2'"),
    ("{run} --quiet maybe", "unexpected argument 'maybe'"),
    ("{evaluate} oracle", "unexpected argument 'oracle'; did you mean --agent oracle?"),
    ("export runs/done runs/floor --out new", "unexpected argument 'runs/floor'"),
    # Flags
    ("{run} --group-size 3", "unknown flag --group-size; did you mean --method.group-size?"),
    ("{run} --budget.tokens 3", "unknown flag --budget.tokens; did you mean --budget."),
    ("{run} -q", "unknown flag -q; --help lists all"),
    ("run --method grpo -q", "unknown flag -q; --help lists all"),
    ("{evaluate} --resume runs/floor", "unknown flag --resume"),
    ("{sweep} --budget.updatess 1 --dry-run", "unknown flag --budget.updatess; did you mean --budget.updates"),
    ("methods --method grpo -v", "unknown flag -v"),
    # Numbers
    ("{run} --budget.updates -1", "--budget.updates -1: Input should be greater than or equal to 0"),
    ("{run} --budget.seconds -3", "--budget.seconds -3: Input should be greater than or equal to 0"),
    ("{run} --budget.updates None", "a run needs a budget: --budget.updates, "),
    ("{run} --method.group-size 0", "--method.group-size 0: Input should be greater than or equal to 1"),
    ("{run} --optimiser.lr nan", "--optimiser.lr nan: Input should be greater than 0"),
    ("{evaluate} --tasks 0", "--tasks 0: Input should be greater than or equal to 1"),
    ("{sweep} --seeds 0", "--seeds 0: Input should be greater than or equal to 1"),
    ("{sweep} --budget.updates -1 --dry-run", "--budget.updates -1: Input should be greater than or equal to 0"),
    ("leaderboard runs --k 0", "--k 0: Input should be greater than or equal to 1"),
    ("leaderboard runs --k 2 -3", "--k 2 -3: Input should be greater than or equal to 1"),
    ("leaderboard runs --k 1 2", "--k 2: no task was played so often in mode sampled, the most is 1"),
    ("leaderboard runs/floor --mode greedy --k 1", "so often in mode greedy, the most is 0"),
    ("credit runs/done --rollouts 0", "--rollouts 0: Input should be greater than or equal to 1"),
    ("card --env toy --tasks 0", "--tasks 0: Input should be greater than or equal to 1"),
    ("play --env toy --env.max-steps 0", "--env toy: max_steps must be at least 1, got 0"),
    ("warmstart --env toy --threads -1", "--threads -1: Input should be greater than or equal to 0"),
    # What contradicts itself
    ("run --resume runs/done --seed 3", "--resume goes on with the run's own settings; --seed cannot be given"),
    ("run --resume runs/done --out new", "--resume goes on with the run's own settings; --out cannot be given"),
    ("{run} --agent random", "the agent 'random' has no model to train; use --agent chat"),
    ("{evaluate} --improve 1", "the agent 'oracle' has no model here that could revise"),
    ("evaluate --env toy --agent oracle --base-url http://localhost", "the agent 'oracle' asks no server"),
    ("sweep --methods grpo grpo --envs toy --policy pol", "toy-grpo-s0 is planned more than once"),
    ("sweep plan.toml half.toml", "a sweep carries out one plan, not 2"),
    ("leaderboard runs --paths runs", "unexpected argument 'runs': --paths is given already"),
    # Files that are not there, or something else
    ("run --resume runs/none", "runs/none is not a run folder: manifest.json cannot be read"),
    ("run --resume runs", "runs is not a run folder"),
    ("run --resume file", "file is not a run folder"),
    ("run --resume runs/floor", "runs/floor is the record of an evaluation: nothing was trained in it"),
    ("run --resume broken", "broken/manifest.json is damaged"),
    ("run --resume", "--resume needs the folder of a run"),
    ("{run} --config none.toml", "--config none.toml: No such file"),
    ("{run} --config file", "--config file: not TOML"),
    ("{run} --config settings.toml", "unknown setting 'budget.update'; did you mean budget.updates"),
    ("{evaluate} --config half.toml", "--config half.toml: not TOML"),
    ("evaluate --env toy --policy runs", "runs is not a policy: it holds no config.json"),
    ("evaluate --policy runs/floor", "runs/floor holds no trained policy"),
    ("sweep none.toml", "none.toml: No such file"),
    ("sweep plan.toml", "plan.toml: methods: Field required"),
    ("sweep half.toml", "half.toml: not TOML"),
    ("import header.jsonl", "header.jsonl:1: name: Field required"),
    ("import none.jsonl", "none.jsonl cannot be read: No such file"),
    ("import runs/done", "runs/done cannot be read: Is a directory"),
    ("export runs/floor --out new", "runs/floor is the record of an evaluation: nothing was trained in it"),
    ("export empty --out new", "empty is not a run folder"),
    ("credit", "name the folder of a run"),
    ("credit runs/floor", "runs/floor is an evaluation: nothing was trained"),
    ("credit empty", "empty is not a run folder"),
    ("verify", "name the folder of a run"),
    ("verify none", "none is not a folder"),
    ("verify empty", "no run folder (with a manifest.json) below empty"),
    ("leaderboard none", "none is not a folder"),
    ("leaderboard empty", "no run folder (with a manifest.json) below empty"),
    ("leaderboard file", "file is not a folder"),
    ("leaderboard runs --verified-only", "none of these records is verified; see r3lbench verify --write"),
    ("panels --check none.json", "none.json cannot be read: No such file"),
    ("panels --check mine.json", "mine.json was not written by r3lbench panels --json"),
    # Where something lies already, or nothing can
    ("{run} --out runs/done", "runs/done is not empty; continue it with --resume runs/done"),
    ("{run} --out file", "file is a file; give another --out"),
    ("{run} --out file/below", "no run can be recorded in file/below: Not a directory"),
    ("{run} --export file", "file was not written by an export; nothing was overwritten"),
    ("{evaluate} --out runs/done", "runs/done is not empty; give another --out"),
    ("{evaluate} --out file", "/file is a file; give another --out"),
    ("{evaluate} --out file/below", "nothing can be recorded in file/below: "),
    ("{import} --out runs/done", "runs/done is not empty; give another --out"),
    ("{sweep} --out file/below", "nothing can be recorded in file/below: Not a directory"),
    ("{sweep} --out file", "file is no folder for runs; give another --out"),
    ("{sweep} --out runs/done", "runs/done is no folder for runs; give another --out"),
    ("warmstart --env toy --out pol", "pol is not empty; give another --out"),
    ("warmstart --env toy --out file/below", "no policy can be written to file/below: Not a directory"),
    ("export runs/done --out empty/..", "was not written by an export; nothing was overwritten"),
    ("export runs/done --out runs/done/new", "/runs/done, which is sealed; export to a folder outside of it"),
    ("panels --env toy --json mine.json", "mine.json exists and was not made by this command"),
    ("panels --env toy --json empty", "empty cannot be written: Is a directory"),
    ("panels --env toy --json file/below", "file/below cannot be written: file is no folder"),
    ("credit runs/done --json mine.json", "mine.json exists and was not made by this command"),
    ("credit runs/done --json /proc/none", "/proc/none cannot be written: No such file or directory"),
    ("verify runs/floor --json /proc/none", "/proc/none cannot be written: No such file or directory"),
    ("verify runs/floor --json mine.json", "mine.json exists and was not made by this command"),
    ("leaderboard runs --markdown mine.md", "mine.md exists and was not made by this command"),
    ("leaderboard runs --csv mine.csv", "mine.csv exists and was not made by this command"),
]


@pytest.mark.parametrize(("typed", "said"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_gets_one_line_and_changes_nothing(
    typed: str, said: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = contents(place)
    assert main(typed.format(**SPELLINGS).split()) == 2
    errors = capsys.readouterr().err
    assert said in errors and errors.count("\n") == 1 and errors.startswith("r3lbench")
    assert contents(place) == before


@pytest.mark.parametrize(
    "typed", ["--seed 1 --seed 2 --tasks 1", "--agent random --tasks 4 --seed 2 --agent oracle --tasks 1"]
)
def test_of_a_flag_that_is_given_several_times_the_last_one_counts(typed: str) -> None:
    config = evaluating.parse(["--env", "toy", "--agent", "oracle", *typed.split()])
    assert (config.agent.name, config.tasks, config.seed) == ("oracle", 1, 2)


@pytest.mark.parametrize("command", ["evaluate", "import"])
def test_a_folder_that_cannot_be_written_to_is_found_out_before_anything_is_played(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def played(*_: object) -> None:
        raise AssertionError

    monkeypatch.chdir(place)
    # Who tests may be root, who may write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("r3lbench.config.make_env", played)
    assert main([*SPELLINGS[command].split(), "--out", "empty/new"]) == 2
    errors = capsys.readouterr().err
    assert f"{place / 'empty'} cannot be written to; give another --out" in errors and errors.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "import"])
def test_a_disk_that_fills_up_leaves_nothing_half_recorded(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, append = tmp_path / "new", RunFolder.append

    def fails(folder: RunFolder, name: str, value: Any) -> None:
        if name == "timings.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device", str(folder.path / name))
        append(folder, name, value)

    monkeypatch.chdir(place)
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", fails)
        assert main([*SPELLINGS[command].split(), "--out", str(out), "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert errors.endswith("the disk is full; make room; nothing was recorded\n") and errors.count("\n") == 1
    assert list(out.iterdir()) == []
    # Nor does what a kill leaves keep anybody from trying again.
    (out / ".draft").mkdir()
    (out / ".draft" / "manifest.json").write_text("{")
    assert main([*SPELLINGS[command].split(), "--out", str(out), "--quiet"]) == 0
    assert main(["verify", str(out), "--quiet"]) == 0
    names = ["SHA256SUMS", "evaluation.jsonl", "manifest.json", "result.json", "timings.jsonl"]
    assert sorted(file.name for file in out.iterdir()) == names


def test_a_run_that_is_complete_needs_no_more(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = contents(place)
    assert main(["run", "--resume", "runs/done"]) == 0
    output = capsys.readouterr()
    assert "runs/done is complete already; nothing to do" in output.out and output.err == ""
    assert contents(place) == before
