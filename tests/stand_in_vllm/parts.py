"""What the surfaces have in common."""

from __future__ import annotations

import dataclasses
import enum
from types import SimpleNamespace
from typing import Any

from .engine import Seen

_TYPES: dict[str, Any] = {  # of those fields that tests give as text
    "max_model_len": int | None,
    "max_num_seqs": int | None,
    "max_lora_rank": int,
    "tensor_parallel_size": int,
    "enforce_eager": bool,
    "enable_lora": bool,
}


class UsageContext(enum.Enum):
    LLM_CLASS = "LLM_CLASS"
    ENGINE_CONTEXT = "ENGINE_CONTEXT"


class RequestOutputKind(enum.Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


def top(seen: Seen, fields: str, sampling: type) -> dict[str, Any]:
    described = [(name, _TYPES.get(name, Any), dataclasses.field(default=None)) for name in fields.split()]
    arguments = dataclasses.make_dataclass("EngineArgs", described)
    return {"__version__": seen.version, "EngineArgs": arguments, "SamplingParams": sampling}


def shared(lora_request: type, peft_helper: type) -> dict[str, dict[str, Any]]:
    return {
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: True)},
        "vllm.usage": {},
        "vllm.usage.usage_lib": {"UsageContext": UsageContext},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": lora_request},
        "vllm.lora.peft_helper": {"PEFTHelper": peft_helper},
    }


def sampling_params(fields: str, guide: str, guide_type: type, refusal: type[Exception]) -> type:
    """`SamplingParams`: the fields of the version, and what is checked of those that are used."""

    def check(self: Any) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise refusal(f"max_tokens must be at least 1, got {self.max_tokens}.")
        if not 0 < self.top_p <= 1:
            raise refusal(f"top_p must be in (0, 1], got {self.top_p}.")
        assert getattr(self, guide) is None or type(getattr(self, guide)) is guide_type

    defaults = {"top_p": 1.0, "temperature": 1.0, "max_tokens": 16}
    described = [(name, Any, dataclasses.field(default=defaults.get(name))) for name in fields.split()]
    return dataclasses.make_dataclass("SamplingParams", described, namespace={"__post_init__": check})
