"""Flags as a person writes them, made ready for tyro: in full, checked one by one, each mistake a line of its own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from r3lbench.errors import BadConfig
from r3lbench.registry import Registry

NAMED = ("method", "env", "agent", "policy", "engine")
"""Tables whose ``name`` may be given in their place: ``--method r3l`` is ``--method.name r3l``."""


def in_full(argv: Sequence[str]) -> list[str]:
    """Flags apart from their values, with dashes, and ``--method`` as ``--method.name``."""
    parts: list[str] = []
    for argument in argv:
        parts += argument.split("=", 1) if argument.startswith("--") else [argument]
    return [_long_form(part) for part in parts]


def _long_form(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name = argument[2:].replace("_", "-")
    return f"--{name}.name" if name in NAMED else f"--{name}"


def peek(flags: Sequence[str], flag: str) -> str | None:
    """The value of a flag, of several the last one; None where it is not given.

    Raises:
        BadConfig: It is given without a value.
    """
    positions = [position for position, argument in enumerate(flags) if argument == flag]
    if not positions:
        return None
    if positions[-1] + 1 >= len(flags):
        raise BadConfig(f"{flag.removesuffix('.name')} needs a value")
    return flags[positions[-1] + 1]


def types_by_path(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """The types of all settings, tables of settings taken apart, by their paths with dots."""
    leaves: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            leaves |= types_by_path(annotation, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = Annotated[annotation, *field.metadata] if field.metadata else annotation
    return leaves


def spell_booleans(model: type[BaseModel], flags: Sequence[str]) -> list[str]:
    """``--quiet`` means ``--quiet True``; true and false may be written in lower case."""
    switches = {
        f"--{path.replace('_', '-')}" for path, annotation in types_by_path(model).items() if annotation is bool
    }
    spelled: list[str] = []
    for position, flag in enumerate(flags):
        after_switch = position > 0 and flags[position - 1] in switches
        spelled.append(flag.capitalize() if after_switch and flag.lower() in ("true", "false") else flag)
        bare = position + 1 == len(flags) or flags[position + 1].startswith("-")
        if flag in switches and bare:
            spelled.append("True")
    return spelled


def checked(
    model: type[BaseModel], flags: Sequence[str], positional: str | None, plugins: Mapping[str, Registry[Any]]
) -> list[str]:
    """Refuse unknown flags and impossible values in one line, before tyro draws its boxes.

    Args:
        model: What the flags are settings of.
        flags: In full.
        positional: The setting that bare arguments are values of; None refuses them.
        plugins: By kind the names that somebody may have given bare.

    Returns:
        The flags, each once: switches with their ``True``, bare arguments behind the flag they are values of.

    Raises:
        BadConfig: Something is wrong; with the nearest names.
    """
    leaves = {f"--{path.replace('_', '-')}": annotation for path, annotation in types_by_path(model).items()}
    # Of a flag that is given several times the last one counts, so that a command can be put before other flags.
    given: dict[str, list[str]] = {}
    bare: list[str] = []
    position = 0
    while position < len(flags):
        flag = flags[position]
        position += 1
        if not _is_flag(flag):
            if positional is None or (bare and not _takes_several(leaves[f"--{positional}"])):
                raise BadConfig(_unexpected(flag, model, plugins))
            bare.append(flag)
            continue
        if flag not in leaves:
            shown = flag.removesuffix(".name")
            raise BadConfig(f"unknown flag {shown}{nearest(flag, leaves)}; --help lists all")
        annotation = leaves[flag]
        most = len(flags) if _takes_several(annotation) else 1
        values: list[str] = []
        while position < len(flags) and len(values) < most and not _is_flag(flags[position]):
            if annotation is bool and flags[position] not in ("True", "False"):
                break
            values.append(flags[position])
            position += 1
        if annotation is bool and not values:
            values = ["True"]
        given[flag] = values
    if bare:
        flag = f"--{positional}"
        if flag in given:
            raise BadConfig(f"unexpected argument {bare[0]!r}: {flag} is given already")
        given[flag] = bare
    complete: list[str] = []
    for flag, values in given.items():
        complete += [flag, *_checked_values(flag.removesuffix(".name"), values, leaves[flag])]
    return complete


def _is_flag(word: str) -> bool:
    """Whether a word is a flag and no value, which may be a negative number."""
    return word.startswith("--") or re.fullmatch(r"-[A-Za-z]+", word) is not None


def _takes_several(annotation: Any) -> bool:
    return annotation is Any or any(several in str(annotation) for several in ("tuple", "list"))


def _unexpected(word: str, model: type[BaseModel], plugins: Mapping[str, Registry[Any]]) -> str:
    kinds = [kind for kind, registry in plugins.items() if kind in model.model_fields and word in registry.names()]
    meant = f"did you mean --{kinds[0]} {word}?" if kinds else "settings are given as --name value (see --help)"
    return f"unexpected argument {word!r}; {meant}"


def _checked_values(flag: str, values: list[str], annotation: Any) -> list[str]:
    """The values, numbers spelled plainly: a whole number may be written ``1.0``, which tyro does not read."""
    if not values:
        raise BadConfig(f"{flag} needs a value")
    given: Any = values if len(values) > 1 or "tuple" in str(annotation) else values[0]
    if given == "None":
        given = None
    try:
        read = TypeAdapter(annotation).validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadConfig(f"{flag} {' '.join(values)}: {first['msg']}") from error
    items = read if isinstance(read, tuple | list) and len(read) == len(values) else [read] * len(values)
    return [str(item) if type(item) in (int, float) else word for item, word in zip(items, values, strict=True)]


def nearest(name: str, known: Iterable[str]) -> str:
    """The names most like one that is not known, as the end of a line; empty where there are none."""
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""
