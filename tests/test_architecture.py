"""The house keeps its shape: who imports whom, how long files are, and what is never used."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = ("environments", "agents", "baselines")
MODULES_OF_PLUGINS = tuple(f"r3lbench.{folder}." for folder in PLUGINS)
LONGEST_FILE = 450
LONGEST_METHOD = 150
NAMES_THAT_SAY_NOTHING = {"utils.py", "helpers.py", "common.py", "misc.py"}


def python_files(*folders: str) -> list[Path]:
    """The tracked and new Python files below some folders of the checkout, relative to it, links not followed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(Path(name) for name in listed if name.endswith(".py") and (ROOT / name).is_file())


LIBRARY = python_files("r3lbench")
ALL = python_files("r3lbench", *PLUGINS, "tests", "benchmarks")


def tree(file: Path) -> ast.Module:
    """A file's syntax tree."""
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every imported module with the number of leading dots; names after ``from`` count as modules, too."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (".".join(part for part in (node.module, alias.name) if part), node.level) for alias in node.names
            )


def owner(module: str) -> str:
    """``"environments"``, ``"agents"`` or ``"baselines"`` for a plug-in's module; ``"library"``; or ``""``."""
    first, second, *_ = (*module.split("."), "", "")
    if first in PLUGINS:
        return first
    if first != "r3lbench":
        return ""
    return second if second in PLUGINS else "library"


def plugin_files() -> list[tuple[str, Path]]:
    """Each plug-in file with the folder it belongs to."""
    return [(folder, file) for folder in PLUGINS for file in python_files(folder)]


@pytest.mark.parametrize("file", LIBRARY, ids=str)
def test_the_library_imports_no_plug_in(file: Path) -> None:
    assert {owner(module) for module, level in imports(file) if not level} <= {"library", ""}
    for constant in (node.value for node in ast.walk(tree(file)) if isinstance(node, ast.Constant)):
        assert not (isinstance(constant, str) and constant.startswith(MODULES_OF_PLUGINS)), constant


@pytest.mark.parametrize(("folder", "file"), plugin_files(), ids=str)
def test_plug_ins_import_the_library_absolutely_and_only_siblings_relatively(folder: str, file: Path) -> None:
    depth = len(file.parts) - 1
    for module, level in imports(file):
        assert level <= depth, f"{module} is outside {folder}: relative imports are for siblings"
        if not level:
            assert owner(module) in ("library", ""), f"{file} imports {module}: siblings are imported relatively"


@pytest.mark.parametrize("file", ALL, ids=str)
def test_nothing_is_pickled(file: Path) -> None:
    assert not {module.split(".")[0] for module, _ in imports(file)} & {
        "pickle",
        "cloudpickle",
        "dill",
        "shelve",
        "joblib",
    }
    for call in (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call)):
        said = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert said.get("allow_pickle", "False") == "False", f"{file}:{call.lineno}"
        if ast.unparse(call.func) == "torch.load":
            assert said.get("weights_only") == "True", f"{file}:{call.lineno}: say weights_only=True"


@pytest.mark.parametrize("file", ALL, ids=str)
def test_files_are_short_enough_to_read(file: Path) -> None:
    longest = LONGEST_METHOD if file.parts[0] == "baselines" else LONGEST_FILE
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= longest


def test_file_names_say_what_is_inside() -> None:
    assert not [file for file in ALL if file.name in NAMES_THAT_SAY_NOTHING]


def test_extras_that_messages_name_can_be_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in (*LIBRARY, *(file for _, file in plugin_files()))]
    named = {name for text in texts for name in re.findall(r"r3lbench\[(\w+)\]", text)}
    assert named and named <= set(extras)
    # Left out of "all": trackers that others run bring much, and can do without us; vLLM allows few neighbours.
    optional = set(extras) - {"all", "test", "trackio", "vllm", "wandb"}
    assert set(re.findall(r"\w+", extras["all"][0].partition("[")[2])) == optional


@pytest.mark.parametrize("folder", PLUGINS)
def test_the_plug_in_folders_are_linked_into_the_package(folder: str) -> None:
    link = ROOT / "r3lbench" / folder
    assert link.is_symlink() and link.readlink() == Path("..") / folder
    listed = subprocess.run(
        ["git", "ls-files", "-s", link], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert listed.startswith("120000 "), "the link itself must be committed"
