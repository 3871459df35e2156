"""What was paid for once: answers of models kept on disk by the content of what was asked."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3lbench.errors import R3LBenchError


class MemoryFailed(R3LBenchError):
    """An answer cannot be kept."""


@dataclass(frozen=True)
class Memory:
    """Answers of one kind; may be used by several threads and processes at once.

    Attributes:
        kind: Name of their folder below ``R3LBENCH_CACHE`` (default ``~/.cache/r3lbench``).
        form: Their format; answers of another are forgotten.
    """

    kind: str
    form: str

    def recall(self, asked: Any) -> dict[str, Any] | None:
        """The answer that is kept; None if there is none, or none that can be read.

        Args:
            asked: JSON values: everything that the answer depends on.
        """
        path, key = self._place(asked)
        try:
            kept = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            # Absent or damaged: it is asked again, and the answer replaces the file.
            return None
        if not isinstance(kept, dict) or kept.pop("format", None) != self.form or kept.pop("key", None) != key:
            return None
        return kept

    def keep(self, asked: Any, answer: dict[str, Any]) -> None:
        """Write an answer so that no reader ever sees half of it; each writer has a temporary file of its own.

        Raises:
            MemoryFailed: It cannot be written.
        """
        path, key = self._place(asked)
        content = json.dumps({"format": self.form, "key": key, **answer}, ensure_ascii=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
                file.write(content)
            Path(file.name).replace(path)
        except OSError as error:
            why = f"{error.strerror or error}; R3LBENCH_CACHE names another folder"
            raise MemoryFailed(f"an answer cannot be kept in {path.parent}: {why}") from error

    def _place(self, asked: Any) -> tuple[Path, str]:
        """File of an answer, and the key that it must hold."""
        key = hashlib.sha256(json.dumps(asked, ensure_ascii=True).encode("ascii")).hexdigest()
        cache = Path(os.environ.get("R3LBENCH_CACHE", Path.home() / ".cache" / "r3lbench"))
        return cache / self.kind / key[:2] / f"{key}.json", key
