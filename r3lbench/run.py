"""``python -m r3lbench.run --method r3l --env webshop``: train, evaluate, record, print a result."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from rich.console import Console
from rich.text import Text

from r3lbench import config as configuration
from r3lbench.ablation import FULL, slug, variants
from r3lbench.agent import Agent
from r3lbench.baseline import Baseline
from r3lbench.config import (
    BudgetConfig,
    EvaluationConfig,
    PoolConfig,
    ReflectionConfig,
    RolloutConfig,
    SamplingConfig,
    Strict,
)
from r3lbench.console import RunProgress, before_after, make_console, phase_table, summary_table, working
from r3lbench.engines.making import engine_json
from r3lbench.engines.settings import EngineConfig
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.files import write_atomic
from r3lbench.locking import locked
from r3lbench.phases import Phases, from_json, phase, to_json
from r3lbench.planning import show_plan
from r3lbench.policies.adapters import attach, merge
from r3lbench.policies.loading import CARD, Policy, Source, choose_device, find_policy, load_policy
from r3lbench.recording import SEAL, RunFolder, panels_json, privileges_json, provenance
from r3lbench.rollout.workers import EnvSource
from r3lbench.scaling import MemoryConfig, TrainedPolicyConfig
from r3lbench.tracking import TrackerName, check_installed, tracked
from r3lbench.training.learner import Optimiser
from r3lbench.training.ranks import Ranks
from r3lbench.training.trainer import Settings, Trainer

PROG = "r3lbench run"
NAMES = {"method": "r3l", "env": "webshop", "agent": "chat", "policy": "tiny"}
UNRECORDED = ("resume", "out", "ablate", "track", "export", "plan", "plan_devices", "plan_gib")
"""Where the record lies is no part of it, nor who watches: it may be moved and published."""


class RunConfig(Strict):
    """Settings of a training run. ``method``, ``env`` and ``agent`` take the fields of what they name."""

    method: Any = None
    env: Any = None
    agent: Any = None
    policy: TrainedPolicyConfig = TrainedPolicyConfig()
    engine: EngineConfig = EngineConfig()
    seed: int = Field(0, ge=0)
    """Of everything: same seed, same machine, same bytes."""
    tasks_per_update: int = Field(8, ge=1)
    """Groups explored per update."""
    budget: BudgetConfig = BudgetConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    sampling: SamplingConfig = SamplingConfig()
    rollout: RolloutConfig = RolloutConfig()
    reflection: ReflectionConfig = ReflectionConfig()
    optimiser: Optimiser = Optimiser()
    memory: MemoryConfig = MemoryConfig()
    pool: PoolConfig = PoolConfig()
    checkpoint_every: int = Field(5, ge=1)
    """Updates between checkpoints."""
    threads: int = Field(0, ge=0)
    """CPU threads of the model; 0: PyTorch's choice. Part of what makes a run reproducible."""
    ablate: tuple[str, ...] = ()
    """Also run the method's ablations of these names, or `all`: each in a folder beside the method's own."""
    out: str | None = None
    """Folder of the record; runs/ENV-METHOD-POLICY-sSEED if None."""
    resume: str | None = None
    """Folder of a run to go on with; its own settings apply, and of others only --track, --export and --quiet."""
    track: TrackerName | None = None
    """Also show the run's numbers in tensorboard, wandb or trackio; no part of the record."""
    export: str | None = None
    """Also write the trained policy to this folder with a model card, for others to load."""
    plan: bool = False
    """Only print what the run would hold in memory, on this machine and on several devices; loads no weights."""
    plan_devices: int = Field(0, ge=0)
    """Of the plan; 0: those of this machine, or 8."""
    plan_gib: float = Field(0.0, ge=0)
    """Memory of a device in the plan; 0: that of this machine's."""
    quiet: bool = False
    """Print nothing but errors."""


class ResumeConfig(Strict):
    """What is given anew when a run goes on: how it is watched, and what becomes of it."""

    track: TrackerName | None = None
    """As of a new run."""
    export: str | None = None
    """As of a new run."""
    quiet: bool = False
    """Print nothing but errors."""


def suits(names: Mapping[str, str]) -> dict[str, Any]:
    """Settings that suit the chosen policy."""
    return _suited(find_policy(names["policy"], names["env"]), names)


def _suited(source: Source, names: Mapping[str, str]) -> dict[str, Any]:
    settings = source.suits(names["env"], names["agent"])
    return {key: value for key, value in settings.items() if key in RunConfig.model_fields}


def parse(argv: Sequence[str]) -> RunConfig:
    """A run's configuration from flags; ``--resume`` takes it from the record."""
    resume, others = _resumed(argv)
    if resume is None:
        parsed: RunConfig = configuration.parse(
            RunConfig,
            argv,
            names=NAMES,
            defaults_of=suits,
            prog=PROG,
            description="Train a policy with one method on one environment, evaluate it on held-out tasks, record it.",
        )
        if parsed.resume is not None:
            raise BadConfig("--config: to go on with a run, give --resume as a flag; it takes the run's own settings")
        return parsed
    folder = RunFolder.open(Path(resume))
    model = configuration.with_plugins(RunConfig, folder.names(NAMES), configuration.PLUGINS)
    restored: RunConfig = configuration.validate(model, folder.manifest["config"], f"{resume}/manifest.json")
    watched: ResumeConfig = configuration.parse(
        ResumeConfig, others, names={}, prog=PROG, description="Go on with a run."
    )
    return restored.model_copy(update={"resume": resume, "out": resume, **_anew(watched)})


def _anew(config: RunConfig | ResumeConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ResumeConfig.model_fields if name not in Strict.model_fields}


def command_of(run: RunFolder) -> str:
    """What repeats a complete run, where its policy can be found under its name.

    Raises:
        BadCheckpoint: The run is damaged, or not complete.
    """
    names = run.names(NAMES)
    # The policy that was trained brings the settings that the one it began as brought.
    source = find_policy(find_policy(str(run.path), names["env"]).path, names["env"])
    policy = Path(names["policy"])
    names["policy"] = policy.name if policy.is_absolute() else names["policy"]
    argv = [part for kind, name in names.items() for part in (f"--{kind}", name)]
    usual: RunConfig = configuration.parse(
        RunConfig, argv, names=NAMES, defaults_of=lambda names: _suited(source, names), prog=PROG, description=""
    )
    before = configuration.dotted(configuration.dump(usual))
    for name, value in configuration.dotted(run.manifest["config"]).items():
        if before.get(name) != value and name not in ("policy.name", "quiet"):
            argv += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return shlex.join(["python", "-m", "r3lbench.run", *argv])


def build(config: RunConfig, folder: RunFolder, policy: Policy, progress: Any, ranks: Ranks, phases: Phases) -> Trainer:
    """The trainer that a configuration describes."""
    method, agent = config.method, config.agent
    assert isinstance(method, Baseline) and isinstance(agent, Agent)
    return Trainer(
        method=method.model_copy(deep=True),
        agent=agent,
        policy=policy,
        make_env=EnvSource.of(config.env.name, configuration.options_of(config.env)),
        settings=Settings(
            seed=config.seed,
            tasks_per_update=config.tasks_per_update,
            checkpoint_every=config.checkpoint_every,
            sampling=config.sampling,
            schedule=config.rollout.schedule,
            reflection=config.reflection,
            budget=config.budget,
            evaluation=config.evaluation,
            pool=config.pool,
        ),
        optimiser=config.optimiser,
        folder=folder,
        progress=progress,
        memory=config.memory,
        sampler=config.engine,
        ranks=ranks,
        phases=phases,
    )


def run(config: RunConfig) -> dict[str, Any]:
    """Carry out a run; returns its summary (see ``Trainer.run``).

    Raises:
        R3LBenchError: Something a user can mend.
    """
    phases = Phases()
    with phases.measuring():
        return _carry_out(config, phases)


def _carry_out(config: RunConfig, phases: Phases) -> dict[str, Any]:
    console = make_console(quiet=config.quiet)
    if not config.agent.speaks:
        raise BadConfig(
            f"the agent {config.agent.name!r} has no model to train; use --agent chat, or r3lbench evaluate"
        )
    if all(limit is None for limit in config.budget.model_dump().values()):
        raise BadConfig("a run needs a budget: --budget.updates, .env-steps, .generated-tokens or .seconds")
    source = find_policy(config.policy.name, config.env.name)
    if config.plan:
        show_plan(config, source, choose_device(config.policy.device), console)
        return {}
    check_installed(config.track)
    if config.export is not None:
        # Brings the statistics, which other runs do without.
        from r3lbench.exporting import check_room

        check_room(Path(config.export))
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    path = _folder(config)
    folder = RunFolder(path)
    ranks = Ranks.join(choose_device(config.policy.device))
    if config.resume is None and ranks.leads:
        folder.check_vacant(path)
    # The first process speaks for all.
    console = make_console(quiet=config.quiet or not ranks.leads)
    with phase("load"), working(console, f"loading the policy {source.name} and the environment {config.env.name}"):
        dtype = getattr(torch, config.policy.dtype)
        policy = load_policy(source, device=ranks.device, dtype=dtype)
        with closing(configuration.make_env(config.env)) as env:
            panels = {split: env.panel(split) for split in env.splits}
            held_out = panels[env.resolve(f"{config.evaluation.split or env.splits[-1]}/0").split]
    if config.resume is not None:
        _check_same(folder, policy, panels)
        if (result := folder.result) is not None:
            if ranks.leads:
                if not (path / SEAL).is_file():
                    folder.seal()
                console.print(Text(f"{path} is complete already; nothing to do"))
                _export(config, folder, console)
            return result
    progress = RunProgress(console)
    with phase("load"):
        manifest = _manifest(config, policy, panels, ranks.count)
        if config.policy.lora.rank:
            attach(policy.model, config.policy.lora, config.seed)
        # Before anything is written: a policy that cannot be trained is found out here.
        trainer = build(config, folder, policy, progress, ranks, phases)
    manifest["engine"] = engine_json(config.engine, trainer.engine)
    if not config.engine.shares_weights:
        manifest["reproducible"] = False
        console.print(Text(f"--engine {config.engine.name}: reproducible as far as {trainer.engine.version} is"))
    if trainer.learner.unshared is not None:
        manifest["policy"]["unshared"] = trainer.learner.unshared
        console.print(Text(f"prefixes pass through the model anew for every row: {trainer.learner.unshared}"))
    if config.rollout.schedule == "continuous":
        manifest["reproducible"] = False
        console.print(Text("--rollout.schedule continuous: the same command may not give the same numbers again"))
    with closing(trainer.envs), locked(path) if ranks.leads else nullcontext():
        if config.resume is None and ranks.leads:
            RunFolder.create(path, manifest)
        by = f", policy {source.name}, seed {config.seed}"
        console.print(Text.assemble((config.method.name, "bold"), " on ", (held_out.env, "bold"), by))
        on = f"held-out panel {held_out.split}: {len(held_out)} tasks, hash {held_out.hash[:12]}; record in {path}"
        console.print(Text(on))
        with progress:
            if config.resume is not None:
                trainer.resume()
            track = config.track if ranks.leads else None
            with tracked(progress, track, folder, trainer.update) as trainer.progress:
                result = trainer.run()
        if not ranks.leads:
            ranks.leave()
            return result
        with phase("record"):
            export(folder.path / "policy", policy)
        result["phases"] = to_json(phases.spent)
        # Last, because its presence means that nothing is missing.
        folder.write_result(result)
        ranks.leave()
    updates = f"{result['updates']} update{'' if result['updates'] == 1 else 's'}"
    spent = f"{updates}, {result['seconds']:.0f} s of training"
    title = f"{config.method.name} on {held_out.env}: {spent}"
    console.print()
    console.print(summary_table(title, ("", "before", "after", "change"), before_after(result["evaluation"])))
    took = from_json(result["phases"])
    title = f"where {sum(of.wall for path, of in took.items() if len(path) == 1):,.0f} s went"
    console.print(phase_table(title, took, least=0.05, plain=console.options.ascii_only))
    console.print(Text(f"recorded in {path}; compare runs with: python -m r3lbench.leaderboard {path.parent}"))
    _export(config, folder, console)
    return result


def _export(config: RunConfig, run: RunFolder, console: Console) -> None:
    if config.export is not None:
        from r3lbench.exporting import export as export_run

        export_run(run, Path(config.export), command_of(run))
        console.print(Text(f"exported to {config.export}"))


def run_all(config: RunConfig) -> list[dict[str, Any]]:
    """Carry out a run, or the runs of a method and its ablations; returns their summaries.

    Raises:
        R3LBenchError: Something a user can mend.
    """
    if not config.ablate:
        return [run(config)]
    results = []
    base = _folder(config)
    for name, method in variants(config.method, config.ablate).items():
        path, out = base, config.export
        if name != FULL:
            path = base.with_name(f"{base.name}-{slug(name)}")
            out = out and f"{out}-{slug(name)}"
        make_console(quiet=config.quiet).print(Text(f"\n{config.method.name}: {name}", style="bold"))
        if (path / "manifest.json").is_file():
            going = parse(["--resume", str(path)])
            results.append(run(going.model_copy(update={**_anew(config), "export": out})))
        else:
            given = {"method": method, "out": str(path), "ablate": (), "export": out}
            results.append(run(config.model_copy(update=given)))
    return results


def export(folder: Path, policy: Policy) -> None:
    """Write the policy as a Hugging Face folder, with the card it came with; adapters are merged for good."""
    merge(policy.model)
    temporary = folder.with_name(f".{folder.name}.tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    policy.model.save_pretrained(temporary)
    policy.tokenizer.save_pretrained(temporary)
    if policy.source.card:
        card = {key: policy.source.card[key] for key in ("environment", "defaults") if key in policy.source.card}
        write_atomic(temporary / CARD, (json.dumps(card, indent=2, sort_keys=True) + "\n").encode())
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)


def _manifest(config: RunConfig, policy: Policy, panels: Mapping[str, Any], processes: int) -> dict[str, Any]:
    return {
        **provenance(processes),
        "config": {name: value for name, value in configuration.dump(config).items() if name not in UNRECORDED},
        "env": next(iter(panels.values())).env,
        "panels": panels_json(panels),
        "policy": policy.to_json(),
        "sees": privileges_json(config.agent, config.method.reflectors),
    }


def _check_same(folder: RunFolder, policy: Policy, panels: Mapping[str, Any]) -> None:
    manifest = folder.manifest
    if manifest["policy"].get("digest") != policy.digest:
        raise R3LBenchError(
            f"{folder.path} began from another version of the policy {policy.source.name}; start a new run"
        )
    for split, panel in panels.items():
        recorded = manifest["panels"].get(split)
        if not isinstance(recorded, dict) or recorded.get("hash") != panel.hash:
            raise R3LBenchError(f"{folder.path} was begun on other {split} tasks (panel hash differs); start a new run")


def _folder(config: RunConfig) -> Path:
    if config.out is not None:
        return Path(config.out)
    policy = Path(config.policy.name).name
    return Path("runs") / f"{config.env.name}-{config.method.name}-{policy}-s{config.seed}"


def _resumed(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The folder of the run to go on with, and the flags beside it."""
    flags = [part for argument in argv for part in argument.split("=", 1)]
    if "--resume" not in flags:
        return None, []
    position = flags.index("--resume")
    if position + 1 >= len(flags) or flags[position + 1].startswith("--"):
        raise BadConfig("--resume needs the folder of a run")
    others = flags[:position] + flags[position + 2 :]
    for flag in others:
        if flag.startswith("--") and flag not in ("--track", "--export", "--quiet"):
            raise BadConfig(f"--resume goes on with the run's own settings; {flag} cannot be given beside it")
    return flags[position + 1], others


@entry_point(PROG, "go on with --resume")
def main(argv: Sequence[str]) -> None:
    """Train, or go on with it."""
    run_all(parse(argv))


if __name__ == "__main__":
    raise SystemExit(main())
