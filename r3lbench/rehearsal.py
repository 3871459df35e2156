"""A run's groups explored again by its method, with the model's recorded replies in the model's place.

Agent, environment and reflectors are real. So all but the model's own words follows once more: what it was told, what
was understood, who was tried again from where under which guidance, and which turns got which weight.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r3lbench.baseline import Baseline
from r3lbench.engines.engine import Completion, Engine, Request, Sampling, Stop
from r3lbench.errors import R3LBenchError
from r3lbench.policies.loading import Policy
from r3lbench.registry import REFLECTORS
from r3lbench.rollout.group import Group, Rollout
from r3lbench.rollout.meter import Meter
from r3lbench.rollout.pool import EnvPool
from r3lbench.rollout.waves import Waves
from r3lbench.run import RunConfig
from r3lbench.snapshot import digest_of
from r3lbench.tasks import Task
from r3lbench.tokens import Term
from r3lbench.traces import RecordedGroup
from r3lbench.verdict import Check


class NotRecorded(R3LBenchError):
    """The model is asked for what it was not asked for then."""


class RecordedReplies(Engine):
    """Answers what the model answered in a group, whatever it reads.

    Args:
        group: The record.
        context_limit: As of ``Engine``.
        vocabulary: Number of tokens that there are.
    """

    def __init__(self, group: RecordedGroup, *, context_limit: int, vocabulary: int) -> None:
        super().__init__()
        self.context_limit = context_limit
        self._vocabulary = vocabulary
        self._segments = group.segments
        self._nodes = dict(_replies(group))

    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Look all up.

        Raises:
            NotRecorded: One was not asked for then, or is no reply of this model.
        """
        completions = []
        for request in requests:
            if request.key not in self._nodes:
                raise NotRecorded(f"the model would have been asked for {request.key}, which is not recorded")
            said, asked = self._segments[self._nodes[request.key]], request.sampling
            if not said.sampled or not all(0 <= token < self._vocabulary for token in said.token_ids):
                raise NotRecorded(f"the reply {request.key} does not consist of tokens that the policy wrote")
            # A reply ends with its first stop token, or where it may not be longer.
            stops = [token in asked.stop_ids for token in said.token_ids]
            ends = stops.index(True) + 1 if True in stops else asked.max_tokens
            if len(stops) != ends or ends > asked.max_tokens:
                raise NotRecorded(f"the reply {request.key} ends where the policy would not have ended it")
            stop = Stop.END if True in stops else Stop.LENGTH
            self.work.generated += len(said.token_ids)
            self.work.prefilled += len(request.token_ids)
            completions.append(Completion(said.token_ids, said.logprobs, stop))
        return completions

    def weights_changed(self) -> None:
        """Nothing is cached."""


def _replies(group: RecordedGroup) -> Iterator[tuple[str, int]]:
    """The key of every request, and the node of the reply."""
    for attempt in group.attempts:
        for step in range(attempt.pivot, len(attempt.turns)):
            yield f"{attempt.key}#{step:04d}", attempt.turns[step][1]
    asked: Counter[str] = Counter()
    for reflection in group.reflections:
        for turn, node in enumerate(reflection.turns or ()):
            yield f"{reflection.of}?{asked[reflection.of]}#{turn:04d}", node
        asked[reflection.of] += 1


@dataclass
class Rehearsal:
    """A run's method, to explore its groups again, update after update.

    Attributes:
        config: The run's settings.
        policy: Tokenizer and chat template of what was trained.
        envs: Where to play.
        method: With the state that it carries from update to update.
    """

    config: RunConfig
    policy: Policy
    envs: EnvPool
    method: Baseline

    def explore(self, told: RecordedGroup, task: Task, key: str, meter: Meter) -> tuple[Group, list[Term]]:
        """A group and its terms.

        Each group is explored by itself: no reply depends on what other groups do.

        Raises:
            R3LBenchError: It cannot be explored as it was.
        """
        limit, size = self.policy.context_limit, int(self.policy.model.config.vocab_size)
        waves = Waves(RecordedReplies(told, context_limit=limit, vocabulary=size), meter)
        rollout = Rollout(
            agent=self.config.agent,
            envs=self.envs,
            waves=waves,
            template=self.policy.template,
            seed=self.config.seed,
            sampling=Sampling(**self.config.sampling.model_dump()),
            meter=meter,
            reflectors=lambda name: REFLECTORS.load(name)(**self.config.reflection.model_dump()),
        )
        group = Group(task, key, rollout)

        async def play() -> None:
            await waves.gather([self.method.explore(group)])

        asyncio.run(play())
        return group, self.method.credit(group)


def compare(
    check: Check, place: str, recorded: Mapping[str, Any], found: Mapping[str, Any], read: Callable[[str], str] | None
) -> None:
    """Compare two lines of a group, with nodes of their trees named by what stands on the way to them.

    Numbers of nodes and the order of what went on side by side tell only who was faster, and copies of replies may
    share nodes; neither is a difference. States are left out, which have been gone to.

    Args:
        check: Where differences are noted.
        place: File and line.
        recorded: As ``recording.group_json`` makes it, and ``traces`` accepts it.
        found: Of the same group, explored again.
        read: None where what was read must be the same, token for token; else the part of a text that must be.
    """
    here, there = _content(recorded, read), _content(found, read)
    for part in ("reflections", "terms"):
        here[part], there[part] = _aligned(here[part], there[part])
    check.compare(place, here, there)


def _content(line: Mapping[str, Any], read: Callable[[str], str] | None) -> dict[str, Any]:
    labels: list[str] = []
    for segment in line["segments"]:
        above = "" if segment["parent"] is None else labels[segment["parent"]]
        told = segment["token_ids"] if read is None or segment["sampled"] else None
        labels.append(digest_of(above, segment["role"], segment["sampled"], told)[:16])
    ways: list[list[str]] = []
    for state in line["states"]:
        ways.append([] if state["parent"] is None else [*ways[state["parent"]], state["action"]])
    attempts = [_named({**of, "leaf": ways[of["leaf"]]}, ("turns",), labels, read) for of in line["attempts"]]
    return {
        "parts": sorted(line),
        "segments": sorted(set(labels)),
        "attempts": {attempt["key"]: attempt for attempt in attempts},
        "reflections": [_named(of, ("turns",), labels, read) for of in line["reflections"]],
        "terms": [_named(of, ("turns", "sampled_in"), labels, read) for of in line["terms"]],
    }


def _aligned(
    recorded: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
) -> tuple[dict[int, Mapping[str, Any]], dict[int, Mapping[str, Any]]]:
    """Two lists as tables by the positions of the recorded one, in which like stands beside like."""

    def what(part: Mapping[str, Any]) -> str:
        return str([part.get(name) for name in ("of", "label", "turns")])

    places = sorted(range(len(recorded)), key=lambda place: what(recorded[place]))
    others = zip([*places, *range(len(recorded), len(found))], sorted(found, key=what), strict=False)
    return dict(enumerate(recorded)), dict(others)


def _named(
    part: Mapping[str, Any], nodes: Sequence[str], labels: Sequence[str], read: Callable[[str], str] | None
) -> dict[str, Any]:
    """A part of a line with names of nodes in the place of their numbers, which stand under the keys ``nodes``."""

    def named(of: Any) -> Any:
        return labels[of] if isinstance(of, int) else None if of is None else [named(node) for node in of]

    found = {**part, **{name: named(part[name]) for name in nodes if name in part}}
    if read is not None and isinstance(found.get("guidance"), str):
        found["guidance"] = read(found["guidance"])
    if "problem" in found:
        # Its words are Python's own, and change with its version.
        found["problem"] = bool(found["problem"])
    return found
