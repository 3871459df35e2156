"""vLLM itself, on the CPU: what it samples, what it reuses, new weights, adapters, and whole runs.

Run by `make test-vllm`, in an environment of its own.
"""

from __future__ import annotations

import copy
import gc
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from r3lbench.engines.engine import Completion, Request, Sampling, Stop
from r3lbench.engines.settings import EngineConfig
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.engines.vllm import VLLMEngine
from r3lbench.engines.vllm_server import VLLMServer
from r3lbench.errors import R3LBenchError
from r3lbench.policies.adapters import attach
from r3lbench.policies.finding import find_policy
from r3lbench.policies.loading import load_policy
from r3lbench.run import main
from r3lbench.scaling import LoraConfig
from r3lbench.verify import main as verify
from tests.random_models import full_pass

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]
SETTINGS = EngineConfig(name="vllm", cache_gib=0.25)
VOCABULARY, LIMIT = 97, 512
CONTEXT = tuple(range(3, 83))
TOLERANCE = 1e-3


def random_llama(seed: int = 0, head: int = 32) -> Any:
    """A Llama in float32 with heads of a size that vLLM's CPU kernels have."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=2 * head,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LIMIT,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    """What the module's engine samples from; tests that change it put it back."""
    return random_llama()


@pytest.fixture(scope="module")
def engine(model: Any) -> VLLMEngine:
    return VLLMEngine(model, context_limit=LIMIT, settings=SETTINGS)


def ask(seed: int = 0, context: tuple[int, ...] = CONTEXT, **sampling: Any) -> Request:
    return Request(context, Sampling(**{"max_tokens": 12, **sampling}), seed, "act", f"{seed}")


def expected(model: Any, request: Request, reply: Completion) -> list[float]:
    """The log-probabilities of a reply's tokens under what they are to be drawn from, by a plain forward pass."""
    full = full_pass(model, (*request.token_ids, *reply.token_ids))[len(request.token_ids) - 1 : -1].double()
    sampling = request.sampling
    scaled = full / (sampling.temperature or 1.0)
    if sampling.top_k:
        scaled[scaled < scaled.topk(sampling.top_k).values[:, -1:]] = -torch.inf
    return [float(row[token]) for row, token in zip(scaled.log_softmax(-1), reply.token_ids, strict=True)]


# What it samples


def test_greedy_tokens_are_those_of_transformers(model: Any, engine: VLLMEngine) -> None:
    requests = [ask(seed, CONTEXT[seed:], temperature=0.0, max_tokens=24) for seed in range(4)]
    own = TransformersEngine(model, context_limit=LIMIT).wave(requests)
    replies = engine.wave(requests)
    assert [reply.token_ids for reply in replies] == [reply.token_ids for reply in own]
    for mine, theirs in zip(replies, own, strict=True):
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=TOLERANCE)


@pytest.mark.parametrize("way", [{}, {"temperature": 0.5}, {"temperature": 1.7, "top_k": 4}], ids=str)
def test_log_probabilities_are_of_what_tokens_were_drawn_from(
    way: dict[str, Any], model: Any, engine: VLLMEngine
) -> None:
    requests = [ask(seed, **way) for seed in range(6)]
    for request, reply in zip(requests, engine.wave(requests), strict=True):
        assert reply.logprobs == pytest.approx(expected(model, request, reply), abs=TOLERANCE)


def test_a_seed_gives_its_reply_again_alone_and_beside_others(engine: VLLMEngine) -> None:
    replies = engine.wave([ask(seed) for seed in (2, 2**64 - 1, 2, 40)])
    engine.forget()
    assert replies[0].token_ids == replies[2].token_ids == engine.wave([ask(2)])[0].token_ids
    assert len({reply.token_ids for reply in replies}) == 3


def test_a_stop_token_ends_a_reply_and_belongs_to_it(engine: VLLMEngine) -> None:
    (free,) = engine.wave([ask(4)])
    (ended,) = engine.wave([ask(4, stop_ids=(free.token_ids[5],))])
    first = free.token_ids.index(free.token_ids[5])
    assert ended.token_ids == free.token_ids[: first + 1] and ended.stop is Stop.END
    assert free.stop is Stop.LENGTH


def test_contexts_at_hand_are_counted_as_reused(engine: VLLMEngine) -> None:
    engine.forget()
    before = copy.copy(engine.work)
    engine.wave([ask(1)])
    assert (engine.work.prefilled - before.prefilled, engine.work.reused) == (len(CONTEXT), before.reused)
    engine.wave([ask(2, (*CONTEXT, 5, 6))])
    # Two full blocks of 32 tokens.
    assert engine.work.reused - before.reused == 64
    assert engine.work.generated - before.generated == 24


# Weights


def test_new_weights_replace_the_old_ones_and_what_was_computed_with_them(model: Any, engine: VLLMEngine) -> None:
    request, kept = ask(1, temperature=0.0), copy.deepcopy(model.state_dict())
    (before,) = engine.wave([request])
    model.load_state_dict(random_llama(seed=1).state_dict())
    engine.weights_changed()
    (after,) = engine.wave([request])
    assert after.logprobs == pytest.approx(expected(model, request, after), abs=TOLERANCE)
    assert after.token_ids != before.token_ids
    model.load_state_dict(kept)
    engine.weights_changed()
    assert engine.wave([request])[0].logprobs == pytest.approx(before.logprobs, abs=1e-6)


def test_adapters_are_exchanged_while_the_weights_stay() -> None:
    pytest.importorskip("peft")
    model = random_llama()
    attach(model, LoraConfig(rank=4), 0)
    engine = VLLMEngine(model, context_limit=LIMIT, settings=SETTINGS)
    request = ask(1, temperature=0.0)
    seen = set()
    for _ in range(3):
        (reply,) = engine.wave([request])
        assert reply.logprobs == pytest.approx(expected(model, request, reply), abs=TOLERANCE)
        seen.add(reply.logprobs)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.03 * torch.ones_like(parameter).cumsum(-1).sin())
        engine.weights_changed()
    assert len(seen) == 3


def test_heads_that_its_kernels_do_not_have_are_refused_in_a_line() -> None:
    with pytest.raises(R3LBenchError, match=r"cannot run LlamaForCausalLM: .*16") as refused:
        VLLMEngine(random_llama(head=16), context_limit=LIMIT, settings=SETTINGS)
    assert "\n" not in str(refused.value)


# Whole runs

FLAGS = [
    *("--method", "grpo", "--env", "webshop", "--method.group-size", "4", "--tasks-per-update", "2", "--quiet"),
    *("--budget.updates", "2", "--budget.generated-tokens", "None", "--evaluation.tasks", "4", "--threads", "1"),
    *("--engine.cache-gib", "0.5"),
]


def test_a_run_with_vllm_learns_what_it_samples(tmp_path: Path) -> None:
    run, exported = tmp_path / "run", tmp_path / "exported"
    assert main([*FLAGS, "--engine", "vllm", "--out", str(run), "--export", str(exported)]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        # Both compute in float32, so that nothing is left but rounding.
        assert 0 < line["learn"]["engine_gap"] < 1e-3 and line["learn"]["importance_capped"] == 0.0
        assert line["cost"]["attempt"]["reused_tokens"] > 0
    manifest = json.loads((run / "manifest.json").read_bytes())
    assert manifest["engine"]["version"].startswith("vllm") and manifest["reproducible"] is False
    assert verify([str(run), "--quiet"]) == 0

    # What it exported is what vLLM loads by itself, and samples from as we do.
    import vllm

    gc.collect()
    llm = vllm.LLM(str(exported), max_model_len=1024, kv_cache_memory_bytes=1 << 28, enforce_eager=True)
    text = llm.chat([{"role": "user", "content": "Instruction: find a red mug"}], use_tqdm=False)[0].outputs[0]
    policy = load_policy(find_policy(str(exported), "webshop"))
    own = policy.tokenizer.decode(text.token_ids, skip_special_tokens=True)
    assert text.token_ids and text.text == own
    assert text.finish_reason == "length" or text.token_ids[-1] in policy.template.stop_ids


@contextmanager
def serve(folder: Path, log: Path, *flags: str) -> Iterator[str]:
    """A `vllm serve` of a policy on a free port; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}
    # The command `vllm` of the build for CPUs does not find its own version.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--port", str(port)]
    command += ["--enable-scale-out", "--logprobs-mode", "processed_logprobs", "--enable-prompt-tokens-details"]
    command += ["--enforce-eager", *flags]
    with log.open("wb") as file:
        environment = {**os.environ, **settings, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
        process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=file, env=environment)
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()[-4000:]
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def test_a_server_samples_takes_weights_and_leaves_a_run_to_go_on_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = find_policy("tiny", "webshop")
    policy = load_policy(source)
    ids = policy.tokenizer("find a red mug under 20 dollars")["input_ids"]
    request = ask(1, tuple(ids), temperature=0.0)
    flags = ("--dtype", "float32", "--max-model-len", "2048", "--block-size", "32")
    with serve(Path(source.path), tmp_path / "log", *flags) as url:
        settings = EngineConfig(name="vllm-server", url=url)
        engine = VLLMServer(policy.model, context_limit=policy.context_limit, settings=settings)
        assert engine.context_limit == 2048
        replies = engine.wave([request, ask(3, tuple(ids)), ask(3, tuple(ids))])
        for asked, reply in zip([request, ask(3, tuple(ids))], replies, strict=False):
            assert reply.logprobs == pytest.approx(expected(policy.model, asked, reply), abs=TOLERANCE)
        assert replies[1].token_ids == replies[2].token_ids
        with torch.no_grad():
            for parameter in policy.model.parameters():
                parameter.mul_(1.05)
        engine.weights_changed()
        (after,) = engine.wave([request])
        assert after.logprobs == pytest.approx(expected(policy.model, request, after), abs=TOLERANCE)
        assert after.logprobs != replies[0].logprobs
        run = [*FLAGS, "--engine", "vllm-server", "--engine.url", url]
        assert main([*run, "--out", str(tmp_path / "run")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["learn"]["engine_gap"] < 1e-3 for line in lines)
    assert lines[-1]["cost"]["attempt"]["reused_tokens"] > 0
    # It is gone now.
    assert main([*run, "--out", str(tmp_path / "other")]) == 2
    said = capsys.readouterr().err
    assert url in said and "does not answer" in said and said.count("\n") == 1
