"""What can be said of an engine's name without starting it, and on whatever machine."""

from __future__ import annotations

from difflib import get_close_matches

from ..errors import EngineError
from .open import IN_MEMORY, KINDS
from .spec import split_options

_BATCH, _SERVERS = "batch:", ("http://", "https://")


def check_name(spec: str) -> None:
    """Refuse a name of which no engine can be made.

    Nothing is loaded, connected or looked for on this machine: whether a model is there shows when it is first asked.

    Raises:
        EngineError: If the kind is not known, with the nearest; if no model is named, or an option is not one.
    """
    spec = spec.strip()
    prefix = next((prefix for prefix in (*IN_MEMORY, _BATCH, *_SERVERS) if spec.startswith(prefix)), "")
    if prefix in IN_MEMORY:
        model, _ = split_options(spec.removeprefix(prefix))
        if not model:
            raise EngineError(f"engine {prefix!r}: no model is named; expected {prefix}MODEL, a Hub id or a folder")
    elif prefix == _BATCH:
        from .batch.engine import BatchEngine

        BatchEngine.from_spec(spec.removeprefix(_BATCH)).close()
    elif prefix:
        from .server import ServerEngine

        ServerEngine.from_spec(spec)
    elif spec != "builtin":
        raise EngineError(f"engine {spec!r}: {_hint(spec)}")


def _hint(spec: str) -> str:
    kind, colon, rest = spec.partition(":")
    known = [name.rstrip(":/") for name in (*IN_MEMORY, _BATCH, *_SERVERS)] if colon else ["builtin"]
    near = get_close_matches(kind.lower(), known, n=1)
    if not near:
        return f"expected {KINDS}"
    return f'is not an engine; did you mean "{near[0]}{colon}{rest}"?'
