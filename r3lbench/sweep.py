"""``python -m r3lbench.sweep PLAN.toml``: methods x environments x seeds as runs of their own, side by side.

A plan is a file, so that a comparison can be published with its results. Settings of runs stand in tables, later ones
winning: ``[run]`` for all, ``[env.NAME]``, ``[method.NAME]``. With a ``[tune]`` table every method first gets the value
of one setting that is best for it on each environment's validation split, by the same grid for all. Every run is a
process with a folder and a log; complete ones are left as they are, broken ones are resumed, and one that fails does
not stop the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.text import Text

from r3lbench import ablation
from r3lbench import config as configuration
from r3lbench import evaluate as evaluating
from r3lbench import run as running
from r3lbench.config import Strict
from r3lbench.console import make_console
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.evaluate import EvaluateConfig
from r3lbench.files import to_json, write_atomic
from r3lbench.recording import RunFolder
from r3lbench.registry import BASELINES

PROG = "r3lbench sweep"
_TUNING = "tuning"
_UNRECORDED = ("resume", "out", "ablate", "quiet", "config")
"""Settings of a run that say nothing of what it learns."""

Settings = Mapping[str, Any]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tuning(_Table):
    """How one setting is chosen for every method on every environment."""

    setting: str = "optimiser.lr"
    """Its path."""
    values: tuple[float, ...] = Field(min_length=1)
    """The grid, the same for all; the earlier of equally good ones is taken."""
    splits: dict[str, str]
    """Validation split by environment; never the one that results are measured on."""
    seed: int = 1000
    """Of the tuning runs."""
    mode: str = "sampled"
    measure: str = "score"
    """What is best: the mean of this over the validation panel after training."""
    run: dict[str, Any] = {}
    """Further settings of tuning runs."""
    env: dict[str, dict[str, Any]] = {}
    """The same by environment."""


class Plan(_Table):
    """A comparison."""

    methods: tuple[str, ...] = Field(min_length=1)
    envs: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = (0, 1, 2)
    agents: tuple[str, ...] = ()
    """Agents without a model that are evaluated on every environment: floor and ceiling."""
    ablations: dict[str, dict[str, tuple[str, ...]]] = {}
    """By environment and method the names of ablations to run as well, or ``all``; they keep the method's tuning."""
    run: dict[str, Any] = {}
    """Settings of every run, named like its flags."""
    env: dict[str, dict[str, Any]] = {}
    """Settings of the runs on one environment."""
    method: dict[str, dict[str, Any]] = {}
    """Settings of the runs of one method."""
    tune: Tuning | None = None

    @classmethod
    def read(cls, path: Path) -> Plan:
        """A plan from a TOML file.

        Raises:
            BadConfig: What is wrong with it.
        """
        plan: Plan = configuration.validate(cls, configuration.read_toml(path, str(path)), str(path))
        return plan


@dataclass(frozen=True)
class Job:
    """A record to be made.

    Attributes:
        name: Of its folder.
        command: The module that makes it, ``run`` or ``evaluate``.
        settings: By path, what its flags say.
    """

    name: str
    command: Any
    settings: Settings

    @property
    def flags(self) -> list[str]:
        """As the command takes them."""
        flags = []
        for path, value in self.settings.items():
            values = value if isinstance(value, list | tuple) else [value]
            flags += [f"--{path.replace('_', '-')}", *map(str, values)]
        return flags


class SweepConfig(Strict):
    """Settings of a sweep."""

    plan: tuple[str, ...] = ()
    """The plan's file. May stand without the flag."""
    out: str = "runs/sweep"
    """Folder of all runs."""
    jobs: int = Field(0, ge=0)
    """Runs side by side; 0: one for every core."""
    only: tuple[str, ...] = ()
    """Only these environments of the plan."""
    dry_run: bool = False
    """Print the runs and do nothing."""
    quiet: bool = False
    """Print nothing but errors."""


def parse(argv: Sequence[str]) -> SweepConfig:
    """A sweep's configuration from flags."""
    parsed: SweepConfig = configuration.parse(
        SweepConfig,
        argv,
        names={},
        prog=PROG,
        description="Run every method of a plan on every environment with every seed, side by side.",
        positional="plan",
    )
    if len(parsed.plan) != 1:
        raise BadConfig("a sweep carries out one plan: r3lbench sweep PLAN.toml")
    return parsed


def tuning_jobs(plan: Plan) -> Iterator[tuple[str, str, float, Job]]:
    """(environment, method, value, run) for every cell of the grid."""
    tune = plan.tune
    if tune is None:
        return
    for env, method, value in product(plan.envs, plan.methods, tune.values):
        if env not in tune.splits:
            raise BadConfig(f"the plan's [tune.splits] names no validation split for {env}")
        settings = {
            "method": method,
            **_settings(plan, env, method),
            **_flat(tune.run),
            **_flat(tune.env.get(env, {})),
            "evaluation.split": tune.splits[env],
            "seed": tune.seed,
            tune.setting: value,
        }
        yield env, method, value, Job(f"{env}-{method}-{value:g}", running, settings)


def jobs(plan: Plan, chosen: Mapping[str, Mapping[str, float]]) -> Iterator[Job]:
    """The runs of a plan, seed by seed, so that every method is known a little before any is known well.

    Args:
        plan: The plan.
        chosen: By environment and method the value that tuning found; empty where nothing was tuned.
    """
    for env, agent in product(plan.envs, plan.agents):
        settings = _of_evaluation({"agent": agent, **_settings(plan, env)})
        yield Job(f"{env}-{agent}", evaluating, settings)
    for seed, env, method in product(plan.seeds, plan.envs, plan.methods):
        tuned = {} if plan.tune is None else {plan.tune.setting: chosen[env][method]}
        settings = {"method": method, **_settings(plan, env, method), **tuned, "seed": seed}
        yield Job(f"{env}-{method}-s{seed}", running, settings)
        whole = BASELINES.load(method)()
        asked = plan.ablations.get(env, {}).get(method, ())
        for name in ablation.variants(whole, asked):
            if name != ablation.FULL:
                switches = {f"method.{key}": value for key, value in type(whole).ablations[name].items()}
                label = f"{env}-{method}-{ablation.slug(name)}-s{seed}"
                yield Job(label, running, {**settings, **switches})


def choose(plan: Plan, out: Path) -> dict[str, dict[str, float]]:
    """The best value by environment and method, from complete tuning runs; all measurements go into a file.

    Raises:
        BadConfig: A tuning run is missing.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for env, method, value, job in tuning_jobs(plan):
        assert plan.tune is not None
        result = RunFolder(out / _TUNING / job.name).result
        if result is None:
            raise BadConfig(f"{out / _TUNING / job.name} is not complete, so nothing can be chosen; see its log")
        measured = result["evaluation"]["after"][plan.tune.mode][plan.tune.measure]
        found.setdefault(env, {}).setdefault(method, {})[f"{value:g}"] = measured
    chosen = {
        env: {method: float(max(values, key=values.__getitem__)) for method, values in methods.items()}
        for env, methods in found.items()
    }
    if found:
        write_atomic(out / "tuning.json", to_json({"measured": found, "chosen": chosen}, indent=2))
    return chosen


def run(config: SweepConfig) -> list[str]:
    """Carry out a plan; returns the names of runs that failed.

    Raises:
        R3LBenchError: The plan, or a setting in it, is wrong; found out before anything is begun.
    """
    console = make_console(quiet=config.quiet)
    plan = Plan.read(Path(config.plan[0]))
    if unknown := set(config.only) - set(plan.envs):
        raise BadConfig(f"--only {', '.join(sorted(unknown))}: the plan has {', '.join(plan.envs)}")
    if config.only:
        plan = plan.model_copy(update={"envs": tuple(env for env in plan.envs if env in config.only)})
    out = Path(config.out)
    # Whatever is chosen, these are the names and the flags: a mistake shows now.
    first = {} if plan.tune is None else {env: dict.fromkeys(plan.methods, plan.tune.values[0]) for env in plan.envs}
    tuning, planned = [job for *_, job in tuning_jobs(plan)], list(jobs(plan, first))
    for job in [*tuning, *planned]:
        job.command.parse(job.flags)
    console.print(f"{len(tuning)} runs to tune with, {len(planned)} runs to compare")
    if config.dry_run:
        for job in [*tuning, *planned]:
            console.print(Text(f"{job.name}: python -m {job.command.__name__} {' '.join(job.flags)}"))
        return []
    workers = config.jobs or os.cpu_count() or 1
    failed = carry_out(tuning, out / _TUNING, workers, console)
    if not failed:
        failed = carry_out(list(jobs(plan, choose(plan, out))), out, workers, console)
    for name in failed:
        print(f"{PROG}: {name} failed; see {out / name}.log, and call the sweep again to go on", file=sys.stderr)
    return failed


def carry_out(todo: Sequence[Job], out: Path, workers: int, console: Any) -> list[str]:
    """Make runs side by side; returns the names of those that failed, below ``out``'s parent or ``out``."""
    if todo:
        out.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in todo if not _is_complete(job, out / job.name)]
    done = len(todo) - len(waiting)
    failed = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for job, status in zip(waiting, pool.map(lambda job: _make(job, out / job.name), waiting), strict=True):
                done += 1
                if status:
                    failed.append(job.name if out.name != _TUNING else f"{_TUNING}/{job.name}")
                console.print(Text(f"{done}/{len(todo)}  {job.name}  {_summary(out / job.name, status)}"))
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return failed


def _make(job: Job, folder: Path) -> int:
    begun = (folder / "manifest.json").is_file()
    flags = ["--resume", str(folder)] if begun else [*job.flags, "--out", str(folder)]
    with folder.with_name(f"{folder.name}.log").open("ab") as log:
        command = [sys.executable, "-m", job.command.__name__, *flags]
        return subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False).returncode


def _is_complete(job: Job, folder: Path) -> bool:
    """Whether a run is done; one of other settings in its place is refused."""
    if not (folder / "manifest.json").is_file():
        return False
    recorded = RunFolder(folder)
    wanted, found = configuration.dump(job.command.parse(job.flags)), recorded.manifest["config"]
    for name in sorted(found.keys() & wanted.keys() - set(_UNRECORDED)):
        if wanted[name] != found[name]:
            raise BadConfig(
                f"{folder} was made with other settings ({name}: {found[name]}, now {wanted[name]}); give another "
                "--out, or move it away"
            )
    return recorded.result is not None


def _summary(folder: Path, status: int) -> str:
    if status:
        return f"failed with exit status {status}"
    result = RunFolder(folder).result
    assert result is not None
    means = [f"{mode} {measured['score']:.3f}" for mode, measured in result["evaluation"]["after"].items()]
    return f"score {', '.join(means)} after {result['updates']} updates and {result['seconds']:.0f} s of training"


def _settings(plan: Plan, env: str, method: str = "") -> dict[str, Any]:
    tables = (plan.run, plan.env.get(env, {}), plan.method.get(method, {}))
    return {"env": env} | {path: value for table in tables for path, value in _flat(table).items()}


def _of_evaluation(settings: Settings) -> dict[str, Any]:
    """What an evaluation takes of a run's settings: what is measured stands in no table of its own there."""
    named = {path.removeprefix("evaluation."): value for path, value in settings.items()}
    known = EvaluateConfig.model_fields
    return {path: value for path, value in named.items() if path.partition(".")[0] in known}


def _flat(table: Settings, prefix: str = "") -> dict[str, Any]:
    """Settings by path."""
    leaves: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    try:
        return 1 if run(parse(sys.argv[1:] if argv is None else argv)) else 0
    except R3LBenchError as error:
        return configuration.fail(error, PROG)
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted; call it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
