"""r3lbench: text environments with restorable state, and a believable comparison of RL methods for LLM agents."""

from typing import TYPE_CHECKING, Any

from r3lbench import starting  # noqa: F401 - before what takes long to import
from r3lbench.env import Outcome, TextEnv
from r3lbench.nature import Fidelity, Isolation
from r3lbench.registry import (
    make,
    register_agent,
    register_baseline,
    register_env,
    register_gymnasium_ids,
    register_reflector,
)
from r3lbench.rubric import Rubric
from r3lbench.snapshot import Snapshot
from r3lbench.tasks import Task, TaskPanel
from r3lbench.teaching import Diagnosis

if TYPE_CHECKING:
    from r3lbench.frames import load_results

__version__ = "0.1.0"

__all__ = [
    "Diagnosis",
    "Fidelity",
    "Isolation",
    "Outcome",
    "Rubric",
    "Snapshot",
    "Task",
    "TaskPanel",
    "TextEnv",
    "load_results",
    "make",
    "register_agent",
    "register_baseline",
    "register_env",
    "register_reflector",
]


def __getattr__(name: str) -> Any:
    if name != "load_results":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # On use: it reads records and needs pandas, and those who play environments need neither.
    from r3lbench.frames import load_results

    return load_results


register_gymnasium_ids()
