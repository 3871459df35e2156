"""The optimiser step: terms in, new weights and what happened out."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from r3lbench.baseline import PolicyLoss
from r3lbench.errors import R3LBenchError
from r3lbench.plugin import Plugin
from r3lbench.policies.decoder import Decoder
from r3lbench.tokens import Kind, Term
from r3lbench.training.losses import TokenLosses, token_losses
from r3lbench.training.packing import KINDS, MicroBatch, pack

_Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimiser(Plugin):
    """AdamW and how a batch is cut."""

    lr: float = Field(3e-4, gt=0)
    """Learning rate; constant."""
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    """AdamW's moment decay rates."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay."""
    clip_norm: float = Field(1.0, gt=0)
    """Gradients are scaled down to this global norm."""
    micro_batch_tokens: int = Field(16384, ge=1)
    """Most tokens, padding included, that pass through the model at once."""
    epochs: int = Field(1, ge=1)
    """Passes over an update's terms."""
    minibatches: int = Field(1, ge=1)
    """Optimiser steps per pass."""
    autocast: Literal["none", "bfloat16"] = "none"
    """Compute in bfloat16 with float32 weights."""
    measure_kl: bool = True
    """Report the divergence from the starting policy also where the loss does without it; costs a second copy of the
    weights and a forward pass."""


class Learner:
    """Trains a model on terms.

    Args:
        model: A causal language model; it is trained in place.
        settings: The optimiser.
        loss: The method's loss.
    """

    def __init__(self, model: Any, settings: Optimiser, loss: PolicyLoss) -> None:
        self.decoder = Decoder(model)
        self.settings = settings
        self.loss = loss
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )
        # The starting policy: the weights as they are now.
        wanted = loss.kl or settings.measure_kl
        self._reference = Decoder(copy.deepcopy(model).requires_grad_(False)) if wanted else None

    def step(self, terms: Sequence[Term]) -> dict[str, Any]:
        """Update the weights on all terms.

        Each minibatch's loss is normalised over its own terms; there is one unless the settings say otherwise.

        Returns:
            What happened, by name; see ``Tally.report``.

        Raises:
            R3LBenchError: The gradient is not finite; it has not been applied.
        """
        settings, budget = self.settings, self.settings.micro_batch_tokens
        parts = [
            list(pack(terms[part :: settings.minibatches], self.loss, budget=budget, device=self.decoder.device))
            for part in range(settings.minibatches)
        ]
        # With a single optimiser step the weights at the start of the update are the present ones.
        several = settings.epochs * settings.minibatches > 1
        starts = [[self._under(self.decoder, batch) if several else None for batch in part] for part in parts]
        tally = Tally()
        for _ in range(settings.epochs):
            for part, start in zip(parts, starts, strict=True):
                self._optimise(part, start, tally)
        return tally.report()

    def _optimise(self, batches: list[MicroBatch], starts: list[Tensor | None], tally: Tally) -> None:
        if not batches:
            return
        self.optimizer.zero_grad(set_to_none=True)
        for batch, start in zip(batches, starts, strict=True):
            logprobs, entropy = self._forward(self.decoder, batch)
            reference = None if self._reference is None else self._under(self._reference, batch)
            losses = token_losses(batch, logprobs, self.loss, start=start, reference=reference, entropy=entropy)
            loss = (losses.loss * batch.share.to(losses.loss.dtype)).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            tally.add(batch, logprobs.detach(), entropy.detach(), losses)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        if not torch.isfinite(norm):
            raise R3LBenchError(
                f"training has diverged: the gradient's norm is {float(norm)}; start a new run with a lower "
                "--optimiser.lr"
            )
        self.optimizer.step()
        tally.step(float(norm))

    @torch.no_grad()
    def _under(self, decoder: Decoder, batch: MicroBatch) -> Tensor:
        return self._forward(decoder, batch)[0]

    def _forward(self, decoder: Decoder, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy at every trained token, each [N]."""
        reduced = self.settings.autocast == "bfloat16"
        with torch.autocast(decoder.device.type, dtype=torch.bfloat16, enabled=reduced):
            # Rows are padded behind their end and attention is causal, so no mask is needed.
            logits = decoder.logits(batch.input_ids, batch.rows, batch.columns - 1, use_cache=False)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        log_softmax = torch.log_softmax(logits, dim=-1)
        logprobs = log_softmax.gather(1, batch.targets[:, None]).squeeze(1)
        if self.loss.entropy:
            return logprobs, -(log_softmax.exp() * log_softmax).sum(-1)
        with torch.no_grad():
            return logprobs, -(log_softmax.exp() * log_softmax).sum(-1)


class Tally:
    """Sums over an update's tokens, for its report."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._norms: list[float] = []
        self._ratio = 1.0

    def add(self, batch: MicroBatch, logprobs: Tensor, entropy: Tensor, losses: TokenLosses) -> None:
        """Count a micro-batch."""
        policy = batch.kind == KINDS.index(Kind.POLICY)
        # Only tokens drawn in the context they are trained in tell how far two policies differ there.
        drawn = policy & ~batch.moved & (losses.kl is not None)
        kl = torch.zeros_like(logprobs) if losses.kl is None else losses.kl
        self._ratio = max(self._ratio, float(losses.ratio.max()))
        for name, values in {
            "loss": losses.loss.detach() * batch.share,
            "tokens": torch.ones_like(logprobs),
            "entropy": entropy,
            "policy": policy,
            "ratio": losses.ratio * policy,
            "clipped": losses.clipped,
            "kl": kl * drawn,
            "drawn": drawn,
            "moved": batch.moved,
            "gap": (batch.behaviour - logprobs) * batch.moved,
        }.items():
            self._sums[name] += float(values.double().sum())
        self._sums["model_tokens"] += batch.tokens

    def step(self, norm: float) -> None:
        """Count an optimiser step with its gradient norm before clipping."""
        self._norms.append(norm)

    def report(self) -> dict[str, Any]:
        """Means over the update.

        Returns:
            ``loss`` and ``grad_norm`` (before clipping) per optimiser step, ``entropy`` (nats per trained token),
            ``ratio`` (mean importance ratio of policy tokens), ``ratio_max``, ``clip_fraction``, ``kl_to_start``
            (divergence from the starting policy, as the loss estimates it, over policy tokens drawn in the context they
            are trained in; None where it is not measured), ``off_policy_gap`` (mean log-probability at sampling minus
            now, over tokens trained in another context), ``steps``, ``trained_tokens`` (with weight) and
            ``model_tokens`` (through the model).
        """
        sums, steps = self._sums, max(1, len(self._norms))
        return {
            "loss": sums["loss"] / steps,
            "entropy": _share(sums["entropy"], sums["tokens"]),
            "ratio": _share(sums["ratio"], sums["policy"]),
            "ratio_max": self._ratio,
            "clip_fraction": _share(sums["clipped"], sums["policy"]),
            "kl_to_start": _share(sums["kl"], sums["drawn"]) if sums["drawn"] else None,
            "off_policy_gap": _share(sums["gap"], sums["moved"]),
            "grad_norm": sum(self._norms) / steps,
            "steps": float(len(self._norms)),
            "trained_tokens": sums["tokens"],
            "model_tokens": sums["model_tokens"],
        }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
