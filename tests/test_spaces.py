from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r3lbench.spaces import UnicodeText


@given(st.text(st.characters(codec=None), max_size=12), st.integers(1, 10))
def test_a_text_is_a_member_when_it_is_short_enough(text: str, longest: int) -> None:
    assert (text in UnicodeText(longest)) == (len(text) <= longest)


@pytest.mark.parametrize("thing", [None, 1, b"bytes", ["t"], ("a",)])
def test_what_is_not_text_is_no_member(thing: object) -> None:
    assert thing not in UnicodeText(10)


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_samples_are_members_and_follow_the_seed(longest: int, seed: int) -> None:
    one, other = UnicodeText(longest, seed=seed), UnicodeText(longest, seed=seed)
    samples = [one.sample() for _ in range(5)]
    assert samples == [other.sample() for _ in range(5)]
    assert all(sample and sample in one for sample in samples)


def test_a_sample_takes_no_mask() -> None:
    with pytest.raises(ValueError, match="no mask"):
        UnicodeText(5).sample(mask=[1])


def test_spaces_are_equal_when_their_lengths_are() -> None:
    assert UnicodeText(5, seed=1) == UnicodeText(5, seed=2)
    assert UnicodeText(5) != UnicodeText(6)
    assert UnicodeText(5) != "UnicodeText(5)"
    assert repr(UnicodeText(5)) == "UnicodeText(5)"


@given(st.lists(st.text(st.characters(codec=None))))
def test_samples_go_through_json(texts: list[str]) -> None:
    space = UnicodeText(100)
    assert space.from_jsonable(json.loads(json.dumps(space.to_jsonable(texts)))) == texts


def test_an_empty_space_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        UnicodeText(0)
