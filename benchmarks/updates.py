"""What an update costs with shared prefixes and without: ``python benchmarks/updates.py``.

Each line is the same update, by the learner, with ``--optimiser.share-prefixes`` on and off in turn in one process:
trees are made, the model passes forward and backward, the weights change. Times are CPU seconds of one thread, memory
is what an update needs beside weights and optimiser states at its peak (Linux); of both the least of several rounds, so
that a busy machine matters little.

First a language model of SmolLM2-135M's shape with random weights, on made-up conversations; ``--layers`` less than 30
make a smaller one, whose vocabulary shrinks with it, so that its head has the same part in the work. Then groups that
shipped policies explore in the first update of a run, or have explored in the first and in the last one of recorded
runs (``--run``), with the run's settings and the method's loss.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaConfig

# This file's folder comes first otherwise, and its files then hide the packages of their names.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

from r3lbench import run as running  # noqa: E402
from r3lbench.baseline import PolicyLoss  # noqa: E402
from r3lbench.policies.loading import find_policy, load_policy  # noqa: E402
from r3lbench.recording import RunFolder  # noqa: E402
from r3lbench.registry import BASELINES  # noqa: E402
from r3lbench.tokens import Sample, Segment, Term, TokenForest, TokenNode  # noqa: E402
from r3lbench.traces import RecordedGroup, read_groups, recorded_updates  # noqa: E402
from r3lbench.training.learner import Learner, Optimiser  # noqa: E402

TRAJECTORIES, LENGTH = 8, 1152
SHARED = (0, 288, 576, 864, 1024, 1120)
"""Of ``LENGTH`` tokens."""
HEAD = (
    "| {} | tokens, rows by themselves | shared | CPU s, rows by themselves | shared | faster "
    "| MB, rows by themselves | shared |\n|:--|--:|--:|--:|--:|--:|--:|--:|"
)
Result = TypeVar("Result")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=30, help="of the model for made-up conversations; 0: leave out")
    parser.add_argument("--shared", type=int, nargs="*", default=SHARED, help=f"tokens in common, of {LENGTH}")
    parser.add_argument("--autocast", choices=("none", "bfloat16"), default="none")
    parser.add_argument("--env", nargs="*", default=["webshop", "alfworld", "sokoban"], help="whose groups to train on")
    parser.add_argument("--method", nargs="*", default=["grpo", "r3l"])
    parser.add_argument("--run", nargs="*", type=Path, default=[], help="folders of recorded runs of shipped policies")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.layers:
        model = language_model(given.layers)
        parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        print(HEAD.format(f"{TRAJECTORIES} x {LENGTH} tokens, {parameters:.0f} M parameters; in common"))
        settings = Optimiser(lr=1e-9, micro_batch_tokens=2 * LENGTH, autocast=given.autocast, measure_kl=False)
        for shared in given.shared:
            print(
                line(f"{shared}", model, settings, PolicyLoss(), conversations(shared, model), given.rounds), flush=True
            )
        print()
    if given.env or given.run:
        print(HEAD.format("groups of an update"))
        for env in given.env:
            for method in given.method:
                with tempfile.TemporaryDirectory() as folder:
                    run = Path(folder) / "run"
                    ask = ("--env", env, "--method", method, "--budget.updates", "1", "--evaluation.tasks", "1")
                    if running.main([*ask, "--out", str(run), "--threads", "1", "--quiet"]) == 0:
                        print(*recorded(run, given.rounds), sep="\n", flush=True)
        for run in given.run:
            for told in recorded(run, given.rounds):
                print(told, flush=True)
        print()
    print(
        f"PyTorch {torch.__version__}, transformers {transformers.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()} {sys.platform}, {torch.get_num_threads()} thread"
    )


def language_model(layers: int) -> Any:
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=layers,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152 * layers // 30,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    )
    return AutoModelForCausalLM.from_config(shape).eval()


def conversations(shared: int, model: Any) -> list[Term]:
    """Trajectories with a prompt in common, and replies that are trained; at least an eighth of each is prompt."""
    rng, forest = np.random.default_rng(0), TokenForest()

    def words(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(model.config.vocab_size, size=count).tolist())

    prompt = forest.add(None, Segment("prompt", words(shared))) if shared else None
    terms = []
    for weight in np.linspace(-1, 1, TRAJECTORIES):
        said = min(128, LENGTH - shared)
        own = LENGTH - shared - said
        node = forest.add(prompt, Segment("prompt", words(own))) if own else prompt
        turn = forest.add(node, Segment("assistant", words(said), True, (-1.0,) * said))
        terms.append(Sample(forest, (turn,), (turn,)).term(float(weight)))
    return terms


def recorded(run: Path, rounds: int) -> Iterator[str]:
    """The lines of what a run explored in its first and in its last update."""
    folder = RunFolder.open(run)
    config, updates = folder.manifest["config"], recorded_updates(folder)
    env, method = (config[of].pop("name") for of in ("env", "method"))
    model = load_policy(find_policy(config["policy"]["name"], env)).model
    # At its settings, but the weights stay where they are, so that all rounds do the same.
    settings = Optimiser.model_validate({**config["optimiser"], "lr": 1e-9})
    loss = BASELINES.load(method).model_validate(config["method"]).loss
    for update in dict.fromkeys((updates[0], updates[-1])):
        terms = [term for group in read_groups(folder, update) for term in terms_of(group)]
        yield line(f"{env}, {method}, update {update}", model, settings, loss, terms, rounds)


def terms_of(group: RecordedGroup) -> list[Term]:
    forest = TokenForest()
    for told in group.segments:
        segment = Segment(told.role, told.token_ids, told.sampled, told.logprobs)
        start = 0 if told.parent is None else forest.nodes[told.parent].end
        forest.nodes.append(TokenNode(told.id, told.parent, segment, start + len(told.token_ids)))
    return [Term(Sample(forest, term.turns, term.sampled_in), term.turns, term.weight) for term in group.terms]


class Cost(NamedTuple):
    """CPU seconds, and memory at the peak beyond what stood before in megabytes."""

    seconds: float
    megabytes: float


def cost_of(step: Callable[[], Result]) -> tuple[Result, Cost]:
    """What a call returns, and what it costs."""
    # What was freed goes back to the system, and the peak to what is there.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    stood, began = resident("VmRSS"), time.process_time()
    result = step()
    return result, Cost(time.process_time() - began, resident("VmHWM") - stood)


def resident(kind: str) -> float:
    """Memory of this process, in megabytes."""
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(told[kind].split()[0]) * 1024 / 1e6


def line(name: str, model: Any, settings: Optimiser, loss: PolicyLoss, terms: Sequence[Term], rounds: int) -> str:
    """One line of a table."""
    learners = {
        share: Learner(copy.deepcopy(model), settings.model_copy(update={"share_prefixes": share}), loss)
        for share in (False, True)
    }
    costs: dict[bool, list[Cost]] = {share: [] for share in learners}
    passed = {}
    for _ in range(rounds):
        for share, learner in learners.items():
            # The last round's gradients would count as standing.
            learner.optimizer.zero_grad(set_to_none=True)
            report, cost = cost_of(partial(learner.step, terms))
            costs[share].append(cost)
            passed[share] = report["model_tokens"]
    alone, shared = (Cost(*map(min, zip(*costs[share], strict=True))) for share in learners)
    return (
        f"| {name} | {passed[False]:,.0f} | {passed[True]:,.0f} | {alone.seconds:.3g} | {shared.seconds:.3g} "
        f"| {alone.seconds / shared.seconds:.2f}x | {alone.megabytes:,.0f} | {shared.megabytes:,.0f} |"
    )


if __name__ == "__main__":
    main()
