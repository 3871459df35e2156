"""A leaderboard as one static page that asks for nothing else: light and dark, sortable, readable on a phone.

What runs and environments are called passes through the template's escaping.
"""

from __future__ import annotations

import re
from importlib import resources

from jinja2 import Environment, StrictUndefined

from r3lbench.formats import READING, TITLE, Document, cell

BEGINNING = f"<!doctype html>\n<!-- r3lbench {TITLE.lower()} -->\n"
"""So every page begins."""
_NUMBER = re.compile(r"[+-]?[\d,]*\.?\d+")
_SIZES = {"k": 1e3, "M": 1e6, "G": 1e9}


def webpage(of: Document) -> str:
    """The document as a page."""
    template = resources.files("r3lbench").joinpath("leaderboard.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(template)
    return BEGINNING + page.render(title=TITLE, reading=READING, document=of, cell=cell, sort_key=sort_key)


def sort_key(value: str) -> str:
    """What a cell is sorted by; empty for nothing, which comes last."""
    number = _NUMBER.match(value)
    if number is None:
        return value.lower()
    return repr(float(number[0].replace(",", "")) * _SIZES.get(value[number.end() :].strip()[:1], 1.0))
