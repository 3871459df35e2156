"""The token forest: what the model saw and wrote during a group of attempts at one task.

Nodes are segments of tokens; a root is a distinct prompt. A model's turn enters as the tokens it sampled, everything
else as the tokens the chat template adds, so nothing is ever tokenised twice. A path is a context, exactly.

Training reads the forest through *samples* (which turns of which attempt, and where they were really sampled) and
*terms* (which of those turns, with which weight, in which kind of loss).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True)
class Segment:
    """A run of tokens with one author.

    Attributes:
        role: ``"prompt"`` for what the template adds, ``"assistant"`` for what the model wrote.
        token_ids: The tokens.
        sampled: True when the model wrote them.
        logprobs: For sampled tokens the log-probability of each under the policy and context it was sampled in, in
            nats and after temperature and truncation; empty otherwise.
    """

    role: str
    token_ids: tuple[int, ...]
    sampled: bool = False
    logprobs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that every sampled token has its log-probability."""
        if len(self.logprobs) != (len(self.token_ids) if self.sampled else 0):
            raise ValueError(f"{len(self.token_ids)} tokens with {len(self.logprobs)} log-probabilities")


@dataclass(frozen=True)
class TokenNode:
    """A segment in its place: ``id`` in the forest, ``parent`` (None for a root), ``end`` = tokens up to its end."""

    id: int
    parent: int | None
    segment: Segment
    end: int


@dataclass
class TokenForest:
    """All prompts and replies of one group."""

    nodes: list[TokenNode] = field(default_factory=list)
    _children: dict[int | None, list[int]] = field(default_factory=dict, repr=False)

    def add(self, parent: int | None, segment: Segment) -> int:
        """Append a segment below ``parent`` (None: as a new root) and return its node id.

        A prompt that already stands there is not added again: what several attempts read is one node. What a model
        samples is always a node of its own.
        """
        present = None if segment.sampled else self.find(parent, segment)
        if present is not None:
            return present
        start = 0 if parent is None else self.nodes[parent].end
        node = TokenNode(len(self.nodes), parent, segment, start + len(segment.token_ids))
        self.nodes.append(node)
        self._children.setdefault(parent, []).append(node.id)
        return node.id

    def find(self, parent: int | None, segment: Segment) -> int | None:
        """The child of ``parent`` that holds exactly this segment, if there is one."""
        return next((child for child in self._children.get(parent, ()) if self.nodes[child].segment == segment), None)

    def path(self, node: int) -> tuple[TokenNode, ...]:
        """The nodes from the root to ``node``, both included."""
        path = [self.nodes[node]]
        while path[-1].parent is not None:
            path.append(self.nodes[path[-1].parent])
        return tuple(reversed(path))

    def token_ids(self, node: int | None) -> list[int]:
        """The context that ends with ``node``; empty for None."""
        return [] if node is None else [token for part in self.path(node) for token in part.segment.token_ids]

    def to_json(self) -> list[dict[str, Any]]:
        """The nodes as recorded."""
        return [
            {
                "id": node.id,
                "parent": node.parent,
                "role": node.segment.role,
                "sampled": node.segment.sampled,
                "token_ids": list(node.segment.token_ids),
                "logprobs": [round(value, 6) for value in node.segment.logprobs],
            }
            for node in self.nodes
        ]


class Kind(StrEnum):
    """What a term adds to the loss (to be minimised), per token, times its weight."""

    POLICY = "policy"
    """The method's policy-gradient surrogate: -rho * A with the loss spec's ratio and clip, or -A * logprob."""
    SHAPED = "shaped"
    """-A * w / (w + gamma), w the probability ratio (HeRL) or the probability itself (Critique-GRPO)."""
    LIKELIHOOD = "likelihood"
    """-logprob: imitation."""


class OldLogprobs(StrEnum):
    """Where the denominator of a probability ratio comes from."""

    NONE = "none"
    """No ratio: a shaped term then uses the probability itself."""
    BEHAVIOUR = "behaviour"
    """As recorded when the tokens were sampled, in the context they were sampled in."""
    RECOMPUTED = "recomputed"
    """Under the policy at the start of the update, in the context they are trained in."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The model's turns in one attempt or reflection, in the contexts they are trained in.

    Attributes:
        forest: Where the nodes live.
        turns: Node of the model's segment at each step, in order. They may lie on one path (a conversation that grows)
            or on several (a prompt rebuilt at every step).
        sampled_in: Node, for each turn, in which its tokens were really sampled. Equal to ``turns`` unless the turns
            are copies under another context, as in a distilled retry.
    """

    forest: TokenForest
    turns: tuple[int, ...]
    sampled_in: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that both lists speak of the same tokens."""
        for turn, origin in zip(self.turns, self.sampled_in, strict=True):
            copy, original = self.forest.nodes[turn].segment, self.forest.nodes[origin].segment
            if copy.token_ids != original.token_ids or not original.sampled:
                raise ValueError(f"node {turn} does not hold the tokens sampled at node {origin}")

    def term(
        self,
        weight: float,
        *,
        from_turn: int = 0,
        kind: Kind = Kind.POLICY,
        old: OldLogprobs = OldLogprobs.NONE,
        label: str = "",
    ) -> Term:
        """A term over the turns from ``from_turn`` on; the ones before it are masked."""
        return Term(self, self.turns[from_turn:], weight, kind, old, label)


@dataclass(frozen=True, eq=False)
class Term:
    """Part of the loss: some turns of a sample, with one weight.

    Attributes:
        sample: Whose turns.
        turns: The nodes that are trained, a subset of ``sample.turns``; no other token receives weight.
        weight: Advantage, or weight of the likelihood; finite.
        kind: How it enters the loss.
        old: Source of the ratio's denominator.
        label: What it stands for in records, e.g. ``"base"``, ``"distilled"``, ``"reflection"``.
    """

    sample: Sample
    turns: tuple[int, ...]
    weight: float
    kind: Kind = Kind.POLICY
    old: OldLogprobs = OldLogprobs.NONE
    label: str = ""

    def __post_init__(self) -> None:
        """Check weight and turns."""
        if not math.isfinite(self.weight):
            raise ValueError(f"a term's weight must be finite, got {self.weight}")
        if not set(self.turns) <= set(self.sample.turns):
            raise ValueError("a term trains turns that are not in its sample")

    @property
    def tokens(self) -> int:
        """Number of trained tokens."""
        return sum(len(self.sample.forest.nodes[turn].segment.token_ids) for turn in self.turns)

    def to_json(self) -> dict[str, Any]:
        """The term as recorded; ``sampled_in`` names, for each of ``turns``, where its tokens were really sampled."""
        origin = dict(zip(self.sample.turns, self.sample.sampled_in, strict=True))
        return {
            "label": self.label,
            "kind": self.kind.value,
            "weight": self.weight,
            "old": self.old.value,
            "turns": list(self.turns),
            "sampled_in": [origin[turn] for turn in self.turns],
        }


def rows_of(forest: TokenForest, turns: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Group trained nodes by the longest contexts that hold them.

    Returns:
        (leaf, nodes) pairs: every given node is in exactly one pair and lies on the path of that pair's leaf.
    """
    remaining = sorted(set(turns), key=lambda node: (-forest.nodes[node].end, node))
    rows: list[tuple[int, list[int]]] = []
    while remaining:
        leaf = remaining[0]
        on_path = {part.id for part in forest.path(leaf)}
        rows.append((leaf, [node for node in reversed(remaining) if node in on_path]))
        remaining = [node for node in remaining if node not in on_path]
    return rows
