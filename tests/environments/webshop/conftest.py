"""What is kept on disk is kept apart from the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from r3lbench.environments.webshop.keeping import CACHE


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(CACHE, str(folder))
        yield folder
