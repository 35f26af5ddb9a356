"""The settings of the tag normaliser: which steps are taken, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..errors import DataError
from .rule import Stem

Merging = Literal["frequency", "rule", "semantic", "association"]
Orphans = Literal["best", "rest"]

STEPS: tuple[Merging, ...] = ("frequency", "rule", "semantic", "association")

_ALPHA, _ROWS = 20, 52_000  # the papers' frequency filter, and the size of Alpaca
_LEAST = 2


@dataclass(frozen=True)
class Normalization:
    """How raw tags become labels (InsTag, arXiv 2308.07074, section 3.2); the steps are taken in the papers' order.

    Attributes:
        steps: Which of "frequency" (rare tags leave), "rule" (spellings merge), "semantic" (near-equal tags merge by
            their vectors) and "association" (tags that nearly always come together merge).
        alpha: Tags of fewer rows than this are rare, >= 1; None scales the papers' 20 to the number of rows N:
            max(2, round(20 * N / 52000)). A rare spelling of a tag that stays goes to that tag all the same.
        stem: What the rule step takes off words, see `rule_key`.
        eps: Greatest cosine distance of two neighbours in the semantic step, in 0..2 (InsTag's 0.05).
        support: Least number of rows with both tags in the association step, >= 1; None takes twice alpha (InsTag: 40
            and 20).
        confidence: Least share of a tag's rows that must have the other, in (0, 1] (InsTag's 0.99).
        orphans: A row all of whose tags are rare keeps its most frequent one ("best"), or gets no label and goes to
            the rest cluster ("rest"). It never vanishes.
    """

    steps: tuple[Merging, ...] = ("frequency", "rule", "semantic")
    alpha: int | None = None
    stem: Stem = "inflection"
    eps: float = 0.05
    support: int | None = None
    confidence: float = 0.99
    orphans: Orphans = "best"

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(step for step in STEPS if step in self.steps))

    def __contains__(self, step: Merging) -> bool:
        return step in self.steps

    def for_rows(self, rows: int) -> Normalization:
        """The same with alpha and support for so many rows.

        Raises:
            DataError: If a number is out of range.
        """
        alpha = max(_LEAST, round(_ALPHA * rows / _ROWS)) if self.alpha is None else self.alpha
        alpha = alpha if "frequency" in self else 1
        support = max(_LEAST, 2 * alpha) if self.support is None else self.support
        within = (("alpha", alpha >= 1), ("support", support >= 1), ("eps", 0 <= self.eps <= 2))
        for name, good in (*within, ("confidence", 0 < self.confidence <= 1)):
            if not good:
                raise DataError(f"normalize_tags.{name}: out of range, got {getattr(self, name)}")
        return dataclasses.replace(self, alpha=alpha, support=support)


PRESETS: Mapping[str, Normalization] = MappingProxyType(
    {
        "default": Normalization(),
        # InsTag's four steps, which TACOS names as its own
        "paper": Normalization(steps=STEPS, stem="porter"),
        # TACOS' released code: no more than a frequency filter and the stem of the whole phrase; there a row without
        # a tag that is frequent enough vanishes
        "release": Normalization(steps=("frequency", "rule"), alpha=_ALPHA, stem="phrase", orphans="rest"),
    }
)
