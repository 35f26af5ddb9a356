"""A package `vllm` without a model, for versions that are not installed: it takes what they take and nothing else.

Read from the sources of vLLM 0.10.2 and 0.33.0: the fields of `EngineArgs` and `SamplingParams`, the parameters of
`LLMEngine`'s methods, where structured output and LoRA adapters are given, which exceptions there are. Its "model"
writes back what it was asked, as JSON where a schema was given, one character a token.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import Any

import pytest

from . import before, newest
from .engine import CONTEXT, LAYERS, Seen

__all__ = ["CONTEXT", "LAYERS", "Seen", "install"]


def install(monkeypatch: pytest.MonkeyPatch, version: str, **given: Any) -> Seen:
    """Put `vllm` of a version, "0.10.2" or "0.33.0" or a number near them, into this process for one test."""
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    seen = Seen(version, **given)
    surface = before if tuple(map(int, version.split(".")[:2])) < (0, 11) else newest
    for name, content in surface.modules(seen).items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return seen
