"""Errors a user can act on: one line that says what is wrong and what to do about it."""

from __future__ import annotations


class R3LBenchError(Exception):
    """Base of every error caused by what a user gave us.

    The commands print its message on one line and exit with status 2; a traceback is kept for faults of our own.
    """


class UnknownName(R3LBenchError):
    """No environment, agent, method, split, ... of this name; the message offers the nearest ones."""


class BadConfig(R3LBenchError):
    """A flag or a configuration file does not hold what is asked for."""


class BadData(R3LBenchError):
    """A data file is missing or malformed; the message names the file and what was expected in it."""


class MissingExtra(R3LBenchError):
    """An optional dependency is needed; the message gives the ``pip install`` line."""


class BadCheckpoint(R3LBenchError):
    """A checkpoint, run folder or recorded trace cannot be read back."""


class EpisodeOver(R3LBenchError):
    """``step`` was called after the end of an episode, or before the first ``reset``."""


class BadSnapshot(R3LBenchError):
    """A snapshot is corrupt, or belongs to another environment, version, task or catalogue."""


class StaleHandle(R3LBenchError):
    """An environment cannot use a native handle it once gave out; the actions are replayed instead."""


class SnapshotDiverged(R3LBenchError):
    """Replaying a snapshot's actions led to a state that looks different from the recorded one."""


class TemplateUnsuitable(R3LBenchError):
    """A model's chat template cannot carry an append-only conversation."""
