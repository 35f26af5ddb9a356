"""A LoRA adapter for vLLM: found, checked, and given to a loaded model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError, one_line
from .vllm_api import knows_rank_patterns

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's own choices of `max_lora_rank`
_AT_ONCE = 1 << 20  # bytes


def lora_identity(lora: str) -> str:
    """`NAME@digest` of an adapter's folder, or the Hub id; the digest covers its configuration and all its weights.

    Raises:
        EngineError: If there is no such folder, or it holds no adapter.
    """
    folder = _folder(lora)
    if folder is None:
        return lora
    digest = hashlib.sha256()
    for file in (folder / _CONFIG, folder / _WEIGHTS):
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        for block in _blocks(file):
            digest.update(block)
    return f"{folder.resolve().name}@{digest.hexdigest()[:12]}"


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that vLLM can serve.

    Attributes:
        name: As the user gave it.
        folder: Where it lies.
        rank: The highest rank of its matrices.
        layers: One more than the number of the highest layer that it changes.
    """

    name: str
    folder: Path
    rank: int
    layers: int

    @classmethod
    def find(cls, lora: str) -> Adapter:
        """Read an adapter, after fetching it where the name is a Hub id.

        Args:
            lora: A folder, or a Hub id, perhaps with a revision: `ORG/NAME@REVISION`.

        Raises:
            EngineError: If it is not there, or vLLM cannot serve it.
        """
        folder = _folder(lora) or _fetched(lora)
        config = _json(lora, folder / _CONFIG)
        _refuse_what_vllm_cannot_serve(lora, config)
        ranks = [int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())]
        layers = [int(number) for name in _tensors(lora, folder) for number in re.findall(r"\.(\d+)\.", name)[:1]]
        return cls(lora, folder.resolve(), max(ranks), max(layers, default=-1) + 1)

    def options(self) -> dict[str, object]:
        """The fields of vLLM's `EngineArgs` that make room for it.

        Raises:
            EngineError: If its rank is higher than vLLM can serve.
        """
        enough = [rank for rank in _RANKS if rank >= self.rank]
        if not enough:
            raise EngineError(f"lora {self.name!r}: its rank is {self.rank}; vLLM serves ranks up to {_RANKS[-1]}")
        return {"enable_lora": True, "max_lora_rank": enough[0]}

    def attach(self, engine: Any) -> Any:
        """Load it into vLLM's `LLMEngine`; what `add_request` takes as `lora_request`.

        Raises:
            EngineError: If it does not fit the model.
        """
        from vllm.lora.request import LoRARequest

        unfit = f"lora {self.name!r}: the adapter does not fit the model"
        trained = "give the model that it was trained on"
        layers = getattr(engine.model_config.hf_text_config, "num_hidden_layers", None)
        if isinstance(layers, int) and self.layers > layers:
            raise EngineError(f"{unfit}: it changes layer {self.layers - 1}, the model has {layers} layers; {trained}")
        request = LoRARequest("adapter", 1, str(self.folder))
        try:
            engine.add_lora(request)
        except Exception as fault:  # shapes and modules are checked all over vLLM
            raise EngineError(f"{unfit}: {one_line(fault)}; {trained}") from fault
        return request


def _folder(lora: str) -> Path | None:
    """The adapter's folder, or None for a Hub id."""
    path = Path(lora).expanduser()
    if not path.exists():
        if _HUB_ID.fullmatch(lora):
            return None
        raise EngineError(
            f"lora {lora!r}: there is no such folder ({path.absolute()}); expected a folder with {_CONFIG} and "
            f"{_WEIGHTS}, or a Hugging Face id"
        )
    _refuse_no_adapter(lora, path)
    return path


def _refuse_no_adapter(lora: str, folder: Path) -> None:
    missing = [name for name in (_CONFIG, _WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise EngineError(
            f"lora {lora!r}: no {' and no '.join(missing)} in {folder.absolute()}; expected the folder that peft's "
            "save_pretrained writes"
        )


def _fetched(lora: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = lora.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=["adapter_*"]))
    except Exception as fault:  # the Hub's errors are many, and mean the same here
        raise EngineError(f"lora {lora!r}: it cannot be fetched from the Hub: {one_line(fault)}") from fault
    _refuse_no_adapter(lora, folder)
    return folder


def _refuse_what_vllm_cannot_serve(lora: str, config: Mapping[str, Any]) -> None:
    def refuse(what: str) -> EngineError:
        return EngineError(f"lora {lora!r}: {_CONFIG} has {what}, which vLLM does not serve; merge it into the model")

    if config.get("peft_type") != "LORA":
        raise refuse(f"peft_type {config.get('peft_type')!r}")
    for name, plain in {"use_dora": False, "modules_to_save": None, "bias": "none"}.items():
        if config.get(name) not in (plain, None):
            raise refuse(f"{name}={config[name]!r}")
    patterns = [name for name in ("rank_pattern", "alpha_pattern") if config.get(name)]
    if patterns and not knows_rank_patterns():
        raise refuse(f"a {patterns[0]}")


def _json(lora: str, file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise EngineError(f"lora {lora!r}: {file.name} cannot be read: {one_line(fault)}") from None
    rank = config.get("r") if isinstance(config, dict) else None
    if not isinstance(rank, int) or rank < 1:
        raise EngineError(f"lora {lora!r}: {file.name} has r={rank!r}; expected the rank of a LoRA adapter, at least 1")
    return dict(config)


def _tensors(lora: str, folder: Path) -> list[str]:
    """The names of the adapter's tensors: the first bytes of the file hold a JSON object, after its length."""
    with (folder / _WEIGHTS).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            return [name for name in json.loads(file.read(min(length, 64 * _AT_ONCE))) if name != "__metadata__"]
        except ValueError:
            raise EngineError(f"lora {lora!r}: {_WEIGHTS} is damaged; fetch or save the adapter again") from None


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as content:
        while block := content.read(_AT_ONCE):
            yield block
