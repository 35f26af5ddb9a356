"""The kinds of engines by how their names begin; a new engine is a file of this folder and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any

from ..errors import EngineError
from .base import Engine
from .spec import split_options
from .store import RequestStore

Make = Callable[[str, RequestStore | None], Engine]


@dataclass(frozen=True)
class Kind:
    """One kind of engine.

    Attributes:
        begins: What its names begin with.
        usage: How it is written, with a few words on what it is.
        make: From the whole name, and the store (where a batch API keeps what it sent), to the engine.
        check: Refuses a name of which no engine can be made, on whatever machine: loads and connects nothing.
        in_memory: Whether it holds a model on this machine, so that two of them would share its GPU.
    """

    begins: tuple[str, ...]
    usage: str
    make: Make
    check: Callable[[str], None]
    in_memory: bool = False


def _class(module: str, name: str) -> Any:
    """An engine's class; its file is read only when such an engine is wanted."""
    return getattr(import_module(f".{module}", __package__), name)


def _builtin(spec: str, store: RequestStore | None) -> Engine:
    engine: Engine = _class("builtin", "BuiltinEngine")()
    return engine


def _server(spec: str, store: RequestStore | None) -> Engine:
    engine: Engine = _class("server", "ServerEngine").from_spec(spec)
    return engine


def _batch(spec: str, store: RequestStore | None) -> Engine:
    engine: Engine = _class("batch.engine", "BatchEngine").from_spec(spec.removeprefix("batch:"), store=store)
    return engine


def _held(prefix: str, module: str, name: str, spec: str, store: RequestStore | None) -> Engine:
    engine: Engine = _class(module, name).from_spec(spec.removeprefix(prefix))
    return engine


def _names_model(prefix: str, spec: str) -> None:
    if not split_options(spec.removeprefix(prefix))[0]:
        raise EngineError(f"engine {prefix!r}: no model is named; expected {prefix}MODEL, a Hub id or a folder")


def _in_memory(prefix: str, module: str, name: str, what: str = "") -> Kind:
    usage = f"{prefix}MODEL[?option=value&…]{what}"
    return Kind((prefix,), usage, partial(_held, prefix, module, name), partial(_names_model, prefix), in_memory=True)


BUILTIN = "builtin"
KINDS = (
    Kind((BUILTIN,), "builtin (rules, no language model)", _builtin, lambda spec: None),
    _in_memory("vllm:", "vllm", "VLLMEngine"),
    _in_memory("vllm-serve:", "vllm_serve", "VLLMServeEngine", " (vLLM's server as a child)"),
    _in_memory("transformers:", "transformers", "TransformersEngine"),
    Kind(
        ("http://", "https://"),
        "http(s)://HOST:PORT/v1[#MODEL] (several servers separated by commas)",
        _server,
        lambda spec: _server(spec, None).close(),
    ),
    Kind(
        ("batch:",),
        "batch:https://HOST/v1#MODEL (a vendor's batch API)",
        _batch,
        lambda spec: _batch(spec, None).close(),
    ),
)
IN_MEMORY = tuple(prefix for kind in KINDS if kind.in_memory for prefix in kind.begins)


def usage() -> str:
    """How each kind of name is written."""
    return ", ".join(kind.usage for kind in KINDS)


def kind_of(spec: str) -> Kind:
    """The kind of a name.

    Raises:
        EngineError: If there is none; with the nearest, or all that there are.
    """
    for kind in KINDS:
        if spec == BUILTIN if kind.begins == (BUILTIN,) else spec.startswith(kind.begins):
            return kind
    raise EngineError(f"engine {spec!r}: {_hint(spec)}")


def check_name(spec: str) -> None:
    """Refuse a name of which no engine can be made.

    Nothing is loaded, connected or looked for on this machine: whether a model is there shows when it is first asked.

    Raises:
        EngineError: If the kind is not known, with the nearest; if no model is named, or an option is not one.
    """
    spec = spec.strip()
    kind_of(spec).check(spec)


def is_language_model(spec: str) -> bool:
    """Whether a language model stands behind an engine's name."""
    return spec.strip() != BUILTIN


def _hint(spec: str) -> str:
    begun, colon, rest = spec.partition(":")
    known = [name.rstrip(":/") for kind in KINDS for name in kind.begins if name.endswith((":", "/")) == bool(colon)]
    near = get_close_matches(begun.lower(), known, n=1)
    return f'is not an engine; did you mean "{near[0]}{colon}{rest}"?' if near else f"expected {usage()}"
