"""The vLLM engine against a stand-in: what it asks for, what it reads, when weights travel, what it refuses."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.engines import vllm
from r3lbench.engines.engine import Completion, Request, Sampling, Stop
from r3lbench.engines.making import make_engine
from r3lbench.engines.settings import EngineConfig
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.engines.vllm import EngineFailed, VLLMEngine, completion, import_vllm, sampling_parameters
from r3lbench.errors import BadConfig, MissingExtra, R3LBenchError
from r3lbench.policies.adapters import attach, base_weights, save_adapters
from r3lbench.run import main
from r3lbench.scaling import LoraConfig
from tests.engines.vllm_stand_in import StandIn
from tests.random_models import full_pass, random_model

SETTINGS = EngineConfig(name="vllm", cache_gib=0.5)
CONTEXT = tuple(range(5, 45))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The module that is found as vLLM."""
    module = StandIn()
    monkeypatch.setattr(vllm, "import_vllm", lambda: module)
    monkeypatch.setattr(vllm, "version", lambda: "vllm 0.0")
    return module


def engine_of(model: Any, **settings: Any) -> VLLMEngine:
    return VLLMEngine(model, context_limit=512, settings=SETTINGS.model_copy(update=settings))


def ask(seed: int = 0, context: tuple[int, ...] = CONTEXT, **sampling: Any) -> Request:
    return Request(context, Sampling(**{"max_tokens": 6, **sampling}), seed, "act", f"{seed}")


def stirred(model: Any) -> Any:
    """The model after something was learned."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.ones_like(parameter).cumsum(-1))
    return model


def test_a_request_is_put_into_vllms_words() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=5, max_tokens=7, stop_ids=(2, 3))
    assert sampling_parameters(Request((1, 2), sampling, 2**64 - 1, "act", "a")) == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "max_tokens": 7,
        "seed": 2**63 - 1,
        "stop_token_ids": [2, 3],
        "ignore_eos": True,
        "logprobs": 0,
        "detokenize": False,
    }


def test_replies_are_those_of_the_weights_and_work_is_counted(stand_in: StandIn) -> None:
    model = random_model()
    engine, own = engine_of(model), TransformersEngine(model, context_limit=512)
    requests = [ask(2 * seed, stop_ids=(1, 2, 3)) for seed in range(5)]
    replies = engine.wave(requests)
    # A server's seeds are signed, so one bit is lost on the way.
    for mine, theirs in zip(replies, own.wave([ask(seed, stop_ids=(1, 2, 3)) for seed in range(5)]), strict=True):
        assert (mine.token_ids, mine.stop) == (theirs.token_ids, theirs.stop)
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-9)
    assert engine.work.generated == sum(len(reply.token_ids) for reply in replies)
    assert engine.work.prefilled + engine.work.reused == 5 * len(CONTEXT)
    assert engine.work.reused == 4 * (len(CONTEXT) - 1)
    assert engine.wave([]) == []


def test_it_is_told_to_reuse_prefixes_and_to_say_what_tokens_were_drawn_from(stand_in: StandIn) -> None:
    engine_of(random_model(), dtype="bfloat16")
    assert stand_in.options["enable_prefix_caching"] and stand_in.options["logprobs_mode"] == "processed_logprobs"
    assert stand_in.options["max_model_len"] == 512 and stand_in.options["kv_cache_memory_bytes"] == 1 << 29
    assert stand_in.options["dtype"] == "bfloat16" and "enable_lora" not in stand_in.options
    engine_of(random_model(dtype=torch.float32))
    assert stand_in.options["dtype"] == "float32"


@pytest.mark.parametrize(
    ("tokens", "logprobs"),
    [((4, 5), 2), ((4, 2, 5), 3), ((4, 5, 6, 7), 4), ((4, 5, 6), 2), ((4, 5), 3), ((), 0)],
    ids=["broken off", "beyond its end", "too long", "a log-probability missing", "a token missing", "empty"],
)
def test_a_reply_that_is_none_is_refused(tokens: tuple[int, ...], logprobs: int) -> None:
    with pytest.raises(EngineFailed, match="--resume"):
        completion(ask(max_tokens=3, stop_ids=(2,)), tokens, [-1.0] * logprobs)


def test_a_reply_ends_with_its_stop_token_or_at_its_limit() -> None:
    request = ask(max_tokens=3, stop_ids=(2,))
    assert completion(request, [4, 2], [-1.0, -2.0]) == Completion((4, 2), (-1.0, -2.0), Stop.END)
    assert completion(request, [4, 5, 6], [-1.0] * 3).stop is Stop.LENGTH
    assert completion(request, [4, 5, 2], [-1.0] * 3).stop is Stop.END


# Weights


def test_weights_travel_when_they_are_said_to_have_changed(stand_in: StandIn) -> None:
    model = random_model()
    engine = engine_of(model)
    before = engine.wave([ask(temperature=0.0)])
    stirred(model)
    engine.forget()
    assert engine.wave([ask(temperature=0.0)]) == before
    engine.weights_changed()
    (after,) = engine.wave([ask(temperature=0.0)])
    full = full_pass(model, (*CONTEXT, *after.token_ids))
    said = [float(full[len(CONTEXT) - 1 + i, token]) for i, token in enumerate(after.token_ids)]
    assert [after] != before and after.logprobs == pytest.approx(said, abs=1e-6)
    assert stand_in.reloaded == [sorted(model.state_dict())] * 2 and stand_in.resets == 2


def test_adapters_travel_alone_each_time_under_a_new_number(stand_in: StandIn, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = random_model()
    plain = sorted(model.state_dict())
    attach(model, LoraConfig(rank=3), 0)
    engine = engine_of(model)
    stirred(model)
    engine.weights_changed()
    # Of what the adapters do to replies the stand-in knows nothing.
    engine.wave([ask()])
    assert stand_in.reloaded == [plain]
    assert stand_in.options["enable_lora"] and stand_in.options["max_lora_rank"] == 8
    name, number, folder = stand_in.requests[-1][2]
    assert (name, number) == ("adapters-2", 2)
    # What was written is what peft reads.
    base = random_model()
    base.load_state_dict(base_weights(model))
    loaded = peft.PeftModel.from_pretrained(base, folder).double().eval()
    assert torch.allclose(full_pass(loaded, CONTEXT), full_pass(model, CONTEXT), atol=1e-5)
    save_adapters(model, tmp_path / "new")
    assert (tmp_path / "new" / "adapter_model.safetensors").read_bytes() == (
        Path(folder) / "adapter_model.safetensors"
    ).read_bytes()


def test_contexts_that_cannot_be_forgotten_end_the_run(stand_in: StandIn) -> None:
    engine = engine_of(random_model())
    stand_in.forgets = False
    with pytest.raises(EngineFailed, match="did not forget"):
        engine.weights_changed()


def test_weights_that_have_not_arrived_are_found_out(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StandIn, "collective_rpc", lambda *_, **__: None)
    with pytest.raises(R3LBenchError, match="does not sample from the trained LlamaForCausalLM"):
        engine_of(random_model())


def test_what_vllm_cannot_run_is_said_in_a_line(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("Head size 16 is not supported\nmore")

    monkeypatch.setattr(StandIn, "LLM", refuse)
    with pytest.raises(R3LBenchError, match=r"^vllm 0\.0 cannot run LlamaForCausalLM: Head size 16 is not supported$"):
        engine_of(random_model())


# What is installed


def installed(monkeypatch: pytest.MonkeyPatch, *needs: str, **versions: str) -> None:
    """Pretend that these packages are installed, vLLM with these requirements."""

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: list(needs))


def test_without_vllm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    with pytest.raises(MissingExtra, match=r"pip install 'r3lbench\[vllm\]'"):
        import_vllm()


def test_neighbours_of_other_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ("torch==2.13.0", "transformers>=5.16.1,<5.20", "ray; extra == 'ray'", "numpy")
    installed(monkeypatch, *needs, vllm="0.33.0", torch="2.13.0+cpu", transformers="5.23.0")
    with pytest.raises(BadConfig, match=r"vllm 0\.33\.0 needs transformers.*5\.23\.0 is installed: pip install 'tran"):
        import_vllm()


def test_a_torchvision_that_does_not_fit_is_said_how_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, vllm="0.32.0")

    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(BadConfig, match="pip uninstall -y torchvision torchaudio torchcodec") as refused:
        import_vllm()
    assert "\n" not in str(refused.value)


# A whole run


def test_the_usual_engine_is_the_trained_model_itself() -> None:
    assert isinstance(make_engine(EngineConfig(), random_model(), context_limit=64, processes=4), TransformersEngine)
    with pytest.raises(BadConfig, match="serves one process"):
        make_engine(SETTINGS, random_model(), context_limit=64, processes=2)


def run(policy: Path, out: Path) -> int:
    ask = ["--method", "grpo", "--env", "toy", "--policy", str(policy), "--method.group-size", "3", "--engine", "vllm"]
    ask += ["--tasks-per-update", "2", "--budget.updates", "3", "--evaluation.tasks", "1", "--checkpoint-every", "1"]
    return main([*ask, "--out", str(out), "--quiet"])


def test_a_run_whose_engine_fails_goes_on_where_it_stood(
    stand_in: StandIn, toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(toy_policy, tmp_path / "whole") == 0
    manifest = json.loads((tmp_path / "whole" / "manifest.json").read_bytes())
    assert manifest["engine"] == {"name": "vllm", "version": "vllm 0.0"} and not manifest["reproducible"]
    assert manifest["config"]["engine"]["name"] == "vllm"
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 3
    assert all(line["learn"]["engine_gap"] < 1e-5 and line["learn"]["importance_capped"] == 0.0 for line in lines)
    asked = len(stand_in.requests)
    stand_in.requests.clear()

    def fail_midway(reply: Completion) -> Completion:
        if len(stand_in.requests) < asked // 2:
            return reply
        raise EngineFailed("vLLM is gone")

    stand_in.replies = fail_midway
    assert run(toy_policy, tmp_path / "cut") == 2
    assert capsys.readouterr().err == "r3lbench run: vLLM is gone\n"
    stand_in.replies = lambda reply: reply
    assert main(["--resume", str(tmp_path / "cut"), "--quiet"]) == 0
    for name in ("metrics.jsonl", "evaluation.jsonl", "policy/model.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_engine_that_does_not_exist_is_refused_in_a_line(
    toy_policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--env", "toy", "--policy", str(toy_policy), "--engine", "vlm"]) == 2
    said = capsys.readouterr().err
    assert "--engine" in said and "'transformers', 'vllm' or 'vllm-server'" in said and said.count("\n") == 1
