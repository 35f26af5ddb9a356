"""Association aggregation: tags that nearly always come with another become one with it (InsTag, section 3.2)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Associated:
    """A name that was merged into another by a rule A ⇒ B.

    Attributes:
        into: The name at the end of the rules that begin with A.
        implied: B.
        together: Rows that have both A and B.
        rows: Rows that have A.
    """

    into: str
    implied: str
    together: int
    rows: int


class TagRows:
    """The tags of many rows as numbers: 4 bytes a tag and 8 a row."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._flat, self._ends = array("i"), array("q", [0])

    def add(self, tags: Iterable[str]) -> None:
        """One more row."""
        self._flat.extend(self.numbers.setdefault(tag, len(self.numbers)) for tag in tags)
        self._ends.append(len(self._flat))

    def associate(self, names: Mapping[str, str | None], support: int, confidence: float) -> dict[str, Associated]:
        """The names that are merged into more frequent ones.

        A rule A ⇒ B holds where at least `support` rows have both and at least the share `confidence` of the rows with
        A have B. A goes with the B of the highest confidence (ties: the more frequent, then the first in the
        alphabet), and on with B's own rule if it has one. Only the less frequent of two names can go, so there are no
        circles. Counted by a sparse product over names of enough rows: memory follows the pairs that occur.

        Args:
            names: Canonical name of each tag so far; None for one that is rare.
            support: Least number of rows with both, >= 1.
            confidence: In (0, 1].
        """
        order = sorted({name for name in names.values() if name is not None})
        together = self._together(order, names, support)
        counts = together.diagonal()
        rules: dict[int, tuple[int, int]] = {}
        for a in np.flatnonzero(counts):
            both = together.data[together.indptr[a] : together.indptr[a + 1]]
            others = together.indices[together.indptr[a] : together.indptr[a + 1]]
            able = (both >= support) & (both >= confidence * counts[a] - 1e-9) & _heavier(others, a, counts)
            best = min(
                zip(others[able].tolist(), both[able].tolist(), strict=True),
                key=lambda found: (-found[1], -int(counts[found[0]]), found[0]),
                default=None,
            )
            if best is not None:
                rules[int(a)] = best
        return {
            order[a]: Associated(order[_end(a, rules)], order[b], both, int(counts[a]))
            for a, (b, both) in rules.items()
        }

    def _together(self, order: Sequence[str], names: Mapping[str, str | None], support: int) -> Any:
        """Rows with both names of each pair; those of too few rows are left out."""
        from scipy.sparse import csr_array

        place = {name: number for number, name in enumerate(order)}
        of_tag = np.array([place.get(names.get(tag) or "", -1) for tag in self.numbers], dtype=np.int64)
        flat = np.frombuffer(self._flat, dtype=np.int32) if self._flat else np.zeros(0, np.int32)
        ends = np.frombuffer(self._ends, dtype=np.int64)
        columns = of_tag[flat] if len(of_tag) else np.zeros(0, np.int64)
        rows = np.repeat(np.arange(len(ends) - 1), np.diff(ends))[columns >= 0]
        has = csr_array(
            (np.ones(len(rows), np.int32), (rows, columns[columns >= 0])), shape=(len(ends) - 1, len(order))
        )
        has.sum_duplicates()
        has.data[:] = 1  # a name counts once a row, whatever the number of its spellings there
        frequent = has.sum(axis=0) >= support
        has = csr_array(has.multiply(frequent[None, :]))
        has.eliminate_zeros()
        found = csr_array(has.T @ has)
        found.sort_indices()
        return found


def _heavier(others: Places, a: int, counts: Places) -> npt.NDArray[np.bool_]:
    """Which of the others are more frequent than a, or as frequent and before it in the alphabet."""
    return np.asarray((counts[others] > counts[a]) | ((counts[others] == counts[a]) & (others < a)))


def _end(a: int, rules: Mapping[int, tuple[int, int]]) -> int:
    while a in rules:
        a = rules[a][0]
    return a
