"""The values that a story is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """What one step did with the row, or with its seed.

    Attributes:
        number: Of the step, from 1.
        step: Its name.
        id: The row that it happened to: the row itself or its seed.
        facts: Column → value, of those that the step wrote or changed; empty values are left out.
    """

    number: int
    step: str
    id: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Tag:
    """An open tag, and the label that normalisation made of it; None where it was dropped or is not known yet."""

    tag: str
    explanation: str
    label: str | None
    why: str


@dataclass(frozen=True)
class Order:
    """One comparison of a pair, in one order.

    Attributes:
        place: Where the row was shown: "first" or "second".
        own: Its mark, in 1..100; None where the comparison was rejected.
        other: The other's.
        analysis: The judge's words.
        fault: Why the comparison was rejected; else empty.
    """

    place: str
    own: float | None
    other: float | None
    analysis: str
    fault: str


@dataclass(frozen=True)
class Meeting:
    """All comparisons with one other row; `across` where the other is of another cluster."""

    other: str
    instruction: str
    response: str
    across: bool
    orders: tuple[Order, ...]
    verdict: str


@dataclass(frozen=True)
class Child:
    """A row that was evolved from this one; `made_by` holds its budget or its round."""

    id: str
    instruction: str
    made_by: Mapping[str, Any]
    fate: str
    score: float | None


@dataclass(frozen=True)
class Story:
    """Everything that a run folder says of one row.

    Attributes:
        run: The run folder.
        status: That of the run: "complete", "running" or "stopped".
        fate: "selected", "not chosen", "rejected", "evolved" (its children took its place), "on its way" or "gone"
            (it left, and the run did not get so far as to save why).
        why: The same in words.
        seed_id: The row that it was evolved from, or "".
        parts: What the steps did, in order; those of the seed first.
        tags: Open tags before and after normalisation.
        clusters: Number → name.
        comparisons: By the other row.
        rejection: The mark of a rejected row, with the raw reply.
        children: What was evolved from it.
    """

    id: str
    run: str
    status: str
    fate: str
    why: str
    seed_id: str
    parts: tuple[Part, ...]
    tags: tuple[Tag, ...]
    clusters: Mapping[str, str]
    comparisons: tuple[Meeting, ...]
    rejection: Mapping[str, Any] | None
    children: tuple[Child, ...]

    def plain(self) -> dict[str, Any]:
        """The story as one JSON object."""
        return asdict(self)
