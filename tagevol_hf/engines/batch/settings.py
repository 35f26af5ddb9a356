"""How a vendor's batch API is used, with the limits of OpenAI's as defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import EngineError
from ..spec import positive, unknown_option

_NUMBERS: dict[str, type[int] | type[float]] = {
    "poll": float,
    "batches": int,
    "max_requests_per_file": int,
    "max_bytes_per_file": int,
    "patience": float,
}


@dataclass(frozen=True)
class BatchSettings:
    """Options of `batch:URL?option=value#MODEL`.

    Attributes:
        poll: Most seconds between two looks at the batches; the first looks come sooner.
        window: The time that the vendor has for a batch, in its own words.
        batches: Most batches in flight, >= 1.
        max_requests_per_file: Most requests of a batch, >= 1.
        max_bytes_per_file: Most bytes of a batch's input file.
        patience: Seconds without a usable answer of the vendor after which a run ends (its batches go on).

    Raises:
        EngineError: If a value is not valid.
    """

    poll: float = 60.0
    window: str = "24h"
    batches: int = 8
    max_requests_per_file: int = 50_000
    max_bytes_per_file: int = 100_000_000
    patience: float = 900.0

    def __post_init__(self) -> None:
        for name, kind in _NUMBERS.items():
            positive("batch", name, getattr(self, name), kind)

    @classmethod
    def read(cls, engine: str, options: Mapping[str, str]) -> BatchSettings:
        """The settings in an engine's name.

        Raises:
            EngineError: If an option is unknown or its value not valid.
        """
        values: dict[str, Any] = {}
        for name, value in options.items():
            if name in ("api_key", "key", "token"):
                raise EngineError(f"engine {engine!r}: a key is not given here; set TAGEVOL_API_KEY in the environment")
            if name == "window":
                values[name] = value
            elif name in _NUMBERS:
                values[name] = positive(engine, name, value, _NUMBERS[name])
            else:
                raise unknown_option(engine, name, ("window", *_NUMBERS))
        return cls(**values)
