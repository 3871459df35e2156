"""Words and stems are Lucene's; the expected values were read off Lucene 9.9.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.environments.webshop.analysis import LONGEST_TOKEN, analyze, tokenize
from r3lbench.environments.webshop.stemming import stem


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("women's 3.5ft can't u.s.a. 1,000 a:b", ["women's", "3.5ft", "can't", "u.s.a", "1,000", "a:b"]),
        ("1:2 a,b x_y __ _z", ["1", "2", "a", "b", "x_y", "_z"]),
        ("½ ① 1⁄2 5㎝ 20°", ["1⁄2", "5", "20"]),
        ("日本 緑茶 ひら カタカナ 한국어 ภาษา", ["日", "本", "緑", "茶", "ひ", "ら", "カタカナ", "한국어", "ภาษา"]),
        (
            "👨\u200d👩\u200d👧 👍🏽 🇫🇷🇩🇪 #\ufe0f\u20e3 ™",
            ["👨\u200d👩\u200d👧", "👍🏽", "🇫🇷", "🇩🇪", "#\ufe0f\u20e3", "™"],
        ),
        ("🏴\U000e0067\U000e0062\U000e007f x", ["🏴\U000e0067\U000e0062\U000e007f", "x"]),
        ("😀\ufe0f\U000e0067\U000e007fx 😀\ufe0f\u200d🏽", ["😀\ufe0f\U000e0067\U000e007f", "x", "😀\ufe0f\u200d🏽"]),
        ("ℹabc ℹ\u200d🔥", ["ℹabc", "ℹ\u200d🔥"]),
        ("צה\"ל ג'", ['צה"ל', "ג'"]),
        ("e\u0301te\u00adx", ["e\u0301te\u00adx"]),
        ("\ud800a\udfff", ["a"]),
        ("", []),
    ],
)
def test_words_are_cut_by_the_unicode_rules(text: str, tokens: list[str]) -> None:
    assert tokenize(text) == tokens


def test_a_long_word_is_cut_every_255_utf_16_units() -> None:
    assert [len(token) for token in tokenize("a" * 600)] == [255, 255, 90]
    assert [len(token) for token in tokenize("𐐨" * 300)] == [127, 127, 46]
    assert [len(token) for token in tokenize("a" * 254 + "𐐨𐐨")] == [254, 2]


@pytest.mark.parametrize("part", ["_", "\u200d", "\u0301", "#\u0301", "a'", "_\u0301", '"א', "😀\u200d"])
def test_long_runs_of_joiners_are_cut_without_delay_or_loss_of_letters(part: str) -> None:
    text = "start " + part * 20_000 + " end"
    tokens = tokenize(text)
    assert (tokens[0], tokens[-1]) == ("start", "end")
    assert all(len(token) <= LONGEST_TOKEN for token in tokens)


@given(st.text(st.characters(codec=None)))
def test_tokens_are_pieces_of_any_text_in_order(text: str) -> None:
    position = 0
    for token in tokenize(text):
        assert token and len(token) <= LONGEST_TOKEN
        position = text.index(token, position) + len(token)
    analyze(text)


def test_possessives_stop_words_and_case_are_removed() -> None:
    assert analyze("The Women’s SHOES, and it's the Dog's") == ["women", "shoe", "dog"]
    assert analyze("İΣΣ ΣΑΣ") == ["iσσ", "σασ"]


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        *[
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("is", "is"),
            ("sky", "sky"),
            ("happy", "happi"),
        ],
        *[("agreed", "agre"), ("feed", "feed"), ("plastered", "plaster"), ("motoring", "motor"), ("sing", "sing")],
        *[("conflated", "conflat"), ("hopping", "hop"), ("falling", "fall"), ("filing", "file"), ("sized", "size")],
        *[("relational", "relat"), ("conditional", "condit"), ("conformably", "conform"), ("technologi", "technolog")],
        *[("technology", "technolog"), ("us", "us"), ("electricity", "electr"), ("hopefulness", "hope")],
        *[("adjustment", "adjust"), ("adoption", "adopt"), ("communism", "commun"), ("probate", "probat")],
        *[("rate", "rate"), ("cease", "ceas"), ("controller", "control"), ("roll", "roll"), ("𐐨s", "𐐨")],
    ],
)
def test_stems_are_those_of_porters_revised_algorithm(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed
