"""vLLM's own engine options, read from text and checked against the installed version."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from ..errors import EngineError
from .spec import unknown_option

_OURS = (
    "model",
    "hf_token",
    "structured_outputs_config",
    "guided_decoding_backend",
    "guided_decoding_disable_any_whitespace",
)


def engine_args(model: str, options: Mapping[str, object], structured_backend: str) -> Any:
    """Make the `EngineArgs` of a model.

    Args:
        model: Hub id or path.
        options: Fields of `EngineArgs` by name; a string is read as the field's type.
        structured_backend: What keeps a reply to its schema: "guidance", "xgrammar", "outlines" or "auto".

    Raises:
        EngineError: If an option is not a field of `EngineArgs`, or its value not of its type.
    """
    from vllm import EngineArgs
    from vllm.platforms import current_platform

    fields = {field.name: field for field in dataclasses.fields(EngineArgs) if not field.name.startswith("_")}
    values: dict[str, object] = {}
    for name, value in options.items():
        if name == "hf_token":
            raise EngineError("engine option 'hf_token': a token is not given here; set HF_TOKEN in the environment")
        if name not in fields or name in _OURS:
            raise unknown_option(f"vllm:{model}", name, fields.keys() - _OURS)
        values[name] = _typed(f"vllm:{model}", name, value, fields[name].type)
    compact = structured_backend in ("guidance", "xgrammar")  # the others do not know the option
    defaults: dict[str, object] = {
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        # Where the grammar allows white space, a greedy model can write it without end. vLLM >= 0.11, and before:
        "structured_outputs_config": {"backend": structured_backend, "disable_any_whitespace": compact},
        "guided_decoding_backend": structured_backend,
        "guided_decoding_disable_any_whitespace": compact,
    }
    if current_platform.is_cpu():
        # A seeded request whose prompt is split over two steps ends vLLM 0.30 there ("CPU Generator does not use
        # offset"); and without it vLLM is not slower on a CPU.
        defaults["enable_chunked_prefill"] = False
    kept = {name: value for name, value in defaults.items() if name in fields}
    return EngineArgs(model=model, **{**kept, **values})


def structured_params(schema: str) -> dict[str, Any]:
    """The argument of `SamplingParams` that keeps a reply to a JSON schema, for this version of vLLM."""
    import vllm.sampling_params as api

    if hasattr(api, "StructuredOutputsParams"):  # vLLM >= 0.11
        return {"structured_outputs": api.StructuredOutputsParams(json=schema)}
    return {"guided_decoding": api.GuidedDecodingParams(json=schema)}


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
