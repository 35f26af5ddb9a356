"""From an engine's name, as a recipe gives it, to the engine."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .base import Engine
from .kinds import kind_of
from .part import FinishedStore, Part
from .ray_place import Place
from .store import RequestStore
from .stored import StoredEngine
from .usage import Prices, Spending


def open_engine(
    spec: str,
    *,
    store: str | Path | None = None,
    prices: Prices | None = None,
    spending: Spending | None = None,
    on: str | None = None,
    part: Part | None = None,
) -> StoredEngine:
    """An engine with its request store.

    Nothing is loaded or connected before the first request that the store cannot answer.

    Args:
        spec: `builtin`, `vllm:MODEL?option=value`, `vllm-serve:MODEL?…`, `transformers:MODEL?…`,
            `http://host:port/v1#model` or `batch:https://host/v1#model`.
        store: SQLite file of the request store; None for a temporary one that goes with the process.
        prices: What the engine's tokens cost.
        spending: Caps on what is asked, perhaps shared with other engines.
        on: None for this machine, or the Ray cluster whose actors hold the engine: `ray`, `ray:auto`,
            `ray:HOST:PORT`, `ray://HOST:PORT`, each with options as `?actors=4&gpus=1`. Replies and store are the same.
        part: Of one of several jobs, what it may ask; None for everything.

    Raises:
        EngineError: If the spec or `on` is not known, or the store cannot be used.
    """
    spec = spec.strip()
    kind_of(spec)
    if on is not None:
        Place.read(on)
    base = FinishedStore(part.base) if part is not None and part.base is not None else None
    kept = RequestStore(store, base) if store is not None else RequestStore.temporary()
    opener = _reopen, (spec, None if store is None else str(store), on)
    lasting = kept if store is not None else None
    make = partial(open_inside, spec, lasting) if on is None else partial(_on_ray, spec, on)
    return StoredEngine(make, kept, opener, prices=prices, spending=spending, part=part)


def _reopen(spec: str, store: str | None, on: str | None = None) -> StoredEngine:
    return open_engine(spec, store=store, on=on)


def _on_ray(spec: str, on: str) -> Engine:
    from .ray import RayEngine

    return RayEngine(spec, on)


def open_inside(spec: str, store: RequestStore | None = None) -> Engine:
    """The engine of a known name, without a store around it; `store` is where a batch API keeps what it sent."""
    return kind_of(spec).make(spec, store)
