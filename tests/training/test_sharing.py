"""A tree of contexts gives the log-probabilities and gradients of its rows, each token in one pass of the model."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, FalconConfig, GPTJConfig, MambaConfig
from transformers.modeling_layers import GradientCheckpointingLayer

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.baseline import PolicyLoss
from r3lbench.engines.engine import Request, Sampling
from r3lbench.engines.transformers import TransformersEngine
from r3lbench.run import main
from r3lbench.tokens import OldLogprobs, Sample, Segment, Term, TokenForest
from r3lbench.training.learner import Learner, Optimiser
from r3lbench.training.packing import pack
from r3lbench.training.prefixes import PrefixTree
from r3lbench.training.sharing import TreeAttention, batches_of, blocks_of
from tests.random_models import CONFIGS, SHAPE, exact_model, random_model

CPU = torch.device("cpu")
EVERYTHING = PolicyLoss(clip=(0.3, 0.3), kl=0.1, kl_estimator="k2", entropy=0.1)
PLAIN = PolicyLoss(ratio=None, clip=None)
# Few of them, so that different nodes hold equal tokens; the windows of some models are 8 tokens wide.
SEGMENTS = ((1,), (2, 3), (2, 4), (1, 2, 3, 4, 5, 6), (5, 6, 7, 8, 9, 10, 11, 12, 13, 14))

turns = st.lists(st.tuples(st.sampled_from(SEGMENTS), st.sampled_from(SEGMENTS)), min_size=1, max_size=4)


@st.composite
def batches(draw: st.DrawFn) -> list[Term]:
    """Terms of one or two groups that begin alike, or differ, at any depth; some with a row for every turn."""
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    forests = [TokenForest() for _ in range(draw(st.integers(1, 2)))]
    terms = []
    for _ in range(draw(st.integers(1, 7))):
        forest, grows = draw(st.sampled_from(forests)), draw(st.booleans())
        nodes: list[int] = []
        for told, said in draw(turns):
            prompt = forest.add(nodes[-1] if nodes and grows else None, Segment("prompt", told))
            logprobs = tuple((-rng.exponential(2.0, len(said))).tolist())
            nodes.append(forest.add(prompt, Segment("assistant", said, sampled=True, logprobs=logprobs)))
        sample = Sample(forest, tuple(nodes), tuple(nodes))
        weight, old = draw(st.sampled_from([1.0, -0.5, 2.0])), draw(st.sampled_from(list(OldLogprobs)))
        terms.append(sample.term(weight, from_turn=draw(st.integers(0, len(nodes) - 1)), old=old))
    return terms


def updated(
    model: Any, terms: list[Term], loss: PolicyLoss, share: bool, **options: Any
) -> tuple[dict[int, Tensor], Tensor, dict[str, Any]]:
    """(log-probabilities by term, gradient, report) of an update."""
    # The gradient is inspected after the step, so it must not be scaled down.
    learner = Learner(model, Optimiser(share_prefixes=share, clip_norm=1e9, **options), loss)
    assert learner.unshared is None
    logprobs: dict[int, list[Tensor]] = defaultdict(list)
    for batch in pack(terms, loss, budget=learner.settings.micro_batch_tokens, device=CPU, share_prefixes=share):
        for term, logprob in zip(
            batch.term, learner._under(learner.decoder, batch, learner._inputs(batch)), strict=True
        ):
            logprobs[int(term)].append(logprob)
    report = learner.step(terms)
    gradient = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
    return {term: torch.stack(of) for term, of in logprobs.items()}, gradient, report


def assert_same_update(
    model: Any, terms: list[Term], loss: PolicyLoss, *, logprob: float, gradient: float, **options: Any
) -> None:
    """Shared prefixes and plain rows differ by no more, per log-probability and in the gradient as a whole."""
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    wanted, slope, rows = updated(model, terms, loss, False, **options)
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(weight)
    found, other, tree = updated(model, terms, loss, True, **options)
    assert found.keys() == wanted.keys()
    for term in wanted:
        assert float((found[term] - wanted[term]).abs().max()) <= logprob
    assert float((other - slope).norm()) <= gradient * float(slope.norm())
    assert tree["model_tokens"] <= tree["model_tokens_unshared"] == rows["model_tokens"]


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=8, deadline=None)
@given(terms=batches(), budget=st.integers(1, 200))
def test_an_update_with_shared_prefixes_is_that_of_plain_rows(name: str, terms: list[Term], budget: int) -> None:
    assert_same_update(exact_model(name), terms, EVERYTHING, logprob=1e-9, gradient=1e-9, micro_batch_tokens=budget)


@pytest.mark.parametrize("name", CONFIGS)
def test_in_single_precision_an_update_with_shared_prefixes_differs_by_rounding(name: str) -> None:
    terms = conversation_tree()
    assert_same_update(random_model(name, dtype=torch.float32), terms, EVERYTHING, logprob=1e-4, gradient=1e-5)


def conversation_tree(told: int = 40, said: int = 5) -> list[Term]:
    """Attempts that leave each other at several steps, two of them alike, and a group with the same rules."""
    rng = np.random.default_rng(0)
    rules = Segment("prompt", tuple(rng.integers(1, 61, told).tolist()))

    def reply(forest: TokenForest, prompt: int) -> int:
        return forest.add(prompt, Segment("assistant", tuple(rng.integers(1, 61, said).tolist()), True, (-1.0,) * said))

    terms = []
    for _ in range(2):
        forest = TokenForest()
        begun: list[int] = []
        for attempt in range(4):
            nodes = begun[:attempt]
            while len(nodes) < 4:
                prompt = Segment("prompt", tuple(rng.integers(1, 61, told // 4).tolist())) if nodes else rules
                nodes.append(reply(forest, forest.add(nodes[-1] if nodes else None, prompt)))
            begun = nodes
            sample = Sample(forest, tuple(nodes), tuple(nodes))
            terms += [sample.term(weight, old=OldLogprobs.RECOMPUTED) for weight in (1.0, -0.5)[: 1 + (attempt == 2)]]
    return terms


def test_each_token_of_the_tree_passes_through_the_model_once() -> None:
    model, terms = random_model(), conversation_tree()
    learner = Learner(model, Optimiser(measure_kl=False), PLAIN)
    passed: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda _, inputs, __: passed.append(inputs[0].numel()))
    report = learner.step(terms)
    beginnings = set()
    for term in terms:
        # Nothing is predicted after the last token.
        context = tuple(term.sample.forest.token_ids(term.turns[-1])[:-1])
        beginnings |= {context[: length + 1] for length in range(len(context))}
    assert sum(passed) == len(beginnings) == report["model_tokens"]
    assert report["model_tokens_unshared"] > 2 * len(beginnings)


def test_checkpointed_layers_compute_the_same_update() -> None:
    gradients = []
    for checkpointed in (False, True):
        model = exact_model("llama with grouped queries")
        calls = 0

        def count(*_: Any) -> None:
            nonlocal calls
            calls += 1

        model.model.layers[0].self_attn.register_forward_pre_hook(count)
        learner = Learner(model, Optimiser(clip_norm=1e9, measure_kl=False), PLAIN)
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            for layer in model.modules():
                if isinstance(layer, GradientCheckpointingLayer):
                    layer.training = True
        before = calls
        learner.step(conversation_tree())
        assert calls - before == 1 + checkpointed
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert float((gradients[0] - gradients[1]).norm()) <= 1e-12 * float(gradients[0].norm())


def test_reduced_precision_gives_about_the_same_update() -> None:
    terms = conversation_tree()
    wanted, slope, _ = updated(random_model(dtype=torch.float32), terms, PLAIN, True)
    for share in (True, False):
        found, other, _ = updated(random_model(dtype=torch.float32), terms, PLAIN, share, autocast="bfloat16")
        gap = max(float((found[term] - wanted[term]).abs().max()) for term in wanted)
        assert 0 < gap < 0.3
        assert 0 < float((other - slope).norm()) < 0.05 * float(slope.norm())


def test_many_short_replies_read_few_copies_of_a_long_prompt() -> None:
    prompt = tuple(range(1, 1001))
    tree = PrefixTree.of([(*prompt, 2000 + reply, *range(9)) for reply in range(100)])
    calls = TreeAttention(tree, CPU).calls
    assert len(tree.tokens) == 2000
    assert sum(len(call.keys) for call in calls) < 6 * len(tree.tokens)
    assert sum(len(call.queries) for call in calls) < 1.5 * len(tree.tokens)


@given(st.lists(st.lists(st.integers(1, 2), min_size=1, max_size=12).map(tuple), min_size=1, max_size=9))
def test_every_token_attends_once_to_what_it_follows(contexts: list[tuple[int, ...]]) -> None:
    tree = PrefixTree.of(contexts)
    blocks = blocks_of(tree)
    assert sorted(block.start for batch in batches_of(blocks) for block in batch) == [block.start for block in blocks]
    attention = TreeAttention(tree, CPU)
    for window in (None, 3):
        reads: list[list[int]] = []
        for call in attention.calls:
            rows, queries, keys = call.shape
            causal = (torch.arange(keys) <= torch.arange(queries)[:, None]).expand(rows, 1, -1, -1)
            mask = call.mask(window, torch.float32)
            for row, seen in enumerate((causal if mask is None else mask == 0)[:, 0]):
                key = call.keys.view(rows, keys)[row]
                reads += [sorted(key[line].tolist()) for line in seen]
        for path in tree.paths:
            for place, token in enumerate(path):
                expected = path[: place + 1] if window is None else path[max(0, place + 1 - window) : place + 1]
                assert reads[int(attention.places[token])] == expected.tolist()


def test_the_engine_samples_from_a_model_that_takes_trees_as_before() -> None:
    asked = [Request(tuple(range(1, 20)), Sampling(max_tokens=6), seed, "attempt", str(seed)) for seed in range(3)]
    model = random_model("gemma3 with a window")
    before = TransformersEngine(model, context_limit=512).wave(asked)
    learner = Learner(model, Optimiser(measure_kl=False), PLAIN)
    assert learner.shares_prefixes
    assert TransformersEngine(model, context_limit=512).wave(asked) == before


UNSUITABLE = {
    "falcon": FalconConfig(vocab_size=61, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    "gptj": GPTJConfig(vocab_size=61, n_embd=32, n_layer=2, n_head=4, n_positions=512, rotary_dim=8),
    "mamba": MambaConfig(vocab_size=61, hidden_size=32, num_hidden_layers=2, state_size=4),
    "eager": type(CONFIGS["llama"])(**SHAPE, attn_implementation="eager"),
}


@pytest.mark.parametrize("name", UNSUITABLE)
def test_models_that_take_no_trees_are_trained_on_plain_rows_and_say_why(name: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(UNSUITABLE[name]).eval()
    implementation = model.config._attn_implementation
    learner = Learner(model, Optimiser(measure_kl=False), PLAIN)
    assert learner.unshared is not None and type(model).__name__ in learner.unshared
    assert not learner.shares_prefixes and model.config._attn_implementation == implementation
    report = learner.step(conversation_tree())
    assert report["model_tokens"] == report["model_tokens_unshared"] and report["grad_norm"] > 0


def test_a_run_of_such_a_model_says_so_and_records_it(
    toy_policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy, run = tmp_path / "policy", tmp_path / "run"
    shutil.copytree(toy_policy, policy)
    (policy / "model.safetensors").unlink()
    torch.manual_seed(0)
    shape = GPTJConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(policy)), n_embd=32, n_layer=1, n_head=2, rotary_dim=8
    )
    AutoModelForCausalLM.from_config(shape).save_pretrained(policy)
    ask = ["--env", "toy", "--policy", str(policy), "--method", "grpo", "--method.group-size", "2", "--out", str(run)]
    ask += ["--tasks-per-update", "1", "--budget.updates", "1", "--evaluation.tasks", "1", "--method.kl", "0.1"]
    assert main(ask) == 0
    why = json.loads((run / "manifest.json").read_text())["policy"]["unshared"]
    assert why == "GPTJForCausalLM does not compute attention by PyTorch's sdpa, but by eager"
    assert f"prefixes pass through the model anew for every row: {why}" in capsys.readouterr().out
    learn = json.loads((run / "metrics.jsonl").read_text())["learn"]
    assert learn["model_tokens"] == learn["model_tokens_unshared"] > 0
