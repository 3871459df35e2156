"""Recorded groups for the branch viewer: what was tried, said and trained, as small as it can be told.

Of every run a few groups of a few updates are taken, first seeds and leaders first, until there are enough steps.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from r3lbench.errors import BadCheckpoint, BadConfig
from r3lbench.recording import RunFolder
from r3lbench.report.sections import Contender, Section
from r3lbench.report.speech import Speech, speech_of
from r3lbench.report.words import many
from r3lbench.results import Record
from r3lbench.traces import (
    RecordedAttempt,
    RecordedGroup,
    RecordedReflection,
    RecordedState,
    RecordedTerm,
    read_lines,
    recorded_updates,
)


class _State(RecordedState):
    observation: str
    valid: bool
    feedback: str
    rubrics: tuple[tuple[str, bool, float], ...]


class _Attempt(RecordedAttempt):
    guidance: str
    diverged: bool
    ret: float = Field(alias="return")
    score: float
    success: bool


class _Reflection(RecordedReflection):
    text: str
    problem: str
    outcome: str
    guidance: str


class _Term(RecordedTerm):
    label: str
    kind: str


class ToldGroup(RecordedGroup):
    """A recorded group with everything that a person would want to read."""

    task_type: str = ""
    states: tuple[_State, ...] = Field(min_length=1)
    attempts: tuple[_Attempt, ...]
    reflections: tuple[_Reflection, ...]
    terms: tuple[_Term, ...]

    @property
    def steps(self) -> int:
        """Number of actions taken."""
        return len(self.states) - 1


@dataclass(frozen=True)
class Choice:
    """Which groups are shown.

    Attributes:
        updates: Of every run; None for the first, the middle and the last that are recorded.
        groups: Of every update; those with a retry that helped come first, then those with any.
        steps: Most steps altogether.
    """

    updates: tuple[int, ...] | None
    groups: int
    steps: int


@dataclass(frozen=True)
class Shown:
    """A group in the page.

    Attributes:
        about: For the viewer's lists.
        content: The group itself.
    """

    about: dict[str, Any]
    content: dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """What the viewer has to show.

    Attributes:
        groups: In the order of the sections, rows, seeds and updates.
        notes: One line about what could not be shown, and why.
    """

    groups: Sequence[Shown]
    notes: Sequence[str]


def collect(sections: Sequence[Section], choice: Choice) -> Recorded:
    """Read recorded groups until there are enough: one of every update of as many runs as possible, then more.

    Raises:
        BadConfig: Updates are asked for that no run has trees of.
    """
    found: list[tuple[int, tuple[int, ...], Shown]] = []
    notes: list[str] = []
    without = firsts = 0
    for place, section, contender, run in _runs(sections) if choice.groups else ():
        folder = RunFolder(Path(run.path))
        if not (folder.path / "trees").is_dir():
            without += 1
            continue
        try:
            speech = speech_of(folder)
            if speech.missing:
                notes.append(f"{run.path}: {speech.missing}; actions are shown in place of tokens")
            for update in _updates(folder, choice):
                for rank, group in enumerate(_first(folder, update, choice.groups)):
                    about = _about(section, contender, run, update, group)
                    found.append((rank, (*place, update, rank), Shown(about, encode(group, speech))))
                    firsts += group.steps if rank == 0 else 0
        except BadCheckpoint as error:
            notes.append(str(error))
        if firsts >= choice.steps:
            break
    if choice.updates is not None and choice.groups and not found:
        raise BadConfig(f"--updates {','.join(map(str, choice.updates))}: no run has trees of these updates")
    if without:
        notes.append(f"{many(without, 'run')} recorded, or published, without trees")
    shown: list[tuple[tuple[int, ...], Shown]] = []
    steps = 0
    for _, where, one in sorted(found, key=lambda candidate: candidate[0]):
        if steps + one.about["steps"] <= choice.steps:
            steps += one.about["steps"]
            shown.append((where, one))
    if len(shown) < len(found):
        notes.append(f"there is room for {choice.steps:,} steps; --steps, --groups and --updates choose others")
    return Recorded([one for _, one in sorted(shown, key=lambda pair: pair[0])], sorted(set(notes)))


def _runs(sections: Sequence[Section]) -> Iterator[tuple[tuple[int, int, int], Section, Contender, Record]]:
    """Every run with its place: first seeds, then methods before ablations, then leaders, whatever the section."""
    places = [
        ((number, rank, seed), section, contender, run)
        for number, section in enumerate(sections)
        for rank, contender in enumerate(section.contenders)
        for seed, run in enumerate(contender.runs)
    ]
    yield from sorted(places, key=lambda found: (found[0][2], not found[2].plain, found[0][1], found[0][0]))


def _updates(folder: RunFolder, choice: Choice) -> list[int]:
    recorded = recorded_updates(folder)
    if choice.updates is not None:
        return [update for update in choice.updates if update in recorded]
    return sorted({recorded[0], recorded[len(recorded) // 2], recorded[-1]})


def _first(folder: RunFolder, update: int, count: int) -> list[ToldGroup]:
    """An update's groups: those with a retry that helped first, then with any, then with different returns."""
    file = folder.path / "trees" / f"u{update:06d}.jsonl.gz"
    groups = [read_group(line, f"{file}, line {number}") for number, line in enumerate(read_lines(file), start=1)]
    return sorted(groups, key=_dullness)[:count]


def _dullness(group: ToldGroup) -> tuple[bool, ...]:
    """What there is not to see."""
    retried = any(attempt.base is not None for attempt in group.attempts)
    return _mended(group) is None, not retried, len({attempt.ret for attempt in group.attempts}) == 1


def _mended(group: ToldGroup) -> int | None:
    """The latest step from which a retry beat the attempt that it left; None where none did."""
    returns = {attempt.key: attempt.ret for attempt in group.attempts}
    better = [attempt for attempt in group.attempts if attempt.base is not None and attempt.ret > returns[attempt.base]]
    return max((attempt.pivot for attempt in better), default=None)


def read_group(line: bytes, place: str) -> ToldGroup:
    """A group from its line.

    Raises:
        BadCheckpoint: It does not hold together.
    """
    try:
        # Half a character is text that JSON can spell and nothing else can hold.
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace")
        return ToldGroup.model_validate_json(whole)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadCheckpoint(f"{place}: {where}: {first['msg']}") from error
    except ValueError as error:
        raise BadCheckpoint(f"{place} is not JSON: {error}") from error


def _about(section: Section, contender: Contender, run: Record, update: int, group: ToldGroup) -> dict[str, Any]:
    retries = sum(attempt.base is not None for attempt in group.attempts)
    return {
        "section": section.anchor,
        "env": section.group.env,
        "row": contender.short,
        "seed": run.seed,
        "path": run.path,
        "update": update,
        "task": group.task,
        "attempts": len(group.attempts) - retries,
        "retries": retries,
        "solved": sum(attempt.success for attempt in group.attempts),
        "mended": _mended(group),
        "steps": group.steps,
    }


def encode(group: ToldGroup, speech: Speech) -> dict[str, Any]:
    """A group as the viewer reads it.

    States are lists: parent, action, observation, reward, whether the action was understood. ``terms`` are, by node of
    a turn, all that trained its tokens: label, kind, weight, and whether they did so in another context.
    """
    terms: dict[int, list[list[Any]]] = defaultdict(list)
    for term in group.terms:
        for turn, origin in zip(term.turns, term.sampled_in, strict=True):
            terms[origin].append([term.label, term.kind, term.weight, turn != origin])
    places = {attempt.key: place for place, attempt in enumerate(group.attempts)}
    spoken = sorted(
        {node for attempt in group.attempts for _, node in attempt.turns}
        | {node for reflection in group.reflections for node in reflection.turns or ()}
    )
    leaves = sorted({attempt.leaf for attempt in group.attempts})
    return {
        "task": group.task,
        "type": group.task_type,
        "states": [
            [state.parent, state.action, state.observation, state.reward, state.valid] for state in group.states
        ],
        "leaves": {
            str(leaf): {"feedback": group.states[leaf].feedback, "rubrics": group.states[leaf].rubrics}
            for leaf in leaves
        },
        "attempts": [
            {
                "name": attempt.key.removeprefix(f"{group.key}/"),
                "base": None if attempt.base is None else places[attempt.base],
                "pivot": attempt.pivot,
                "told": attempt.guidance,
                "diverged": attempt.diverged,
                "ended": attempt.ended.value,
                "leaf": attempt.leaf,
                "return": attempt.ret,
                "score": attempt.score,
                "success": attempt.success,
                "turns": [node for _, node in attempt.turns],
            }
            for attempt in group.attempts
        ],
        "reflections": [
            {
                "of": places[reflection.of],
                "valid": reflection.valid,
                "problem": reflection.problem,
                "outcome": reflection.outcome,
                "pivot": reflection.pivot,
                "told": reflection.guidance,
                "text": reflection.text,
                "turns": list(reflection.turns or ()),
            }
            for reflection in group.reflections
        ],
        "tokens": {str(node): speech.pieces(group.segments[node].token_ids) for node in spoken},
        "terms": {str(node): terms[node] for node in spoken if node in terms},
    }
