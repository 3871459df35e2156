"""A language model of 16 numbers, in float64: small enough to measure every derivative."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray[Any, np.dtype[np.float64]]
SIDE, FADING = 4, 0.7


class Table(nn.Module):
    """A language model whose weights are a table of ``SIDE`` by ``SIDE`` numbers.

    What was read fades: f_t = FADING f_{t-1} + reads[token_t]. Logits after it: f_t @ table @ writes.
    """

    base_model_prefix = ""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.reads = rng.normal(size=(vocabulary, SIDE))
        self.writes = rng.normal(size=(SIDE, vocabulary))
        self.table = nn.Parameter(torch.tensor(0.3 * rng.normal(size=(SIDE, SIDE))))
        self.config = SimpleNamespace(vocab_size=vocabulary)

    def get_output_embeddings(self) -> None:
        """None that could be called apart from the rest."""

    def forward(self, input_ids: Tensor, use_cache: bool = False) -> SimpleNamespace:
        """Logits at every position, [B, T, vocabulary]."""
        reads, read = torch.tensor(self.reads), torch.zeros(len(input_ids), SIDE, dtype=torch.float64)
        features = []
        for column in input_ids.T:
            read = FADING * read + reads[column]
            features.append(read)
        return SimpleNamespace(logits=torch.stack(features, dim=1) @ self.table @ torch.tensor(self.writes))

    def before(self, tokens: Sequence[int], count: int) -> Array:
        """What was read before each of the last ``count`` tokens, [count, SIDE]."""
        read, features = np.zeros(SIDE), []
        for token in tokens:
            features.append(read)
            read = FADING * read + self.reads[token]
        return np.array(features[len(features) - count :])
