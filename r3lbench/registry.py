"""Names to things: environments, agents, reflectors, methods and judges, ours and anyone's.

A plug-in registers by decorator, by call, or by an entry point in the groups ``r3lbench.environments``,
``r3lbench.agents``, ``r3lbench.reflectors``, ``r3lbench.baselines`` and ``r3lbench.judges`` whose value is the module
that registers it or the class itself. Entry points are loaded when a name is asked for, so listing names imports
nothing; those of environments are also loaded with the package, because that is how ``gymnasium.make`` learns its ids.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gymnasium.envs.registration import register as register_gymnasium_id
from gymnasium.envs.registration import registry as gymnasium_ids

from r3lbench.errors import UnknownName

if TYPE_CHECKING:
    from r3lbench.agent import Agent
    from r3lbench.baseline import Baseline
    from r3lbench.env import TextEnv
    from r3lbench.reflection import Reflector

T = TypeVar("T")
NAMESPACE = "r3lbench"


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered class.

    Attributes:
        name: Short name, as on the command line.
        cls: The class, or ``"module:Class"`` to be imported on use.
        summary: One line for lists; the first line of the class's docstring unless given.
        defaults: Keyword arguments that this name adds to the class's own defaults.
    """

    name: str
    cls: type[T] | str
    summary: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)

    def load(self) -> type[T]:
        """The class itself."""
        if not isinstance(self.cls, str):
            return self.cls
        module, _, attribute = self.cls.partition(":")
        loaded: type[T] = getattr(importlib.import_module(module), attribute)
        return loaded

    @property
    def path(self) -> str:
        """``"module:Class"``."""
        return self.cls if isinstance(self.cls, str) else f"{self.cls.__module__}:{self.cls.__qualname__}"

    @property
    def home(self) -> Path | None:
        """Folder of the package that the class's module is or lies in; None for a module outside of packages."""
        module = self.path.partition(":")[0]
        for package in (module, module.rpartition(".")[0]):
            if package and importlib.util.find_spec(package) is not None:
                folders = getattr(importlib.import_module(package), "__path__", None)
                if folders is not None:
                    return Path(next(iter(folders)))
        return None

    def beside(self, name: str) -> Path | None:
        """A file or folder that is shipped beside the class's code, such as ``"tiny"``; None where there is none."""
        found = None if self.home is None else self.home / name
        return found if found is not None and found.exists() else None


class Registry(Generic[T]):
    """The names of one kind of plug-in.

    Args:
        kind: What one is called in messages, e.g. ``"environment"``.
        group: Entry-point group.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, Entry[T]] = {}

    def add(self, entry: Entry[T]) -> None:
        """Register; a name is taken once (registering the same class again changes nothing).

        Raises:
            ValueError: The name belongs to another class.
        """
        present = self._entries.get(entry.name)
        if present is not None and present.path != entry.path:
            raise ValueError(f"the {self.kind} name {entry.name!r} is taken by {present.path}; choose another")
        self._entries[entry.name] = entry

    def names(self) -> tuple[str, ...]:
        """All names, registered and announced by entry points, sorted."""
        return tuple(sorted({*self._entries, *self._announced()}))

    def entry(self, name: str) -> Entry[T]:
        """The entry of this name.

        Raises:
            UnknownName: No such name; the message offers the nearest ones.
        """
        if name not in self._entries:
            announced = self._announced().get(name)
            if announced is not None:
                self._load(announced)
                if name not in self._entries:
                    raise UnknownName(
                        f"the plug-in {announced.value} announces the {self.kind} {name!r} but does not register it"
                    )
        if name not in self._entries:
            raise UnknownName(unknown(self.kind, name, self.names()))
        return self._entries[name]

    def load(self, name: str) -> type[T]:
        """The class of this name; raises as ``entry``."""
        return self.entry(name).load()

    def load_all(self) -> None:
        """Load every entry point; one that fails is named in a warning and does not stop the others."""
        for name, announced in sorted(self._announced().items()):
            if name not in self._entries and not _importing(announced.module):
                try:
                    self._load(announced)
                except Exception as error:  # noqa: BLE001 - a stranger's plug-in may raise anything
                    warnings.warn(
                        f"the {self.kind} plug-in {name!r} ({announced.value}) does not load: {error!r}", stacklevel=2
                    )

    def _announced(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in sorted(entry_points(group=self.group))}

    def _load(self, point: EntryPoint) -> None:
        loaded = point.load()
        if isinstance(loaded, type) and point.name not in self._entries:
            _REGISTER[self.group](point.name)(loaded)


ENVIRONMENTS: Registry[TextEnv] = Registry("environment", "r3lbench.environments")
AGENTS: Registry[Agent] = Registry("agent", "r3lbench.agents")
REFLECTORS: Registry[Reflector] = Registry("reflector", "r3lbench.reflectors")
BASELINES: Registry[Baseline] = Registry("method", "r3lbench.baselines")


def register_env(
    name: str, entry_point: str | None = None, *, id: str | None = None, summary: str = "", **defaults: Any
) -> Callable[[type[Any]], type[Any]]:
    """Register a ``TextEnv`` under a short name and as a Gymnasium id.

    Use as ``@register_env("toy")`` on the class, or as ``register_env("toy", "package.module:Toy", id="Toy-v0")``.

    Args:
        name: Short name, as in ``--env toy``.
        entry_point: ``"module:Class"``, imported on first use; None when decorating.
        id: Gymnasium id below the namespace ``r3lbench/``; the class's ``name`` when decorating.
        summary: One line for lists.
        **defaults: Constructor arguments that this name stands for.
    """

    def register(cls: type[Any] | str) -> None:
        gym_id = id or (cls.name if not isinstance(cls, str) else None)
        if gym_id is None:
            raise ValueError(f"register_env({name!r}, {cls!r}) needs id=..., e.g. id='Toy-v0'")
        entry: Entry[Any] = Entry(name, cls, summary or _first_line(cls), defaults)
        full_id = f"{NAMESPACE}/{gym_id}"
        taken = gymnasium_ids.get(full_id)
        if taken is not None and taken.entry_point != entry.path:
            raise ValueError(f"the id {full_id} is taken by {taken.entry_point}; choose another name or version")
        ENVIRONMENTS.add(entry)
        if taken is None:
            # Order enforcement and passive checks sit between a caller and snapshot/restore and know nothing of them.
            register_gymnasium_id(
                id=full_id,
                entry_point=entry.path,
                order_enforce=False,
                disable_env_checker=True,
                kwargs=dict(defaults),
            )

    return _registrar(register, entry_point)


def register_agent(name: str, entry_point: str | None = None, *, summary: str = "") -> Callable[[type[Any]], type[Any]]:
    """Register an ``Agent`` under a short name, as decorator or by call."""
    return _registrar(lambda cls: AGENTS.add(Entry(name, cls, summary or _first_line(cls))), entry_point)


def register_reflector(
    name: str, entry_point: str | None = None, *, summary: str = ""
) -> Callable[[type[Any]], type[Any]]:
    """Register a ``Reflector`` under a short name, as decorator or by call."""
    return _registrar(lambda cls: REFLECTORS.add(Entry(name, cls, summary or _first_line(cls))), entry_point)


def register_baseline(
    name: str, entry_point: str | None = None, *, summary: str = ""
) -> Callable[[type[Any]], type[Any]]:
    """Register a ``Baseline`` (a method) under a short name, as decorator or by call."""
    return _registrar(lambda cls: BASELINES.add(Entry(name, cls, summary or _first_line(cls))), entry_point)


def make(name: str, **options: Any) -> TextEnv:
    """Make an environment by its short name.

    Args:
        name: e.g. ``"webshop"``.
        **options: Constructor arguments.

    Raises:
        UnknownName: No environment of this name.
    """
    entry = ENVIRONMENTS.entry(name)
    return entry.load()(**{**entry.defaults, **options})


def register_gymnasium_ids() -> None:
    """Make every installed environment known to ``gymnasium.make`` (called when ``r3lbench`` is imported)."""
    ENVIRONMENTS.load_all()


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for a name that is not known, with the nearest ones."""
    names = sorted(known)
    # Whoever gives a file means what is called like it.
    word, spelled = PurePath(name).name.removesuffix(".py").lower(), {other.lower(): other for other in names}
    near = [spelled[match] for match in difflib.get_close_matches(word, spelled, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(repr(other) for other in near)}?" if near else "there is none like it;"
    listed = f" known: {', '.join(names)}" if names else f" no {kind} is installed (pip install -e . in a checkout)"
    return f"unknown {kind} {name!r}: {hint}{listed}"


def _importing(module: str) -> bool:
    """Whether a module is in the middle of its import: a plug-in that imports this package; it will register itself."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _registrar(
    register: Callable[[type[Any] | str], None], entry_point: str | None
) -> Callable[[type[Any]], type[Any]]:
    if entry_point is not None:
        register(entry_point)

    def decorate(cls: type[Any]) -> type[Any]:
        register(cls)
        return cls

    return decorate


def _first_line(cls: type[Any] | str) -> str:
    return "" if isinstance(cls, str) else (cls.__doc__ or "").strip().split("\n", 1)[0]


_REGISTER: dict[str, Callable[[str], Callable[[type[Any]], type[Any]]]] = {
    "r3lbench.environments": register_env,
    "r3lbench.agents": register_agent,
    "r3lbench.reflectors": register_reflector,
    "r3lbench.baselines": register_baseline,
}
