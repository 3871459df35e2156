"""A GRPO step of TRL's and one of ours on the same completions: ``python benchmarks/trl_step.py``.

TRL's trainer runs its own loop, and its ``rollout_func`` hands over completions that are given, in place of sampling
some. After each of its steps our learner takes one on the same prompts, completions and returns, from the same weights
on, in the same process. Timed is all of a step but sampling: of TRL's from ``on_step_begin`` to ``on_step_end``, which
is rewards, advantages, log-probabilities of the reference policy, forward and backward passes, clipping, AdamW and its
metrics; of ours advantages, trees, the same passes, clipping, AdamW and its report. Times are CPU seconds of one
thread, the least of several rounds after a first one. Losses and gradients of all rounds are compared, and the weights
that both have come to.

Both are GRPO as this suite presets it. In TRL's words: ``loss_type="dapo"`` (the mean over all tokens of the step),
``scale_rewards="group"``, ``beta=0.01``, ``use_bias_correction_kl=False`` (the gradient of the KL estimate itself),
``epsilon=0.2``, ``num_iterations=1``, ``max_grad_norm=1.0``. Returns are up to 1000, so that it does not matter that
TRL adds 1e-4 to their deviation, and we 1e-6. TRL's gradient checkpointing, which would make its steps slower, is off.

The policy is a language model of SmolLM2-135M's shape with random weights; ``--layers`` less than 30 make a smaller
one, whose vocabulary shrinks with it. The last line is what the policy that WebShop ships explores in the first update
of a run: whole episodes, of which ``env_mask`` tells TRL what the model wrote.

TRL lives in an environment of its own (``--environment``, about 1.5 GB), which is made on first use: PyTorch, TRL and
this package, in the versions of ``constraints.txt``.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback

# This file's folder comes first otherwise, and its files then hide the packages of their names.
sys.path.sort(key=lambda path: Path(path).resolve() == Path(__file__).resolve().parent)

from updates import language_model

from r3lbench import run as running
from r3lbench.baselines.grpo import GRPO, z_scores
from r3lbench.policies.loading import find_policy
from r3lbench.recording import RunFolder
from r3lbench.tokens import OldLogprobs, Sample, Segment, TokenForest
from r3lbench.traces import RecordedGroup, read_groups
from r3lbench.training.learner import Learner, Optimiser

TRL = "1.16.0"
ROOT = Path(__file__).resolve().parents[1]
LR = 1e-4
SCALE = 1000.0
"""Of returns."""


HEAD = (
    "| a step | trained tokens | passed, TRL | r3lbench | CPU s, TRL | r3lbench | faster "
    "| apart: loss | gradient | weights |\n|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True)
class Episode:
    """An attempt as a prompt and what came after it.

    Attributes:
        prompt: Its tokens.
        completion: The tokens behind it.
        written: Which of those the model wrote.
        ret: The return.
    """

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    written: tuple[bool, ...]
    ret: float


Groups = Sequence[Sequence[Episode]]
"""Attempts at several tasks, equally many at each."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=30, help="of the model; 0: leave its lines out")
    parser.add_argument(
        "--groups", nargs="*", default=["8x1024+128", "4x90+64"], help="completions x tokens of the prompt + of each"
    )
    parser.add_argument("--rows", type=int, default=2, help="of a pass in TRL; as many tokens here")
    parser.add_argument("--autocast", choices=("none", "bfloat16"), default="none")
    parser.add_argument("--webshop", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", type=Path, default=ROOT / "build" / f"trl-{TRL}", help="folder")
    given = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        sys.exit(subprocess.run([environment(given.environment), __file__, *sys.argv[1:]], check=False).returncode)
    torch.set_num_threads(1)
    how = given.rows, given.autocast, given.rounds
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(find_policy("tiny", "webshop").path)
        if given.layers:
            model = language_model(given.layers)
            millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
            model.save_pretrained(f"{folder}/model")
            # Nothing is said in its words.
            AutoTokenizer.from_pretrained(tiny).save_pretrained(f"{folder}/model")
        for sizes in given.groups if given.layers else ():
            groups = [made_up(sizes, model.config.vocab_size)]
            print(line(f"{sizes}, {millions:.0f} M parameters", Path(folder) / "model", groups, *how), flush=True)
        if given.webshop:
            groups = explored(Path(folder) / "run")
            print(line(f"WebShop, {len(groups)} x {len(groups[0])} episodes", tiny, groups, *how), flush=True)
    import trl

    print(
        f"\nTRL {trl.__version__}, PyTorch {torch.__version__}, transformers {transformers.__version__}, "
        f"Python {platform.python_version()}, {platform.machine()} {sys.platform}, {torch.get_num_threads()} thread; "
        f"{given.rows} rows in a pass, autocast {given.autocast}"
    )


def environment(folder: Path) -> Path:
    """The Python of TRL's environment, which is made where it is not there."""
    python, complete = folder / "bin" / "python", folder / ".installed"
    if not complete.is_file():
        print(f"installing TRL {TRL}, PyTorch and r3lbench in {folder}", flush=True)
        venv.create(folder, with_pip=True)
        constraints = ROOT / "constraints.txt"
        torch_first = next(line for line in constraints.read_text().splitlines() if line.startswith("torch=="))
        for what in ([torch_first], ["-e", str(ROOT), f"trl=={TRL}"]):
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", constraints, *what], check=True)
        complete.touch()
    return python


def made_up(sizes: str, vocabulary: int) -> list[Episode]:
    """A group of random tokens; every other completion succeeds."""
    count, _, lengths = sizes.partition("x")
    told, said = map(int, lengths.split("+"))
    rng = np.random.default_rng(0)

    def words(length: int) -> tuple[int, ...]:
        return tuple(rng.integers(vocabulary, size=length).tolist())

    prompt = words(told)
    return [Episode(prompt, words(said), (True,) * said, SCALE * (place % 2)) for place in range(int(count))]


def explored(run: Path) -> list[list[Episode]]:
    """The groups of the first update of GRPO on WebShop, with the shipped policy and its settings."""
    ask = ("--env", "webshop", "--method", "grpo", "--budget.updates", "1", "--evaluation.tasks", "1")
    if running.main([*ask, "--out", str(run), "--threads", "1", "--quiet"]):
        sys.exit("the run has failed")
    return [episodes_of(group) for group in read_groups(RunFolder.open(run), 1)]


def episodes_of(group: RecordedGroup) -> list[Episode]:
    """The attempts of a group, each of them a conversation that grows."""
    episodes = []
    for attempt, term in zip(group.attempts, group.terms, strict=True):
        path = [group.segments[term.turns[-1]]]
        while (parent := path[0].parent) is not None:
            path.insert(0, group.segments[parent])
        prompt, *rest = path
        episodes.append(
            Episode(
                prompt.token_ids,
                tuple(token for part in rest for token in part.token_ids),
                tuple(part.sampled for part in rest for _ in part.token_ids),
                SCALE * sum(group.states[state].reward for state in group.path(attempt.leaf)),
            )
        )
    return episodes


class Ours:
    """Our learner, and the groups as it knows them.

    Args:
        model: Folder of the policy.
        groups: What to learn from.
        tokens: Most that pass through the model at once.
        autocast: As ``--optimiser.autocast``.
    """

    def __init__(self, model: Path, groups: Groups, tokens: int, autocast: str) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        settings = Optimiser.model_validate({"lr": LR, "micro_batch_tokens": tokens, "autocast": autocast})
        self.learner = Learner(self.model, settings, GRPO().loss)
        self._groups = [([episode.ret for episode in group], samples_of(group)) for group in groups]

    def step(self) -> dict[str, Any]:
        """Advantages and an update."""
        return self.learner.step(
            [
                sample.term(advantage, old=OldLogprobs.RECOMPUTED)
                for returns, samples in self._groups
                for sample, advantage in zip(samples, z_scores(returns, normalise=True), strict=True)
            ]
        )


def samples_of(group: Sequence[Episode]) -> list[Sample]:
    """A group's episodes in a token forest, as a rollout leaves them."""
    forest, samples = TokenForest(), []
    for episode in group:
        node, turns = forest.add(None, Segment("prompt", episode.prompt)), []
        for written, told in groupby(zip(episode.written, episode.completion, strict=True), itemgetter(0)):
            tokens = tuple(token for _, token in told)
            if written:
                node = forest.add(node, Segment("assistant", tokens, True, (0.0,) * len(tokens)))
                turns.append(node)
            else:
                node = forest.add(node, Segment("prompt", tokens))
        samples.append(Sample(forest, tuple(turns), tuple(turns)))
    return samples


class Turns(TrainerCallback):  # type: ignore[misc]
    """Times TRL's steps, and after each takes one of ours.

    Args:
        ours: The other side.

    Attributes:
        seconds: Of the steps so far, (TRL's, ours).
        reports: What our learner told of its steps.
        gap: The largest difference of the gradients of a step, as ``difference`` measures it.
    """

    def __init__(self, ours: Ours) -> None:
        self.seconds: list[tuple[float, float]] = []
        self.reports: list[dict[str, Any]] = []
        self.gap = 0.0
        self._ours = ours
        self._gradient: list[Tensor] = []
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """TRL begins."""
        self._began = time.process_time()

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        """TRL's gradient is there, scaled down already where it is too long."""
        began = time.process_time()
        self._gradient = gradient_of(model)
        self._began += time.process_time() - began

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """TRL ends; our turn."""
        ended = time.process_time()
        self.reports.append(self._ours.step())
        self.seconds.append((ended - self._began, time.process_time() - ended))
        self.gap = max(self.gap, difference(gradient_of(self._ours.model), self._gradient))


def gradient_of(model: Any) -> list[Tensor]:
    return [parameter.grad.detach().clone() for parameter in model.parameters()]


def difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Norm of the difference, over the norm of what is wanted."""
    apart = sum(float((one - other).double().square().sum()) for one, other in zip(found, wanted, strict=True))
    return float((apart / sum(float(other.double().square().sum()) for other in wanted)) ** 0.5)


def line(name: str, model: Path, groups: Groups, rows: int, autocast: str, rounds: int) -> str:
    """One line of the table."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    episodes = [episode for group in groups for episode in group]
    # TRL pads all rows of a step alike: prompts in front, completions behind.
    width = max(len(episode.prompt) for episode in episodes) + max(len(episode.completion) for episode in episodes)
    ours = Ours(model, groups, rows * width, autocast)
    turns = Turns(ours)
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=1 + rounds,
            num_generations=len(groups[0]),
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=len(episodes) // rows,
            loss_type="dapo",
            scale_rewards="group",
            beta=0.01,
            use_bias_correction_kl=False,
            epsilon=0.2,
            learning_rate=LR,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            gradient_checkpointing=False,
            bf16=autocast == "bfloat16",
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
            reward_funcs=returned,
            args=settings,
            train_dataset=Dataset.from_dict({"prompt": [str(place) for place in range(len(groups))]}),
            processing_class=AutoTokenizer.from_pretrained(model),
            rollout_func=Given(groups),
            callbacks=[turns],
        )
        trainer.remove_callback(PrinterCallback)
        start = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        trainer.train()
    losses = [told["loss"] for told in trainer.state.log_history if "loss" in told]
    loss = max(abs(told["loss"] - other) for told, other in zip(turns.reports, losses, strict=True))
    moved, other = (
        [after.detach() - before for after, before in zip(of.parameters(), start, strict=True)]
        for of in (ours.model, trainer.model)
    )
    theirs, own = (min(of) for of in zip(*turns.seconds[1:], strict=True))
    report = turns.reports[0]
    return (
        f"| {name} | {report['trained_tokens']:,.0f} | {len(episodes) * width:,} | {report['model_tokens']:,.0f} "
        f"| {theirs:.3g} | {own:.3g} | {theirs / own:.2f}x "
        f"| {loss:.1g} | {turns.gap:.1g} | {difference(moved, other):.1g} |"
    )


class Given:
    """TRL's ``rollout_func``: hands over what is given.

    Args:
        groups: By the number that the prompt is.
    """

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        """An episode for each prompt."""
        seen: Counter[str] = Counter()
        episodes = []
        for prompt in prompts:
            episodes.append(self._groups[int(prompt)][seen[prompt]])
            seen[prompt] += 1
        return {
            "prompt_ids": [list(episode.prompt) for episode in episodes],
            "completion_ids": [list(episode.completion) for episode in episodes],
            "logprobs": [[0.0] * len(episode.completion) for episode in episodes],
            "env_mask": [list(map(int, episode.written)) for episode in episodes],
            "ret": [episode.ret for episode in episodes],
        }


def returned(ret: list[float], **_: Any) -> list[float]:
    """TRL's reward function."""
    return ret


if __name__ == "__main__":
    main()
