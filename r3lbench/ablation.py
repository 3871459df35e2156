"""``r3lbench run --ablate all``: a method and each of its ablations as runs of their own, one factor at a time.

A method names its ablations as its paper does (``Baseline.ablations``). Every run gets a folder beside the others;
those that are complete are left as they are, and those that were cut off go on where they stood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_jsonable_python

from r3lbench.baseline import Ablations, Baseline
from r3lbench.errors import UnknownName
from r3lbench.registry import unknown

FULL = "full"
"""Name of the method as it is."""
ALL = "all"
"""Stands for every ablation."""


def variants(method: Baseline, asked: Sequence[str]) -> dict[str, Baseline]:
    """The method itself and the ablations asked for, in the method's order.

    Args:
        method: With whatever settings it was given; an ablation changes only its own.
        asked: Names of ablations, or ``all``.

    Raises:
        UnknownName: The method has no ablation of that name.
    """
    known: Mapping[str, Mapping[str, Any]] = type(method).ablations
    for name in asked:
        if name != ALL and name not in known:
            raise UnknownName(unknown("ablation", name, [*known, ALL] if known else []))
    chosen = [name for name in known if ALL in asked or name in asked]
    # Validated anew: a copy would take any value.
    cls, settings = type(method), method.model_dump()
    return {FULL: method, **{name: cls.model_validate({**settings, **known[name]}) for name in chosen}}


def named(switches: Mapping[str, Any], ablations: Ablations) -> str | None:
    """The name of the ablation that exactly these switches make up, e.g. ``"w/o credit"``; None for no such one."""
    recorded = {name: to_jsonable_python(dict(of)) for name, of in ablations.items()}
    return next((name for name, of in recorded.items() if of == dict(switches)), None)


def slug(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower().replace("w/o", "without")).strip("-")
