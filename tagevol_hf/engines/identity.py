"""Which model answers: a name that changes with its content and not with its place."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import EngineError

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_READ_WHOLE = (
    "config.json",
    "params.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "tekken.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "consolidated*.pth", "*.gguf")
_SAMPLE = 64 * 1024  # bytes read at the start, the middle and the end of a weight file


def model_identity(model: str, revision: str | None = None, quantization: str | None = None) -> str:
    """`MODEL[@revision][+quantization]` of a Hub id, or `NAME@digest[+quantization]` of a local folder.

    The digest has 12 hex digits; it covers the configuration, the tokenizer, and of each weight file the name, the
    size and three samples, so that a folder that is moved keeps its identity and one that is retrained does not.

    Raises:
        EngineError: If the name is a path, and no model is there.
    """
    path = Path(model).expanduser()
    if path.exists():
        name = f"{path.resolve().name}@{_digest(path)}"
    elif not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise EngineError(
            f"model {model!r}: there is no such folder ({path.absolute()}); expected a folder with config.json and "
            "weights, or a Hugging Face id such as Qwen/Qwen2.5-7B-Instruct"
        )
    else:
        name = f"{model}@{revision}" if revision else model
    return f"{name}+{quantization}" if quantization else name


def file_digest(path: Path) -> str:
    """12 hex digits of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _digest(path: Path) -> str:
    """12 hex digits of what a local model is."""
    digest = hashlib.sha256()
    if path.is_file():
        _add_weights(digest, path)
        return digest.hexdigest()[:12]
    weights = sorted({file for pattern in _WEIGHTS for file in path.glob(pattern)})
    if not weights or not ((path / "config.json").exists() or (path / "params.json").exists()):
        missing = "weights (*.safetensors)" if weights == [] else "config.json"
        raise EngineError(f"model {str(path)!r}: no {missing} in this folder; expected a Hugging Face model folder")
    for file in (path / name for name in _READ_WHOLE):
        if file.exists():
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    for file in weights:
        _add_weights(digest, file)
    return digest.hexdigest()[:12]


def _add_weights(digest: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{path.name}\0{size}\0".encode())
    with path.open("rb") as file:
        for start in (0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)):
            file.seek(start)
            digest.update(file.read(_SAMPLE))
