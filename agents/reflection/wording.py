"""What reflectors say: templates with named slots, one file each in ``prompts/``.

The wording is our own; what each prompt has to carry follows the papers that its reflector names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template

from r3lbench.reflection import Case
from r3lbench.rubric import Rubric
from r3lbench.tools import legible


@cache
def template(name: str) -> Template:
    """The template in ``prompts/<name>.txt``, without the final newline."""
    file = resources.files(__package__).joinpath("prompts", f"{name}.txt")
    return Template(file.read_text(encoding="utf-8").removesuffix("\n"))


def fill(name: str, **slots: object) -> str:
    """A template with all of its slots filled.

    Raises:
        KeyError: A slot is left open.
    """
    return template(name).substitute(slots)


def transcript(case: Case) -> str:
    """The episode as numbered steps: what the agent was told and what it answered, and how it ended."""
    lines = []
    for step, turn in enumerate(case.turns):
        told = "\n".join(message.content for message in turn.prompt)
        lines.append(f"Step {step}\n[environment] {told}\n[agent] {legible(turn.text)}")
    limit = " The step limit was reached." if case.truncated else ""
    lines.append(f"[end of episode] {case.observations[-1]}\nFeedback: {case.feedback}.{limit}")
    return "\n\n".join(lines)


def bullets(rubrics: Sequence[Rubric]) -> str:
    """Rubrics as a list, with their weights where these differ from 1."""
    lines = [f"- {rubric.name}{'' if rubric.weight == 1 else f' (weight {rubric.weight:g})'}" for rubric in rubrics]
    return "\n".join(lines) or "- none"
