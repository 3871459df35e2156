"""A record in which anything was changed does not pass, even where the seal was renewed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from r3lbench.files import gzip_lines
from r3lbench.recording import SEAL, RunFolder
from r3lbench.verdict import Verdict, check_seal
from tests.verifying.records import EPISODES, METRICS, TREE, Copy, change, differences, read, verified, write

DOCS = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
SEALED_ONLY = {
    "manifest.json": {
        *("created", "r3lbench", "revision", "python", "hardware", "packages", "policy.digest", "policy.parameters"),
        *("config.optimiser", "config.sampling", "config.evaluation.temperature", "config.reflection"),
        *("config.policy.device", "config.policy.dtype", "config.policy.lora", "config.memory", "config.threads"),
        *("config.pool", "config.checkpoint_every", "config.quiet", "config.engine", "engine.version"),
    },
    "result.json": {
        *("cost.evaluate.generated_tokens", "cost.evaluate.prefilled_tokens", "cost.evaluate.reused_tokens"),
        *("intervals", "improvement.rounds.*.intervals", "improvement.rounds.*.cost", "phases"),
    },
    "metrics.jsonl": {
        *("learn.loss", "learn.grad_norm", "learn.entropy", "learn.ratio", "learn.ratio_max", "learn.clip_fraction"),
        *("learn.kl_to_start", "learn.off_policy_gap"),
    },
    "timings.jsonl": {"record", "evaluate", "phases"},
    TREE: {"segments.logprobs"},
}
"""What nothing but the seal protects, some of it not always, by file and with all that is below; so says the manual."""
WITHOUT_TREES = {
    "manifest.json": {"config.method", "config.agent"},
    "metrics.jsonl": {"explore", "learn", "cost.attempt", "cost.reflect", "cost.retry"},
}
"""What else it does not in a record without trees."""
SOMETIMES = {
    *("policy.digest", "policy.parameters", "config.reflection"),
    *("cost.evaluate.generated_tokens", "cost.evaluate.prefilled_tokens", "cost.evaluate.reused_tokens"),
}
"""Of these what is found where the policy is at hand, where a reflection shows it, or where rounds say what the first
attempts cost."""
LITERALS = {
    "created": "2020-01-01T00:00:00+00:00",
    "config.policy.device": "cpu",
    "config.policy.dtype": "bfloat16",
    "config.optimiser.autocast": "bfloat16",
    "config.reflection.style": "full",
    "config.agent.format": "think",
    "config.method.preset": "released",
    "config.method.restart": "start",
    "config.rollout.schedule": "continuous",
    "config.method.reflection": "none",
}
"""What else could stand there, where not every text could."""
MODES = {"sampled": "greedy", "greedy": "sampled"}
Leaf = tuple[tuple[str | int, ...], Any]


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """Every value that is no table, and every empty one."""
    if isinstance(value, dict | list) and value:
        for key, of in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(of, (*path, key))
    else:
        yield path, value


def dotted(path: tuple[str | int, ...]) -> str:
    """A path without positions and modes."""
    return ".".join("*" if part in ("sampled", "greedy") else part for part in path if isinstance(part, str))


def other(name: str, value: Any) -> Any:
    """Something else that could stand there."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 or 0.5
    if isinstance(value, str):
        return MODES.get(value) or LITERALS.get(name, f"{value}x")
    return 1 if value is None else ["x"]


def below(name: str, of: set[str]) -> bool:
    """Whether a path is one of some, or below one of them."""
    return any(name == one or name.startswith(f"{one}.") for one in of)


def undetected(folder: Path, name: str, given_up: set[str]) -> tuple[set[str], set[str]]:
    """Change one leaf after the other; the names of all, and of those that are found by nothing but the seal.

    One stands for all that have its name, or are below one of ``given_up``: the last of them, the state behind others,
    the attempt that is a retry.
    """
    file = folder / name
    before = file.read_bytes()
    last_of = {}
    for path, value in leaves(read(file)[0]):
        told = dotted(path)
        last_of[next((one for one in given_up if below(told, {one})), told)] = told, path, value
    missed = set()
    for told, path, value in last_of.values():
        values = read(file)
        *parents, last = path
        table = values[0]
        for parent in parents:
            table = table[parent]
        table[last] = other(told, value)
        write(file, values)
        assert name in {one.place for one in check_seal(RunFolder(folder)).differences}, told
        RunFolder(folder).seal()
        found = verified(folder)
        if found.verdict is not Verdict.FAILED:
            missed.add(told)
        elif not told.startswith("config."):
            # Of settings the files that they led to are named.
            assert any(one.startswith((name, "result.json cost")) for one in differences(found)), told
        file.write_bytes(before)
    RunFolder(folder).seal()
    return {told for told, _, _ in last_of.values()}, missed


NO_MATTER = {
    "run": {
        *("config.agent.max_tokens", "config.budget.seconds", "config.method.group_size", "config.method.praise"),
        *("config.method.meta_tasks", "config.method.meta_weight", "config.method.reflection_temperature"),
        *("config.method.solved_groups", "config.method.success", "config.method.preset"),
    },
    "bare": {"config.budget.seconds"},
    "evaluation": {"config.seed", "config.agent"},
    "floor": {"config.evaluation.modes"},
}
"""Settings that were without effect on what these records hold."""
NAMES = {"config.env.name", "config.agent.name", "config.method.name", "config.improve_with"}
"""With a name that nobody knows here nothing can be checked."""


@pytest.mark.parametrize(
    ("record", "name"),
    [
        *[("run", name) for name in ("manifest.json", "result.json", "metrics.jsonl", "evaluation.jsonl", TREE)],
        *[("evaluation", name) for name in ("manifest.json", "result.json", "evaluation.jsonl", "improvement.jsonl")],
        *[("floor", name) for name in ("manifest.json", "result.json", "evaluation.jsonl", "timings.jsonl")],
        ("run", "timings.jsonl"),
        *[("bare", name) for name in ("manifest.json", "metrics.jsonl")],
    ],
)
def test_what_was_changed_is_found_even_under_a_new_seal(record: str, name: str, copy: Copy) -> None:
    sealed = SEALED_ONLY.get(name, set()) | (WITHOUT_TREES[name] if record == "bare" else set())
    tried, missed = undetected(copy(record), name, sealed)
    allowed = sealed | (NO_MATTER[record] | NAMES if name == "manifest.json" else set())
    assert {told for told in missed if not below(told, allowed)} == set()
    # And nothing is given up that could be found.
    given_up = {one for one in sealed - SOMETIMES if any(below(told, {one}) for told in tried)}
    assert {one for one in given_up if not any(below(told, {one}) for told in missed)} == set()


def test_the_manual_names_what_is_left_to_the_seal() -> None:
    for told in (SEALED_ONLY, WITHOUT_TREES):
        for file, names in told.items():
            for name in names:
                assert f"`{name}`" in DOCS, (file, name)


def spoken(groups: list[Any]) -> Any:
    """What the model said first."""
    return next(segment for segment in groups[0]["segments"] if segment["sampled"])


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        (EPISODES, lambda of: of.append(of[1]), f"{EPISODES}:9: 0/sampled/test/1/0: was not to be"),
        (EPISODES, lambda of: of.pop(1), f"{EPISODES}: 0/sampled/test/1/0 is missing"),
        (EPISODES, lambda of: of.reverse(), f"{EPISODES}:1: out of order"),
        (EPISODES, lambda of: of[0]["actions"].pop(), f"{EPISODES}:1 steps: recorded"),
        (EPISODES, lambda of: of[0].update(actions=["wait"] * 9), f"{EPISODES}:1 actions: the episode of"),
        (EPISODES, lambda of: of[0].update(task="test/99"), f"{EPISODES}:1 actions: Toy-v0 has no task"),
        (EPISODES, lambda of: of[0].update(steps=2.5), f"{EPISODES}:1 steps: Input should be"),
        (EPISODES, lambda of: of[0].update(more=1), f"{EPISODES}:1 more: Extra inputs"),
        (EPISODES, lambda of: of[0].pop("actions"), f"{EPISODES}:1 actions: not recorded, though others are"),
        (EPISODES, lambda of: of[0].pop("digest"), f"{EPISODES}:1 digest: not recorded, though others are"),
        (METRICS, lambda of: of.pop(0), f"{METRICS}:1 update: recorded 2, found 1"),
        (METRICS, lambda of: of.reverse(), f"{METRICS}:1 update: recorded 2, found 1"),
        (METRICS, lambda of: of.append({**of[1], "update": 3}), "the budget was used up after update 2"),
        (METRICS, lambda of: of[0]["cost"]["attempt"].update(env_steps=10**6), "less than the 1000000"),
        (METRICS, lambda of: of[0]["cost"]["attempt"].update(beans=1), "nothing is counted as 'beans'"),
        (METRICS, lambda of: of[0]["tasks"].reverse(), f"{METRICS}:1 tasks.0: recorded"),
        (TREE, lambda of: of.reverse(), f"{TREE}:1 task: recorded"),
        (TREE, lambda of: of.pop(), f"{TREE}: 1 groups, but 2 tasks in metrics.jsonl"),
        (TREE, lambda of: of[0]["attempts"].pop(), "a1.r0#0000, which is not recorded"),
        (TREE, lambda of: of[0]["terms"].pop(), f"{TREE}:1 terms.3: not recorded"),
        (TREE, lambda of: of[0]["terms"][0].update(weight=9.0), f"{TREE}:1 terms.0.weight: recorded 9.0, found"),
        (TREE, lambda of: spoken(of)["logprobs"].__setitem__(0, 0.5), "a log-probability is above 0"),
        (TREE, lambda of: spoken(of)["token_ids"].__setitem__(0, 10**6), "does not consist of tokens"),
        (TREE, lambda of: of[0]["reflections"][0].update(guidance="Sesame."), f"{TREE}:1 reflections.0.guidance"),
        ("manifest.json", lambda of: of[0]["config"].update(speed=1), "unknown setting 'speed'"),
        ("manifest.json", lambda of: of[0]["policy"].pop("digest"), "manifest.json policy: 2 recorded, 3 found"),
        ("manifest.json", lambda of: of[0]["panels"].pop("valid"), "manifest.json panels.valid: not recorded"),
        ("manifest.json", lambda of: of[0].update(format=2), "manifest.json format: Input should be 1"),
        ("manifest.json", lambda of: of[0].update(elsewhere={"model": "x"}), "manifest.json elsewhere: recorded"),
        ("result.json", lambda of: of[0].update(stopped_by="seconds"), "result.json stopped_by: recorded"),
        ("result.json", lambda of: of[0].update(seconds=0.5), "result.json seconds: recorded 0.5"),
    ],
)
def test_a_difference_is_told_with_its_place_and_both_values(
    name: str, how: Callable[[list[Any]], Any], said: str, copy: Copy
) -> None:
    folder = copy("run")
    change(folder, name, how)
    found = differences(verified(folder))
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"{}")[:-6], gzip.compress(b"{")],
    ids=["empty", "other", "cut", "half"],
)
def test_a_damaged_file_of_trees_is_named(content: bytes, copy: Copy) -> None:
    folder = copy("run")
    (folder / TREE).write_bytes(content)
    assert f"{TREE}: was changed" in differences(verified(folder), "seal")[0]
    RunFolder(folder).seal()
    found = verified(folder)
    assert differences(found, "trees")[0].startswith(TREE) and differences(found, "seal") == []


def test_files_that_come_and_go_break_the_seal(copy: Copy) -> None:
    folder = copy("run")
    (folder / "notes.txt").write_text("by hand")
    (folder / "trees" / "u000009.jsonl.gz").write_bytes(gzip_lines([]))
    (folder / "trees" / ".DS_Store").write_bytes(b"")
    (folder / "timings.jsonl").unlink()
    seal = folder / SEAL
    seal.write_text(seal.read_text() + seal.read_text().splitlines()[0] + "\nnonsense\n")
    found = verified(folder)
    listed = len(seal.read_text().splitlines())
    assert differences(found, "seal") == [
        f"{SEAL}:{listed - 1}: named twice",
        f"{SEAL}:{listed}: not a digest and a name",
        f"notes.txt: is not in {SEAL}",
        f"trees/u000009.jsonl.gz: is not in {SEAL}",
        "timings.jsonl: is missing",
    ]
    assert differences(found, "trees") == ["trees/u000009.jsonl.gz: belongs to no update"]
