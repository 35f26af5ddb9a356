"""InsTag's complexity-first diverse sampling (arXiv 2308.07074, algorithm 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset

from ...rows import Row
from ..choice import Selection
from .candidates import Ranked, counted, read_candidates


@dataclass(frozen=True)
class InsTag:
    """Passes over the rows, those with the most tags first; a pass takes each row that brings it a new tag.

    A pass begins with no tags seen and looks at the rows that no pass before it took. The complexity of a row is its
    number of labels or, where there is a column `turn_tags` (the tags of each turn of a session), their mean. A row
    without labels brings no tag and is never taken.
    """

    def select(self, dataset: Dataset, n: int) -> Selection:
        """As `Baseline.select`; reads `labels` and, where it is there, `turn_tags`."""
        candidates = read_candidates("instag", dataset, n, {"labels": "add_labels"}, "turn_tags")
        tags = [frozenset(row["labels"] or ()) for row in candidates.rows]
        complexity = [_complexity(row, own) for row, own in zip(candidates.rows, tags, strict=True)]
        order = sorted(range(len(tags)), key=lambda row: -complexity[row])
        ranking = [
            Ranked(
                row,
                complexity[row],
                f"complexity {complexity[row]:.2f}, new tags in pass {number}: {new}",
            )
            for row, new, number in _passes(order, tags, n)
        ]
        bare = sum(not own for own in tags) if n > len(ranking) else 0
        return candidates.chosen(ranking, n, counted(bare, "rows without labels bring no tag and are not taken"))


def _complexity(row: Row, labels: frozenset[str]) -> float:
    turns = row.get("turn_tags")
    return sum(turns) / len(turns) if turns else float(len(labels))


def _passes(order: Sequence[int], tags: Sequence[frozenset[str]], n: int) -> list[tuple[int, int, int]]:
    """(row, its new tags, number of the pass) in the order of taking, at most n."""
    remaining = [row for row in order if tags[row]]
    held = Counter(tag for row in remaining for tag in tags[row])  # rows that remain, by tag
    taken: list[tuple[int, int, int]] = []
    number = 0
    while remaining and len(taken) < n:
        number += 1
        remaining, found = _one_pass(remaining, tags, set(held), n - len(taken))
        held -= Counter(tag for row, _ in found for tag in tags[row])
        taken += [(row, new, number) for row, new in found]
    return taken


def _one_pass(
    remaining: Sequence[int], tags: Sequence[frozenset[str]], unseen: set[str], most: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """What remains after a pass, and the taken rows with their numbers of new tags.

    The pass ends early where no row can bring a new tag any more.
    """
    kept: list[int] = []
    found: list[tuple[int, int]] = []
    for place, row in enumerate(remaining):
        if not unseen or len(found) == most:
            return [*kept, *remaining[place:]], found
        new = tags[row] & unseen
        if new:
            unseen -= new
            found.append((row, len(new)))
        else:
            kept.append(row)
    return kept, found
