"""vLLM's own engine options, read from text and checked against the installed version."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from ..errors import EngineError
from .spec import unknown_option
from .vllm_api import grammar_options, schema_options

_OURS = (
    "model",
    "hf_token",
    "structured_outputs_config",
    "guided_decoding_backend",
    "guided_decoding_disable_any_whitespace",
)


def engine_args(
    model: str, options: Mapping[str, object], structured_backend: str, adapter: Mapping[str, object] | None = None
) -> Any:
    """Make the `EngineArgs` of a model.

    Args:
        model: Hub id or path.
        options: Fields of `EngineArgs` by name; a string is read as the field's type.
        structured_backend: What keeps a reply to its schema: "guidance", "xgrammar", "outlines" or "auto".
        adapter: Fields that a LoRA adapter needs; `options` override them.

    Raises:
        EngineError: If an option is not a field of `EngineArgs`, or its value not of its type.
    """
    from vllm import EngineArgs

    fields = {field.name: field for field in dataclasses.fields(EngineArgs) if not field.name.startswith("_")}
    values: dict[str, object] = {}
    for name, value in options.items():
        if name == "hf_token":
            raise EngineError("engine option 'hf_token': a token is not given here; set HF_TOKEN in the environment")
        if name not in fields or name in _OURS:
            raise unknown_option(f"vllm:{model}", name, fields.keys() - _OURS)
        values[name] = _typed(f"vllm:{model}", name, value, fields[name].type)
    known = set(fields)
    defaults = {
        **_defaults(),
        **schema_options(structured_backend, known),
        **grammar_options(structured_backend, known),
        **(adapter or {}),
    }
    return EngineArgs(model=model, **{**defaults, **values})


def _defaults() -> dict[str, object]:
    from vllm.platforms import current_platform

    defaults: dict[str, object] = {"enable_prefix_caching": True, "disable_log_stats": True, "use_tqdm_on_load": False}
    if current_platform.is_cpu():
        # A seeded request whose prompt is split over two steps ends vLLM 0.30 there ("CPU Generator does not use
        # offset"); and without it vLLM is not slower on a CPU.
        defaults["enable_chunked_prefill"] = False
    return defaults


def _typed(engine: str, name: str, value: object, kind: Any) -> object:
    if not isinstance(value, str):
        return value
    given: object = value
    if value[:1] in ("{", "["):
        try:
            given = json.loads(value)
        except ValueError as fault:
            raise EngineError(f"engine {engine!r}: {name}={value!r} is not valid JSON: {fault}") from None
    try:
        return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(given)
    except ValidationError as fault:
        told = fault.errors()[0]["msg"]
        raise EngineError(f"engine {engine!r}: {name}={value!r}: {told}") from None
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return given  # one of vLLM's own configuration classes, which checks itself
