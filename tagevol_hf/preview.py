"""A few rows through every step, for real: what a whole run would take, and what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from . import __version__
from .errors import DataError
from .pipeline import Run, curate
from .plan import StepPlan
from .recipe import Data, Recipe
from .rows import iterate, seed_for
from .run_folder import read_run
from .step_record import StepRecord

_TEXTS = ("instruction", "input", "response")
_ROWS = "rows.jsonl"
_SHOWN = {
    "seed_instruction": "seed",
    "instruction": "instruction",
    "input": "input",
    "response": "response",
    "score": "score",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a step of the whole run is expected to take.

    Attributes:
        requests: As planned, and as much more as the preview had to ask again.
        prompt_tokens: Of all these requests.
        completion_tokens: Of all replies.
        cost: At the recipe's prices; None without prices.
    """

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def preview(
    recipe: Recipe, rows: Dataset, count: int, folder: Path, tell: Callable[[StepRecord], None] | None = None
) -> Run:
    """Run a recipe on a few of its rows, drawn so that their lengths are as those of all.

    Args:
        recipe: What is to be done with all rows.
        rows: All rows, as `pipeline.journey.read_all` gives them.
        count: How many, at least 1.
        folder: A run folder of its own: a preview is a run like any other, and the second one asks nothing.
        tell: Called with the record of each step when it ends.

    Raises:
        DataError: If no row is left after a step, or the folder is that of another run.
        EngineError: If an engine fails.
    """
    source = folder / "data" / _ROWS
    names = [name for name in ("id", *_TEXTS, "history", "source") if name in rows.column_names]
    drawn = rows.select_columns(names).select(by_length(rows, count, recipe.seed))
    lines = [json.dumps(_plain(row), ensure_ascii=False) for row in iterate(drawn)]
    text = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    data = Data(source=str(source), max_chars=recipe.data.max_chars)
    small = recipe.model_copy(update={"data": data, "name": f"{recipe.name}-preview"})
    if source.is_file() and source.read_bytes() == text and (done := _done(folder, small)):
        return Run(folder, done)
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(text)
    return curate(small, folder, tell=tell)


def _done(folder: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The record of this very preview: its figures would be lost if the store answered it again."""
    try:
        run = read_run(folder)
    except DataError:
        return None
    same = (run.get("status"), run.get("digest"), run.get("version")) == ("complete", recipe.digest, __version__)
    return run if same else None


def shown(run: Run, count: int) -> list[tuple[str, list[tuple[str, str]]]]:
    """Some selected rows for a person: (id, [(what, text)])."""
    rows = run.selected
    order = sorted(range(len(rows)), key=lambda place: rows["id"][place])
    found = []
    for row in iterate(rows.select(order[:: max(1, len(order) // count)][:count])):
        texts = [(words, str(row[name])) for name, words in _SHOWN.items() if row.get(name)]
        found.append((str(row["id"]), texts))
    return found


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as a file has it; without turns that came before if it has none."""
    return {name: value for name, value in row.items() if value or name in _TEXTS}


def by_length(rows: Dataset, count: int, seed: int) -> list[int]:
    """Places of rows in equal steps through all rows sorted by length: a small sample with the lengths of all.

    Args:
        rows: With the columns of a row.
        count: At most so many, at least 1.
        seed: Of the order among rows of the same length.

    Raises:
        DataError: If there are no rows, or the count is below 1.
    """
    if count < 1:
        raise DataError(f"preview: expected at least 1 row, got {count}")
    if len(rows) == 0:
        raise DataError("preview: the data set has no rows")
    columns = zip(*(rows[name] for name in _TEXTS), strict=True)
    lengths = [sum(len(text or "") for text in texts) for texts in columns]
    ids = rows["id"][:]
    order = sorted(range(len(rows)), key=lambda place: (lengths[place], seed_for(seed, ids[place], "preview"), place))
    count = min(count, len(order))
    return sorted(order[int((number + 0.5) * len(order) / count)] for number in range(count))


def expected(
    recipe: Recipe, steps: Sequence[StepPlan], run: Mapping[str, Any], planned: Sequence[StepPlan]
) -> dict[str, Expected]:
    """What the steps of the whole run are expected to take.

    A mean request of the preview stands for all requests of a step.

    Args:
        recipe: The whole run's.
        steps: Its plan.
        run: The preview's `run.json`.
        planned: The preview's plan.

    Returns:
        Step → figures, for the steps that asked something in the preview.
    """
    made = {step["name"]: step for step in run["steps"]}
    small = {step.name: step.requests for step in planned}
    found = {}
    for step in steps:
        one = made.get(step.name, {})
        asked = one.get("asked", 0)
        if not step.requests or not asked:
            continue
        again = max(1.0, asked / small[step.name]) if sum(one.get("redrawn", {}).values()) else 1.0
        requests = round(step.requests * again)
        prompt, completion = (round(one[name] / asked * requests) for name in ("prompt_tokens", "completion_tokens"))
        prices = recipe.prices_of(step.name)
        cost = None if prices is None else prices.of(prompt, completion)
        found[step.name] = Expected(requests, prompt, completion, cost)
    return found
