"""From a policy's folder to a policy: model, tokenizer, chat template.

All come through ``from_pretrained``; none runs foreign code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from r3lbench.engines.template import ChatTemplate, Message
from r3lbench.errors import BadCheckpoint, BadConfig
from r3lbench.files import sha256_of
from r3lbench.policies.adapters import attach, merge
from r3lbench.policies.finding import CARD, Source, find_policy
from r3lbench.scaling import LoraConfig
from r3lbench.training import checkpoint

__all__ = ["CARD", "Policy", "Source", "choose_device", "find_policy", "load_policy"]


@dataclass(frozen=True)
class Policy:
    """A loaded policy.

    Attributes:
        source: Where it comes from.
        model: Hugging Face causal language model.
        tokenizer: Its tokenizer.
        template: Its chat template.
        context_limit: Most tokens it can read.
        digest: SHA-256 of the weights file; empty where there are several.
    """

    source: Source
    model: Any
    tokenizer: Any
    template: ChatTemplate
    context_limit: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """As recorded in a manifest; of a folder named from the root of this machine, its own name only."""
        name = Path(self.source.name)
        return {
            "name": name.name if name.is_absolute() else self.source.name,
            "digest": self.digest,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
        }


def load_policy(source: Source, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Policy:
    """Load model and tokenizer.

    Raises:
        BadCheckpoint: The folder does not hold a loadable model.
        TemplateUnsuitable: Its chat template cannot carry a growing conversation.
    """
    local = Path(source.path).is_dir()
    what = f"the policy {source.name!r}" + (f" ({source.path})" if source.path != source.name else "")
    # Its reports go on for pages; what is wrong is said in a line below.
    transformers.utils.logging.disable_progress_bar()
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        # None would ask whoever sits at the terminal whether foreign code may run.
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.path, trust_remote_code=False)
        model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
            source.path,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
    except Exception as error:
        # transformers raises many kinds here (OSError, ValueError, KeyError, safetensors' own); all mean the same.
        also = "" if local else "there is no such folder, and as a Hugging Face id "
        raise BadCheckpoint(f"{what} cannot be loaded: {also}{_first_sentence(error)}") from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    # Weights that are missing or do not fit would be random numbers.
    if missing := sorted(loaded["missing_keys"]):
        raise BadCheckpoint(f"{what} lacks weights, first of all {missing[0]}")
    if misfits := sorted(loaded["mismatched_keys"]):
        name, has, wants = misfits[0]
        raise BadCheckpoint(f"{what} has weights of another config.json: {name} is {tuple(has)}, not {tuple(wants)}")
    if source.checkpoint is not None:
        if source.lora:
            attach(model, LoraConfig(**source.lora), seed=0)
        checkpoint.load_weights(Path(source.checkpoint), model)
        merge(model)
    weights = Path(source.checkpoint or source.path) / "model.safetensors"
    model = model.to(device).eval()
    template = ChatTemplate(tokenizer)
    known = model.get_input_embeddings().num_embeddings
    if (last := max(*template.opening([Message("user", "a")]), template.end_id)) >= known:
        raise BadCheckpoint(f"{what} has a chat template that writes token {last}, and weights for {known} tokens only")
    return Policy(
        source=source,
        model=model,
        tokenizer=tokenizer,
        template=template,
        context_limit=int(getattr(model.config, "max_position_embeddings", 1 << 20)),
        digest=sha256_of(weights) if local and weights.is_file() else "",
    )


def _first_sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if not lines[0].rstrip().endswith(":") else " ".join(lines)


def choose_device(name: str) -> str:
    """A device's name; ``auto`` is the GPU if there is one.

    Raises:
        BadConfig: There is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise BadConfig(f"--policy.device {name}: this PyTorch sees no GPU")
        # What a name promises may still be missing; reading a number back also finds out devices that hold none.
        torch.zeros((), device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise BadConfig(f"--policy.device {name}: no such device here; use cpu, cuda or cuda:N") from error
    return name
