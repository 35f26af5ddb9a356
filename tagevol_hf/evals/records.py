"""A benchmark's records, from a file or from the Hub, and a model's saved predictions."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..sources import load
from .task import Output, Problem, Record, Task

# Under these names the benchmarks' files have the id of a problem.
ID_NAMES = ("id", "task_id", "unique_id", "question_id", "key")
_LINES = (".jsonl", ".ndjson")


def read_records(task: Task, source: str | None = None, limit: int | None = None) -> list[Record]:
    """The rows of a benchmark as they were published.

    Args:
        task: The task.
        source: A local file (json, jsonl, also gzipped; parquet, csv), a saved data set or a Hub id; None for the
            task's own place on the Hub.
        limit: Only the first so many, at least 1.

    Raises:
        DataError: If there is no such source, or it holds no rows.
    """
    if source is not None and _is_json(Path(source)):
        records: Sequence[Record] = read_objects(Path(source))
    else:
        repository, config, split = task.source if source is None else (source, None, task.source[2])
        hint = "" if source else f"; or give a local file by --data {task.name}=FILE"
        try:
            records = list(load(repository, config=config, split=split))
        except DataError as fault:
            raise DataError(f"{task.name}: {str(fault).removeprefix('data.source ')}{hint}") from fault
    if not records:
        raise DataError(f"{task.name}: {source or task.source[0]} holds no rows")
    return list(records[:limit])


def read_objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list or of JSON lines, perhaps gzipped; kept just as they are written.

    Raises:
        DataError: If the file cannot be read, or a row is no object.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise DataError(f"{path}: cannot be read ({' '.join(str(fault).split())})") from fault
    if not any(path.name.removesuffix(".gz").endswith(suffix) for suffix in _LINES):
        try:
            whole = json.loads(text)
        except ValueError:
            whole = None  # lines in a file that is called .json
        if whole is not None:
            return _objects(path, whole if isinstance(whole, list) else [whole])
    lines = text.removesuffix("\n").split("\n") if text.strip() else []
    return _objects(path, [_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip()])


def read_predictions(path: Path, problems: Sequence[Problem], *, incomplete: str = "refuse") -> list[Output]:
    """What a model answered, as saved by any program.

    Args:
        path: JSON lines (or a JSON list): `output` holds the text, or a list of one text a turn, or null where there is
            none. Where the objects have an id (`id`, or the name that the benchmark's own file uses) this tells which
            problem it is; without one they stand in the task's order.
        problems: Of the task.
        incomplete: "refuse" or "allow" predictions for a part of the problems.

    Returns:
        An output for each problem, None where there is none.

    Raises:
        DataError: If a row has no `output`, an id is not known or comes twice, there are more rows than problems, or
            fewer and this is not allowed.
    """
    rows = read_objects(path)
    outputs = [_output(path, number, row) for number, row in enumerate(rows, 1)]
    places = _places(path, rows, problems)
    if len(rows) < len(problems) and incomplete == "refuse":
        raise DataError(
            f"{path}: {len(rows):,} predictions for {len(problems):,} problems; complete it, or grade this part with "
            "--incomplete allow"
        )
    found: list[Output] = [None] * len(problems)
    for place, output in zip(places, outputs, strict=True):
        found[place] = output
    return found


def _is_json(path: Path) -> bool:
    return path.is_file() and path.name.removesuffix(".gz").endswith((".json", *_LINES))


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise DataError(f"{path}: line {number} is no JSON ({fault})") from fault


def _objects(path: Path, rows: Sequence[Any]) -> list[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number}: expected an object, got {type(row).__name__}")
    return list(rows)


def _output(path: Path, number: int, row: Mapping[str, Any]) -> Output:
    if "output" not in row:
        near = get_close_matches("output", map(str, row), n=1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; there are: {', '.join(map(str, row)) or 'none'}"
        raise DataError(f'{path}: row {number} has no field "output"{hint}')
    value = row["output"]
    if value is None:
        return None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        return tuple(value)
    raise DataError(f"{path}: row {number}: output: expected a text, a list of texts or null, got {value!r:.80}")


def _places(path: Path, rows: Sequence[Mapping[str, Any]], problems: Sequence[Problem]) -> list[int]:
    """For each prediction the place of its problem."""
    name = next((name for name in ID_NAMES if any(name in row for row in rows)), None)
    if name is None:
        if len(rows) > len(problems):
            raise DataError(f"{path}: {len(rows):,} predictions for {len(problems):,} problems")
        return list(range(len(rows)))
    known = {str(problem.record[name]): place for place, problem in enumerate(problems) if name in problem.record}
    known |= {problem.id: place for place, problem in enumerate(problems)}
    places = []
    for number, row in enumerate(rows, 1):
        if name not in row:
            raise DataError(f'{path}: row {number} has no "{name}", and other rows have')
        place = known.get(str(row[name]))
        if place is None:
            raise DataError(f"{path}: row {number}: {name} {str(row[name])!r:.80} is no problem of this task")
        places.append(place)
    if places and (twice := Counter(places).most_common(1)[0])[1] > 1:
        raise DataError(f"{path}: {twice[1]} predictions have the {name} {problems[twice[0]].id!r:.80}")
    return places
