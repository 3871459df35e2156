"""``python -m r3lbench.sweep --methods grpo r3l --envs webshop --seeds 3``: a comparison, as runs side by side.

What is compared stands in flags, or in a plan (`r3lbench.plans`), which can be published with its results:
``python -m r3lbench.sweep PLAN.toml``. Every flag that is not the sweep's own is one of every run. Complete runs are
left as they are and broken ones are resumed, so the same command goes on where it stood; a run that fails stops no
other, and is listed at the end with its log.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import BudgetConfig, Strict
from r3lbench.console import make_console
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig
from r3lbench.launching import Launcher, LocalLauncher, RayLauncher, Run, State, carry_out
from r3lbench.plans import TUNING, Job, Plan, check_names, choose, jobs, tuning_jobs
from r3lbench.policies.finding import is_run
from r3lbench.recording import RunFolder
from r3lbench.rollout.meter import Meter
from r3lbench.run import RunConfig
from r3lbench.training import schedule

PROG = "r3lbench sweep"
_LATEST = 10
"""So many complete runs are shown on a terminal beside those that are under way."""


class SweepConfig(Strict):
    """Settings of a sweep. All other flags are those of every run."""

    plan: tuple[str, ...] = ()
    """The plan's file. May stand without the flag."""
    methods: tuple[str, ...] = ()
    """Methods, in place of the plan's."""
    envs: tuple[str, ...] = ()
    """Environments, in place of the plan's."""
    seeds: int | None = Field(None, ge=1)
    """How many seeds, from 0 on, in place of the plan's; 3 without a plan."""
    agents: tuple[str, ...] = ()
    """Agents without a model to evaluate on every environment, in place of the plan's: floor and ceiling."""
    out: str = "runs/sweep"
    """Folder of all runs."""
    jobs: int = Field(0, ge=0)
    """Runs side by side; 0: one for every core."""
    launcher: Literal["local", "ray"] = "local"
    """local: processes here. ray: tasks of the cluster in RAY_ADDRESS, or of one started here."""
    cpus: float = Field(1, gt=0)
    """Cores that Ray sets aside for a run."""
    gpus: float = Field(0, ge=0)
    """GPUs that Ray sets aside for a run; may be a fraction."""
    dry_run: bool = False
    """Print the runs and what they may cost, and do nothing."""
    quiet: bool = False
    """Print nothing but errors."""


def parse(argv: Sequence[str]) -> tuple[SweepConfig, list[str]]:
    """A sweep's configuration, and the flags of its runs."""
    own, further = _divided(argv)
    parsed: SweepConfig = configuration.parse(
        SweepConfig,
        own,
        names={},
        prog=PROG,
        description="Run methods on environments with several seeds, side by side. Further flags are those of every "
        "run: see r3lbench run --help.",
        positional="plan",
    )
    return parsed, further


def _divided(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sweep's own flags, and those of its runs, each with their values."""
    ours = {name.replace("_", "-") for name in SweepConfig.model_fields} | {"help"}
    own: list[str] = []
    further: list[str] = []
    target = own
    for argument in argv:
        if argument.startswith("--") or argument == "-h":
            name = argument.lstrip("-").partition("=")[0].replace("_", "-")
            target = own if name in ours or argument == "-h" else further
        target.append(argument)
    return own, further


def plan_of(config: SweepConfig, flags: Sequence[str]) -> Plan:
    """The plan, as the flags change it.

    Raises:
        BadConfig: There is none, or it is wrong.
    """
    if len(config.plan) > 1:
        raise BadConfig(f"a sweep carries out one plan, not {len(config.plan)}: {', '.join(config.plan)}")
    changes: dict[str, Any] = {
        name: list(given) for name in ("methods", "envs", "agents") if (given := getattr(config, name))
    }
    changes |= {} if config.seeds is None else {"seeds": list(range(config.seeds))}
    changes |= {"flags": list(flags)} if flags else {}
    if config.plan:
        written = Plan.read(Path(config.plan[0])).model_dump(mode="json")
        plan: Plan = configuration.validate(Plan, {**written, **changes}, config.plan[0])
        return plan
    if missing := [name for name in ("methods", "envs") if name not in changes]:
        raise BadConfig(f"what is to be run? Give a plan's file, or --{' and --'.join(missing)}")
    made: Plan = configuration.validate(Plan, changes, "the sweep")
    return made


def run(config: SweepConfig, flags: Sequence[str] = ()) -> list[Run]:
    """Carry out a sweep; returns the runs that failed.

    Raises:
        R3LBenchError: The plan, or a setting in it, is wrong; found out before anything is begun.
    """
    console = make_console(quiet=config.quiet)
    plan, out = plan_of(config, flags), Path(config.out)
    # Whatever is chosen, these are the names and the flags: a mistake shows now.
    first = {} if plan.tune is None else {env: dict.fromkeys(plan.methods, plan.tune.values[0]) for env in plan.envs}
    tuning, planned = [job for *_, job in tuning_jobs(plan)], list(jobs(plan, first))
    check_names(plan)
    names = [Counter(job.name for job in runs) for runs in (tuning, planned)]
    if twice := [name for counts in names for name, count in counts.items() if count > 1]:
        raise BadConfig(f"{twice[0]} is planned more than once; name methods, environments, agents and seeds once")
    if (out.exists() and not out.is_dir()) or is_run(out):
        raise BadConfig(f"{out} is no folder for runs; give another --out")
    settings = {job.name: job.command.parse(job.flags) for job in [*tuning, *planned]}
    for job in tuning:
        if plan.tune is not None and plan.tune.mode not in settings[job.name].evaluation.modes:
            raise BadConfig(
                f"{job.name} is tuned by its results in mode {plan.tune.mode}, in which it is not evaluated"
            )
    _kept_apart([settings[job.name] for job in tuning], [settings[job.name] for job in planned])
    console.print(f"{len(tuning)} runs to tune with, {len(planned)} runs to compare")
    if config.dry_run:
        for job in [*tuning, *planned]:
            said = f"{job.name}: python -m {job.command.__name__} {shlex.join(job.flags)}"
            console.print(Text(said), soft_wrap=True)
        budgets = [of.budget for of in settings.values() if isinstance(of, RunConfig)]
        console.print(Text(f"at most {_cost(budgets)} in all"))
        return []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(f"nothing can be recorded in {out}: {error.strerror}") from error
    slots = config.jobs or os.cpu_count() or 1
    launcher: Launcher = LocalLauncher()
    if config.launcher == "ray":
        launcher = RayLauncher(slots, cpus=config.cpus, gpus=config.gpus)
    try:
        failed = _carry_out(tuning, out / TUNING, launcher, slots, console)
        if not failed:
            failed = _carry_out(list(jobs(plan, choose(plan, out))), out, launcher, slots, console)
    finally:
        launcher.close()
    for one in failed:
        said = f"{one.job.name} failed with exit status {one.status}; see {one.log}"
        print(f"{PROG}: {said}, and give the same command to go on", file=sys.stderr)
    if not failed:
        console.print(Text(f"recorded in {out}; compare: python -m r3lbench.leaderboard {out}"))
    return failed


def _kept_apart(tuning: Sequence[Any], planned: Sequence[Any]) -> None:
    """See to it that nothing is chosen by the tasks, or the seed, that results are from.

    Raises:
        BadConfig: Something would be.
    """
    if not tuning:
        return
    runs = [of for of in planned if isinstance(of, RunConfig)]
    seeds, environments = {of.seed for of in runs}, {str(of.env): of.env for of in runs}
    last: dict[str, str] = {}
    for name, settings in environments.items():
        # The default may depend on the environment's settings.
        with closing(configuration.make_env(settings)) as env:
            last[name] = env.splits[-1]
    measured_on = {(str(of.env), of.evaluation.split or last[str(of.env)]) for of in runs}
    for of in tuning:
        split = of.evaluation.split
        if (str(of.env), split) in measured_on:
            raise BadConfig(f"results are measured on the split {split} of {of.env.name}: tune on another")
        if of.seed in seeds:
            raise BadConfig(f"seed {of.seed} is one of the results': tune with another")


def _carry_out(todo: Sequence[Job], out: Path, launcher: Launcher, slots: int, console: Console) -> list[Run]:
    runs = [Run(job, out / job.name) for job in todo]
    with Board(console) as board:
        return carry_out(runs, launcher, slots, board.show)


def _cost(budgets: Sequence[BudgetConfig]) -> str:
    """What runs may spend together, by kind of budget; each stops at the first of its limits."""
    totals: Counter[str] = Counter()
    for budget in budgets:
        totals.update({name: limit for name, limit in budget.model_dump().items() if limit is not None})
    return ", ".join(f"{totals[name]:,} {name.replace('_', ' ')}" for name in sorted(totals)) or "nothing"


# What a person sees


class Board:
    """A table of all runs on a terminal, a line for every run that has ended elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[str] = set()
        self._looked = 0.0
        shown = console.is_terminal and not console.quiet
        self._live = Live(console=console, auto_refresh=False) if shown else None

    def __enter__(self) -> Board:
        """Begin to show."""
        context: AbstractContextManager[Any] = nullcontext() if self._live is None else self._live
        context.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave the last table standing."""
        if self._live is not None:
            self._live.__exit__(*error)

    def show(self, runs: Sequence[Run]) -> None:
        """Take note of where all runs stand."""
        ended = [run for run in runs if run.state in (State.DONE, State.FAILED)]
        if self._live is None:
            for run in ended:
                if run.job.name not in self._told:
                    self._told.add(run.job.name)
                    self._console.print(Text(f"{len(self._told)}/{len(runs)}  {run.job.name}  {summary(run)}"))
        elif time.monotonic() - self._looked > 1 or len(ended) == len(runs):
            # The files of all runs under way are read for it.
            self._looked = time.monotonic()
            self._live.update(_table(runs), refresh=True)


def _table(runs: Sequence[Run]) -> Group:
    counts = Counter(run.state for run in runs)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("run", "state", "budget", "updates", "success", ""):
        table.add_column(column, justify="right" if column in ("budget", "updates", "success") else "left")
    done = [run for run in runs if run.state is State.DONE]
    active = [run for run in runs if run.state in (State.RUNNING, State.ELSEWHERE, State.FAILED)]
    for run in [*done[-_LATEST:], *active]:
        styles = {State.DONE: "dim", State.FAILED: "red"}
        table.add_row(run.job.name, run.state.value, *_standing(run), style=styles.get(run.state, ""))
    words = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    return Group(table, Text(words))


def _standing(run: Run) -> tuple[str, str, str, str]:
    """Share of the budget, updates and success so far, and words."""
    if run.state in (State.DONE, State.FAILED):
        return "", "", "", summary(run)
    if not (run.folder / "manifest.json").is_file():
        return "", "", "", ""
    folder = RunFolder(run.folder)
    metrics = folder.metrics()
    if not metrics:
        return "0 %", "0", "", ""
    meter = Meter()
    meter.load_json(metrics[-1]["cost"])
    seconds = sum(line["explore"] + line["learn"] for line in folder.timings())
    limits = BudgetConfig.model_validate(folder.manifest["config"]["budget"])
    used = schedule.progress(schedule.shares(limits, updates=len(metrics), meter=meter, seconds=seconds))
    return f"{100 * used:.0f} %", f"{len(metrics)}", f"{100 * metrics[-1]['explore']['success']:.0f} %", ""


def summary(run: Run) -> str:
    """What came of a run that has ended."""
    if run.state is State.FAILED:
        return f"failed with exit status {run.status}"
    result = RunFolder(run.folder).result
    assert result is not None
    means = [f"{mode} {measured['score']:.3f}" for mode, measured in result["evaluation"]["after"].items()]
    return f"score {', '.join(means)} after {result['updates']} updates and {result['seconds']:.0f} s of training"


@entry_point(PROG, "give the same command to go on")
def main(argv: Sequence[str]) -> int:
    """Carry a plan out; 1 where a run failed."""
    config, flags = parse(argv)
    return 1 if run(config, flags) else 0


if __name__ == "__main__":
    raise SystemExit(main())
