"""How many tags a seed gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ..errors import DataError
from ..tags.pool import TagPool

MOST = 15


@dataclass(frozen=True)
class Adaptive:
    """One budget a seed, so that all results are about equally difficult (the paper's limitation names the need).

    Difficulty is the number of tags, as in section 5.5: a seed with few tags of its own gets many foreign ones, and a
    seed with many gets few: b = target - own, within `least` and `most`.

    Attributes:
        target: Tags, own and foreign, that an evolved instruction shall have; None takes the median number of own tags
            in the pool plus the middle of `least` and `most`. As it comes from the pool, parts of a data set that are
            evolved with one pool agree.
        least: Smallest budget, in 1..15.
        most: Largest budget, in 1..15.
    """

    target: int | None = None
    least: int = 1
    most: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most <= MOST:
            raise DataError(
                f"adaptive budget: expected 1 <= least <= most <= {MOST}, got least {self.least}, most {self.most}"
            )
        if self.target is not None and self.target < 1:
            raise DataError(f"adaptive budget: expected a target of at least 1 tag, got {self.target}")

    def resolved(self, pool: TagPool) -> Adaptive:
        """The same with its target.

        Raises:
            DataError: If it has none and the pool does not know its seed rows.
        """
        if self.target is not None:
            return self
        sizes = pool.row_sizes
        if not sizes:
            raise DataError("adaptive budget: the tag pool does not know its seed rows; give a target, such as 12 tags")
        return Adaptive(round(median(sizes)) + (self.least + self.most) // 2, self.least, self.most)

    def of(self, own: int) -> int:
        """Budget of a seed with so many tags of its own; only of one that is `resolved`."""
        assert self.target is not None  # noqa: S101 - a promise of the caller, who has resolved it
        return min(self.most, max(self.least, self.target - own))


def check_budgets(budgets: Sequence[int] | Adaptive, candidates: int) -> None:
    """Refuse numbers out of range.

    Raises:
        DataError: If budgets are not different numbers in 1..15, or there are fewer candidates than the largest.
    """
    if isinstance(budgets, Adaptive):
        most = budgets.most
    else:
        if not budgets or len(set(budgets)) != len(budgets) or not all(1 <= budget <= MOST for budget in budgets):
            raise DataError(f"tag_evol.budgets: expected different numbers from 1 to {MOST}, got {list(budgets)}")
        most = max(budgets)
    if candidates < most:
        raise DataError(f"tag_evol.candidates: expected at least the largest budget ({most}), got {candidates}")
