"""What a manifest, an evaluation and a summary say, held against each other and against the environment.

What a record says in two places must agree, what follows from something must follow, and what was played is played
again. docs/verify.md says what is left to the seal alone.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.config import PanelConfig
from r3lbench.engines.engine import Sampling
from r3lbench.errors import R3LBenchError
from r3lbench.evaluate import SAMPLED, EvaluateConfig, improvement_json, measures
from r3lbench.lines import DraftLine, Played
from r3lbench.opening import Course, Record, World
from r3lbench.policies.finding import find_policy
from r3lbench.policies.loading import Policy, load_policy
from r3lbench.recording import panels_json, privileges_json
from r3lbench.registry import REFLECTORS
from r3lbench.replaying import Attempts, play_again
from r3lbench.rollout.evaluation import Score, evaluate, summary
from r3lbench.rollout.group import Attempt, Ended, Rollout
from r3lbench.rollout.improvement import Draft, Round
from r3lbench.rollout.meter import EVALUATION, Meter
from r3lbench.rollout.waves import Waves
from r3lbench.tasks import Task
from r3lbench.verdict import Check

_ROUNDING = 1e-9

# The manifest


def check_manifest(check: Check, record: Record, world: World | None) -> None:
    """Settings, panels, policy and privileges."""
    manifest, agent, method = record.manifest, record.agent, record.method
    check.said = "settings, panels, policy, privileges"
    values = configuration.dump(record.made)
    if isinstance(record.made, EvaluateConfig):
        values["evaluation"] = {name: values.pop(name) for name in PanelConfig.model_fields}
    check.compare("manifest.json", manifest.config, _as_far_as(manifest.config, values), "config")
    _check_engine(check, record)
    if world is not None:
        check.compare("manifest.json", manifest.env, world.env, "env")
        check.compare("manifest.json", manifest.panels, panels_json(world.panels), "panels")
    if agent.elsewhere:
        check.notes.append("the model was elsewhere: which it was and what it was given is the record's word")
        check.compare("manifest.json", manifest.policy, {"name": (manifest.elsewhere or {}).get("model")}, "policy")
        return
    check.compare("manifest.json", manifest.elsewhere, None, "elsewhere")
    sees = privileges_json(agent, () if method is None else method.reflectors)
    check.compare("manifest.json", manifest.sees, sees, "sees")
    if agent.speaks:
        _check_policy(check, record)
    else:
        check.compare("manifest.json", manifest.policy, {}, "policy")


def _check_engine(check: Check, record: Record) -> None:
    """What sampled, and whether it would say the same again."""
    manifest, made = record.manifest, record.made
    if isinstance(made, EvaluateConfig):
        check.compare("manifest.json", manifest.engine, None, "engine")
        check.compare("manifest.json", manifest.reproducible, None, "reproducible")
        return
    again = made.engine.shares_weights and made.rollout.schedule == "waves"
    check.compare("manifest.json", manifest.reproducible, None if again else False, "reproducible")
    if manifest.engine is not None:
        recorded = {**manifest.engine, "version": None}
        check.compare("manifest.json", recorded, {"name": made.engine.name, "version": None}, "engine")


def _as_far_as(recorded: Any, value: Any) -> Any:
    """Of a setting's value what is recorded: what a later version added has its default."""
    if not (isinstance(recorded, dict) and isinstance(value, dict)):
        return value
    return {name: _as_far_as(recorded[name], of) for name, of in value.items() if name in recorded}


def _check_policy(check: Check, record: Record) -> None:
    name, recorded = record.made.policy.name, record.manifest.policy
    given = Path(name).expanduser()
    # Why it could not share prefixes, if it could not, is another thing.
    recorded = {key: value for key, value in recorded.items() if key != "unshared"}
    check.compare("manifest.json", sorted(recorded), ["digest", "name", "parameters"], "policy")
    check.compare("manifest.json", recorded.get("name"), given.name if given.is_absolute() else name, "policy", "name")
    policy = available(name, record.made.env.name)
    if policy is None:
        check.notes.append(f"the policy {name} is not available here: its digest was not compared")
    elif given.is_dir() and policy.digest != recorded.get("digest"):
        # A folder may have been written to since; what is shipped under a name of ours is what it is.
        check.notes.append(f"{name} holds another policy now: its digest was not compared")
    else:
        check.compare("manifest.json", recorded, policy.to_json(), "policy")


@lru_cache(maxsize=8)
def available(name: str, env: str) -> Policy | None:
    """A policy, if it is at hand: shipped, installed, or a folder; nothing is downloaded."""
    try:
        source = find_policy(name, env)
        return load_policy(source) if Path(source.path).is_dir() else None
    except R3LBenchError:
        return None


# Episodes


def check_evaluation(
    check: Check,
    record: Record,
    course: Course,
    world: World | None,
    done: Callable[[], None],
    *,
    first: int | None = None,
) -> Attempts:
    """Whether the panel was played as it had to be, and every episode came to what its actions come to.

    Args:
        check: Where differences are noted.
        record: What was played.
        course: When it was to be played.
        world: Where to play; None for nowhere.
        done: Called after each episode.
        first: Play the first so many tasks only; all if None.

    Returns:
        What came of playing all episodes again, drafts included; nothing where not all were.
    """
    if record.episodes is None or record.drafts is None or world is None:
        return {}
    tasks = list(world.held_out)[: record.panel.tasks]
    expected = [
        (update, mode, task.id, episode)
        for update in course.evaluated
        for mode in record.modes
        for task in tasks
        for episode in range(record.episodes_in(mode))
    ]
    _check_order(check, "evaluation.jsonl", [line.at for line in record.episodes], expected)
    rounds = record.made.improve if isinstance(record.made, EvaluateConfig) else 0
    drafts = [
        (mode, number, task.id, episode)
        for mode in record.modes
        for number in range(1, rounds + 1)
        for task in tasks
        for episode in range(record.episodes_in(mode))
    ]
    _check_order(check, "improvement.jsonl", [line.at for line in record.drafts], drafts)
    left_out = {task.id for task in tasks[first:]} if first else set()
    lines = [
        (f"{name}:{number}", line)
        for name, of in (("evaluation.jsonl", record.episodes), ("improvement.jsonl", record.drafts))
        for number, line in enumerate(of, start=1)
        if line.task not in left_out
    ]
    if all(line.actions is None for _, line in lines):
        check.cannot = "recorded by a version that did not keep actions: the episodes cannot be played again"
        return {}
    for name in ("actions", "digest"):
        without = [place for place, line in lines if getattr(line, name) is None]
        if len(without) == len(lines):
            check.notes.append(f"not recorded: {name}")
            continue
        for place in without:
            check.differ(f"{place} {name}", "not recorded, though others are")
    attempts = play_again(world.envs, (_episode(line) for _, line in lines), done)
    unfinished = 0
    for place, line in lines:
        unfinished += _check_episode(check, place, line, attempts, record.agent, exact=world.exact)
    check.said = f"{len(lines):,} episodes played again"
    if unfinished:
        check.notes.append(f"{unfinished:,} were not over: that the model's context was full is the record's word")
    if not record.agent.has_model and world.exact:
        _check_agent(check, record, world, tasks[:first])
        check.said += f", by the agent {record.made.agent.name} and by their actions"
    if left_out:
        check.cannot = f"only {first:,} of {len(tasks):,} tasks were asked for"
        return {}
    return attempts


def _check_order(
    check: Check, file: str, recorded: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]
) -> None:
    surplus, lacking = Counter(recorded) - Counter(expected), Counter(expected) - Counter(recorded)
    for number, at in reversed(list(enumerate(recorded, start=1))):
        if surplus[at]:
            surplus[at] -= 1
            check.differ(f"{file}:{number}", f"{_spelled(at)}: was not to be played, or not once more")
    for at in lacking:
        check.differ(file, f"{_spelled(at)} is missing")
    if not lacking and len(recorded) == len(expected) and list(recorded) != list(expected):
        number = next(n for n, pair in enumerate(zip(recorded, expected, strict=True), start=1) if pair[0] != pair[1])
        check.differ(f"{file}:{number}", f"out of order: {_spelled(expected[number - 1])} was expected here")


def _spelled(at: tuple[Any, ...]) -> str:
    return "/".join(map(str, at))


def _check_episode(check: Check, place: str, line: Played, attempts: Attempts, agent: Agent, *, exact: bool) -> bool:
    """Hold an episode against what its actions come to; whether they end before it does, as they may."""
    attempt = attempts[_episode(line)]
    if not isinstance(attempt, Attempt):
        check.differ(f"{place} actions", str(attempt))
        return False
    if attempt.ended is Ended.CONTEXT and not agent.has_model:
        check.differ(f"{place} actions", "the episode is not over")
    recorded, found = line.outcome.to_json(), Score.of(attempt).to_json()
    if line.digest is None or not exact:
        # Equal states may be shown in other words.
        del recorded["digest"], found["digest"]
    check.compare(place, recorded, found)
    return attempt.ended is Ended.CONTEXT


def _check_agent(check: Check, record: Record, world: World, tasks: Sequence[Task]) -> None:
    """Let an agent without a model play once more: its draws follow from the seed."""
    rollout = Rollout(
        agent=record.agent,
        envs=world.envs,
        waves=Waves(None),
        template=None,
        seed=record.made.seed,
        sampling=Sampling(),
        meter=Meter(),
        reflectors=lambda name: REFLECTORS.load(name)(),
        first_purpose=EVALUATION,
    )
    scores = asyncio.run(evaluate(rollout, tasks, SAMPLED, episodes=record.episodes_in(SAMPLED)))
    lines = record.episodes or ()
    for number, (line, score) in enumerate(zip(lines, scores, strict=False), start=1):
        check.compare(f"evaluation.jsonl:{number}", list(line.actions or ()), list(score.actions), "actions")


# The summary


def check_result(check: Check, record: Record, course: Course, attempts: Attempts) -> None:
    """Means, costs, and why it ended."""
    recorded, made = record.result.model_dump(exclude_none=True), record.made
    check.said = "means, costs, budget"
    if record.episodes is None or record.updates is None or record.timings is None:
        check.cannot = "what it sums up is damaged"
        return
    whens = {"after": course.updates} if isinstance(made, EvaluateConfig) else {"before": 0, "after": course.updates}
    played = {when: {mode: record.scores(update, mode) for mode in record.modes} for when, update in whens.items()}
    if any(not scores for modes in played.values() for scores in modes.values()):
        check.differ("result.json evaluation", "there are no episodes to take means of")
        return
    found: dict[str, Any] = {
        "stopped_by": course.stopped_by,
        "updates": course.updates,
        "evaluation": {when: {mode: summary(of) for mode, of in modes.items()} for when, modes in played.items()},
        "cost": _cost(record),
        "seconds": record.timings[-1].total if record.timings else 0.0,
    }
    if record.result.phases is not None:
        found["phases"] = recorded["phases"]
    if isinstance(made, EvaluateConfig):
        # How they are reckoned may change with the version; whatever it is, they hold the means.
        found["intervals"] = recorded.get("intervals")
        for mode, intervals in (record.result.intervals or {}).items():
            means = found["evaluation"]["after"].get(mode, {})
            _check_intervals(check, f"result.json intervals.{mode}", intervals, means)
        if made.improve:
            told = recorded.get("improvement")
            found["improvement"] = _improvement(check, record, made, attempts) if attempts else told
    check.compare("result.json", recorded, found)
    before = record.updates[-1].cost if record.updates else {}
    check_growth(check, "result.json", before, record.result.cost)


def _check_intervals(
    check: Check, place: str, intervals: Mapping[str, tuple[float, float]], means: Mapping[str, float]
) -> None:
    for name, (low, high) in intervals.items():
        if not low - _ROUNDING <= means.get(name, math.nan) <= high + _ROUNDING:
            check.differ(f"{place}.{name}", f"[{low}, {high}] does not hold the mean, {means.get(name)}")


def _cost(record: Record) -> dict[str, dict[str, int]]:
    """Of the last update, and of evaluation: its steps are those of its episodes, its tokens stand nowhere else."""
    of = dict(record.updates[-1].cost) if record.updates else {}
    measuring = record.result.cost.get(EVALUATION, {})
    steps = sum(line.steps for line in record.episodes or ())
    replayed = measuring.get("replayed_steps", 0) if "lost_workers" in measuring else 0
    return {**of, EVALUATION: {**measuring, "env_steps": steps, "replayed_steps": replayed}}


def check_growth(
    check: Check, place: str, before: Mapping[str, Mapping[str, int]], now: Mapping[str, Mapping[str, int]]
) -> None:
    """Costs are totals so far: none of them can fall."""
    for purpose, counts in before.items():
        for name, count in counts.items():
            if now.get(purpose, {}).get(name, 0) < count:
                check.differ(f"{place} cost.{purpose}.{name}", f"less than the {count} of before")


def _improvement(check: Check, record: Record, made: EvaluateConfig, attempts: Attempts) -> dict[str, Any] | None:
    """What rounds of self-improvement come to, None if they are not whole; what later ones cost stands nowhere else."""
    told = {} if record.result.improvement is None else record.result.improvement.rounds
    rounds: dict[str, list[Round]] = {}
    for mode in record.modes:
        costs = [one.cost for one in told.get(mode, ())]
        if len(costs) != made.improve + 1:
            check.differ(f"result.json improvement.rounds.{mode}", f"{made.improve + 1} rounds expected")
            return None
        first = [line for line in record.episodes or () if line.mode == mode]
        standing = [Draft(of, of.score) for of in map(attempts.get, map(_episode, first)) if isinstance(of, Attempt)]
        if not standing or len(standing) != len({line.task for line in first}) * record.episodes_in(mode):
            return None
        rounds[mode] = [Round(tuple(standing), costs[0])]
        for number, cost in enumerate(costs[1:], start=1):
            drafts = [line for line in record.drafts or () if (line.mode, line.round) == (mode, number)]
            if len(drafts) != len(standing):
                return None
            standing = [_next(check, line, draft, attempts) for line, draft in zip(drafts, standing, strict=True)]
            rounds[mode].append(Round(tuple(standing), cost))
    together: Counter[str] = Counter()
    for of in rounds.values():
        together.update(of[0].cost.get(EVALUATION, {}))
    check.compare("result.json", dict(together), record.result.cost.get(EVALUATION, {}), "improvement.rounds cost")
    tasks = {mode: len({draft.score.task for draft in of[0].drafts}) for mode, of in rounds.items()}
    measured = {mode: [measures(one, of[0], tasks[mode]) for one in of] for mode, of in rounds.items()}
    found = improvement_json(made, rounds, measured)
    for mode, of in found["rounds"].items():
        for number, (one, recorded) in enumerate(zip(of, told[mode], strict=True)):
            _check_intervals(check, f"result.json improvement.rounds.{mode}.{number}", recorded.intervals, one)
            one["intervals"] = recorded.intervals
    return found


def _next(check: Check, line: DraftLine, before: Draft, attempts: Attempts) -> Draft:
    """The draft of a line, which follows from another one."""
    attempt = attempts.get(_episode(line))
    if before.attempt.success:
        follows = not line.retried and line.valid is None
    else:
        follows = line.valid is not None and (line.valid or not line.retried)
    if not isinstance(attempt, Attempt):
        return before
    stands = _episode(line) == (before.score.task, before.score.actions)
    if not follows or not (line.retried or stands):
        check.differ(f"improvement.jsonl {_spelled(line.at)}", "does not follow from the draft before")
    best = max(before.best, attempt.score) if line.retried else before.best
    return Draft(attempt, best, line.retried, line.valid)


def _episode(line: Played) -> tuple[str, tuple[str, ...]]:
    return line.task, line.actions or ()
