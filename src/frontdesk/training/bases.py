"""A base model as transformers trains it: a plain folder of weights, made once from the GGUF that the desk serves. Refuses other families."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from frontdesk.errors import BadInput, TrainingFailed
from frontdesk.models import registry

FAMILIES = ("llama",)
"""GGUF architectures whose tensors the export knows how to write again."""


def base_folder(model: str, cache: Path, *, progress: Callable[[str, int, int], None] | None = None) -> Path:
    """A plain folder of weights for a registry name, a .gguf file, or such a folder itself (then it is returned as it is).

    Made once per GGUF (dequantised to 32 bits, which is exact) and kept in `cache`, named after the file's SHA-256.
    Raises BadInput for what is neither or no Llama-family model, NotFound for an unknown name, TrainingFailed without the `train` extra.
    """
    given = Path(model)
    if (given / "config.json").is_file():
        return given
    if given.is_dir():
        raise BadInput(f"{given} holds no config.json: give a model of the registry, a .gguf file or a folder that transformers saved")
    source = given if given.suffix == ".gguf" else registry.pull(model, cache, progress)
    if not source.is_file():
        raise BadInput(f"there is no file {source}: give a model of the registry (`frontdesk models list`), a .gguf file or a folder")
    require_llama(source)
    folder = cache / "training" / f"{source.stem}-{digest(source)[:12]}"
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with registry.locked(folder):
            if not (folder / "config.json").is_file():
                _convert(source, folder)
    return folder


def require_llama(source: Path) -> str:
    """The file's architecture. Raises BadInput when it is no GGUF or of a family that is not supported."""
    require_packages()
    from gguf import GGUFReader

    try:
        field = GGUFReader(source).get_field("general.architecture")
    except (ValueError, OSError, IndexError) as error:
        raise BadInput(f"{source} is no readable GGUF file ({error}): fetch it again with `frontdesk models pull`") from None
    family = str(field.contents()) if field is not None else "nothing"
    if family not in FAMILIES:
        raise BadInput(f"{source.name} is a model of the family {family!r}; only {', '.join(FAMILIES)} can be trained: choose such a model")
    return family


def require_packages() -> None:
    """Raises TrainingFailed when the `train` extra is not installed."""
    import importlib.util

    missing = [name for name in ("torch", "transformers", "peft", "gguf") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingFailed(f"training needs {', '.join(missing)}: install it with `pip install 'frontdesk[train]'`")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_digest(folder: Path) -> str:
    """SHA-256 of the GGUF that a base folder was made from; of its weights when it was made otherwise."""
    made = folder / "made_from.json"
    if made.is_file():
        return str(json.loads(made.read_text(encoding="utf-8"))["sha256"])
    weights = sorted(folder.glob("*.safetensors"))
    return hashlib.sha256("".join(digest(w) for w in weights).encode()).hexdigest()


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / "made_from.json").write_text(json.dumps({"file": source.name, "sha256": digest(source)}), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise TrainingFailed(f"the base model cannot be unpacked into {folder.parent} ({error}): free some space there") from error
    part.rename(folder)
