"""A record opened to be verified: its files read strictly, its settings, its environment, and the course it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import r3lbench
from r3lbench import config as configuration
from r3lbench.agent import Agent
from r3lbench.baseline import Baseline
from r3lbench.config import PanelConfig
from r3lbench.errors import BadData, MissingExtra, R3LBenchError, UnknownName
from r3lbench.evaluate import SAMPLED, EvaluateConfig
from r3lbench.lines import (
    DraftLine,
    EpisodeLine,
    ManifestFile,
    MeasuringLine,
    ResultFile,
    TimingLine,
    UpdateLine,
    read_file,
    read_lines,
)
from r3lbench.nature import Fidelity, Isolation
from r3lbench.recording import RunFolder
from r3lbench.registry import ENVIRONMENTS, REFLECTORS
from r3lbench.rollout.evaluation import Score
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.workers import EnvSource
from r3lbench.run import RunConfig
from r3lbench.tasks import TaskPanel
from r3lbench.training import schedule
from r3lbench.verdict import Check


@dataclass(frozen=True)
class Record:
    """What a record says; None for a file that is damaged, which is noted."""

    folder: RunFolder
    manifest: ManifestFile
    result: ResultFile
    made: RunConfig | EvaluateConfig
    episodes: list[EpisodeLine] | None
    drafts: list[DraftLine] | None
    updates: list[UpdateLine] | None
    timings: list[TimingLine] | None

    @property
    def agent(self) -> Agent:
        """Who played."""
        assert isinstance(self.made.agent, Agent)
        return self.made.agent

    @property
    def method(self) -> Baseline | None:
        """Who taught; None where nothing was trained."""
        return self.made.method if isinstance(self.made, RunConfig) else None

    @property
    def panel(self) -> PanelConfig:
        """On what it was measured."""
        return self.made.evaluation if isinstance(self.made, RunConfig) else self.made

    @property
    def modes(self) -> tuple[str, ...]:
        """How actions were drawn meanwhile; agents without a model know one way only."""
        return self.panel.modes if self.agent.has_model else (SAMPLED,)

    def episodes_in(self, mode: str) -> int:
        """How often each task was played."""
        return self.made.episodes(mode) if isinstance(self.made, EvaluateConfig) else 1

    def scores(self, update: int, mode: str) -> list[Score]:
        """What an evaluation came to, line after line."""
        return [line.outcome for line in self.episodes or () if (line.update, line.mode) == (update, mode)]


@dataclass(frozen=True)
class World:
    """The environment of a record, as it is here.

    Attributes:
        env: Its versioned name.
        panels: By split.
        train: Panel of training.
        held_out: Panel of evaluation.
        exact: Whether equal states are shown in equal words.
        envs: Instances to play in.
    """

    env: str
    panels: Mapping[str, TaskPanel]
    train: TaskPanel
    held_out: TaskPanel
    exact: bool
    envs: EnvPool


@dataclass(frozen=True)
class Course:
    """What a run's budget made of it.

    Attributes:
        stopped_by: The limit that was reached first; None where none was reached.
        updates: After how many.
        evaluated: After which updates it was measured.
    """

    stopped_by: str | None
    updates: int
    evaluated: tuple[int, ...]


def read(folder: RunFolder, checks: Mapping[str, Check]) -> Record | None:
    """Read all files but the trees; None where there is nothing to go on with, which is noted."""
    path, of = folder.path, checks["manifest"]
    why, manifest, result, made = "", None, None, None
    if (path / "result.json").exists():
        manifest = read_file(of, path / "manifest.json", ManifestFile)
        result = read_file(checks["result"], path / "result.json", ResultFile)
    else:
        why = "the run is not complete"
    if manifest is not None and result is not None:
        try:
            made = settings(folder)
        except (UnknownName, MissingExtra) as error:
            why = str(error)
        except R3LBenchError as error:
            if manifest.r3lbench == r3lbench.__version__:
                of.differ("manifest.json config", str(error))
            else:
                why = f"made by r3lbench {manifest.r3lbench}, whose settings are not those of this version: {error}"
    if manifest is None or result is None or made is None:
        for name in set(checks) - {"seal"}:
            checks[name].cannot = why or "manifest.json or result.json cannot be read"
        return None
    timings: list[TimingLine] | None = []
    if isinstance(made, RunConfig):
        timings = read_lines(checks["metrics"], path / "timings.jsonl", TimingLine)
    elif read_lines(checks["result"], path / "timings.jsonl", MeasuringLine) is None:
        timings = None
    return Record(
        folder,
        manifest,
        result,
        made,
        read_lines(checks["evaluation"], path / "evaluation.jsonl", EpisodeLine),
        read_lines(checks["evaluation"], path / "improvement.jsonl", DraftLine),
        read_lines(checks["metrics"], path / "metrics.jsonl", UpdateLine),
        timings,
    )


def settings(folder: RunFolder) -> RunConfig | EvaluateConfig:
    """A record's configuration, by the model of the command that made it.

    Raises:
        R3LBenchError: It is none of this version.
    """
    config, where = folder.manifest["config"], "manifest.json"
    base: type[RunConfig] | type[EvaluateConfig] = RunConfig
    if "method" not in config:
        base = EvaluateConfig
        if not isinstance(config.get("evaluation"), dict):
            raise BadData(f"{where}: evaluation: a table was expected")
        config = {name: value for name, value in config.items() if name != "evaluation"} | config["evaluation"]
    entries = {kind: entry for kind, entry in configuration.PLUGINS.items() if kind in base.model_fields}
    model = configuration.with_plugins(base, folder.names(entries), entries)
    made: RunConfig | EvaluateConfig = configuration.validate(model, config, where)
    for reflector in made.method.reflectors if isinstance(made, RunConfig) else [made.improve_with]:
        REFLECTORS.entry(reflector)
    return made


@contextmanager
def opened(record: Record, check: Check, *, ask_outside: bool = False) -> Iterator[World | None]:
    """The record's environment; None where it is not to be had, which is noted.

    Args:
        record: The record.
        check: Where it is noted.
        ask_outside: Take an environment's settings from the record even where they may ask somebody outside.
    """
    made, world = record.made, None
    if (given := _outside(made)) and not ask_outside:
        # Whom, and with whose key, is not for a stranger's record to say.
        check.cannot = f"{made.env.name} with {', '.join(given)} may ask somebody outside; --ask-outside allows it"
        yield None
        return
    try:
        with closing(configuration.make_env(made.env)) as env:
            panels = {split: env.panel(split) for split in env.splits}
            held_out = panels[env.resolve(f"{record.panel.split or env.splits[-1]}/0").split]
            source = EnvSource.of(made.env.name, configuration.options_of(made.env))
            exact = env.fidelity is Fidelity.EXACT
            world = World(env.name, panels, panels[env.splits[0]], held_out, exact, EnvPool(source))
    except (MissingExtra, BadData) as error:
        check.cannot = str(error)
    except R3LBenchError as error:
        check.differ("manifest.json config", str(error))
    if world is None:
        yield None
        return
    with closing(world.envs):
        yield world


def _outside(made: RunConfig | EvaluateConfig) -> list[str]:
    """Settings, other than by default, of an environment whose steps may wait for somebody outside."""
    if ENVIRONMENTS.load(made.env.name).isolation is not Isolation.THREAD:
        return []
    usual, given = (configuration.options_of(of) for of in (type(made).model_fields["env"].default, made.env))
    return [name for name, value in given.items() if value != usual[name]]


def course_of(record: Record) -> Course:
    """When the budget was used up, and when it was time to measure, by what the updates cost."""
    made, updates, timings = record.made, record.updates, record.timings
    if isinstance(made, EvaluateConfig):
        return Course("evaluation", 0, (0,))
    if updates is None or timings is None:
        told = sorted({line.update for line in record.episodes or ()})
        return Course(record.result.stopped_by, record.result.updates, tuple(told))
    begun, evaluated = 0.0, [0]
    for update in range(len(updates) + 1):
        meter = Meter()
        meter.load_json(updates[update - 1].cost if update else {})
        seconds = timings[update - 1].total if 0 < update <= len(timings) else 0.0
        used = schedule.shares(made.budget, updates=update, meter=meter, seconds=seconds)
        stop, now = schedule.exhausted(used), schedule.progress(used)
        if stop is not None:
            return Course(stop, update, tuple(dict.fromkeys([*evaluated, update])))
        if update and schedule.evaluation_is_due(made.evaluation, update, begun, now):
            evaluated.append(update)
        begun = now
    return Course(None, len(updates), tuple(dict.fromkeys([*evaluated, len(updates)])))
