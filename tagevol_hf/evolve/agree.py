"""Agreement of an answer with further draws: a check of answers whose end can be compared, as in mathematics."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, Features, Value

from ..answers.equal import Equality
from ..answers.final import final_answer
from ..errors import DataError
from ..rows import REJECTION, ROW_FEATURES, Row, iterate, rejection, with_columns
from .respond import Responder

STEP = "agree"

AGREEMENT = Features(
    {
        "final_answer": Value("string"),
        "agreement": Value("float64"),
        "agreement_draws": Value("int64"),
    }
)

_NEEDS = ("id", "instruction", "input", "history", "response", "rejection")


def agree(
    dataset: Dataset, responder: Responder, draws: int = 4, temperature: float = 0.7, least: float = 0.5
) -> Dataset:
    r"""Ask for each answer again, and keep the row where the draws support its final answer.

    Each accepted row is asked `draws` more times (their ids are `<id>/d1` … in the request store). A final answer is
    what stands in the last `\boxed{}`, behind `####`, behind "the answer is", or the last number.

    Writes `final_answer` (of the row's own response), `agreement` (share of the compared responses, its own
    included, that end in the same answer, in [0, 1]) and `agreement_draws` (how many were compared: `draws` + 1, less
    those that failed). A draw without a final answer is compared and differs.

    Rejected with "no_agreement": a row whose share is below `least`; one for which another answer is more frequent;
    and, with a null agreement, one whose response has no final answer, or of which no further draw could be used.

    Args:
        dataset: Rows with a response.
        responder: Who answered them; its temperature is not used.
        draws: Further draws a row, >= 1.
        temperature: Of the draws, above 0.
        least: Least share that a row must have, in [0, 1].

    Raises:
        DataError: If a column is missing or a number is out of range.
        EngineError: If the engine fails.
        MissingExtraError: If math_verify is not installed.
    """
    _check(dataset, draws, temperature, least)
    with Equality() as equality:
        drawer = dataclasses.replace(responder, temperature=temperature)
        drawn = _drawn(drawer.apply(_fan(dataset, draws)), draws)

        def read(row: Row) -> dict[str, Any]:
            if row["rejection"] is not None:
                return {**dict.fromkeys(AGREEMENT), "rejection": row["rejection"]}
            return _Compared.of(row["response"] or "", next(drawn), equality).values(least)

        return with_columns(dataset, read, Features({**AGREEMENT, "rejection": REJECTION}))


def _check(dataset: Dataset, draws: int, temperature: float, least: float) -> None:
    missing = [name for name in _NEEDS if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"{STEP} needs the column {missing[0]}; the data set has: {', '.join(dataset.column_names) or 'none'}; "
            "apply Responder first"
        )
    if draws < 1:
        raise DataError(f"{STEP}.draws: expected at least 1, got {draws}")
    if temperature <= 0:
        raise DataError(f"{STEP}.temperature: expected above 0, as greedy draws are all the same, got {temperature}")
    if not 0 <= least <= 1:
        raise DataError(f"{STEP}.least: expected a share from 0 to 1, got {least}")


def _fan(dataset: Dataset, draws: int) -> Dataset:
    """One row for each further draw of each accepted row (asks nothing)."""
    columns: dict[str, list[Any]] = {name: [] for name in ROW_FEATURES}
    for row in iterate(dataset.select_columns(list(_NEEDS))):
        for draw in range(1, draws + 1) if row["rejection"] is None else ():
            for name in ROW_FEATURES:
                columns[name].append(f"{row['id']}/d{draw}" if name == "id" else row[name])
    return Dataset.from_dict(columns, features=ROW_FEATURES)


@dataclass
class _Drawn:
    """The further draws of one row: the final answers of those that could be used, why the others could not."""

    answers: list[str | None] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)


def _drawn(dataset: Dataset, draws: int) -> Iterator[_Drawn]:
    """The draws of each row in turn."""
    rows = iterate(dataset.select_columns(["response", "rejection"]))
    for first in rows:
        found = _Drawn()
        for row in (first, *(next(rows) for _ in range(draws - 1))):
            if row["rejection"] is None:
                found.answers.append(final_answer(row["response"]))
            else:
                found.failed[row["rejection"]["reason"]] += 1
        yield found


@dataclass(frozen=True)
class _Compared:
    """A row's final answer among those of its draws.

    Attributes:
        own: The row's final answer.
        answers: All that were compared, the row's own first; None for a response without one.
        sizes: For each final answer, how many responses end in it, by the first that does.
        failed: Draws that could not be used, by reason.
    """

    own: str | None
    answers: Sequence[str | None]
    sizes: Counter[str]
    failed: Counter[str]

    @classmethod
    def of(cls, response: str, drawn: _Drawn, equality: Equality) -> _Compared:
        own = final_answer(response)
        answers = [own, *drawn.answers]
        given = [answer for answer in answers if answer is not None]
        sizes = Counter(given[head] for head in equality.groups(given)) if own is not None else Counter[str]()
        return cls(own, answers, sizes, drawn.failed)

    def values(self, least: float) -> dict[str, Any]:
        """Values of the written columns."""
        compared = len(self.answers)
        share = self.sizes[self.own] / compared if self.own is not None and compared > 1 else None
        fault = self._fault(share, least)
        lost = ", ".join(f"{reason} {count}" for reason, count in sorted(self.failed.items()))
        detail = f"{fault}; draws that failed: {lost}" if lost else fault
        return {
            "final_answer": self.own,
            "agreement": share,
            "agreement_draws": compared,
            "rejection": rejection(STEP, "no_agreement", detail, attempts=compared - 1) if fault else None,
        }

    def _fault(self, share: float | None, least: float) -> str:
        """Why the row leaves, or ""."""
        if self.own is None:
            return "the response has no final answer"
        if share is None:
            return "no further draw could be used"
        best, size = self.sizes.most_common(1)[0]
        own = f"{self.sizes[self.own]} of {len(self.answers)} responses end in {_cut(self.own)}"
        if size > self.sizes[self.own]:
            return f"{own}, {size} in {_cut(best)}"
        return f"{own}, at least {least:g} of them are needed" if share < least else ""


def _cut(answer: str) -> str:
    return repr(answer if len(answer) <= 60 else f"{answer[:60]}…")
