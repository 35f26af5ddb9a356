"""What differs between the supported versions of vLLM, and nothing else."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import re
from functools import cache
from typing import Any

from ..errors import EngineError, MissingExtraError, one_line

LOWEST = (0, 10, 2)
HIGHEST = (0, 33)
_LOG = logging.getLogger("tagevol_hf")


def import_vllm() -> Any:
    """The package `vllm`; a warning once in a process where its version is outside the tested range.

    Raises:
        MissingExtraError: If it is not installed.
        EngineError: If it cannot be imported.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "vllm")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        import vllm
    except Exception as fault:  # a broken installation fails in many ways
        raise EngineError(f"vllm is installed but cannot be imported: {one_line(fault)}") from fault
    _warn_outside_range(str(getattr(vllm, "__version__", "")))
    return vllm


@cache
def _warn_outside_range(version: str) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if len(numbers) < 2 or numbers < (0, 2):  # a build of somebody's own, such as "dev" or "0.1.dev7"
        return
    lowest, highest = (".".join(map(str, bound)) for bound in (LOWEST, HIGHEST))
    told = f"vllm {version} is %s the versions that this package is tested with ({lowest} to {highest})"
    if numbers < LOWEST:
        _LOG.warning(f"{told % 'below'}; where it fails, update vllm")
    elif numbers[:2] > HIGHEST:
        _LOG.warning(f"{told % 'above'}; where it fails, install vllm {highest}")


def for_throughput() -> Any:
    """What `LLM` itself tells vLLM's engine, which then runs larger batches by default (1,024 for 256 on an H100)."""
    from vllm.usage.usage_lib import UsageContext

    return UsageContext.LLM_CLASS


def tokenizer_of(engine: Any) -> Any:
    """The tokenizer of vLLM's `LLMEngine`."""
    if hasattr(engine, "get_tokenizer"):
        return engine.get_tokenizer()
    return engine.get_tokenizer_group().tokenizer  # before 0.11


def kept_to_schema(schema: str) -> dict[str, Any]:
    """The argument of `SamplingParams` that keeps a reply to a JSON schema."""
    import vllm.sampling_params as api

    if hasattr(api, "StructuredOutputsParams"):
        return {"structured_outputs": api.StructuredOutputsParams(json=schema)}
    return {"guided_decoding": api.GuidedDecodingParams(json=schema)}  # before 0.11


def schema_options(backend: str, known: set[str]) -> dict[str, object]:
    """The fields of `EngineArgs` that name what keeps replies to their schemas.

    Args:
        backend: "guidance", "xgrammar", "outlines" or "auto".
        known: The fields that this version has.
    """
    # Where the grammar allows white space, a greedy model can write it without end.
    compact = backend in ("guidance", "xgrammar")  # the others do not know the option
    if "structured_outputs_config" in known:
        return {"structured_outputs_config": {"backend": backend, "disable_any_whitespace": compact}}
    return {"guided_decoding_backend": backend, "guided_decoding_disable_any_whitespace": compact}  # before 0.11


def grammar_options(backend: str, known: set[str]) -> dict[str, object]:
    """The fields of `EngineArgs` that let a schema's grammar be compiled once; none where vLLM is not made for it.

    Args:
        backend: As `schema_options`.
        known: The fields that this version has.
    """
    if backend not in ("guidance", "auto"):  # the others keep their grammars, or cannot copy them
        return {}
    try:
        from vllm.config import SchedulerConfig
        from vllm.platforms import current_platform

        fits = hasattr(SchedulerConfig, "get_scheduler_cls") and SchedulerConfig.scheduler_cls is None
        fits = fits and "scheduler_cls" in known and (current_platform.is_cpu() or current_platform.is_cuda_alike())
    except (ImportError, AttributeError):
        fits = False
    if not fits:  # an older version, or a platform that has its own scheduler
        _LOG.debug("this vLLM compiles a grammar for every request")
        return {}
    from .vllm_grammar import GrammarKeepingScheduler

    return {"scheduler_cls": GrammarKeepingScheduler}


def compiled_grammars(engine: Any) -> int | None:
    """How many grammars vLLM's `LLMEngine` has compiled; None where its core is another process or does not count."""
    core = getattr(getattr(engine, "engine_core", None), "engine_core", None)
    manager = getattr(core, "structured_output_manager", None)
    if manager is None or not hasattr(manager, "kept_grammars"):
        return None
    return 0 if manager.kept_grammars is None else int(manager.kept_grammars.compiled)


def refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that it does not take."""
    try:
        from vllm.exceptions import VLLMClientError
    except ImportError:  # a ValueError in versions that do not have it
        return (ValueError,)
    return (ValueError, VLLMClientError)


def knows_rank_patterns() -> bool:
    """Whether vLLM reads a LoRA adapter's ranks and scales by module; before, it took the general ones in silence."""
    from vllm.lora.peft_helper import PEFTHelper

    return "rank_pattern" in {field.name for field in dataclasses.fields(PEFTHelper)}
