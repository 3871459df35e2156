"""Whether a run's updates went as recorded: what they did and cost, every state, and every turn's weight."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r3lbench.checking import available, check_growth
from r3lbench.dealing import PASSED, Draws, group_key, learned, remembers, turns_down
from r3lbench.errors import BadCheckpoint, R3LBenchError
from r3lbench.lines import Cost, UpdateLine
from r3lbench.opening import Course, Record, World
from r3lbench.policies.finding import find_policy
from r3lbench.policies.loading import Policy, load_policy
from r3lbench.recording import group_json
from r3lbench.rehearsal import Rehearsal, compare
from r3lbench.replaying import check_tree
from r3lbench.rollout.group import Group
from r3lbench.rollout.meter import EVALUATION, Meter
from r3lbench.run import RunConfig
from r3lbench.tasks import TaskPanel, parse_task_id
from r3lbench.tokens import Term
from r3lbench.traces import RecordedGroup, parse_group, read_lines
from r3lbench.training import schedule
from r3lbench.training.report import explored
from r3lbench.training.trainer import MOST_DRAWS
from r3lbench.verdict import Check

_BY_DEEDS = ("attempt", "reflect", "retry")
"""Purposes whose costs follow from what was done."""
_DONE = {"env_steps": ("env_steps",), "generated_tokens": ("generated_tokens",)}
_READ = {"prefilled_tokens + reused_tokens": ("prefilled_tokens", "reused_tokens")}
"""Of their counts those that do, by name. How much of what was read was at hand depends on what was kept."""


@dataclass(frozen=True)
class Rehearsed:
    """What an update comes to when it is explored again.

    Attributes:
        explore: As in ``metrics.jsonl``.
        learn: Those counts there that need no model.
        cost: Of this update alone, by purpose.
        counted: Names of costs that must be the same, and what they are the sums of.
    """

    explore: dict[str, Any]
    learn: dict[str, float]
    cost: dict[str, dict[str, int]]
    counted: Mapping[str, tuple[str, ...]]


def tree_of(record: Record, line: UpdateLine) -> Path:
    """The file of an update's groups; a published record may do without."""
    return record.folder.path / "trees" / f"u{line.update:06d}.jsonl.gz"


def check_trees(
    trees: Check, method: Check, record: Record, world: World | None, done: Callable[[], None]
) -> dict[int, Rehearsed]:
    """Go through all groups.

    Args:
        trees: Every state and attempt.
        method: What was told and tried again, and which turns got which weight.
        record: A run with its trees.
        world: Where to play.
        done: Called after each group.

    Returns:
        By number the updates that could be explored again as a whole.
    """
    made, updates = record.made, record.updates
    assert isinstance(made, RunConfig)
    if updates is None:
        trees.cannot = method.cannot = "metrics.jsonl is damaged"
    if world is None or updates is None:
        return {}
    files = {line.update: tree_of(record, line) for line in updates}
    present = {file.name for file in (record.folder.path / "trees").iterdir()}
    for name in sorted(present - {file.name for file in files.values()}):
        if not name.startswith("."):
            trees.differ(f"trees/{name}", "belongs to no update")
    policy = _speaker(record)
    if policy is None:
        method.cannot = f"needs the tokenizer of the policy {made.policy.name}"
    rehearsal = None if policy is None else Rehearsal(made, policy, world.envs, made.method.model_copy(deep=True))
    draws = Draws(made, world.train)
    found: dict[int, Rehearsed] = {}
    count = explored_again = left_out = 0
    for line in updates:
        if not files[line.update].is_file():
            left_out += 1
            draws.pass_over()
            if remembers(made.method):
                # What it had learned by the next update is not known.
                rehearsal = None
            continue
        try:
            lines = read_lines(files[line.update])
        except BadCheckpoint as error:
            trees.differ(f"trees/{files[line.update].name}", str(error))
            draws.pass_over()
            continue
        count += len(lines)
        explored_again += len(lines) if rehearsal is not None else 0
        passage = _Passage(trees, method, record, rehearsal, world, draws, f"trees/{files[line.update].name}", line)
        rehearsed = passage.check(lines, done)
        if rehearsed is not None:
            found[line.update] = rehearsed
    trees.said = f"{count:,} groups played again"
    if policy is not None:
        method.said = f"{explored_again:,} groups explored again with the model's replies"
    if left_out:
        trees.notes.append(f"not in this record: the groups of {left_out:,} of {len(updates):,} updates")
    if explored_again < count and policy is not None:
        method.notes.append(
            f"{count - explored_again:,} groups come after others that it learned from and that are gone"
        )
    return found


@dataclass(frozen=True)
class _Passage:
    """An update's groups, one after the other."""

    trees: Check
    method: Check
    record: Record
    rehearsal: Rehearsal | None
    world: World
    draws: Draws
    file: str
    line: UpdateLine

    def check(self, lines: Sequence[bytes], done: Callable[[], None]) -> Rehearsed | None:
        """See to all groups; None where not all of them could be explored again."""
        if len(lines) != len(self.line.tasks):
            words = f"{len(lines)} groups, but {len(self.line.tasks)} tasks in metrics.jsonl"
            self.trees.differ(self.file, words)
        drawn: Counter[str] = Counter()
        meter = Meter()
        again: list[tuple[Group, list[Term]]] = []
        for number, (line, task) in enumerate(zip(lines, self.line.tasks, strict=False), start=1):
            drawn[task] += 1
            key = group_key(self.line.update, task, drawn[task])
            again += self._group(f"{self.file}:{number}", line, task, key, meter)
            done()
        if self.rehearsal is None:
            return None
        self.rehearsal.method.end_update([group for group, _ in again])
        if len(again) != len(self.line.tasks):
            self.draws.pass_over()
            return None
        groups, terms = [group for group, _ in again], [of for _, of in again]
        by_key = self.draws.places(self.line.update, [group.key for group in groups])
        places = [by_key.get(group.key) for group in groups]
        learn = learned(self.method, self.record, self.line, terms, places)
        if self.world.exact:
            return Rehearsed(explored(groups, terms), learn, meter.to_json(), {**_DONE, **_READ})
        # Other words may be more tokens.
        learn = {name: count for name, count in learn.items() if name not in PASSED}
        return Rehearsed(explored(groups, terms), learn, meter.to_json(), _DONE)

    def _group(self, place: str, line: bytes, task: str, key: str, meter: Meter) -> Iterator[tuple[Group, list[Term]]]:
        try:
            told = parse_group(line)
        except BadCheckpoint as error:
            self.trees.differ(place, str(error))
            return
        said = json.loads(line)
        if self.rehearsal is not None and turns_down(self.rehearsal.method) and told.key.startswith(f"{key}+"):
            # Another group on this task was turned down before it.
            key = told.key
        self.trees.compare(place, {"key": told.key, "task": told.task}, {"key": key, "task": task})
        if any(logprob > 0 for segment in told.segments for logprob in segment.logprobs):
            self.trees.differ(place, "a log-probability is above 0")
        with self.world.envs.borrow() as env:
            try:
                check_tree(self.trees, place, said, told, env)
            except R3LBenchError as error:
                self.trees.differ(place, str(error))
                return
        if self.rehearsal is not None:
            yield from self._again(self.rehearsal, place, said, told, key, meter)

    def _again(
        self, rehearsal: Rehearsal, place: str, said: Mapping[str, Any], told: RecordedGroup, key: str, meter: Meter
    ) -> Iterator[tuple[Group, list[Term]]]:
        split, index = parse_task_id(told.task)
        try:
            group, terms = rehearsal.explore(told, self.world.panels[split][index], key, meter)
        except R3LBenchError as error:
            self.method.differ(place, str(error))
            return
        if not rehearsal.method.keep(group):
            self.method.differ(place, "the method would have turned this group down")
        with self.world.envs.borrow() as env:
            read = None if self.world.exact else env.canonical
            compare(self.method, place, said, group_json(group, terms), read)
        yield group, terms


def _speaker(record: Record) -> Policy | None:
    """Whose tokens a run's trees hold: the policy that it began from or, with the same words, the one it trained."""
    policy = available(record.made.policy.name, record.made.env.name)
    if policy is not None and policy.digest == record.manifest.policy.get("digest"):
        return policy
    if (record.folder.path / "policy" / "config.json").is_file():
        return load_policy(find_policy(str(record.folder.path), record.made.env.name))
    return None


# Metrics


def check_metrics(
    check: Check, record: Record, course: Course, world: World | None, rehearsed: Mapping[int, Rehearsed]
) -> None:
    """Numbers, tasks and costs of all updates; and what the rehearsed ones come to."""
    made, updates = record.made, record.updates
    if not isinstance(made, RunConfig) or updates is None or record.timings is None:
        return  # There are none, or what is damaged has been noted.
    for number, line in enumerate(updates, start=1):
        place, before = f"metrics.jsonl:{number}", updates[number - 2].cost if number > 1 else {}
        check.compare(place, line.update, number, "update")
        if number > course.updates:
            check.differ(place, f"the budget was used up after update {course.updates}")
        check_growth(check, place, before, line.cost)
        _check_costs(check, place, record, line, before, measured=number - 1 in course.evaluated)
        if number in rehearsed:
            _check_rehearsed(check, place, made, line, before, rehearsed[number])
    if world is not None:
        _check_tasks(check, made, updates, world.train)
    total = 0.0
    for number, timing in enumerate(record.timings, start=1):
        check.compare(f"timings.jsonl:{number}", timing.update, number, "update")
        if not math.isclose(timing.total, total + timing.explore + timing.learn, abs_tol=1e-6):
            check.differ(f"timings.jsonl:{number} total", "is not the sum of the seconds so far")
        total = timing.total
    check.compare("timings.jsonl", len(record.timings), len(updates), "lines")
    check.said = f"{len(updates)} updates: tasks, costs"
    if rehearsed:
        check.said += ", and what was explored and counted"
        check.said += f" in {len(rehearsed)} of them" if len(rehearsed) < len(updates) else ""


def _check_costs(check: Check, place: str, record: Record, line: UpdateLine, before: Cost, *, measured: bool) -> None:
    """Costs of measuring and training, which stand in other places, too."""
    of = line.cost.get(EVALUATION, {})
    if measured:
        steps = sum(episode.steps for episode in record.episodes or () if episode.update < line.update)
        check.compare(place, of.get("env_steps", 0), steps, "cost", EVALUATION, "env_steps")
    else:
        check.compare(place, of, before.get(EVALUATION, {}), "cost", EVALUATION)
    trained = _spent("train", "trained_tokens", line.cost, before)
    check.compare(place, line.learn.get("model_tokens"), trained, "learn", "model_tokens")


def _check_rehearsed(
    check: Check, place: str, made: RunConfig, line: UpdateLine, before: Cost, found: Rehearsed
) -> None:
    check.compare_recorded(place, line.explore, found.explore, "explore")
    learn = {name: value for name, value in line.learn.items() if name in found.learn}
    check.compare_recorded(place, learn, found.learn, "learn")
    for purpose in _BY_DEEDS:
        for name, parts in found.counted.items():
            now = sum(_spent(purpose, part, line.cost, before) for part in parts)
            then = sum(_spent(purpose, part, found.cost, {}) for part in parts)
            if now < then or (now > then and not turns_down(made.method)):
                check.differ(f"{place} cost.{purpose}.{name}", f"recorded {now} for this update, found {then}")


def _spent(purpose: str, name: str, now: Cost, before: Cost) -> int:
    return now.get(purpose, {}).get(name, 0) - before.get(purpose, {}).get(name, 0)


def _check_tasks(check: Check, made: RunConfig, updates: Sequence[UpdateLine], panel: TaskPanel) -> None:
    """The run's own order; groups that a method turned down leave gaps in it."""
    cursor = 0
    for number, line in enumerate(updates, start=1):
        place = f"metrics.jsonl:{number}"
        if not turns_down(made.method):
            due = schedule.tasks_from(panel, made.seed, cursor, made.tasks_per_update)
            check.compare(place, line.tasks, [task.id for task in due], "tasks")
            cursor += made.tasks_per_update
            continue
        most = cursor + MOST_DRAWS * made.tasks_per_update
        for task in line.tasks:
            while cursor < most and schedule.tasks_from(panel, made.seed, cursor, 1)[0].id != task:
                cursor += 1
            cursor += 1
        if cursor > most or len(line.tasks) > made.tasks_per_update:
            check.differ(f"{place} tasks", "are not drawn in the run's order")
