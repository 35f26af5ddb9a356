"""Whether rows have exactly the number of tags that was asked for; Tag-Evol's own code never looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..rows import Row

NEEDS = ("budget", "candidates", "chosen_tags")

DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "obedience": (
            "Share of the accepted rows with a budget b that have exactly b different chosen tags, all of them among "
            "the row's candidates and none of them a tag of its seed."
        )
    }
)

_BROKEN = frozenset({"wrong_count", "not_a_candidate", "repeated_choice", "own_tag"})
_UNREAD = frozenset(
    {"prompt_too_long", "refused_request", "timeout", "truncated", "empty_reply", "not_json", "wrong_schema"}
)
_NEVER_ASKED = frozenset({"too_few_candidates"})


def is_obedient(row: Row) -> bool:
    """Whether an evolved row has exactly `budget` different candidates that are not its seed's own tags."""
    chosen = row["chosen_tags"] or ()
    distinct = set(chosen)
    return (
        len(chosen) == len(distinct) == row["budget"]
        and distinct.issubset(row["candidates"] or ())
        and distinct.isdisjoint(row.get("seed_tags") or ())
    )


def obedience(rows: Iterable[Row]) -> dict[str, float]:
    """The share by figure, in [0, 1]; empty where no row has a budget."""
    kept = [is_obedient(row) for row in rows if row["budget"] is not None]
    return {"obedience": sum(kept) / len(kept)} if kept else {}


@dataclass(frozen=True)
class ReplyObedience:
    """How many replies of an evolver kept the budget.

    Attributes:
        kept: Readable replies with exactly b different candidates, none of them an own tag; some of them were
            rejected for another reason.
        broken: Readable replies with another choice.
        unread: Replies in which no choice could be read (cut off, no JSON, another form, none at all).
    """

    kept: int
    broken: int
    unread: int

    @property
    def share(self) -> float | None:
        """Kept of the readable ones, in [0, 1]; None where none was readable."""
        return self.kept / (self.kept + self.broken) if self.kept + self.broken else None


def reply_obedience(accepted: int, redrawn: Mapping[str, int], rejected: Mapping[str, int]) -> ReplyObedience:
    """Count all replies of an evolution step, not only those that were accepted.

    Args:
        accepted: Rows that the step let through: one good reply each.
        redrawn: Replies that were asked again, by reason, as the step's record has them.
        rejected: Rows that the step rejected, by the reason of their last reply.
    """
    replies = [item for counts in (redrawn, rejected) for item in counts.items() if item[0] not in _NEVER_ASKED]
    broken = sum(count for reason, count in replies if reason in _BROKEN)
    unread = sum(count for reason, count in replies if reason in _UNREAD)
    return ReplyObedience(accepted + sum(count for _, count in replies) - broken - unread, broken, unread)
