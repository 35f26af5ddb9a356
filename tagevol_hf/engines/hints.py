"""What to do about the usual reasons for which a model cannot be loaded, found in what a library says."""

from __future__ import annotations

import re

_NOT_FOUND = (
    r"not a valid model identifier|RepositoryNotFound|Repository Not Found|LocalEntryNotFound|gated repo|"
    r"[Cc]annot find (the requested files|an appropriate cached)|couldn't connect to|offline mode",
    "the model cannot be found: is its name right, HF_TOKEN set if it is gated, and the Hub in reach?",
)
_OF_VLLM = (
    (
        r"out of memory|OutOfMemory|available memory for the cache|available KV cache memory|Free memory on device|"
        r"Cannot allocate memory|insufficient memory",
        "the memory is too small: lower max_model_len or max_num_seqs, change gpu_memory_utilization (on a CPU "
        "VLLM_CPU_KVCACHE_SPACE), or share the model out with tensor_parallel_size; does another process use the GPU?",
    ),
    (r"[Aa]ddress already in use|Errno 98", "the port is in use: give another port, or none for a free one"),
    _NOT_FOUND,
    (r"does not support LoRA|LoRA rank", "the adapter does not fit: is it made for this model?"),
)


def vllm_hint(text: str) -> str:
    """The way on that vLLM's words suggest; empty where they suggest none."""
    return next((way for pattern, way in _OF_VLLM if re.search(pattern, text)), "")


def hub_hint(text: str) -> str:
    """The way on where a library says that the Hub did not give a model; else empty."""
    pattern, way = _NOT_FOUND
    return way if re.search(pattern, text) else ""


def with_way(text: str, way: str) -> str:
    """A library's words and, where one is known, the way on."""
    return f"{text.rstrip('. ')}; {way}" if way else text
