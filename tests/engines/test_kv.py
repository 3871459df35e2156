"""The store of kept contexts against a brute-force search, and the running batch's buffers."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r3lbench.engines.kv import BatchCache, ContextStore, Kept

BLOCK = 16


def kept(tokens: tuple[int, ...]) -> Kept:
    """A context whose keys and values (one layer, one head, size 1, float32) are its tokens."""
    values = torch.tensor(tokens, dtype=torch.float32)[None, :, None]
    return Kept(tokens, [(values, -values)])


def common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


BASE = tuple(range(100))
# Contexts that leave a common one at some token, so that there are prefixes of every length.
contexts = st.builds(
    lambda leave, tail, length: (*BASE[:leave], *([tail + 200] * length)),
    st.integers(0, 60),
    st.integers(0, 2),
    st.integers(1, 30),
)


@settings(deadline=None)
@given(held=st.lists(contexts, max_size=8), wanted=contexts, limit=st.integers(0, 100))
def test_the_longest_common_prefix_is_found_to_the_token(
    held: list[tuple[int, ...]], wanted: tuple[int, ...], limit: int
) -> None:
    store = ContextStore(1 << 20)
    for tokens in held:
        store.put(kept(tokens))
    longest = max((common(wanted, tokens) for tokens in held), default=0)
    match = store.find(wanted, limit)
    if match is None:
        assert longest < BLOCK or limit == 0
    else:
        assert match[1] == min(longest, limit)
        assert match[0].tokens[: match[1]] == wanted[: match[1]]


@settings(deadline=None)
@given(held=st.lists(st.tuples(contexts, st.booleans()), max_size=12), room=st.integers(0, 400), wanted=contexts)
def test_bytes_are_those_of_what_is_held_and_what_is_dropped_is_not_found(
    held: list[tuple[tuple[int, ...], bool]], room: int, wanted: tuple[int, ...]
) -> None:
    store = ContextStore(8 * room)
    present: dict[tuple[int, ...], Kept] = {}
    last: Kept | None = None
    for tokens, replace in held:
        replaced = last if replace else None
        last = kept(tokens)
        store.put(last, replaces=replaced)
        present.pop(tokens, None)
        if replaced is not None:
            present.pop(replaced.tokens, None)
        present[tokens] = last
        while sum(map(len, present)) > room:
            present.pop(next(iter(present)))
    assert len(store) == len(present)
    assert store.bytes == sum(one.bytes for one in present.values()) == 8 * sum(map(len, present))
    longest = max((common(wanted, tokens) for tokens in present), default=0)
    match = store.find(wanted, len(wanted))
    assert (match is not None and match[1] == longest) if longest >= BLOCK else match is None


def test_the_least_recently_found_context_is_dropped_first() -> None:
    one, two, three = ((name,) * 20 for name in (1, 2, 3))
    store = ContextStore(2 * 20 * 8)
    store.put(kept(one))
    store.put(kept(two))
    assert store.find(one, 20) is not None
    store.put(kept(three))
    assert store.evicted == 1
    assert [store.find(tokens, 20) is not None for tokens in (one, two, three)] == [True, False, True]


def test_without_room_nothing_is_held() -> None:
    store = ContextStore(0)
    store.put(kept((1,) * 50))
    assert len(store) == store.bytes == 0 and store.evicted == 1
    assert store.find((1,) * 50, 50) is None


@settings(deadline=None)
@given(held=st.lists(contexts, max_size=8), room=st.integers(0, 300), wanted=contexts)
def test_what_is_missing_is_what_would_have_been_found_to_a_block(
    held: list[tuple[int, ...]], room: int, wanted: tuple[int, ...]
) -> None:
    store = ContextStore(8 * room)
    for tokens in held:
        store.put(kept(tokens))
    longest = max((common(wanted, tokens) for tokens in held), default=0)
    match = store.find(wanted, len(wanted))
    found = 0 if match is None else match[1]
    assert store.missing(wanted, found) == max(0, longest // BLOCK * BLOCK - found)
    store.clear()
    assert store.missing(wanted, 0) == 0


def test_clearing_leaves_nothing() -> None:
    store = ContextStore(1 << 20)
    store.put(kept((1,) * 50))
    store.clear()
    assert len(store) == store.bytes == 0
    assert store.find((1,) * 50, 50) is None


def test_a_batch_starts_from_prefixes_writes_at_positions_and_gives_rows_back() -> None:
    cache = BatchCache(3, 6)
    cache.rows, cache.prefixes, cache.visible = slice(0, 2), [(kept((5, 6, 7)), 2), None], 4
    # The second token of the second row is padding: it goes to the scratch position.
    cache.positions = torch.tensor([[2, 3], [0, 5]])
    new = torch.tensor([[[[8.0], [9.0]]], [[[1.0], [99.0]]]])
    keys, values = cache.update(new, -new, 0)
    assert keys[0, 0, :, 0].tolist() == [5, 6, 8, 9]
    assert keys[1, 0, :, 0].tolist() == [1, 0, 0, 0]
    assert torch.equal(values, -keys)
    assert cache.bytes_per_position == 2 * 4
    cache.move([1, 0, 0], [0, 1, 2], 4)
    copy = cache.keep(2, (5, 6, 8))
    assert copy.layers[0][0][0, :, 0].tolist() == [5, 6, 8]
    cache.rows, cache.prefixes = slice(0, 3), ()
    cache.positions = torch.tensor([[1], [4], [2]])
    keys, _ = cache.update(torch.full((3, 1, 1, 1), 4.0), torch.zeros(3, 1, 1, 1), 0)
    assert keys[:, 0, :, 0].tolist() == [[1, 4, 0, 0], [5, 6, 8, 9], [5, 6, 4, 9]]
    assert copy.layers[0][0][0, :, 0].tolist() == [5, 6, 8]


def test_rows_move_all_at_once_and_stay_in_another_size() -> None:
    cache = BatchCache(4, 3)
    cache.rows, cache.visible, cache.positions = slice(0, 4), 3, torch.tensor([[0, 1, 2]] * 4)
    states = torch.arange(12.0).reshape(4, 1, 3, 1)
    cache.update(states, -states, 0)
    cache.move([1, 0, 3], [0, 1, 2], 2)
    assert cache.keys[0][:, 0, :, 0].tolist() == [[3, 4, 2], [0, 1, 5], [9, 10, 8], [9, 10, 11]]
    for count, length in ((2, 5), (6, 1)):
        cache.resize(count, length)
        assert (cache.count, cache.length) == (count, length)
        assert cache.keys[0].shape == (count, 1, length, 1)
    assert cache.keys[0][:, 0, 0, 0].tolist() == [3, 0, 0, 0, 0, 0]
    assert torch.equal(cache.values[0], -cache.keys[0])
