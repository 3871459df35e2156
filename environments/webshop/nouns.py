"""Which words of a product title name what it is.

The type reward compares the nouns of two titles. Upstream asks spaCy's ``en_core_web_sm``; that model cannot be assumed
here, so the rule is exchangeable, and its name is part of every catalogue's hash: scores under different rules are
never compared unknowingly.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

Rule = Callable[[str], tuple[str, ...]]

_SPACY_MODEL = "en_core_web_sm"
_REMEMBERED = 1 << 13
"""Titles whose nouns are remembered."""
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_NO_NOUN_WORDS = """
    a about above after against all also an and any are around as at be been before best between both but by can
    each easy even every everyday extra few for free from full get good great has have high highly how if in inch inches
    including into is it its just large less lightweight long low made make makes many may medium mini more most much
    multi natural new no non not of off on one only or other our out over own per perfect premium quality same set short
    small so soft some such super than that the their them then there these they this those thick thin through to too
    two under until up upon us use used very was we well were what when where which while who will with within without
    you your
"""
_NO_NOUNS = frozenset(_NO_NOUN_WORDS.split())
"""Function words, and the adjectives and adverbs commonest in shop titles."""


def content_words(title: str) -> tuple[str, ...]:
    """Words that are neither numbers nor in a short list of function words and common adjectives."""
    return tuple(word for word in _WORD.findall(title.lower()) if len(word) > 1 and word not in _NO_NOUNS)


class TitleNouns:
    """Finds the nouns of titles and remembers the latest.

    Args:
        table: Nouns by title, where they are known; other titles get their content words. Without a table the best
            rule installed is used.
    """

    def __init__(self, table: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self._table = dict(table or {})
        self.name, rule = installed_rule()
        if table is not None:
            digest = hashlib.sha256(json.dumps(sorted(self._table.items())).encode()).hexdigest()[:12]
            self.name, rule = f"table-{digest}", content_words
        self._rule = lru_cache(maxsize=_REMEMBERED)(rule)

    def __call__(self, title: str) -> tuple[str, ...]:
        """Lower-case nouns in order, repeats kept."""
        nouns = self._table.get(title)
        return self._rule(title) if nouns is None else nouns


@cache
def installed_rule() -> tuple[str, Rule]:
    """The rule of spaCy's ``en_core_web_sm`` where it is installed, else ``content_words``."""
    if importlib.util.find_spec("spacy") is None or importlib.util.find_spec(_SPACY_MODEL) is None:
        return "content-words-1", content_words
    import spacy

    tagger: Any = spacy.load(_SPACY_MODEL)

    def spacy_nouns(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in tagger(title) if token.pos_ in ("NOUN", "PROPN"))

    return f"spacy-{_SPACY_MODEL}-{importlib.metadata.version(_SPACY_MODEL)}", spacy_nouns
