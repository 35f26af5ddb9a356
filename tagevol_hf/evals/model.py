"""From what a user calls a model to the engine that answers for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..engines.kinds import usage
from ..errors import DataError, RecipeError

ENGINES = ("vllm", "vllm-serve", "transformers")
_NAMES = ("http://", "https://", *(f"{engine}:" for engine in ENGINES))


@dataclass(frozen=True, slots=True)
class Model:
    """A model to evaluate.

    Attributes:
        name: As the user gave it, or the folder that was found in a run folder.
        spec: The engine's name, as `open_engine` takes it.
        folder: The model's own folder; None for a Hub id or an endpoint.
    """

    name: str
    spec: str
    folder: Path | None = None


def find_model(what: str, engine: str = "vllm") -> Model:
    """The model that is meant.

    Args:
        what: Folder of a model or of a LoRA adapter, a run folder in which one model was trained, a Hub id, an endpoint
            (`http://HOST:PORT/v1#MODEL`), or an engine's whole name.
        engine: "vllm", "vllm-serve" or "transformers", perhaps with options behind a question mark; for all that is
            not an engine already.

    Raises:
        DataError: If a folder holds no model, or a run folder not just one.
        RecipeError: If the engine is not known.
    """
    if what == "builtin" or what.startswith(_NAMES):
        return Model(what, what)
    kind, _, options = engine.partition("?")
    if kind not in ENGINES:
        raise RecipeError(f"--engine {engine!r}: expected one of {', '.join(ENGINES)}, with ?option=value if need be")
    path = Path(what).expanduser()
    if not path.exists():
        if what.startswith((".", "/", "~")) or what.count("/") > 1:
            raise DataError(f"{what}: no such folder; expected a model's folder, a run folder, a Hub id or {usage()}")
        return Model(what, _spec(kind, what, options))
    path = _trained(path) if (path / "run.json").is_file() else path
    adapter = path / "adapter_config.json"
    if adapter.is_file():
        return Model(str(path), _spec(kind, _base_of(adapter), options, lora=str(path)), path)
    if not (path / "config.json").is_file():
        raise DataError(f"{path}: no model there (no config.json, no adapter_config.json)")
    return Model(str(path), _spec(kind, str(path), options), path)


def _spec(kind: str, model: str, options: str, **more: str) -> str:
    joined = "&".join([*filter(None, [options]), *(f"{name}={quote(value)}" for name, value in more.items())])
    return f"{kind}:{model}" + (f"?{joined}" if joined else "")


def _trained(run: Path) -> Path:
    """The only model that was trained into a run folder."""
    found = sorted(file.parent for file in run.glob("*/train.json"))
    if not found:
        raise DataError(f"{run}: no model was trained there; train one with: tagevol train {run} --sft RECIPE")
    if len(found) > 1:
        raise DataError(f"{run}: several models were trained there; name one: {', '.join(map(str, found))}")
    return found[0]


def _base_of(adapter: Path) -> str:
    try:
        base = json.loads(adapter.read_text("utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as fault:
        raise DataError(f"{adapter}: cannot be read ({fault})") from fault
    if not base:
        raise DataError(f"{adapter}: does not say of which model it is (base_model_name_or_path)")
    return str(base)
