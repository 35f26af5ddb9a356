"""The surface of vLLM 0.10.2."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

from .engine import Seen, StandInEngine
from .names import ENGINE_ARGS_BEFORE, SAMPLING_BEFORE
from .parts import RequestOutputKind, sampling_params, shared, top


def modules(seen: Seen) -> dict[str, dict[str, Any]]:
    """vLLM 0.10.2."""

    @dataclasses.dataclass
    class GuidedDecodingParams:
        json: str | dict | None = None
        regex: str | None = None
        choice: list[str] | None = None
        grammar: str | None = None
        json_object: bool | None = None
        backend: str | None = None
        backend_was_auto: bool = False
        disable_fallback: bool = False
        disable_any_whitespace: bool = False
        disable_additional_properties: bool = False
        whitespace_pattern: str | None = None
        structural_tag: str | None = None

        def __post_init__(self) -> None:
            seen.guides.append(self.json)

    @dataclasses.dataclass
    class LoRARequest:
        lora_name: str
        lora_int_id: int
        lora_path: str = ""
        lora_local_path: str | None = None
        long_lora_max_len: int | None = None
        base_model_name: str | None = None
        tensorizer_config_dict: dict | None = None

    @dataclasses.dataclass
    class PEFTHelper:
        r: int
        lora_alpha: int
        target_modules: list[str] | str

    sampling = sampling_params(SAMPLING_BEFORE, "guided_decoding", GuidedDecodingParams, ValueError)

    class V1LLMEngine(StandInEngine):
        def __init__(self, args: Any) -> None:
            super().__init__(args, seen, sampling, LoRARequest, ValueError)
            assert args.guided_decoding_backend in ("auto", "guidance", "xgrammar", "outlines")

        def get_tokenizer_group(self) -> Any:
            return SimpleNamespace(tokenizer=self._tokenizer)

        def abort_request(self, request_ids: list[str]) -> None:
            self._abort(request_ids)

        def add_request(
            self,
            request_id: str,
            prompt: Any,
            params: Any,
            arrival_time: float | None = None,
            lora_request: Any = None,
            tokenization_kwargs: dict[str, Any] | None = None,
            trace_headers: Any = None,
            priority: int = 0,
        ) -> None:
            guide = params.guided_decoding
            self._add(request_id, prompt["prompt_token_ids"], params, lora_request, guide)

    class OldLLMEngine:
        @classmethod
        def from_engine_args(cls, engine_args: Any, usage_context: Any = None, stat_loggers: Any = None) -> Any:
            seen.contexts.append(usage_context.name)
            return OldLLMEngine() if seen.old_engine else V1LLMEngine(engine_args)

    return {
        "vllm": {**top(seen, ENGINE_ARGS_BEFORE, sampling), "LLMEngine": OldLLMEngine},
        "vllm.sampling_params": {
            "SamplingParams": sampling,
            "RequestOutputKind": RequestOutputKind,
            "GuidedDecodingParams": GuidedDecodingParams,
        },
        **shared(LoRARequest, PEFTHelper),
    }
