"""Rows that hold questions of benchmarks: found, reported, and rejected with the reason "contaminated"."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import REJECTION, Row, iterate, rejection, with_batches, with_columns
from .benchmark_search import BenchmarkSearch, Match, Rule
from .instructions import PARTS, demand, parts_of

_LISTED = 1000
_TEXT = 300  # characters of a row that the report shows
_FOUND = Features(
    {"found": List({"column": Value("string"), **{name: Value("string") for name in ("reference", "how", "words")},
                    "number": Value("int64"), "share": Value("float64")})}
)  # fmt: skip


@dataclass(frozen=True)
class Leak:
    """One row that holds a question of a benchmark.

    Attributes:
        row: Number of the row in the data set, from 0.
        id: The row's id.
        column: "instruction" (with its input and the turns before it) or "response".
        match: What was found.
        text: The beginning of the row's text.
    """

    row: int
    id: str
    column: str
    match: Match
    text: str


@dataclass(frozen=True)
class Leaks:
    """What was found.

    Attributes:
        rows: Rows that were looked at.
        questions: Benchmark → its questions.
        rule: When a row counts as holding a question.
        found: By row; of a row and a benchmark at most one a column.
    """

    rows: int
    questions: Mapping[str, int]
    rule: Rule
    found: tuple[Leak, ...]

    @property
    def by_reference(self) -> dict[str, int]:
        """Rows with a leak of each benchmark, those without any as well."""
        pairs = Counter(name for name, _ in {(leak.match.reference, leak.row) for leak in self.found})
        return {name: pairs[name] for name in self.questions}

    def summary(self) -> dict[str, Any]:
        """Small values for the record of a run."""
        return {
            "rows": self.rows,
            "contaminated": len({leak.row for leak in self.found}),
            "by_reference": self.by_reference,
            "by_how": dict(sorted(Counter(leak.match.how for leak in self.found).items())),
        }

    def save(self, file: Path) -> None:
        """Write the summary, the rule and the first 1,000 leaks as JSON."""
        leaks = [{"row": leak.row, "id": leak.id, "column": leak.column, **asdict(leak.match), "text": leak.text}
                 for leak in self.found[:_LISTED]]  # fmt: skip
        body = {**self.summary(), "questions": dict(self.questions), "rule": asdict(self.rule), "leaks": leaks}
        file.write_text(json.dumps(body, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="replace")


def find_leaks(
    dataset: Dataset,
    references: Mapping[str, Sequence[str | None]],
    rule: Rule | None = None,
    *,
    columns: Sequence[str] = ("instruction",),
    num_proc: int = 1,
) -> Leaks:
    """Find the rows that hold questions of benchmarks; rows that are rejected already are left out.

    What is found for a row depends on the row and the benchmarks alone.

    Args:
        dataset: Needs `id` and `instruction`, for all columns in the form of `prepare`.
        references: Benchmark → the texts of its questions.
        rule: When a row counts.
        columns: "instruction", which is looked at together with `input` and the turns of `history`, and "response".
        num_proc: Processes at a time.

    Raises:
        DataError: If a column is missing, or there is no benchmark.
    """
    if not references:
        raise DataError("decontaminate: expected at least one benchmark, got none; name its file or Hub id in against")
    demand(dataset, ("id", "instruction", *columns), "decontaminate")
    rule = rule or Rule()
    read = [name for name in PARTS if name in dataset.column_names]
    finder = _Finder(BenchmarkSearch.of(references, rule), tuple(columns))
    parts = dataset.select_columns([*read, *(["rejection"] if "rejection" in dataset.column_names else [])])
    marked = with_batches(parts, finder, _FOUND, num_proc if num_proc > 1 else None).select_columns(["found"])
    found = tuple(_leaks(dataset.select_columns(["id", *read]), marked))
    return Leaks(len(dataset), {name: len(texts) for name, texts in references.items()}, rule, found)


def reject_leaks(dataset: Dataset, leaks: Leaks) -> Dataset:
    """The data set with the rejection "contaminated" on each row that leaks name; all rows stay in their order.

    Args:
        dataset: The rows in which the leaks were found, in the same order.
        leaks: As `find_leaks` gives them.
    """
    details: dict[int, str] = {}
    for leak in leaks.found:
        match = leak.match
        line = f"{match.reference} row {match.number}: {match.how}, share {match.share:.2f}: {match.words[:_TEXT]}"
        details[leak.row] = f"{details[leak.row]} | {line}" if leak.row in details else line
    places = iter(range(len(dataset)))

    def mark(row: Row) -> dict[str, Any]:
        detail, there = details.get(next(places)), row.get("rejection")
        return {"rejection": rejection("decontaminate", "contaminated", detail) if detail and not there else there}

    return with_columns(dataset, mark, Features({"rejection": REJECTION}))


@dataclass(frozen=True)
class _Finder:
    """Rows → what was found in each."""

    search: BenchmarkSearch
    columns: tuple[str, ...]

    def __call__(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        found: list[list[dict[str, Any]]] = [[] for _ in rows]
        good = [place for place, row in enumerate(rows) if row.get("rejection") is None]
        for column in self.columns:
            for place, matches in zip(good, self.search.find([parts_of(rows[at], column) for at in good]), strict=True):
                found[place] += [{"column": column, **asdict(match)} for match in matches]
        return [{"found": each} for each in found]


def _leaks(dataset: Dataset, marked: Dataset) -> Iterator[Leak]:
    places = [place for place, row in enumerate(iterate(marked)) if row["found"]]
    rows = zip(iterate(dataset.select(places)), iterate(marked.select(places)), strict=True)
    for place, (row, mark) in zip(places, rows, strict=True):
        for leak in mark["found"]:
            column = leak["column"]
            text = "\n\n".join(parts_of(row, column))[:_TEXT]
            match = Match(*(leak[name] for name in ("reference", "number", "how", "share", "words")))
            yield Leak(place, row["id"] or "", column, match, text)
