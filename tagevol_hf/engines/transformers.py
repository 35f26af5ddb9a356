"""A model of transformers in this process: the engine for where there is no vLLM.

It has its own decoding loop over the model's forward call. The others were measured on a CPU (transformers 5.23, 64
requests of 100 tokens, a model of 0.26 M parameters): transformers' continuous batching has no seed a request and no
way to a grammar mask a request, and gave 280 tokens/s where `generate` gave 6,400; `generate` waits for the longest
reply of each batch, and draws all rows from one generator, so that a reply depends on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError
from .base import Reply, Request, one_by_one
from .identity import file_digest, model_identity
from .spec import positive, split_options, unknown_option

if TYPE_CHECKING:
    from .transformers_model import LoadedModel

_OPTIONS = ("revision", "chat_template", "dtype", "device", "max_batch_size", "lora", "max_model_len")
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_BATCH_SIZE = {"cpu": 16}  # on any other device:
_BATCH_SIZE_ELSEWHERE = 64
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_END = object()
