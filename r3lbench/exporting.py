"""A trained policy as a Hugging Face folder that stands by itself.

It holds weights as safetensors, tokenizer, chat template, generation config, the card that people read (README.md), the
one that our commands read (policy.json), and ``r3lbench.json``: the run's manifest and summary, and the digests of the
files, by which a folder of our making is told from one that somebody has put something into.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3lbench.errors import BadCheckpoint, R3LBenchError
from r3lbench.files import sha256_of, sync, to_json, write_atomic
from r3lbench.modelcard import model_card
from r3lbench.policies.finding import CARD, find_policy, is_run
from r3lbench.recording import RunFolder
from r3lbench.results import absolute_paths, read

FORMAT = "r3lbench-export-1"
RECORD = "r3lbench.json"


def check_room(folder: Path) -> None:
    """Make sure that a policy can be exported to a folder.

    Raises:
        R3LBenchError: It holds anything but an export as it was written, or lies inside a run's record.
    """
    if inside := next((parent for parent in (folder, *folder.absolute().parents) if _is_record(parent)), None):
        raise R3LBenchError(f"{folder} lies in the record {inside}, which is sealed; export to a folder outside of it")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        record = json.loads((folder / RECORD).read_bytes())
        digests = dict(record["files"]) if record["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        digests = {}
    for file in sorted(folder.rglob("*") if folder.is_dir() else [folder]):
        name = file.relative_to(folder).as_posix()
        if name != RECORD and (not file.is_file() or digests.get(name) != sha256_of(file)):
            raise R3LBenchError(f"{file} was not written by an export; nothing was overwritten, give another folder")


def export(run: RunFolder, folder: Path, command: str) -> None:
    """Write the policy that a run trained; what an export has left there before is replaced.

    Args:
        run: Of a complete run.
        folder: Where to write.
        command: What repeats the run, for the card.

    Raises:
        BadCheckpoint: The run is not complete, or damaged.
        R3LBenchError: See ``check_room``; or the folder cannot be written.
    """
    check_room(folder)
    source = find_policy(str(run.path), run.names(("env",))["env"])
    record, manifest = read(run), _without_roots(run.manifest)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            fresh = Path(temporary) / "new"
            shutil.copytree(source.path, fresh)
            _write_generation_config(fresh, run.manifest["config"])
            write_atomic(fresh / CARD, to_json(_without_roots(source.card), indent=2))
            write_atomic(fresh / "README.md", model_card(record, manifest, command).encode())
            names = sorted(file.relative_to(fresh).as_posix() for file in fresh.rglob("*") if file.is_file())
            digests = {name: sha256_of(fresh / name) for name in names}
            content = {"format": FORMAT, "manifest": manifest, "result": run.result, "files": digests}
            write_atomic(fresh / RECORD, to_json(content, indent=2))
            for name in names:
                sync(fresh / name)
            if folder.exists():
                folder.rename(Path(temporary) / "old")
            fresh.rename(folder)
            sync(folder.parent)
    except OSError as error:
        raise R3LBenchError(f"nothing can be exported to {folder}: {error.strerror or error}") from error


def _is_record(folder: Path) -> bool:
    if not is_run(folder):
        return False
    try:
        RunFolder.open(folder)
    except BadCheckpoint:
        # Many things have a manifest.json.
        return False
    return True


def _write_generation_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Replies as the run evaluated them: how they are drawn, and what ends them."""
    # Imported on use: they take seconds, which a run has spent anyway and a refusal need not wait for.
    from transformers import AutoTokenizer, GenerationConfig

    from r3lbench.engines.template import ChatTemplate

    tokenizer = AutoTokenizer.from_pretrained(folder)
    stops = ChatTemplate(tokenizer).stop_ids
    pad = stops[-1] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    GenerationConfig(
        do_sample=True,
        temperature=config["evaluation"]["temperature"],
        top_k=0,
        top_p=1.0,
        max_new_tokens=config["agent"].get("max_tokens"),
        eos_token_id=list(stops) if len(stops) > 1 else stops[0],
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
    ).save_pretrained(folder)


def _without_roots(value: Any) -> Any:
    """The same JSON values, with files that are named from the root of this machine by their own name only."""
    if isinstance(value, Mapping):
        return {key: _without_roots(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_roots(item) for item in value]
    return Path(value).name if any(absolute_paths(value)) else value
