"""What a comparison is made of: a plan in a file or in flags, and the runs that follow from it.

Settings of runs stand in tables, later ones winning: ``[run]`` for all, ``[env.NAME]``, ``[method.NAME]``. With a
``[tune]`` table every method first gets the value of one setting that is best for it on each environment's validation
split, by the same grid for all and openly more where that holds none that lets a method learn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from r3lbench import ablation
from r3lbench import config as configuration
from r3lbench import evaluate as evaluating
from r3lbench import run as running
from r3lbench.errors import BadConfig
from r3lbench.evaluate import EvaluateConfig
from r3lbench.files import to_json, write_atomic
from r3lbench.flags import in_full
from r3lbench.recording import RunFolder
from r3lbench.registry import BASELINES, ENVIRONMENTS

TUNING = "tuning"
"""Folder of the tuning runs, below that of the others."""
TUNED = "tuning.json"
"""What was measured for tuning, and what was chosen."""

Settings = Mapping[str, Any]
_Seed = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tuning(_Table):
    """How one setting is chosen for every method on every environment."""

    setting: str = "optimiser.lr"
    """Its path."""
    values: tuple[float, ...] = Field(min_length=1)
    """The grid, the same for all; the earlier of equally good ones is taken."""
    further: dict[str, dict[str, tuple[float, ...]]] = {}
    """By environment and method values beside the grid, for where none of it lets the method learn."""
    splits: dict[str, str]
    """Validation split by environment; never the one that results are measured on."""
    seed: _Seed = 1000
    """Of the tuning runs."""
    mode: Literal["sampled", "greedy"] = "sampled"
    measure: Literal["score", "success", "return"] = "score"
    """What is best: the mean of this over the validation panel after training."""
    run: dict[str, Any] = {}
    """Further settings of tuning runs."""
    env: dict[str, dict[str, Any]] = {}
    """The same by environment."""


class Plan(_Table):
    """A comparison."""

    methods: tuple[str, ...] = Field(min_length=1)
    envs: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[_Seed, ...] = Field((0, 1, 2), min_length=1)
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
    flags: tuple[str, ...] = ()
    """Further flags of every run; they win over all tables."""

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
        further: Flags behind these.
    """

    name: str
    command: ModuleType
    settings: Settings
    further: tuple[str, ...] = ()

    @property
    def resumable(self) -> bool:
        """Whether the command can go on with what it began."""
        return self.command is running

    @property
    def flags(self) -> list[str]:
        """As the command takes them."""
        flags = []
        for path, value in self.settings.items():
            values = value if isinstance(value, list | tuple) else [value]
            flags += [f"--{path.replace('_', '-')}", *map(str, values)]
        return [*flags, *self.further]


def tuning_jobs(plan: Plan) -> Iterator[tuple[str, str, float, Job]]:
    """(environment, method, value, run) for every cell of the grid."""
    tune = plan.tune
    if tune is None:
        return
    for env, method in product(plan.envs, plan.methods):
        if env not in tune.splits:
            raise BadConfig(f"the plan's [tune.splits] names no validation split for {env}")
        settings = {
            "method": method,
            **_settings(plan, env, method),
            **_flat(tune.run),
            **_flat(tune.env.get(env, {})),
            "evaluation.split": tune.splits[env],
            "seed": tune.seed,
        }
        for value in (*tune.values, *tune.further.get(env, {}).get(method, ())):
            run = Job(f"{env}-{method}-{value:g}", running, {**settings, tune.setting: value}, plan.flags)
            yield env, method, value, run


def jobs(plan: Plan, chosen: Mapping[str, Mapping[str, float]]) -> Iterator[Job]:
    """The runs of a plan, seed by seed, so that every method is known a little before any is known well.

    Args:
        plan: The plan.
        chosen: By environment and method the value that tuning found; empty where nothing was tuned.
    """
    for env, agent in product(plan.envs, plan.agents):
        settings = _of_evaluation({"agent": agent, **_settings(plan, env), **_said(plan.flags)})
        yield Job(f"{env}-{agent}", evaluating, settings)
    for seed, env, method in product(plan.seeds, plan.envs, plan.methods):
        tuned = {} if plan.tune is None else {plan.tune.setting: chosen[env][method]}
        settings = {"method": method, **_settings(plan, env, method), **tuned, "seed": seed}
        yield Job(f"{env}-{method}-s{seed}", running, settings, plan.flags)
        whole = BASELINES.load(method)()
        asked = plan.ablations.get(env, {}).get(method, ())
        for name in ablation.variants(whole, asked):
            if name != ablation.FULL:
                switches = {f"method.{key}": value for key, value in type(whole).ablations[name].items()}
                label = f"{env}-{method}-{ablation.slug(name)}-s{seed}"
                yield Job(label, running, {**settings, **switches}, plan.flags)


def check_names(plan: Plan) -> None:
    """Make sure that every table is about something that there is, though flags may have left it out of the plan.

    Raises:
        UnknownName: One is not.
    """
    tune = plan.tune
    of_tuning = () if tune is None else (*tune.splits, *tune.env, *tune.further)
    for name in (*plan.env, *plan.ablations, *of_tuning):
        ENVIRONMENTS.entry(name)
    by_env = (*plan.ablations.values(), *(() if tune is None else tune.further.values()))
    for name in (*plan.method, *(method for by_method in by_env for method in by_method)):
        BASELINES.entry(name)


def choose(plan: Plan, out: Path) -> dict[str, dict[str, float]]:
    """The best value by environment and method, from complete tuning runs; all measurements go into a file.

    Raises:
        BadConfig: A tuning run is missing.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for env, method, value, job in tuning_jobs(plan):
        assert plan.tune is not None
        result = RunFolder(out / TUNING / job.name).result
        if result is None:
            raise BadConfig(f"{out / TUNING / job.name} is not complete, so nothing can be chosen; see its log")
        measured = result["evaluation"]["after"][plan.tune.mode][plan.tune.measure]
        found.setdefault(env, {}).setdefault(method, {})[f"{value:g}"] = measured
    chosen = {
        env: {method: float(max(values, key=values.__getitem__)) for method, values in methods.items()}
        for env, methods in found.items()
    }
    if found:
        write_atomic(out / TUNED, to_json({"measured": found, "chosen": chosen}, indent=2))
    return chosen


def _settings(plan: Plan, env: str, method: str = "") -> dict[str, Any]:
    tables = (plan.run, plan.env.get(env, {}), plan.method.get(method, {}))
    return {"env": env} | {path: value for table in tables for path, value in _flat(table).items()}


def _said(flags: tuple[str, ...]) -> dict[str, list[str]]:
    """What flags set, by path."""
    said: dict[str, list[str]] = {}
    values: list[str] = []
    for word in in_full(flags):
        if word.startswith("--"):
            values = said[word.removeprefix("--").replace("-", "_")] = []
        else:
            values.append(word)
    return said


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
