"""Recorded preferences of AlpacaEval, summed up."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .alpaca_eval import TASK
from .records import read_objects
from .result import Result, result_of
from .task import Grade

EXPECTED = 805  # instructions of the benchmark


def recorded_results(path: Path, *, incomplete: str = "refuse", expected: int = EXPECTED) -> list[Result]:
    """The win rates of each model in a file.

    Args:
        path: Annotations as alpaca_eval saves them (JSON: `preference` from 1, the baseline, to 2, the model;
            `output_1`, `output_2`, `generator_2`), or CSV with `model`, `index`, `preference`, `len_output_1_baseline`,
            `len_output_2_model`. A preference of 0 is a tie, as it was in the first version.
        incomplete: "refuse" or "allow" that preferences are missing; they are counted, and never 0.
        expected: Comparisons that a model should have.

    Returns:
        One a model, in the file's order, with n, the interval and the summary of `alpaca_eval`, and the standard error.

    Raises:
        DataError: If the file cannot be read, a row lacks a column, a preference is out of range or an instruction
            comes twice; if preferences are missing, and this is not allowed.
    """
    rows = _csv(path) if path.suffix == ".csv" else read_objects(path)
    models: dict[str, list[Grade]] = {}
    for number, row in enumerate(rows, 1):
        model, grade = _read(path, number, row)
        models.setdefault(model, []).append(grade)
    if not models:
        raise DataError(f"{path}: holds no annotations")
    return [_result(path, model, grades, incomplete, expected) for model, grades in models.items()]


def _result(path: Path, model: str, grades: list[Grade], incomplete: str, expected: int) -> Result:
    often, times = Counter(grade.id for grade in grades).most_common(1)[0]
    if times > 1:
        raise DataError(f"{path}: {model} has {times} preferences for {often:.100}")
    absent = [Grade(f"alpaca_eval/absent-{number}", None, "missing") for number in range(expected - len(grades))]
    about = {"annotations": str(path), "model": model}
    result = result_of(TASK, [*grades, *absent], about, incomplete=incomplete)
    scores = [grade.score for grade in grades if grade.score is not None]
    return Result(**{**_fields(result), "summary": {"standard_error": _standard_error(scores), **result.summary}})


def _fields(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in Result.__slots__}


def _standard_error(scores: Sequence[float]) -> float | None:
    """Of the mean; None for fewer than two."""
    n = len(scores)
    if n < 2:
        return None
    mean = math.fsum(scores) / n
    return math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (n - 1) / n)


def _read(path: Path, number: int, row: Mapping[str, Any]) -> tuple[str, Grade]:
    """The model, and what was said about one of its answers."""
    where = f"{path}: row {number}"
    model = row.get("model") or row.get("generator_2")
    if not model or "preference" not in row:
        raise DataError(
            f"{where}: expected a preference, and a model or generator_2; it has: {', '.join(map(str, row))}"
        )
    row_id = f"alpaca_eval/{row.get('index', row.get('instruction', number))}"
    preference = row["preference"]
    if preference in (None, ""):
        return str(model), Grade(row_id, None, "missing")
    try:
        value = float(preference)
        lengths = {"length": _length(row, "2_model"), "reference_length": _length(row, "1_baseline")}
    except (TypeError, ValueError, KeyError) as fault:
        raise DataError(f"{where}: cannot be read ({type(fault).__name__}: {fault})") from fault
    if math.isnan(value):
        return str(model), Grade(row_id, None, "missing")
    if value != 0 and not 1 <= value <= 2:
        raise DataError(f"{where}: preference: expected 1 (the baseline) to 2 (the model), got {value}")
    score = value - 1 if value else 0.5
    verdict = "win" if score > 0.5 else "lose" if score < 0.5 else "tie"
    return str(model), Grade(row_id, score, verdict, "", lengths)


def _length(row: Mapping[str, Any], which: str) -> int:
    """Of an answer, in characters."""
    column = f"len_output_{which}"
    return int(float(row[column])) if column in row else len(row[f"output_{which[0]}"])


def _csv(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise DataError(f"{path}: cannot be read ({' '.join(str(fault).split())})") from fault
