"""The optimiser step: terms in, new weights and what happened out."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from r3lbench.baseline import PolicyLoss
from r3lbench.engines.settings import EngineConfig
from r3lbench.errors import R3LBenchError
from r3lbench.phases import phase
from r3lbench.plugin import Plugin
from r3lbench.policies.adapters import adapted, without
from r3lbench.policies.decoder import Decoder
from r3lbench.policies.recomputing import recomputing
from r3lbench.scaling import MemoryConfig
from r3lbench.tokens import Kind, Term
from r3lbench.training.losses import TokenLosses, token_losses
from r3lbench.training.packing import KINDS, MicroBatch, counts, pack
from r3lbench.training.precision import MasterWeights
from r3lbench.training.ranks import Ranks
from r3lbench.training.sharding import gather_into, spread, through, whole
from r3lbench.training.sharing import inputs_of, share_prefixes

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
    share_prefixes: bool = True
    """What several rows have in common from the start on passes through the model once; False: each row by itself."""
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
        memory: What is computed again or in parts; nothing if None.
        ranks: The processes that train together, each on its own terms; this one alone if None.
        engine: What sampled the terms' tokens; the model itself if None.

    Attributes:
        unshared: Why prefixes are not shared although the settings say so; None where they are, or need not be.
        model: What is trained: the model itself, or a copy of it that the processes hold in parts.
        sharded: Whether it is a copy in parts.
    """

    def __init__(
        self,
        model: Any,
        settings: Optimiser,
        loss: PolicyLoss,
        *,
        memory: MemoryConfig | None = None,
        ranks: Ranks | None = None,
        engine: EngineConfig | None = None,
    ) -> None:
        self.unshared: str | None = None
        if settings.share_prefixes:
            try:
                share_prefixes(model)
            except R3LBenchError as error:
                self.unshared = str(error)
        self.settings = settings
        self.loss = loss
        self.memory = memory or MemoryConfig()
        self.ranks = ranks or Ranks()
        self.engine = engine or EngineConfig()
        self.sharded = self.memory.shard and self.ranks.count > 1
        self._plays = model
        self.model = copy.deepcopy(model).float() if self.sharded else model
        self.decoder = Decoder(self.model)
        # The starting policy: the weights as they are now. Those of adapters are found by leaving the adapters out.
        self._reference: Decoder | None = None
        if loss.kl or settings.measure_kl:
            kept = adapted(model)
            self._reference = self.decoder if kept else Decoder(copy.deepcopy(model).requires_grad_(False))
        if self.sharded:
            for decoder in dict.fromkeys((self.decoder, self._reference or self.decoder)):
                spread(decoder.model, self.ranks, next(model.parameters()).dtype)
        self._masters = MasterWeights(parameter for parameter in self.model.parameters() if parameter.requires_grad)
        self.parameters = self._masters.tensors
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay
        )

    @property
    def shares_prefixes(self) -> bool:
        """Whether tokens that rows have in common pass through the model once."""
        return self.settings.share_prefixes and self.unshared is None

    def step(self, terms: Sequence[Term]) -> dict[str, Any]:
        """Update the weights on all terms.

        Each minibatch's loss is normalised over its own terms; there is one unless the settings say otherwise.

        Returns:
            What happened, by name; see ``Tally.report``.

        Raises:
            R3LBenchError: The gradient is not finite; it has not been applied.
        """
        settings = self.settings
        cut: dict[str, Any] = {"budget": settings.micro_batch_tokens, "share_prefixes": self.shares_prefixes}
        with phase("pack"):
            parts = [self._pack(terms[part :: settings.minibatches], **cut) for part in range(settings.minibatches)]
        # With a single optimiser step the weights at the start of the update are the present ones.
        several = settings.epochs * settings.minibatches > 1
        none: list[list[Tensor | None]] = [[None] * len(part) for part in parts]
        starts = [self._at_present(part) for part in parts] if several else none
        tally = Tally(self.engine)
        for _ in range(settings.epochs):
            for part, start in zip(parts, starts, strict=True):
                self._optimise(part, start, tally)
        with phase("pack"):
            alone = counts(terms, self.loss, minibatches=settings.minibatches, epochs=settings.epochs, **cut)
        tally.merge(self.ranks)
        unshared = sum(self.ranks.gather(alone["model_tokens_unshared"]))
        return {**tally.report(), "model_tokens_unshared": unshared}

    def _optimise(self, batches: list[MicroBatch], starts: list[Tensor | None], tally: Tally) -> None:
        # Processes without a batch still have a part in the sum of gradients.
        if not any(self.ranks.gather(len(batches))):
            return
        self.optimizer.zero_grad(set_to_none=True)
        behind = self._behind(len(batches))
        for batch, start in zip(batches, starts, strict=True):
            inputs = self._inputs(batch)
            with phase("forward"):
                logprobs, entropy = self._forward(self.decoder, batch, inputs)
            with phase("reference"):
                reference = self._at_start(batch, inputs)
            losses = token_losses(
                batch,
                logprobs,
                self.loss,
                start=start,
                reference=reference,
                entropy=entropy,
                importance_cap=self.engine.corrected_up_to,
            )
            loss = (losses.loss * batch.share.to(losses.loss.dtype)).sum()
            with phase("backward"):
                loss.backward()  # type: ignore[no-untyped-call]
            tally.add(batch, logprobs.detach(), entropy.detach(), losses)
        for _ in range(behind):
            self._learn_nothing()
        with phase("optimiser"):
            norm = self._apply()
        tally.step(norm)

    def _apply(self) -> float:
        """Take a step along the gradients; returns their norm before clipping."""
        if not self.sharded:
            self.ranks.sum_gradients(self.parameters)
        norm = whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm))
        if not torch.isfinite(norm):
            raise R3LBenchError(
                f"training has diverged: the gradient's norm is {float(norm)}; start a new run with a lower "
                "--optimiser.lr"
            )
        self.optimizer.step()
        self._masters.write_back()
        self.publish()
        return float(norm)

    def publish(self) -> None:
        """Give the weights to the model that plays, where it is another."""
        if self.sharded:
            gather_into(self._plays, self.model)

    def _inputs(self, batch: MicroBatch) -> dict[str, Any]:
        # Rows are padded behind their end and attention is causal, so they need no mask.
        return {} if batch.tree is None else inputs_of(batch.tree, self.decoder.device)

    def _pack(self, terms: Sequence[Term], **cut: Any) -> list[MicroBatch]:
        """Micro-batches whose shares are those of the terms of all processes."""
        batches = list(pack(terms, self.loss, device=self.decoder.device, **cut))
        if self.ranks.count == 1:
            return batches
        filled = [term.tokens for term in terms if term.tokens]
        own = sum(filled) if self.loss.aggregate == "token-mean" else len(filled)
        everyones = max(1, sum(self.ranks.gather(own)))
        return [replace(batch, share=batch.share * (own / everyones)) for batch in batches]

    def _at_start(self, batch: MicroBatch, inputs: dict[str, Any]) -> Tensor | None:
        """Log-probabilities under the starting policy, where they are wanted."""
        if self._reference is None:
            return None
        with without(self._reference.model):
            return self._under(self._reference, batch, inputs)

    @torch.no_grad()
    def _under(self, decoder: Decoder, batch: MicroBatch, inputs: dict[str, Any]) -> Tensor:
        return self._forward(decoder, batch, inputs)[0]

    @torch.no_grad()
    def _at_present(self, batches: list[MicroBatch]) -> list[Tensor | None]:
        """Log-probabilities under the present weights."""
        behind = self._behind(len(batches))
        with phase("start"):
            found: list[Tensor | None] = [self._under(self.decoder, batch, self._inputs(batch)) for batch in batches]
            for _ in range(behind):
                self._idle(self.decoder)
        return found

    def _behind(self, passes: int) -> int:
        """How many more passes the busiest process makes: it waits for the others' parts of the model in each."""
        return max(self.ranks.gather(passes)) - passes if self.sharded else 0

    def _learn_nothing(self) -> None:
        nothing = self._idle(self.decoder)
        if self._reference is not None:
            with torch.no_grad(), without(self._reference.model):
                self._idle(self._reference)
        nothing.backward()  # type: ignore[no-untyped-call]

    def _idle(self, decoder: Decoder) -> Tensor:
        first = torch.zeros(1, dtype=torch.long, device=self.decoder.device)
        return through(
            decoder.model, lambda: 0 * decoder.head(decoder.states(first[None], first, first, use_cache=False)).sum()
        )

    def _forward(self, decoder: Decoder, batch: MicroBatch, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy at every trained token, each [N]."""
        return through(decoder.model, lambda: self._pass(decoder, batch, inputs))

    def _pass(self, decoder: Decoder, batch: MicroBatch, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        again = self.memory.gradient_checkpointing and torch.is_grad_enabled()
        with self._reduced(decoder), recomputing(decoder.model) if again else nullcontext():
            states = decoder.states(batch.input_ids, batch.rows, batch.columns, use_cache=False, **inputs)
        if not (chunk := self.memory.logprob_chunk):
            return self._scores(decoder, states, batch.source, batch.targets)
        parts = []
        for source, targets in zip(torch.split(batch.source, chunk), torch.split(batch.targets, chunk), strict=True):
            each = torch.arange(len(source), device=source.device)
            parts.append(checkpoint(self._scores, decoder, states[source], each, targets, use_reentrant=False))
        logprobs, entropies = zip(*parts, strict=True)
        return torch.cat(logprobs), torch.cat(entropies)

    def _scores(self, decoder: Decoder, states: Tensor, source: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with self._reduced(decoder):
            logits = decoder.head(states)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        log_softmax = torch.log_softmax(logits, dim=-1)
        logprobs = log_softmax[source, targets]
        with torch.set_grad_enabled(bool(self.loss.entropy) and torch.is_grad_enabled()):
            entropy = -(log_softmax.exp() * log_softmax).sum(-1)
        return logprobs, entropy[source]

    def _reduced(self, decoder: Decoder) -> torch.autocast:
        reduced = self.settings.autocast == "bfloat16"
        return torch.autocast(decoder.device.type, dtype=torch.bfloat16, enabled=reduced)


class Tally:
    """Sums over an update's tokens, for its report.

    Args:
        engine: What sampled them.
    """

    def __init__(self, engine: EngineConfig) -> None:
        self._engine = engine
        self._sums: dict[str, float] = defaultdict(float)
        self._norms: list[float] = []
        self._ratio = 1.0
        self._widest = 0.0

    def add(self, batch: MicroBatch, logprobs: Tensor, entropy: Tensor, losses: TokenLosses) -> None:
        """Count a micro-batch."""
        policy = batch.kind == KINDS.index(Kind.POLICY)
        # Only tokens drawn in the context they are trained in tell how far two policies differ there.
        drawn = policy & ~batch.moved & (losses.kl is not None)
        kl = torch.zeros_like(logprobs) if losses.kl is None else losses.kl
        self._ratio = max(self._ratio, float(losses.ratio.max()))
        self._widest = max(self._widest, float(losses.gap.abs().max()))
        cap = self._engine.corrected_up_to
        capped = torch.zeros_like(policy) if cap is None else policy & (losses.gap > math.log(cap))
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
            "engine_gap": losses.gap.abs(),
            "capped": capped,
        }.items():
            self._sums[name] += float(values.double().sum())
        self._sums["model_tokens"] += batch.tokens

    def merge(self, ranks: Ranks) -> None:
        """Add what all processes have counted."""
        told = ranks.gather((self._sums, self._ratio, self._widest))
        self._sums = defaultdict(float)
        for sums, ratio, widest in told:
            self._ratio, self._widest = max(self._ratio, ratio), max(self._widest, widest)
            for name, value in sums.items():
                self._sums[name] += value

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
            ``model_tokens`` (through the model; beside them ``Learner.step`` puts ``model_tokens_unshared``, those of
            the same rows each by itself). Where another engine sampled also ``engine_gap`` and ``engine_gap_max`` (mean
            and largest absolute difference of its log-probability to the trainer's, over tokens trained in the context
            they were drawn in) and ``importance_capped`` (share of policy tokens whose importance weight was cut).
        """
        sums, steps = self._sums, max(1, len(self._norms))
        apart = {
            "engine_gap": _share(sums["engine_gap"], sums["tokens"] - sums["moved"]),
            "engine_gap_max": self._widest,
            "importance_capped": _share(sums["capped"], sums["policy"]),
        }
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
            **({} if self._engine.shares_weights else apart),
        }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
