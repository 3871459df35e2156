"""One typed configuration: command line, TOML file and manifest, one to one.

The method, the environment and the agent bring fields of their own: ``--method r3l`` makes ``--method.pivotal-credit``
a flag, ``--env webshop`` makes ``--env.protocol`` one. So the names are read first, the model is built, and then every
flag is known, typed and documented. Later sources win: built-in defaults, what suits the policy (its card), the
``--config`` file, flags.
"""

from __future__ import annotations

import copy
import inspect
import json
import tomllib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_type_hints

import tyro
from docstring_parser import parse as parse_docstring
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from r3lbench.env import TextEnv
from r3lbench.errors import BadConfig
from r3lbench.flags import NAMED, checked, in_full, nearest, peek, spell_booleans, types_by_path
from r3lbench.plugin import Plugin
from r3lbench.registry import AGENTS, BASELINES, ENVIRONMENTS, make


class PolicyConfig(Plugin):
    """Which language model acts and learns."""

    name: str = "tiny"
    """tiny (shipped with the environment), smollm2, a folder, or a Hugging Face id."""
    device: str = "auto"
    """cpu, cuda, cuda:0, ... or auto: the GPU if there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What its weights are held and computed in. bfloat16 ones that are trained have float32 copies that learn."""


class SamplingConfig(Plugin):
    """How actions are drawn while exploring."""

    temperature: float = Field(1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus mass."""
    top_k: int = Field(0, ge=0)
    """Keep the k likeliest tokens; 0 keeps all."""


class RolloutConfig(Plugin):
    """How episodes that are played side by side share the model."""

    schedule: Literal["waves", "continuous"] = "waves"
    """waves: it is asked when all wait for it, and the same command gives the same bytes; continuous: requests join the
    running batch as they come, which keeps it full, but who runs beside whom, and with it rounding, depends on time."""


class ReflectionConfig(Plugin):
    """How reflections are worded."""

    style: Literal["full", "compact"] = "full"
    """full: for instruction-tuned models; compact: for policies trained on that wording."""
    max_tokens: int = Field(1024, ge=1)
    """Longest reflection, in tokens."""


class BudgetConfig(Plugin):
    """A run stops, at the end of an update, at whichever is reached first. Evaluation is not charged."""

    updates: int | None = Field(30, ge=0)
    """Optimiser updates."""
    env_steps: int | None = Field(None, ge=0)
    """Environment steps, retries included, replayed ones not."""
    generated_tokens: int | None = Field(None, ge=0)
    """Sampled tokens, reflections and retries included."""
    seconds: float | None = Field(None, ge=0)
    """Seconds of exploring and learning. Makes the end of a run depend on the machine."""


class PanelConfig(Plugin):
    """On which tasks to measure, and how actions are drawn meanwhile."""

    split: str | None = None
    """Split to evaluate on; the environment's held-out one if None."""
    tasks: int | None = Field(128, ge=1)
    """The first so many tasks of the panel; all if None."""
    modes: tuple[Literal["sampled", "greedy"], ...] = Field(("sampled", "greedy"), min_length=1)
    """sampled: at `temperature`; greedy: the likeliest token always."""
    temperature: float = Field(1.0, gt=0)
    """Of sampled evaluation."""


class PoolConfig(Plugin):
    """Where environments are played that ask for worker processes or threads. No result depends on it."""

    workers: int = Field(0, ge=0)
    """Worker processes, or threads where steps wait for something outside; 0: as many as are useful here."""
    step_seconds: float = Field(60.0, gt=0)
    """A worker that takes longer for a step is replaced, and its episodes are restored."""
    memory_gib: float = Field(0.0, ge=0)
    """Most address space of a worker; 0: no limit. Not for environments that start a Java machine."""


class EvaluationConfig(PanelConfig):
    """First attempts only, on a fixed panel; no reflection, no memory."""

    every: int = Field(0, ge=0)
    """Also evaluate after every so many updates; 0: only before the first and after the last."""
    points: int = Field(0, ge=0)
    """Also evaluate at so many points that divide the budget evenly, so that the curves of methods whose updates differ
    in cost can be compared."""


def plugin_model(name: str, cls: type[Any]) -> type[BaseModel]:
    """The settings of a registered class with a leading ``name``; instances of plug-ins are usable as they are."""
    # As what it is: by their instances mypy takes some classes for what cannot be hashed.
    return _plugin_model(name, cast(Hashable, cls))


@cache
def _plugin_model(name: str, cls: Any) -> type[BaseModel]:
    literal = Literal[name]  # type: ignore[valid-type]
    if issubclass(cls, BaseModel):
        return create_model(cls.__name__, __base__=cls, __module__=cls.__module__, name=(literal, name))
    return create_model(f"{cls.__name__}Options", __base__=Plugin, name=(literal, name), **_parameters(cls))


def _parameters(cls: type[Any]) -> dict[str, Any]:
    """Keyword parameters of a constructor as model fields, with their docstring's words as help."""
    hints = get_type_hints(cls.__init__, include_extras=True)
    words = {item.arg_name: item.description for item in parse_docstring(cls.__doc__ or "").params}
    words |= {item.arg_name: item.description for item in parse_docstring(cls.__init__.__doc__ or "").params}
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or parameter.name == "render_mode":
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        field = Field(default, description=words.get(parameter.name))
        unsaid = type(default) if isinstance(default, bool | int | float | str) else Any
        fields[parameter.name] = (hints.get(parameter.name, unsaid), field)
    return fields


def options_of(config: BaseModel) -> dict[str, Any]:
    """A plug-in's settings without its name: constructor arguments."""
    return {name: getattr(config, name) for name in type(config).model_fields if name != "name"}


def make_env(config: Any) -> TextEnv:
    """The environment that its settings describe.

    Raises:
        BadConfig: It refuses them.
    """
    try:
        return make(config.name, **options_of(config))
    except ValueError as error:
        raise BadConfig(f"--env {config.name}: {error}") from error


def with_plugins(base: type[BaseModel], names: Mapping[str, str], entries: Mapping[str, Any]) -> type[BaseModel]:
    """``base`` with the fields of the chosen method, environment and agent.

    Raises:
        BadConfig: A plug-in has a setting without a default.
    """
    fields: dict[str, Any] = {}
    for kind, registry in entries.items():
        name = names[kind]
        entry = registry.entry(name)
        model = plugin_model(name, entry.load())
        usual = {key: value for key, value in entry.defaults.items() if key in model.model_fields}
        fields[kind] = (model, validate(model, usual, f"--{kind} {name} lacks a default"))
    return create_model(base.__name__, __base__=base, __module__=base.__module__, **fields)


PLUGINS: dict[str, Any] = {"method": BASELINES, "env": ENVIRONMENTS, "agent": AGENTS}


def parse(
    base: type[BaseModel],
    argv: Sequence[str],
    *,
    names: Mapping[str, str],
    defaults_of: Any = None,
    prog: str,
    description: str,
    positional: str | None = None,
) -> Any:
    """Build a configuration from flags and an optional ``--config`` TOML file.

    Args:
        base: The command's model; fields named like ``PLUGINS`` are replaced by the chosen plug-in's.
        argv: Flags.
        names: Plug-in kinds the command takes, with their default names (and ``policy``'s).
        defaults_of: Given the chosen names, settings that suit them (nested dictionaries); may raise.
        prog: Name of the command in its help.
        description: What the command does.
        positional: The setting that bare arguments are values of; None refuses them.

    Raises:
        BadConfig: An unknown flag or key, or a value of the wrong type; one line, with the nearest names.
        UnknownName: No such method, environment, agent or policy.
    """
    flags = in_full(argv)
    given = _load_toml(flags)
    chosen = {**names, **_names_in(flags, given, names)}
    model = with_plugins(base, chosen, {kind: PLUGINS[kind] for kind in names if kind in PLUGINS})
    helping = "-h" in flags or "--help" in flags
    # From the model's own defaults on, so that a table that names one setting leaves its neighbours as they were.
    merged = dump(model())
    _merge(merged, {} if defaults_of is None or helping else defaults_of(chosen))
    _merge(merged, given)
    for kind in names:
        merged.setdefault(kind, {})["name"] = chosen[kind]
    default = validate(model, merged, "the configuration" if not given else "--config")
    flags = spell_booleans(model, flags)
    if not helping:
        flags = checked(model, flags, positional, PLUGINS)
    return tyro.cli(
        model,
        args=flags,
        default=default,
        prog=prog,
        description=description,
        config=(tyro.conf.FlagConversionOff, tyro.conf.AvoidSubcommands),
    )


def names_given(argv: Sequence[str], kinds: Iterable[str]) -> dict[str, str]:
    """The names that flags and the ``--config`` file spell out for some kinds of plug-ins.

    Raises:
        BadConfig: The file cannot be read.
    """
    flags = in_full(argv)
    return _names_in(flags, _load_toml(flags), kinds)


def _names_in(flags: Sequence[str], given: Mapping[str, Any], kinds: Iterable[str]) -> dict[str, str]:
    names = {}
    for kind in kinds:
        table = given.get(kind)
        name = peek(flags, f"--{kind}.name")
        if name is None and isinstance(table, dict) and isinstance(table.get("name"), str):
            name = table["name"]
        if name is not None:
            names[kind] = name
    return names


def validate(model: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
    """Validate nested values, with the first problem as one line.

    Raises:
        BadConfig: What is wrong, and the nearest names of an unknown key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise BadConfig(f"{where}: unknown setting {path!r}{nearest(path, types_by_path(model))}") from error
        raise BadConfig(f"{where}: {path}: {first['msg']} (got {first.get('input')!r})") from error


def dump(config: BaseModel) -> dict[str, Any]:
    """A configuration as JSON values; ``validate`` reads it back."""
    values: dict[str, Any] = json.loads(config.model_dump_json())
    return values


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their paths, as flags name them: ``{"budget": {"updates": 3}}`` is ``{"budget.updates": 3}``."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= dotted(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


class Strict(BaseModel):
    """Base of the commands' models."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    config: Annotated[str | None, Field(exclude=True)] = None
    """TOML file with settings; its tables are named like the flags. Flags win."""


def _load_toml(flags: Sequence[str]) -> dict[str, Any]:
    path = peek(flags, "--config")
    return {} if path is None else read_toml(Path(path), f"--config {path}")


def read_toml(path: Path, where: str) -> dict[str, Any]:
    """Settings in a file, tables named like the flags.

    Args:
        path: The file.
        where: What it is called in messages.

    Raises:
        BadConfig: It cannot be read, or is not TOML, or names a plug-in in a way that is neither name nor table.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"{where}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{where}: not TOML: {error}") from error
    values = _lifted(values)
    for key in NAMED:
        if isinstance(values.get(key), str):
            values[key] = {"name": values[key]}
        table = values.get(key, {})
        if not isinstance(table, dict) or not isinstance(table.get("name", ""), str):
            raise BadConfig(f"{where}: {key} is a name, or a table with a name and settings")
    return values


def _lifted(values: dict[str, Any]) -> dict[str, Any]:
    """Values in which the text "None" is None, as on the command line: TOML has no word of its own for it."""
    return {
        key: _lifted(value) if isinstance(value, dict) else None if value == "None" else value
        for key, value in values.items()
    }


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = copy.deepcopy(value)
