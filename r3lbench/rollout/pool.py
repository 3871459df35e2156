"""Environment instances for episodes that run side by side, wherever the environment asks to be played.

Most are played where they are asked (``Isolation.NONE``). Steps that wait for something outside run in threads, and
native libraries in worker processes (`rollout.worker_env`). A ``Seat`` hides the difference from whoever plays.

What is played does not depend on the number of workers: instances are numbered, lent in the order of their numbers,
and spread over the workers by number; how many there are at most is the environment's own ``instances``.
"""

from __future__ import annotations

import os
import time
import weakref
from bisect import insort
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from r3lbench.env import TextEnv
from r3lbench.episode import Trajectory
from r3lbench.nature import Isolation
from r3lbench.phases import phase, side_by_side
from r3lbench.rollout.waves import Deed, Waves
from r3lbench.rollout.worker_env import Facts, WorkerEnv
from r3lbench.rollout.workers import EnvSource, Worker
from r3lbench.snapshot import Snapshot
from r3lbench.teaching import Diagnosis

T = TypeVar("T")
MOST_WORKERS = 8
"""Worker processes unless told otherwise: one for each core, but no more than these."""
THREADS = 16
"""Threads unless told otherwise, where steps wait for something outside."""


class Seat:
    """An instance for the duration of an episode, whose deeds are awaited.

    Attributes:
        env: The instance, in whatever state its last user left it. What it says of its state may be asked directly.
    """

    def __init__(self, env: TextEnv, pool: EnvPool, waves: Waves, key: str, purpose: str) -> None:
        self.env = env
        self._pool = pool
        self._waves = waves
        self._key = key
        self._purpose = purpose
        self._before = _costs(env)

    async def reset(self, task: str) -> None:
        """Begin an episode of the task with this id."""
        await self._do("reset", lambda: self.env.reset(options={"task": task}))

    async def restore(self, snapshot: Snapshot) -> None:
        """Return to a saved state.

        Raises:
            SnapshotDiverged: See ``TextEnv.restore``.
        """
        await self._do("restore", lambda: self.env.restore(snapshot))

    async def step(self, action: str) -> float:
        """Take a step; returns its reward."""
        # Deeds are done in the order of the model's requests that led to them.
        return (await self._do("step", lambda: self.env.step(action), f"#{self.env.elapsed_steps:04d}"))[1]

    async def diagnose(self, trajectory: Trajectory) -> Diagnosis | None:
        """Where a trajectory went wrong, as far as the environment can tell."""
        return await self._do("diagnose", lambda: self.env.diagnose(trajectory))

    @property
    def costs(self) -> dict[str, int]:
        """Steps replayed since the seat was taken, and workers lost if any were."""
        costs = {name: now - self._before[name] for name, now in _costs(self.env).items()}
        return {name: cost for name, cost in costs.items() if cost or name == "replayed_steps"}

    async def _do(self, what: str, deed: Callable[[], T], turn: str = "#") -> T:
        if self._pool.isolation is Isolation.NONE:
            with phase(self._purpose, what):
                return deed()
        wanted = Deed(_lane(self.env), deed, (self._purpose, what))
        done: T = await self._waves.carry_out(self._pool, self._key + turn, wanted)
        return done


class EnvPool:
    """Lends instances of one environment and takes them back.

    Args:
        make: Makes one more instance; all are interchangeable. Only an ``EnvSource`` can be carried out in another
            process or thread; instances of any other callable are played where they are asked.
        workers: Worker processes, or threads where steps wait for something outside; 0: as many as are useful here.
        step_seconds: A worker that has not answered for so long is replaced.
        memory_gib: Most address space of a worker; 0 for no limit.
    """

    def __init__(
        self, make: Callable[[], TextEnv], *, workers: int = 0, step_seconds: float = 60.0, memory_gib: float = 0.0
    ) -> None:
        self._make = make
        self.isolation = make.isolation if isinstance(make, EnvSource) else Isolation.NONE
        self._settings = {"step_seconds": step_seconds, "memory_gib": memory_gib}
        self._most_workers = workers
        self._idle: list[TextEnv] = []
        self._made = 0
        self._facts: Facts | None = None
        self._threads: ThreadPoolExecutor | None = None
        self.workers: list[Worker] = []
        """The worker processes; none before the first instance."""
        self._process = os.getpid()
        # Also when nobody closes the pool, and when the interpreter ends.
        weakref.finalize(self, _end, self.workers, self._process)

    @asynccontextmanager
    async def seat(self, waves: Waves, key: str, purpose: str, snapshot: Snapshot | None = None) -> AsyncIterator[Seat]:
        """An instance to play with, for one of many coroutines; where there is none left, in its turn.

        Args:
            waves: By which the coroutine waits.
            key: Its place among those who wait.
            purpose: What its time counts for: ``"attempt"``, ``"retry"``, ...
            snapshot: What will be restored: an idle instance that owns its native handle is preferred.
        """
        if self.isolation is Isolation.PROCESS:
            env = await waves.borrow(self, key, snapshot)
        else:
            env = self._take(snapshot)
        try:
            yield Seat(env, self, waves, key, purpose)
        finally:
            self.give_back(env)

    @contextmanager
    def borrow(self, snapshot: Snapshot | None = None) -> Iterator[TextEnv]:
        """An instance for the duration of the block, for one who does not play beside others."""
        env = self._take(snapshot)
        try:
            yield env
        finally:
            self.give_back(env)

    def lend(self, wishes: Sequence[Snapshot | None]) -> list[TextEnv | None]:
        """An instance for each wish as far as there are any: first to those whose state one of them knows."""
        assert isinstance(self._make, EnvSource)
        lent: list[TextEnv | None] = [self._owner(snapshot) for snapshot in wishes]
        for place, env in enumerate(lent):
            if env is None and (self._idle or self._made < self._make.instances):
                lent[place] = self._any()
        return lent

    def give_back(self, env: TextEnv) -> None:
        """Take an instance back."""
        if isinstance(env, WorkerEnv):
            insort(self._idle, env, key=_number)
        else:
            self._idle.append(env)

    def carry_out(self, deeds: Sequence[Deed]) -> list[Any]:
        """Do all in threads, those of one lane one after the other; an error takes the place of a result."""
        lanes: dict[Hashable, list[int]] = {}
        for place, deed in enumerate(deeds):
            lanes.setdefault(deed.lane, []).append(place)
        outcomes: list[Any] = [None] * len(deeds)
        with side_by_side() as tell:

            def run(places: list[int]) -> None:
                for place in places:
                    began = time.perf_counter()
                    try:
                        outcomes[place] = deeds[place].do()
                    except Exception as error:  # noqa: BLE001 - raised where the deed is waited for
                        outcomes[place] = error
                    tell(deeds[place].phase, time.perf_counter() - began)

            for running in [self._helpers.submit(run, places) for places in lanes.values()]:
                running.result()
        return outcomes

    def begin(self, deed: Deed) -> Future[Any]:
        """Have one done in a thread."""
        return self._helpers.submit(deed.do)

    def close(self) -> None:
        """Close all idle instances, and end threads and worker processes."""
        while self._idle:
            env = self._idle.pop()
            if not isinstance(env, WorkerEnv):
                env.close()
        _end(self.workers, self._process)
        self.workers.clear()
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        self._facts, self._made = None, 0

    # Inside

    @property
    def _helpers(self) -> ThreadPoolExecutor:
        if self._threads is None:
            count = len(self.workers) or self._most_workers or THREADS
            self._threads = ThreadPoolExecutor(count, thread_name_prefix="r3lbench-environments")
        return self._threads

    def _take(self, snapshot: Snapshot | None) -> TextEnv:
        env = self._owner(snapshot)
        return self._any() if env is None else env

    def _owner(self, snapshot: Snapshot | None) -> TextEnv | None:
        """The idle instance that knows a state."""
        if snapshot is not None and snapshot.native is not None:
            for position, env in enumerate(self._idle):
                if env.native_owner == snapshot.native.owner:
                    return self._idle.pop(position)
        return None

    def _any(self) -> TextEnv:
        if self._idle:
            # The last one is the likeliest to be in a cache; workers have equal shares of the first ones.
            return self._idle.pop(0 if self.isolation is Isolation.PROCESS else -1)
        return self._made_elsewhere() if self.isolation is Isolation.PROCESS else self._make()

    def _made_elsewhere(self) -> WorkerEnv:
        assert isinstance(self._make, EnvSource)
        if not self.workers:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            count = self._most_workers or min(cores, MOST_WORKERS)
            self.workers += [Worker(self._make, **self._settings) for _ in range(min(count, self._make.instances))]
        number = self._made
        worker = self.workers[number % len(self.workers)]
        if self._facts is None:
            self._facts = Facts.of(worker, number)
        self._made += 1
        return WorkerEnv(worker, number, self._facts)


def _costs(env: TextEnv) -> dict[str, int]:
    lost = env.lost_workers if isinstance(env, WorkerEnv) else 0
    return {"replayed_steps": env.replayed_steps, "lost_workers": lost}


def _lane(env: TextEnv) -> Hashable:
    """A worker does one thing at a time; where there is none, an instance does."""
    return env.worker if isinstance(env, WorkerEnv) else env


def _number(env: TextEnv) -> int:
    assert isinstance(env, WorkerEnv)
    return env.number


def _end(workers: list[Worker], owner: int) -> None:
    """End workers; in a process that was forked from their owner they are only forgotten."""
    if os.getpid() != owner:
        for worker in workers:
            worker.abandon()
        return
    for worker in workers:
        worker.dismiss()
    for worker in workers:
        worker.close()
