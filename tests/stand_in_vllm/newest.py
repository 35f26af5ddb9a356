"""The surface of vLLM 0.33.0."""

from __future__ import annotations

import dataclasses
from typing import Any

from .engine import Seen, StandInEngine
from .names import ENGINE_ARGS_NEWEST, SAMPLING_NEWEST
from .parts import RequestOutputKind, sampling_params, shared, top


def modules(seen: Seen) -> dict[str, dict[str, Any]]:
    """vLLM 0.33.0."""

    class VLLMError(Exception):
        pass

    class VLLMClientError(VLLMError):
        pass

    class VLLMValidationError(VLLMClientError):
        pass

    @dataclasses.dataclass
    class StructuredOutputsParams:
        json: str | dict | None = None
        regex: str | None = None
        choice: list[str] | None = None
        grammar: str | None = None
        json_object: bool | None = None
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
        base_model_name: str | None = None
        load_inplace: bool = False
        is_3d_lora_weight: bool = False

    @dataclasses.dataclass
    class PEFTHelper:
        r: int
        lora_alpha: int
        target_modules: list[str] | str
        rank_pattern: dict[str, int] = dataclasses.field(default_factory=dict)
        alpha_pattern: dict[str, float] = dataclasses.field(default_factory=dict)

    sampling = sampling_params(SAMPLING_NEWEST, "structured_outputs", StructuredOutputsParams, VLLMValidationError)

    class LLMEngine(StandInEngine):
        def __init__(self, args: Any) -> None:
            super().__init__(args, seen, sampling, LoRARequest, VLLMValidationError)
            config = args.structured_outputs_config
            assert config.keys() <= {"backend", "disable_any_whitespace", "disable_additional_properties"}
            assert config["backend"] in ("xgrammar", "guidance") or not config["disable_any_whitespace"]

        @classmethod
        def from_engine_args(
            cls,
            engine_args: Any,
            usage_context: Any = None,
            stat_loggers: Any = None,
            enable_multiprocessing: bool = False,
        ) -> Any:
            seen.contexts.append(usage_context.name)
            return cls(engine_args)

        def get_tokenizer(self) -> Any:
            return self._tokenizer

        def abort_request(self, request_ids: list[str], internal: bool = False) -> None:
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
            session_id: str | None = None,
            prompt_text: str | None = None,
            kv_hints: Any = None,
        ) -> str:
            assert prompt["type"] == "token"  # a prompt without it is announced to be refused
            guide = params.structured_outputs
            self._add(request_id, prompt["prompt_token_ids"], params, lora_request, guide)
            return f"{request_id}-1234abcd"  # the name inside; outputs carry the one that was given

    return {
        "vllm": {**top(seen, ENGINE_ARGS_NEWEST, sampling), "LLMEngine": LLMEngine},
        "vllm.sampling_params": {
            "SamplingParams": sampling,
            "RequestOutputKind": RequestOutputKind,
            "StructuredOutputsParams": StructuredOutputsParams,
        },
        "vllm.exceptions": {"VLLMClientError": VLLMClientError, "VLLMValidationError": VLLMValidationError},
        **shared(LoRARequest, PEFTHelper),
    }
