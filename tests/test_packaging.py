"""What is built holds everything, and works where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("environments", "agents", "baselines")

pytestmark = pytest.mark.slow


def tracked() -> list[str]:
    """Every file of the checkout that git knows, relative to it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def package_files() -> set[str]:
    """Where the tracked files of the package lie once it is installed."""
    names = {f"r3lbench/{name}" for name in tracked() if name.split("/")[0] in LINKED}
    return names | {name for name in tracked() if name.startswith("r3lbench/") and not (ROOT / name).is_symlink()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist made from the tracked files, and the wheel made from that sdist."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    output = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(output), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return output


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed in a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(next(built.glob("*.whl")))], check=True)
    return target


def run_python(installed: Path, folder: Path, script: str) -> str:
    """Run a script elsewhere, with the installed package before the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_tracked_file_of_the_package(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert package_files() - names == set()


def test_the_wheel_holds_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names - package_files() == set()


def test_the_sdist_holds_every_tracked_file_of_the_package(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert package_files() - names == set()


def test_the_installed_wheel_imports_and_lists_the_same_plug_ins(installed: Path, tmp_path: Path) -> None:
    script = """
import json, r3lbench
from r3lbench import registry
kinds = (registry.ENVIRONMENTS, registry.AGENTS, registry.REFLECTORS, registry.BASELINES)
print(json.dumps([r3lbench.__file__, [kind.names() for kind in kinds]]))
"""
    where, names = json.loads(run_python(installed, tmp_path, script))
    assert Path(where).is_relative_to(installed)
    assert all(names)
    assert json.loads(run_python(ROOT, tmp_path, script))[1] == names


def test_every_plug_in_of_the_installed_wheel_loads(installed: Path, tmp_path: Path) -> None:
    script = """
from r3lbench import registry
for kind in (registry.ENVIRONMENTS, registry.AGENTS, registry.REFLECTORS, registry.BASELINES):
    for name in kind.names():
        print(kind.load(name).__module__)
"""
    modules = run_python(installed, tmp_path, script).split()
    assert all(module.startswith("r3lbench.") for module in modules)
