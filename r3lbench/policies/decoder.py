"""A causal language model seen as decoder and head, so that logits are computed only where they are needed.

For SmolLM2 the head is a fifth of the work, and with 49k tokens in the vocabulary an unneeded position costs 200 kB.
Models that do more than ``head(decoder(x))`` (logit scaling, soft caps) are found out by a probe and take the long way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Decoder:
    """Hidden states and logits of a Hugging Face causal language model.

    Args:
        model: Any decoder-only ``AutoModelForCausalLM``.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._body: nn.Module | None = None
        head = model.get_output_embeddings()
        body = getattr(model, model.base_model_prefix, None)
        if body is not None and body is not model and head is not None:
            probe = torch.arange(4, device=self.device)[None] % int(model.config.vocab_size)
            with torch.no_grad():
                short = head(body(input_ids=probe, use_cache=False)[0])
                full = model(input_ids=probe, use_cache=False).logits
            if torch.allclose(short.float(), full.float(), atol=1e-5, rtol=1e-4):
                self._body, self._head = body, head

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        dtype: torch.dtype = next(self.model.parameters()).dtype
        return dtype

    def logits(self, input_ids: Tensor, rows: Tensor, columns: Tensor, **inputs: Any) -> Tensor:
        """Logits at chosen positions.

        Args:
            input_ids: [B, T] token ids.
            rows: [N] row of each wanted position.
            columns: [N] column of each wanted position.
            **inputs: Passed on (``attention_mask``, ``position_ids``, ``past_key_values``, ``use_cache``).

        Returns:
            [N, vocabulary].
        """
        return self.head(self.states(input_ids, rows, columns, **inputs))

    def states(self, input_ids: Tensor, rows: Tensor, columns: Tensor, **inputs: Any) -> Tensor:
        """What ``head`` makes logits of, at chosen positions; arguments as of ``logits``.

        Returns:
            [N, hidden size]; of models that take the long way the logits themselves.
        """
        if self._body is None:
            logits: Tensor = self.model(input_ids=input_ids, **inputs).logits
            return logits[rows, columns]
        hidden: Tensor = self._body(input_ids=input_ids, **inputs)[0]
        return hidden[rows, columns]

    def head(self, states: Tensor) -> Tensor:
        """Logits [N, vocabulary] of ``states``."""
        return states if self._body is None else self._head(states)
