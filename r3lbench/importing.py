"""``r3lbench import TRACES.jsonl --out FOLDER``: play that was recorded elsewhere, played again here and recorded.

What a trace says its actions came to is not taken on trust: every action is played again, and every claim is compared
with what comes of it. Only where nothing differs is anything written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.text import Text

from r3lbench import config as configuration
from r3lbench.config import PanelConfig, PoolConfig, Strict
from r3lbench.console import counting, make_console, working
from r3lbench.entry import entry_point
from r3lbench.errors import BadConfig, BadData
from r3lbench.evaluate import SAMPLED, EvaluateConfig, estimates
from r3lbench.evaluated import check_vacant, manifest_json, record, result_json
from r3lbench.files import sha256_of
from r3lbench.foreign import Episode, Header, read_episodes, read_header
from r3lbench.nature import Isolation
from r3lbench.registry import ENVIRONMENTS
from r3lbench.replaying import play_again
from r3lbench.rollout.evaluation import Score
from r3lbench.rollout.group import Attempt
from r3lbench.rollout.meter import EVALUATION, Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.workers import EnvSource

PROG = "r3lbench import"
AGENT = "imported"
"""Stands in records for whoever played."""
_TOKENS = ("generated_tokens", "prefilled_tokens")


class ImportConfig(Strict):
    """Settings of an import."""

    traces: str = ""
    """The file; stands first, without the flag."""
    env: Any = None
    """The environment that the file names; flags win over the file, and give what is this machine's own."""
    out: str | None = None
    """Folder of the record; None only plays again and compares."""
    pool: PoolConfig = PoolConfig()
    quiet: bool = False
    """Print nothing but errors and differences."""


def parse(argv: Sequence[str]) -> ImportConfig:
    """An import's configuration from flags; the file brings the environment and its settings.

    Raises:
        BadConfig: No file is named, or a flag is unknown.
        BadData: The file cannot be read.
    """
    description = "Play again what was recorded elsewhere, compare, and record it for the leaderboard."
    if not argv or argv[0].startswith("-"):
        configuration.parse(ImportConfig, argv, names={}, prog=PROG, description=description)
        raise BadConfig("name the file of traces first, e.g. r3lbench import traces.jsonl --out runs/imported")
    header = read_header(Path(argv[0]))
    named = configuration.names_given(argv[1:], ("env",)).get("env", header.environment)
    if named != header.environment:
        raise BadConfig(f"--env {named}: {argv[0]} was played in {header.environment}")
    if ENVIRONMENTS.load(header.environment).isolation is Isolation.THREAD:
        # Its steps may ask somebody outside: whom, and with whose key, is not for a stranger to say.
        given = {flag.partition("=")[0].replace("_", "-") for flag in argv}
        if wanted := [flag for flag in (f"--env.{name.replace('_', '-')}" for name in header.env) if flag not in given]:
            raise BadConfig(
                f"{argv[0]}: settings of {header.environment} are not taken from a file, as they may ask somebody "
                f"outside; give {', '.join(wanted)}"
            )
    parsed: ImportConfig = configuration.parse(
        ImportConfig,
        argv[1:],
        names={"env": header.environment},
        defaults_of=lambda _: {"traces": argv[0], "env": dict(header.env)},
        prog=PROG,
        description=description,
    )
    if parsed.traces != argv[0]:
        raise BadConfig(f"--traces: {argv[0]} is named already; import files one by one")
    return parsed


def run(config: ImportConfig) -> list[str]:
    """Read, play again, compare, and record if nothing differs.

    Returns:
        The differences, a line each; where there is one, nothing is written.

    Raises:
        R3LBenchError: The file is not of a whole panel as it is here, or nothing can be recorded.
    """
    console = make_console(quiet=config.quiet)
    file, out = Path(config.traces), None if config.out is None else Path(config.out)
    if out is not None:
        check_vacant(out)
    header = read_header(file)
    made = _evaluation(header, config, file)
    with (
        working(console, f"loading the environment {config.env.name}"),
        closing(configuration.make_env(config.env)) as env,
    ):
        panels = {split: env.panel(split) for split in env.splits}
        panel = panels[env.resolve(f"{made.split or env.splits[-1]}/0").split]
    if panel.hash != header.panel:
        raise BadData(
            f"{file}: {panel.env} {panel.split} was another panel where this was played: {header.panel[:12]}, "
            f"here {panel.hash[:12]}; docs/panels.md says what makes the difference"
        )
    tasks = list(panel)[: made.tasks]
    episodes = read_episodes(file, [(task.id, number) for task in tasks for number in range(made.episodes_per_task)])
    console.print(Text.assemble((header.name, "bold"), " on ", (panel.env, "bold"), f", seed {header.seed}"))
    console.print(f"panel {panel.split}: {len(tasks)} of {len(panel)} tasks, hash {panel.hash[:12]}")
    began = time.perf_counter()
    source = EnvSource.of(config.env.name, configuration.options_of(config.env))
    with (
        closing(EnvPool(source, **config.pool.model_dump())) as envs,
        counting(console, "playing again", len(episodes)) as tick,
    ):
        played = play_again(envs, [(episode.task, episode.actions) for _, episode in episodes], tick)
    scores: list[Score] = []
    differences: list[tuple[int, str]] = []
    for line, episode in episodes:
        attempt = played[episode.task, episode.actions]
        if isinstance(attempt, Attempt):
            scores.append(Score.of(attempt))
            differences += [(line, words) for words in episode.differs(scores[-1])]
        else:
            differences.append((line, f"not all actions can be taken: {attempt}"))
    if differences:
        return [f"{file}:{line}: {words}" for line, words in sorted(differences)]

    intervals = estimates(scores, len(tasks))
    means = (f"{name} {of.value:.3f} [{of.low:.3f}, {of.high:.3f}]" for name, of in intervals.items())
    console.print(Text(f"{len(episodes)} episodes played again, as they were told: {', '.join(means)}"))
    if out is not None:
        manifest = manifest_json(made, panels, {"name": header.name}) | {
            "sees": {"agent": sorted(header.sees)},
            "elsewhere": _elsewhere(header, file),
        }
        result = result_json({header.mode: scores}, {header.mode: intervals}, _cost(scores, episodes))
        record(out, manifest, made, {header.mode: scores}, {}, result, time.perf_counter() - began)
        console.print(Text(f"recorded in {out}; compare with runs: python -m r3lbench.leaderboard {out.parent}"))
    return []


def _evaluation(header: Header, config: ImportConfig, file: Path) -> EvaluateConfig:
    """The settings of the evaluation that would have played this here."""
    if header.episodes_per_task > 1 and header.mode != SAMPLED:
        raise BadData(f"{file}:1: episodes_per_task: greedy play is not repeated")
    plugins = {"env": config.env.name, "agent": AGENT}
    model = configuration.with_plugins(EvaluateConfig, plugins, {kind: configuration.PLUGINS[kind] for kind in plugins})
    panel = {name: getattr(header, name) for name in PanelConfig.model_fields if name != "modes"}
    values = {
        **panel,
        "modes": (header.mode,),
        "env": config.env.model_dump(),
        "agent": {"name": AGENT},
        "seed": header.seed,
        "episodes_per_task": header.episodes_per_task,
        "pool": config.pool.model_dump(),
    }
    made: EvaluateConfig = configuration.validate(model, values, f"{file}:1")
    return made


def _elsewhere(header: Header, file: Path) -> dict[str, Any]:
    """What is not known but told."""
    return {
        "kind": "imported",
        "reproducible": False,
        "model": header.name,
        "traces": sha256_of(file),
        **header.model_dump(mode="json", include={"description", "training", "url"}),
    }


def _cost(scores: Sequence[Score], episodes: Sequence[tuple[int, Episode]]) -> Meter:
    """Steps as they were taken again; tokens as they are told, if they are of every episode."""
    meter = Meter()
    meter.add(EVALUATION, env_steps=sum(score.steps for score in scores), replayed_steps=0)
    for name in _TOKENS:
        amounts: list[int | None] = [getattr(episode, name) for _, episode in episodes]
        told = [amount for amount in amounts if amount is not None]
        if len(told) == len(amounts):
            meter.add(EVALUATION, **{name: sum(told)})
    return meter


@entry_point(PROG, "nothing was recorded")
def main(argv: Sequence[str]) -> int:
    """Import; 1 where a claim is not so."""
    differences = run(parse(argv))
    for words in differences:
        print(words, file=sys.stderr)
    if differences:
        print(f"{PROG}: {len(differences)} differences; nothing was recorded", file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
