"""``python -m r3lbench.evaluate --env webshop --agent chat --policy tiny``: how good an agent is, without training.

With ``--out`` the result is recorded like a run's, so that the leaderboard lists it: random play as the floor, the
expert as the ceiling, a policy trained elsewhere, the one that a run's folder holds, or a model behind a server
(``--agent api --model NAME --base-url URL``). ``--improve N`` goes on from the first attempts with N rounds of
test-time self-improvement, which are measured and recorded apart from them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.config import PanelConfig, PolicyConfig, PoolConfig, ReflectionConfig, Strict
from r3lbench.console import counting, make_console, summary_table, working
from r3lbench.engines.engine import Sampling
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig, UnknownName
from r3lbench.evaluated import check_vacant, make, manifest_json, record, result_json
from r3lbench.policies.finding import find_policy, is_run
from r3lbench.recording import RunFolder
from r3lbench.registry import AGENTS, REFLECTORS
from r3lbench.rollout.evaluation import Score, evaluate
from r3lbench.rollout.group import Rollout
from r3lbench.rollout.improvement import Round, improve
from r3lbench.rollout.meter import EVALUATION, Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.rollout.workers import EnvSource
from r3lbench.stats import CHANGE, UNIT, Estimate, difference, estimate
from r3lbench.tasks import Task

if TYPE_CHECKING:
    from r3lbench.policies.loading import Policy

PROG = "r3lbench evaluate"
NAMES = {"env": "webshop", "agent": "chat", "policy": "tiny"}
SAMPLED = "sampled"
"""Agents without a model are played once and recorded under this mode."""


class EvaluateConfig(PanelConfig, Strict):
    """Settings of an evaluation. ``env`` and ``agent`` take the fields of what they name."""

    env: Any = None
    agent: Any = None
    policy: PolicyConfig = PolicyConfig()
    """Of agents with a model; a run's folder stands for the policy it trained."""
    seed: int = Field(0, ge=0)
    """Of everything that is drawn; a run with this seed draws the same."""
    episodes_per_task: int = Field(1, ge=1)
    """Episodes are averaged by task. Greedy play is not repeated."""
    improve: int = Field(0, ge=0)
    """Rounds of self-improvement after the first attempts: what is not solved is reflected on and played again."""
    improve_with: str = "hindsight"
    """The reflector that says what to do better: hindsight, report, critique, rulebook, ..."""
    reflection: ReflectionConfig = ReflectionConfig()
    pool: PoolConfig = PoolConfig()
    threads: int = Field(0, ge=0)
    """CPU threads of the model; 0: PyTorch's choice."""
    out: str | None = None
    """Folder of the record; None records nothing."""
    quiet: bool = False
    """Print nothing but errors."""

    def episodes(self, mode: str) -> int:
        """How often each task is played in a mode."""
        return self.episodes_per_task if mode == SAMPLED else 1


def parse(argv: Sequence[str]) -> EvaluateConfig:
    """An evaluation's configuration from flags; a run's folder as policy brings its environment and agent.

    ``--model`` is what a server calls its model where the agent asks one, with ``--base-url``, and else the policy.
    """
    argv = _spelled_out(argv)
    names = NAMES | _of_run(configuration.names_given(argv, NAMES).get("policy", ""))
    parsed: EvaluateConfig = configuration.parse(
        EvaluateConfig,
        argv,
        names=names,
        defaults_of=suits,
        prog=PROG,
        description="Play a fixed panel of tasks with one agent: first attempts, and with --improve "
        "rounds of self-improvement after them. Nothing is trained. --model is short for --policy; of --agent api, "
        "which also takes --base-url, for --agent.model.",
    )
    return parsed


def suits(names: Mapping[str, str]) -> dict[str, Any]:
    """Settings that suit the policy, from its card; the environment's also for agents that do without the policy.

    So the floor and the ceiling are measured on the tasks that the policy was made for.
    """
    try:
        source = find_policy(names["policy"], names["env"])
    except UnknownName as error:
        if names["policy"] != NAMES["policy"]:
            raise UnknownName(f"{error}; a model behind a server plays with --agent api") from error
        if AGENTS.load(names["agent"]).speaks:
            raise
        return {}
    suited = source.suits(names["env"], names["agent"])
    panel = suited.get("evaluation", {})
    settings = {name: panel[name] for name in PanelConfig.model_fields if name in panel}
    return settings | {kind: suited[kind] for kind in ("env", "agent", "reflection") if kind in suited}


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate, print, and record if asked to.

    Returns:
        The summary: means and intervals by mode, cost, rounds of self-improvement if there were any.

    Raises:
        R3LBenchError: Something a user can mend.
    """
    console = make_console(quiet=config.quiet)
    agent = config.agent
    assert isinstance(agent, Agent)
    if config.improve:
        _check_can_improve(config)
    # What cannot be asked is found out before anything is loaded.
    told = agent.elsewhere_json() if agent.elsewhere else None
    out = None if config.out is None else Path(config.out)
    if out is not None:
        check_vacant(out)
    with working(console, f"loading {'the policy and ' if agent.speaks else ''}the environment {config.env.name}"):
        policy = _load(config) if agent.speaks else None
        with closing(configuration.make_env(config.env)) as env:
            panels = {split: env.panel(split) for split in env.splits}
            panel = panels[env.resolve(f"{config.split or env.splits[-1]}/0").split]
    tasks = list(panel)[: config.tasks]
    by = f"{'' if policy is None else f', policy {policy.source.name}'}, seed {config.seed}"
    by = by if told is None else f", model {told['model']}{by}"
    console.print(Text.assemble((config.agent.name, "bold"), " on ", (panel.env, "bold"), by))
    console.print(f"panel {panel.split}: {len(tasks)} of {len(panel)} tasks, hash {panel.hash[:12]}")

    if out is not None:
        # Found out now, and not when all has been played.
        make(out)
    began = time.perf_counter()
    meter = Meter()
    played: dict[str, list[Score]] = {}
    rounds: dict[str, list[Round]] = {}
    source = EnvSource.of(config.env.name, configuration.options_of(config.env))
    with closing(EnvPool(source, **config.pool.model_dump())) as envs:
        for mode in config.modes if agent.has_model else (SAMPLED,):
            rollout = _rollout(config, policy, envs, mode, meter)
            if config.improve:
                rounds[mode] = _improve(config, rollout, tasks, mode, console)
                played[mode] = [draft.score for draft in rounds[mode][0].drafts]
                continue
            with counting(console, f"playing ({mode})", len(tasks)) as tick:
                played[mode] = asyncio.run(evaluate(rollout, tasks, mode, episodes=config.episodes(mode), done=tick))
    seconds = time.perf_counter() - began

    intervals = {mode: estimates(scores, len(tasks)) for mode, scores in played.items()}
    result = result_json(played, intervals, meter)
    measured = {mode: [measures(one, of[0], len(tasks)) for one in of] for mode, of in rounds.items()}
    if config.improve:
        result["improvement"] = improvement_json(config, rounds, measured)
    console.print()
    title = f"{config.agent.name} on {panel.env} {panel.split}: {seconds:.0f} s"
    console.print(summary_table(title, *_table(intervals, draws=agent.has_model)))
    for mode, of in rounds.items():
        title = f"self-improvement with {config.improve_with}, {mode} [95 % interval]"
        console.print(summary_table(title, *_improvement_table(of, measured[mode])))
        console.print(Text(f"round {config.improve} against round 0, paired: {_change(measured[mode][-1])}\n"))
    if out is not None:
        more = {"elsewhere": agent.elsewhere_json()} if agent.elsewhere else {}
        spoke = {"name": told["model"]} if told is not None else {} if policy is None else policy.to_json()
        record(out, manifest_json(config, panels, spoke) | more, config, played, rounds, result, seconds)
        console.print(Text(f"recorded in {out}; compare with runs: python -m r3lbench.leaderboard {out.parent}"))
    return result


def estimates(scores: Sequence[Score], tasks: int) -> dict[str, Estimate]:
    """Means with intervals over tasks: success, score, return, steps, and the share of invalid actions.

    Args:
        scores: Episodes in the order of the tasks, equally many for each.
        tasks: Number of tasks.
    """
    steps = _by_task([score.steps for score in scores], tasks)
    return {
        "success": estimate(_by_task([score.success for score in scores], tasks), bounds=UNIT),
        "score": estimate(_by_task([score.score for score in scores], tasks), bounds=UNIT),
        "return": estimate(_by_task([score.ret for score in scores], tasks)),
        "steps": estimate(steps).between((0, math.inf)),
        # An episode without a step has no invalid one; any positive denominator will do.
        "invalid": estimate(
            _by_task([score.invalid for score in scores], tasks), per=np.maximum(steps, 1e-9), bounds=UNIT
        ),
    }


def measures(of: Round, first: Round, tasks: int) -> dict[str, Estimate]:
    """What the drafts of a round come to.

    Args:
        of: The round.
        first: Round 0 of the same tasks.
        tasks: Number of tasks.

    Returns:
        ``estimates`` of the latest drafts; ``best_score``, of each task's best draft so far; ``success_change`` and
        ``score_change``, paired differences of the latest drafts to round 0.
    """
    now, then = ([draft.score for draft in one.drafts] for one in (of, first))

    def change(measure: str) -> Estimate:
        ours, theirs = ([getattr(score, measure) for score in scores] for scores in (now, then))
        return difference(_by_task(ours, tasks), _by_task(theirs, tasks)).between(CHANGE)

    return {
        **estimates(now, tasks),
        "best_score": estimate(_by_task([draft.best for draft in of.drafts], tasks), bounds=UNIT),
        "success_change": change("success"),
        "score_change": change("score"),
    }


def _by_task(values: Sequence[float], tasks: int) -> NDArray[np.float64]:
    """Means over a task's episodes, shape (1, tasks)."""
    means: NDArray[np.float64] = np.reshape(np.asarray(values, dtype=np.float64), (1, tasks, -1)).mean(axis=2)
    return means


def _check_can_improve(config: EvaluateConfig) -> None:
    if not config.agent.speaks:
        raise BadConfig(
            f"--improve: the agent {config.agent.name!r} has no model here that could revise what it did; "
            "use --agent chat"
        )
    REFLECTORS.entry(config.improve_with)


def _load(config: EvaluateConfig) -> Policy:
    # Random and expert play need none of this, and importing it takes seconds.
    import torch

    from r3lbench.policies.loading import choose_device, load_policy

    if config.threads:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    source, dtype = find_policy(config.policy.name, config.env.name), getattr(torch, config.policy.dtype)
    return load_policy(source, device=choose_device(config.policy.device), dtype=dtype)


def _rollout(config: EvaluateConfig, policy: Policy | None, envs: EnvPool, mode: str, meter: Meter) -> Rollout:
    engine = template = None
    if policy is not None:
        from r3lbench.engines.transformers import TransformersEngine

        engine, template = TransformersEngine(policy.model, context_limit=policy.context_limit), policy.template
    return Rollout(
        agent=config.agent,
        envs=envs,
        waves=Waves(engine, meter),
        template=template,
        seed=config.seed,
        sampling=Sampling(temperature=config.temperature if mode == SAMPLED else 0.0),
        meter=meter,
        reflectors=lambda name: REFLECTORS.load(name)(**config.reflection.model_dump()),
        first_purpose=EVALUATION,
    )


def _improve(
    config: EvaluateConfig, rollout: Rollout, tasks: Sequence[Task], mode: str, console: Console
) -> list[Round]:
    episodes = config.episodes(mode)
    settings = {"rounds": config.improve, "episodes": episodes}
    with counting(console, f"improving ({mode})", len(tasks) * episodes * (1 + config.improve)) as tick:
        return asyncio.run(improve(rollout, tasks, mode, reflector=config.improve_with, **settings, done=tick))


def _table(intervals: Mapping[str, Mapping[str, Estimate]], *, draws: bool) -> tuple[list[str], list[list[str]]]:
    columns = [""]
    for mode in intervals:
        columns += [mode if draws else "mean", "95 % interval"]
    rows = []
    for name in next(iter(intervals.values())):
        share, digits = (100, 1) if name in ("success", "invalid") else (1, 1 if name == "steps" else 3)
        row = [{"invalid": "invalid actions, %", "success": "success, %"}.get(name, name)]
        for found in intervals.values():
            of = found[name]
            row += [f"{share * of.value:.{digits}f}", f"[{share * of.low:.{digits}f}, {share * of.high:.{digits}f}]"]
        rows.append(row)
    return columns, rows


def _improvement_table(
    rounds: Sequence[Round], measured: Sequence[Mapping[str, Estimate]]
) -> tuple[list[str], list[list[str]]]:
    columns = ["round", "success, %", "latest score", "best score", "retried", "tokens", "env steps"]
    rows = []
    for number, (of, found) in enumerate(zip(rounds, measured, strict=True)):
        success, score = found["success"], found["score"]
        rows.append(
            [
                f"{number}",
                f"{100 * success.value:.1f} [{100 * success.low:.1f}, {100 * success.high:.1f}]",
                f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]",
                f"{found['best_score'].value:.3f}",
                f"{of.retried} of {of.reflected}" if number else "-",
                f"{of.spent('generated_tokens'):,}",
                f"{of.spent('env_steps'):,}",
            ]
        )
    return columns, rows


def _change(found: Mapping[str, Estimate]) -> str:
    success, score = found["success_change"], found["score_change"]
    points = f"success {100 * success.value:+.1f} points [{100 * success.low:+.1f}, {100 * success.high:+.1f}]"
    return f"{points}, latest score {score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]"


def improvement_json(
    config: EvaluateConfig,
    rounds: Mapping[str, Sequence[Round]],
    measured: Mapping[str, Sequence[Mapping[str, Estimate]]],
) -> dict[str, Any]:
    """Rounds of self-improvement by mode, with what ``measures`` says of each, as recorded."""
    return {
        # Here and not in the manifest, which speaks of first attempts.
        "sees": sorted(REFLECTORS.load(config.improve_with).sees),
        "rounds": {
            mode: [
                {
                    "round": number,
                    **{name: of.value for name, of in found.items()},
                    "intervals": {name: [of.low, of.high] for name, of in found.items()},
                    "reflected": one.reflected,
                    "valid": one.valid,
                    "retried": one.retried,
                    "cost": one.cost,
                }
                for number, (one, found) in enumerate(zip(rounds[mode], measured[mode], strict=True))
            ]
            for mode in rounds
        },
    }


def _spelled_out(argv: Sequence[str]) -> list[str]:
    """Flags with ``--model`` and ``--base-url`` as the settings that they are short for."""
    agent = configuration.names_given(argv, NAMES).get("agent", NAMES["agent"])
    asks = "model" in AGENTS.load(agent).model_fields
    long = {"--model": "--agent.model" if asks else "--policy", "--base-url": "--agent.base-url"}
    parts = [argument.partition("=") for argument in argv]
    if not asks and any(flag.replace("_", "-") == "--base-url" for flag, _, _ in parts):
        raise BadConfig(f"--base-url: the agent {agent!r} asks no server; use --agent api")
    return [long.get(flag.replace("_", "-"), flag) + equals + value for flag, equals, value in parts]


def _of_run(policy: str) -> dict[str, str]:
    """The names of the environment and the agent that a run was made with; nothing if ``policy`` is no run."""
    folder = Path(policy).expanduser()
    if not policy or not is_run(folder):
        return {}
    return RunFolder.open(folder).names(("env", "agent"))


@entry_point(PROG, "nothing was recorded")
def main(argv: Sequence[str]) -> None:
    """Evaluate an agent."""
    run(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
