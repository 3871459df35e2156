"""What tests of the report begin from."""

from __future__ import annotations

from pathlib import Path

import pytest

import r3lbench.report
import tests.toy  # noqa: F401 - registers the environment
from tests.reported import comparison


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A comparison in ``runs`` below the current folder, and no plotting library to carry around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(r3lbench.report, "plotting_library", lambda: "window.Plotly = null;")
    return comparison(Path("runs"))
