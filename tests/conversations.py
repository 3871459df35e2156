"""Token forests with conversations whose words mean nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r3lbench.tokens import Sample, Segment, TokenForest
from tests.random_models import VOCABULARY


class Conversations:
    """Grows conversations with tokens and sampled log-probabilities from one random stream."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.forest = TokenForest()

    def prompt(self, length: int) -> Segment:
        return Segment("prompt", tuple(self.rng.integers(1, VOCABULARY, length).tolist()))

    def reply(self, length: int) -> Segment:
        tokens = tuple(self.rng.integers(1, VOCABULARY, length).tolist())
        logprobs = tuple((-self.rng.exponential(2.0, length)).tolist())
        return Segment("assistant", tokens, sampled=True, logprobs=logprobs)

    def growing(self, lengths: Sequence[tuple[int, int]], *, onto: int | None = None) -> Sample:
        """One conversation with a prompt and a reply of the given lengths at every turn."""
        turns, node = [], onto
        for told, said in lengths:
            prompt = self.forest.add(node, self.prompt(told))
            node = self.forest.add(prompt, self.reply(said))
            turns.append(node)
        return Sample(self.forest, tuple(turns), tuple(turns))

    def rebuilt(self, lengths: Sequence[tuple[int, int]]) -> Sample:
        """A prompt of its own at every turn."""
        turns = [turn for pair in lengths for turn in self.growing([pair]).turns]
        return Sample(self.forest, tuple(turns), tuple(turns))

    def copied(self, sample: Sample, *, from_turn: int, told: int) -> Sample:
        """The same turns, those from ``from_turn`` on under another context."""
        turns = list(sample.turns[:from_turn])
        node = turns[-1] if turns else None
        for origin in sample.turns[from_turn:]:
            prompt = self.forest.add(node, self.prompt(told))
            node = self.forest.add(prompt, self.forest.nodes[origin].segment)
            turns.append(node)
        return Sample(self.forest, tuple(turns), sample.sampled_in)
