"""Sampling by a `vllm serve` elsewhere: on devices of its own, as large as vLLM makes it.

Token ids go both ways (POST /inference/v1/generate), each request with its own seed. New weights are left in a folder
that the server sees, too, and read by it in place; of a policy that learns by adapters, only those. The server must
have been started to allow this; docs/engines.md has the command.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from r3lbench.engines.engine import Completion, Engine, Request, Sampling
from r3lbench.engines.settings import EngineConfig
from r3lbench.engines.vllm import EngineFailed, check_agreement, completion, count, sampling_parameters
from r3lbench.errors import BadConfig
from r3lbench.policies.adapters import adapted, save_adapters

_PARALLEL = 256
"""Requests under way at once, vLLM's own limit unless it is told otherwise."""
_TOLD = "docs/engines.md says how to start one"


class VLLMServer(Engine):
    """A running server.

    Of its ``Work``, what was reused is counted where it tells (``--enable-prompt-tokens-details``), and forward passes
    and steps are not.

    Args:
        model: The Hugging Face causal language model that is trained.
        context_limit: Most tokens of context and reply together.
        settings: Of them ``url``, ``folder`` and ``timeout``.

    Raises:
        EngineFailed: No server answers, or not as it should.
        BadConfig: It was started with settings that cannot be used here.
        R3LBenchError: It samples from another model.
    """

    def __init__(self, model: Any, *, context_limit: int, settings: EngineConfig) -> None:
        super().__init__()
        self._model = model
        self._settings = settings
        self._url = settings.url.rstrip("/").removesuffix("/v1")
        self.version = f"vllm {self._call('/version').get('version')}"
        served = self._call("/v1/models")["data"][0]
        self._served = str(served["id"])
        self.context_limit = min(context_limit, int(served.get("max_model_len") or context_limit))
        self._check_logprobs()
        self._temporary = tempfile.TemporaryDirectory(prefix="r3lbench-vllm-", dir=settings.folder)
        self._update = 0
        self.weights_changed()
        check_agreement(self, model)

    def wave(self, requests: Sequence[Request]) -> list[Completion]:
        """Ask for all at once; the server forms its own batches.

        Raises:
            EngineFailed: It is gone, or does not answer.
        """
        if not requests:
            return []
        with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(requests))) as pool:
            answers = list(pool.map(self._ask, requests))
        completions = []
        for request, answer in zip(requests, answers, strict=True):
            (choice,) = answer["choices"]
            logprobs = [of["logprob"] for of in choice["logprobs"]["content"]]
            told = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
            completions.append(completion(request, choice["token_ids"], logprobs, told.get("cached_tokens") or 0))
        count(self.work, requests, completions)
        return completions

    def weights_changed(self) -> None:
        """Have the server read the weights, or the adapters, as they are now.

        Raises:
            EngineFailed: It does not.
        """
        self._update += 1
        folder = Path(self._temporary.name) / f"update-{self._update}"
        if adapted(self._model):
            save_adapters(self._model, folder)
            self._call("/v1/load_lora_adapter", {"lora_name": folder.name, "lora_path": str(folder)})
            if self._update > 1:
                self._call("/v1/unload_lora_adapter", {"lora_name": self._served})
            self._served = folder.name
        else:
            self._model.save_pretrained(folder)
            self._call("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
        self.forget()
        # The server has read it.
        shutil.rmtree(folder)

    def forget(self) -> None:
        """Drop cached contexts."""
        if not self._call("/reset_prefix_cache", {}).get("success"):
            raise EngineFailed(f"the vLLM server at {self._url} answers somebody else, too, and keeps old contexts")

    def _ask(self, request: Request) -> Any:
        body = {
            "model": self._served,
            "token_ids": list(request.token_ids),
            "sampling_params": sampling_parameters(request),
        }
        return self._call("/inference/v1/generate", body)

    def _check_logprobs(self) -> None:
        """Of a single token that is left to choose from, a log-probability is 0 if it is of what it was drawn from."""
        (reply,) = self.wave([Request((0,), Sampling(top_k=1, max_tokens=1), 0, "check", "check")])
        if reply.logprobs != (0.0,):
            raise BadConfig(
                f"the vLLM server at {self._url} gives log-probabilities as they were before temperature and "
                "truncation; start it with --logprobs-mode processed_logprobs"
            )

    def _call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The server's answer as JSON values; None where it is empty."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("VLLM_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(self._url + path, data, headers)
            with urllib.request.urlopen(request, timeout=self._settings.timeout) as answer:
                text = answer.read()
            return json.loads(text) if text.startswith((b"{", b"[")) else None
        except urllib.error.HTTPError as error:
            said = " ".join(error.read().decode("utf-8", "replace").split())[:200]
            problem = f"answers {path} with {error.code}: {said}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"does not answer {path}: {error or type(error).__name__}"
        raise EngineFailed(f"the vLLM server at {self._url} {problem}; {_TOLD}, and --resume goes on with a run")
