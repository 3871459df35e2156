"""Environment instances for episodes that run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from r3lbench.env import TextEnv
from r3lbench.snapshot import Snapshot


class EnvPool:
    """Lends instances of one environment and takes them back.

    Args:
        make: Makes one more instance; all are interchangeable.
    """

    def __init__(self, make: Callable[[], TextEnv]) -> None:
        self._make = make
        self._idle: list[TextEnv] = []

    @contextmanager
    def borrow(self, snapshot: Snapshot | None = None) -> Iterator[TextEnv]:
        """An instance for the duration of the block, in whatever state its last user left it.

        Args:
            snapshot: What will be restored: an idle instance that owns its native handle is preferred.
        """
        env = self._take(snapshot)
        try:
            yield env
        finally:
            self._idle.append(env)

    def _take(self, snapshot: Snapshot | None) -> TextEnv:
        if snapshot is not None and snapshot.native is not None:
            for position, env in enumerate(self._idle):
                if env.native_owner == snapshot.native.owner:
                    return self._idle.pop(position)
        return self._idle.pop() if self._idle else self._make()

    def close(self) -> None:
        """Close all idle instances."""
        while self._idle:
            self._idle.pop().close()
