"""The engine that asks a `vllm serve`, against a stand-in: both ways of weights, and servers that are not as needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.engines.engine import Request, Sampling
from r3lbench.engines.settings import EngineConfig
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.engines.vllm import EngineFailed
from r3lbench.engines.vllm_server import VLLMServer
from r3lbench.errors import BadConfig, R3LBenchError
from r3lbench.policies.adapters import attach
from r3lbench.run import main
from r3lbench.scaling import LoraConfig
from tests.engines.vllm_stand_in import Server, serving
from tests.random_models import full_pass, random_model

CONTEXT = tuple(range(5, 45))
GENERATE = "/inference/v1/generate"


def engine_of(model: Any, server: Server, **settings: Any) -> VLLMServer:
    chosen = EngineConfig(name="vllm-server", url=server.url, **settings)
    return VLLMServer(model, context_limit=512, settings=chosen)


def ask(seed: int = 0, **sampling: Any) -> Request:
    return Request(CONTEXT, Sampling(**{"max_tokens": 6, **sampling}), seed, "act", f"{seed}")


def test_replies_are_those_of_the_weights_in_the_order_of_the_requests() -> None:
    model = random_model()
    with serving(model) as server:
        engine = engine_of(model, server)
        replies = engine.wave([ask(2 * seed, stop_ids=(1, 2, 3)) for seed in range(5)])
        own = TransformersEngine(model, context_limit=512).wave([ask(seed, stop_ids=(1, 2, 3)) for seed in range(5)])
        for mine, theirs in zip(replies, own, strict=True):
            assert (mine.token_ids, mine.stop) == (theirs.token_ids, theirs.stop)
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-9)
        assert engine.work.generated == sum(len(reply.token_ids) for reply in replies)
        assert (engine.work.prefilled, engine.work.reused) == (40 + 4, 4 * 39)
        # The smaller of both limits holds.
        assert engine.context_limit == 300 and engine.version == "vllm 0.0"
        assert server.bodies[-1]["model"] == "served" and engine.wave([]) == []


def test_weights_are_left_in_a_folder_that_is_gone_once_they_are_read(tmp_path: Path) -> None:
    model = random_model()
    with serving(model) as server:
        engine = engine_of(model, server, folder=str(tmp_path))
        (before,) = engine.wave([ask(temperature=0.0)])
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.ones_like(parameter).cumsum(-1))
        engine.weights_changed()
        (after,) = engine.wave([ask(temperature=0.0)])
        full = full_pass(model, (*CONTEXT, *after.token_ids))
        said = [float(full[len(CONTEXT) - 1 + i, token]) for i, token in enumerate(after.token_ids)]
        assert after != before and after.logprobs == pytest.approx(said, abs=1e-6)
        order = [path for path in server.asked if path != GENERATE]
        assert order[-2:] == ["/collective_rpc", "/reset_prefix_cache"]
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_adapters_are_loaded_under_a_new_name_and_the_old_ones_dropped() -> None:
    pytest.importorskip("peft")
    model = random_model()
    with serving(model) as server:
        attach(model, LoraConfig(rank=2), 0)
        engine = engine_of(model, server)
        engine.weights_changed()
        engine.wave([ask()])
        assert server.bodies[-1]["model"] == "update-2" and "/collective_rpc" not in server.asked
        assert [path for path in server.asked if "lora" in path] == [
            "/v1/load_lora_adapter",
            "/v1/load_lora_adapter",
            "/v1/unload_lora_adapter",
        ]


def test_the_key_is_that_of_vllms_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    model = random_model()
    with serving(model) as server:
        engine_of(model, server)
        assert set(server.keys) == {"Bearer secret"}


# Servers that are not as needed


def test_where_nobody_listens_the_message_says_how_to_start_a_server() -> None:
    with serving(random_model()) as server:
        pass
    with pytest.raises(EngineFailed, match=r"127\.0\.0\.1.*does not answer /version.*docs/engines\.md") as refused:
        engine_of(random_model(), server)
    assert "\n" not in str(refused.value)


def test_a_server_without_what_is_needed_is_named_with_what_it_said() -> None:
    model = random_model()
    with serving(model) as server:
        server.broken.add("/collective_rpc")
        with pytest.raises(EngineFailed, match=r'answers /collective_rpc with 500: \{"error": "no"\}'):
            engine_of(model, server)


def test_a_server_that_tells_other_log_probabilities_is_refused() -> None:
    model = random_model()
    with serving(model) as server:
        server.raw = True
        with pytest.raises(BadConfig, match="--logprobs-mode processed_logprobs"):
            engine_of(model, server)


def test_a_server_that_also_answers_others_is_refused() -> None:
    model = random_model()
    with serving(model) as server:
        server.busy = True
        with pytest.raises(EngineFailed, match="somebody else"):
            engine_of(model, server)


def test_a_server_that_samples_from_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    other = random_model(seed=1)
    attach(other, LoraConfig(rank=2), 0)
    # Adapters alone do not make up for another model below them.
    with serving(random_model()) as server, pytest.raises(R3LBenchError, match="does not sample from the trained"):
        engine_of(other, server)


def test_a_server_that_is_lost_in_the_middle_leaves_a_run_that_goes_on(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from r3lbench.policies.finding import Source
    from r3lbench.policies.loading import load_policy

    policy = load_policy(Source(str(toy_policy), str(toy_policy)))
    out = tmp_path / "run"
    with serving(policy.model) as server:
        lost = iter(range(60))

        def answer(path: str, body: dict[str, Any]) -> Any:
            if path == GENERATE and next(lost, None) is None:
                server.broken.add(GENERATE)
            return Server.answer(server, path, body)

        server.answer = answer  # type: ignore[method-assign]
        ask = ["--method", "grpo", "--env", "toy", "--policy", str(toy_policy), "--method.group-size", "2"]
        ask += ["--tasks-per-update", "2", "--budget.updates", "3", "--evaluation.tasks", "1", "--checkpoint-every"]
        ask += ["1", "--engine", "vllm-server", "--engine.url", server.url, "--out", str(out), "--quiet"]
        assert main(ask) == 2
        said = capsys.readouterr().err
        assert f"{server.url} answers {GENERATE} with 500" in said and said.count("\n") == 1
        assert not (out / "result.json").exists() and (out / "checkpoints").is_dir()
        server.broken.clear()
        server.answer = lambda path, body: Server.answer(server, path, body)  # type: ignore[method-assign]
        assert main(["--resume", str(out), "--quiet"]) == 0
    assert (out / "result.json").is_file()
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3
