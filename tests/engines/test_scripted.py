from __future__ import annotations

import pytest

from r3lbench.engines.engine import Request, Sampling, Stop, seed_of
from r3lbench.engines.scripted import ScriptedEngine


def request(*tokens: int, max_tokens: int = 8, stop_ids: tuple[int, ...] = (9, 10)) -> Request:
    return Request(tokens, Sampling(max_tokens=max_tokens, stop_ids=stop_ids), seed=0, purpose="attempt", key="a")


def test_a_reply_ends_with_the_stop_token_that_is_part_of_it() -> None:
    (completion,) = ScriptedEngine(lambda asked: [*asked.token_ids, 7]).wave([request(1, 2)])
    assert completion.token_ids == (1, 2, 7, 9)
    assert completion.logprobs == (-0.5,) * 4
    assert completion.stop is Stop.END


@pytest.mark.parametrize(("most", "stop"), [(3, Stop.LENGTH), (4, Stop.END)])
def test_a_reply_that_is_too_long_is_cut_off(most: int, stop: Stop) -> None:
    (completion,) = ScriptedEngine(lambda _: [1, 2, 3]).wave([request(0, max_tokens=most)])
    assert completion.token_ids == (1, 2, 3, 9)[:most]
    assert completion.stop is stop


def test_an_empty_reply_is_the_stop_token_alone() -> None:
    (completion,) = ScriptedEngine(lambda _: []).wave([request(0)])
    assert completion.token_ids == (9,)


def test_without_stop_tokens_every_reply_ends_by_length() -> None:
    (completion,) = ScriptedEngine(lambda _: [1]).wave([request(0, stop_ids=())])
    assert (completion.token_ids, completion.stop) == ((1,), Stop.LENGTH)


def test_requests_are_answered_in_their_order_and_kept_for_inspection() -> None:
    engine = ScriptedEngine(lambda asked: asked.token_ids)
    asked = [request(3), request(1), request(2)]
    assert [completion.token_ids[0] for completion in engine.wave(asked)] == [3, 1, 2]
    engine.weights_changed()
    engine.forget()
    assert engine.waves == [asked]


def test_work_counts_what_was_read_and_said() -> None:
    engine = ScriptedEngine(lambda _: [1, 2])
    engine.wave([request(1, 2, 3), request(1)])
    assert (engine.work.generated, engine.work.prefilled, engine.work.reused) == (6, 4, 0)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"max_tokens": 0}]
)
def test_sampling_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_seeds_tell_all_parts_apart_and_stay_the_same() -> None:
    parts = [(0, "a", "b"), (0, "ab", ""), (0, "a", "b", ""), (1, "a", "b"), ("0a", "b"), (0, "\ud800")]
    seeds = [seed_of(*of) for of in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**64 for seed in seeds)
    # sha256("0\x1fa\x1fb"), its first eight bytes: fixed for every machine and version.
    assert seed_of(0, "a", "b") == 0x79E813CB4A55D3F4
