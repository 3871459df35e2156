"""What agents, reflectors and methods have in common: typed, strict, immutable settings that are the command line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Plugin(BaseModel):
    """A configurable part. Its fields are its switches: flags, TOML keys and manifest entries at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)
