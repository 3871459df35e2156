"""Recorded groups are shown with their words, their weights and what they came to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r3lbench.report.branches import Choice, collect, encode, read_group
from r3lbench.report.speech import Speech, speech_of
from tests.recorded import record
from tests.reported import (
    by_grpo,
    by_r3l,
    lines_of,
    plant,
    reported,
    shown_of,
)
from tests.stage import TOKENIZER


def test_every_step_has_its_words_and_its_weight() -> None:
    group, terms = by_r3l()
    found = encode(
        read_group(json.dumps(lines_of((group, terms))[0]).encode(), "here"), Speech(TOKENIZER.backend_tokenizer)
    )
    attempts = {attempt["name"]: attempt for attempt in found["attempts"]}
    assert list(attempts) == ["a0", "a1", "a0.r0"] and attempts["a0.r0"]["base"] == 0
    assert (attempts["a0"]["return"], attempts["a0.r0"]["return"], attempts["a0.r0"]["pivot"]) == (0.5, 1.0, 1)

    def weight(name: str, step: int) -> float | None:
        terms = found["terms"].get(str(attempts[name]["turns"][step]))
        return None if terms is None else sum(term[2] for term in terms)

    # The failed attempt gets -1/3 behind the mask, the solved one 3, and the retry 3 as distilled and 1 as imitated.
    assert weight("a0", 0) is None and weight("a0.r0", 0) is None
    assert [weight("a0", step) for step in range(1, 6)] == pytest.approx([-1 / 3] * 5)
    assert [weight("a1", step) for step in range(4)] == [3.0] * 4
    assert [weight("a0.r0", step) for step in range(1, 6)] == [4.0] * 5
    guided = found["terms"][str(attempts["a0.r0"]["turns"][1])]
    assert sorted((label, elsewhere) for label, _, _, elsewhere in guided) == [("distilled", True), ("guided", False)]
    said = found["tokens"][str(attempts["a0"]["turns"][0])]
    assert "".join(said).startswith("go east") and len(said) > 1
    state = found["states"][1]
    assert state[:2] == [0, "go east"] and state[2].startswith("Room") and state[3:] == [0.0, True]
    leaf = found["leaves"][str(attempts["a1"]["leaf"])]
    assert leaf["rubrics"] == (("hold the key", True, 1.0), ("open the door", True, 1.0))
    look = found["reflections"][0]
    assert (look["of"], look["pivot"], look["outcome"], look["valid"]) == (0, 1, "failure", True)
    assert "CAUSE" in look["text"] and "".join(found["tokens"][str(look["turns"][0])]).startswith(look["text"])


def test_tokens_are_the_text_cut_into_pieces(tmp_path: Path) -> None:
    speech = Speech(TOKENIZER.backend_tokenizer)
    for text in ("go east", "  go\n\n east.", "naïve 🗝 über", ""):
        ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        pieces = speech.pieces(ids)
        assert pieces is not None and "".join(pieces) == text and len(pieces) == len(ids)
    assert speech.pieces([10**6]) is None, "a token of another tokenizer"
    run = record(tmp_path / "run", [1.0, 1.0, 1.0, 1.0])
    assert "ships no tiny policy" in speech_of(run).missing and speech_of(run).pieces([1]) is None
    plant(run.path, 1, [])
    assert speech_of(run).pieces(TOKENIZER("go east")["input_ids"]) is not None
    (run.path / "policy" / "tokenizer.json").write_text("{}")
    assert "cannot be read" in speech_of(run).missing


def test_groups_with_something_to_see_are_shown_first_and_no_more_than_there_is_room_for(runs: Path) -> None:
    plain, retried, vain = lines_of(by_grpo(), by_r3l(), by_r3l())
    vain["attempts"][2]["return"] = vain["attempts"][0]["return"]
    for seed in (0, 1):
        for update in (1, 2, 3, 4, 5):
            plant(runs / f"r3l-s{seed}", update, [plain, vain, retried])
    sections_of = shown_of(runs)
    shown = collect(sections_of, Choice(None, 1, 10_000))
    assert [(one.about["seed"], one.about["update"]) for one in shown.groups] == [
        (0, 1),
        (0, 3),
        (0, 5),
        (1, 1),
        (1, 3),
        (1, 5),
    ]
    assert {(one.about["retries"], one.about["mended"]) for one in shown.groups} == {(1, 1)}
    assert shown.notes == ["4 runs recorded, or published, without trees"]
    every = collect(sections_of, Choice((2, 9), 3, 10_000))
    told = [(one.about["seed"], one.about["update"], one.about["retries"], one.about["mended"]) for one in every.groups]
    assert told == [(seed, 2, retries, mended) for seed in (0, 1) for retries, mended in ((1, 1), (1, None), (0, None))]
    steps = shown.groups[0].about["steps"]
    few = collect(sections_of, Choice((2,), 2, 2 * steps))
    assert [(one.about["seed"], one.about["retries"]) for one in few.groups] == [(0, 1), (1, 1)], (
        "as many runs as possible"
    )
    assert any("there is room for" in note for note in few.notes)
    assert collect(sections_of, Choice(None, 0, 10_000)).groups == []


def test_damaged_trees_are_named_and_leave_the_rest_as_it_is(runs: Path) -> None:
    good, bad = lines_of(by_r3l(), by_r3l())
    plant(runs / "r3l-s0", 1, [good])
    del bad["states"][0]["observation"]
    plant(runs / "r3l-s1", 1, [bad])
    read = reported(runs)
    assert len(read.groups) == 1
    assert "u000001.jsonl.gz, line 1: states.0.observation: Field required" in read.text
    (runs / "r3l-s1" / "trees" / "u000001.jsonl.gz").write_bytes(b"no gzip")
    assert "u000001.jsonl.gz cannot be read" in reported(runs).text
