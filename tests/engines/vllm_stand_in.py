"""What of vLLM is used, in process and as a server, played by the transformers engine on a copy of the weights."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from r3lbench.engines.engine import Completion, Request, Sampling
from r3lbench.engines.transformers import TransformersEngine


class StandIn:
    """The module ``vllm``: its LLM has random weights until it is given some.

    Attributes:
        options: What the LLM was made with.
        requests: What it was asked, as (context, parameters, adapters).
        reloaded: Names of the weights it was given, one list each time.
        resets: How often it forgot its contexts.
        replies: Changes a reply before it is given out.
        forgets: Whether it can.
    """

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.requests: list[tuple[tuple[int, ...], dict[str, Any], Any]] = []
        self.reloaded: list[list[str]] = []
        self.resets = 0
        self.replies = lambda reply: reply
        self.forgets = True
        self.lora = SimpleNamespace(request=SimpleNamespace(LoRARequest=lambda *of: of))

    def SamplingParams(self, **parameters: Any) -> dict[str, Any]:
        return parameters

    def LLM(self, **options: Any) -> StandIn:
        self.options = options
        self._model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(options["model"])).double().eval()
        self._engine = TransformersEngine(self._model, context_limit=options["max_model_len"])
        return self

    def generate(
        self, prompts: Sequence[Mapping[str, Any]], parameters: Sequence[dict[str, Any]], **more: Any
    ) -> list[Any]:
        answers = []
        for prompt, of in zip(prompts, parameters, strict=True):
            context = tuple(prompt["prompt_token_ids"])
            self.requests.append((context, of, more["lora_request"]))
            before = self._engine.work.reused
            reply = self.replies(sample(self._engine, context, of))
            logprobs = [
                {token: SimpleNamespace(logprob=logprob)}
                for token, logprob in zip(reply.token_ids, reply.logprobs, strict=True)
            ]
            output = SimpleNamespace(token_ids=list(reply.token_ids), logprobs=logprobs)
            answers.append(SimpleNamespace(outputs=[output], num_cached_tokens=self._engine.work.reused - before))
        return answers

    def collective_rpc(self, method: str, kwargs: Mapping[str, Any]) -> None:
        assert method == "reload_weights"
        weights = dict(kwargs["weights_iterator"])
        self.reloaded.append(sorted(weights))
        self._model.load_state_dict(copy.deepcopy(weights))

    def reset_prefix_cache(self) -> bool:
        self.resets += 1
        self._engine.forget()
        return self.forgets


def sample(engine: TransformersEngine, context: tuple[int, ...], of: Mapping[str, Any]) -> Completion:
    """The reply to a request in vLLM's words."""
    sampling = Sampling(of["temperature"], of["top_p"], of["top_k"], of["max_tokens"], tuple(of["stop_token_ids"]))
    (reply,) = engine.wave([Request(context, sampling, of["seed"], "act", "a")])
    return reply


@dataclass
class Server:
    """A running stand-in for ``vllm serve``.

    Attributes:
        url: Where.
        asked: Paths, in their order.
        bodies: Of the requests for replies.
        keys: Authorization headers.
        broken: Paths that answer with an error.
        raw: Gives log-probabilities before truncation.
        busy: Cannot forget.
        model: What it samples from.
    """

    model: Any
    url: str = ""
    asked: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    raw: bool = False
    busy: bool = False

    def __post_init__(self) -> None:
        self.engine = TransformersEngine(self.model, context_limit=512)
        self.lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        """What the server says to a request."""
        if path == "/version":
            return {"version": "0.0"}
        if path == "/v1/models":
            return {"data": [{"id": "served", "max_model_len": 300}]}
        if path == "/reset_prefix_cache":
            self.engine.forget()
            return {"success": not self.busy}
        if path == "/collective_rpc":
            weights = load_file(Path(body["kwargs"]["weights_path"]) / "model.safetensors")
            self.model.load_state_dict(weights, strict=False)
            return {"results": [None]}
        if path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            if path == "/v1/load_lora_adapter":
                assert (Path(body["lora_path"]) / "adapter_model.safetensors").is_file()
            return None
        assert path == "/inference/v1/generate"
        self.bodies.append(body)
        before = self.engine.work.reused
        reply = sample(self.engine, tuple(body["token_ids"]), body["sampling_params"])
        logprobs = [{"logprob": -1.0 if self.raw else logprob} for logprob in reply.logprobs]
        choice = {"token_ids": list(reply.token_ids), "logprobs": {"content": logprobs}}
        told = {"cached_tokens": self.engine.work.reused - before}
        return {"choices": [choice], "usage": {"prompt_tokens_details": told}}


@contextmanager
def serving(model: Any) -> Iterator[Server]:
    """Serve a copy of a model on a free port."""
    seen = Server(copy.deepcopy(model))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            with seen.lock, torch.no_grad():
                seen.asked.append(self.path)
                seen.keys.append(self.headers.get("Authorization"))
                said = {"error": "no"} if self.path in seen.broken else seen.answer(self.path, body)
            text = b"Success" if said is None else json.dumps(said).encode()
            self.send_response(500 if self.path in seen.broken else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
