"""Text to search terms, exactly as Lucene's English analyzer does it.

Words by the Unicode rules of UAX #29 (``StandardTokenizer``), without a possessive ``'s``, lower-case, without 33 stop
words, stemmed. Words are found by a regular expression over *classes*: each character is first replaced by one letter
that says how it joins its neighbours (``word_break.json``), so the expression below is the grammar itself.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.resources import files

from .stemming import stem

LONGEST_TOKEN = 255
"""UTF-16 units; a longer word is cut here."""
_STOP_WORDS = """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this
    to was will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
OTHER = " "
"""Class of characters that belong to no word."""


class _Classes(dict[int, str]):
    """Code point to class letter, filled on first use."""

    def __missing__(self, code: int) -> str:
        if not self:
            self.update(dict.fromkeys(range(128), OTHER))
            table = json.loads((files(__package__) / "word_break.json").read_text(encoding="utf-8"))
            for letter, ranges in table["classes"].items():
                for bounds in ranges.split():
                    first, _, last = bounds.partition("-")
                    self.update(dict.fromkeys(range(int(first, 16), int(last or first, 16) + 1), letter))
        return self.setdefault(code, OTHER)


_CLASSES = _Classes()

# Letters of the classes: a letter, b Hebrew letter, c letter that is also a pictograph, n digit, k Katakana,
# h Han or Hiragana, s South-East Asian, t the same but combining, p pictograph, r regional indicator, o skin tone,
# z zero-width joiner, e and f variation selectors 15 and 16, y keycap, # keycap base, g and q a flag's tags and their
# end, x other combining or format character, _ connector, l joins letters, m joins digits, d joins both, ' and "
# themselves.
_X = "[xtozefygq]*"
_LETTERS = f"(?:a+|[abc]){_X}"
_DIGITS = f"n+{_X}"
_HEBREW = f"b{_X}"
_PIECE = (
    f"(?:{_HEBREW}\"{_X}{_HEBREW}|{_HEBREW}'{_X}|{_LETTERS}(?:[ld']{_X}{_LETTERS})*|{_DIGITS}(?:[md']{_X}{_DIGITS})*)"
)
_CORE = f"(?:k{_X}(?:(?:_{_X})*k{_X})*|{_PIECE}+)"
# The bound on what may come first keeps long runs of connectors from being scanned again and again.
_WORD = f"(?:_{_X}){{0,{LONGEST_TOKEN - 1}}}{_CORE}(?:(?:_{_X})+{_CORE})*(?:_{_X})*"
_PLAIN = f"(?:[xtoygq]|z(?!z{{0,{LONGEST_TOKEN - 1}}}[pc]))*"
_EMOJI = f"(?:z{{0,{LONGEST_TOKEN - 1}}}[pc]{_PLAIN}f?|o{_PLAIN})(?:g+q|(?:z+[pc]{_PLAIN}f?|zo{_PLAIN})*)"
_KEYCAP = "#[xtozygq]*f?y[xtozygq]*"
_ANY = f"{_WORD}|(?:[st]{_X})+|h{_X}|r{_X}r{_X}|{_KEYCAP}|{_EMOJI}"
# The first two parts say nothing new; they settle most characters and most words at once.
_TOKEN = re.compile(f"(?=[_abcnkhstproz#])(?:(?:a+|n+)(?= )|{_ANY})")
_PICTOGRAPH = re.compile(_EMOJI)


def analyze(text: str) -> list[str]:
    """Search terms of a text, in order."""
    return [term for term in map(_term, tokenize(text)) if term is not None]


def tokenize(text: str) -> list[str]:
    """Words of a text as Lucene's ``StandardTokenizer`` cuts them: unchanged, at most 255 UTF-16 units each."""
    classes = text.translate(_CLASSES)
    tokens: list[str] = []
    for found in _TOKEN.finditer(classes):
        start, end = found.span()
        if end - start > LONGEST_TOKEN // 2 or classes[start] == "c":
            return tokens + _tokenize_rest(text, classes, start)
        tokens.append(text[start:end])
    return tokens


def _tokenize_rest(text: str, classes: str, position: int) -> list[str]:
    """The tokens from a position on, when some may be pictographs that are letters too, or too long."""
    tokens = []
    while found := _TOKEN.search(classes, position):
        start, end = found.span()
        if classes[start] == "c" and (emoji := _PICTOGRAPH.match(classes, start)):
            end = max(end, emoji.end())
        if end - start > LONGEST_TOKEN // 2 and end > (limit := _window_end(text, start)):
            cut = [match.end() for rule in (_TOKEN, _PICTOGRAPH) if (match := rule.match(classes, start, limit))]
            end = max(cut, default=start)
        if end > start:
            tokens.append(text[start:end])
        position = max(end, start + 1)
    return tokens


def _window_end(text: str, start: int) -> int:
    """Where a scanner with a buffer of 255 UTF-16 units stops reading."""
    units = 0
    for position in range(start, min(start + LONGEST_TOKEN, len(text))):
        units += 2 if text[position] > "\uffff" else 1
        if units > LONGEST_TOKEN:
            return position
    return min(start + LONGEST_TOKEN, len(text))


@lru_cache(maxsize=1 << 16)
def _term(token: str) -> str | None:
    """The search term that a word becomes; None for a stop word."""
    if len(token) > 1 and token[-1] in "sS" and token[-2] in "'\u2019\uff07":
        token = token[:-2]
    if token.isascii():
        word = token.lower()
    else:
        # Letter by letter, as Java does: no final sigma, and the only letter that Python would lengthen stays one.
        word = "".join("i" if letter == "İ" else letter.lower() for letter in token)
    return None if word in STOP_WORDS else stem(word)
