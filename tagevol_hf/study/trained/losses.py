"""Losses of several models on the same rows, in a process of its own so that no model stays on the GPU.

    python -m tagevol_hf.study.trained.losses JOBS.json

JOBS.json: {rows: a saved data set, format, max_length, models: [{folder, about}]}; each model's result goes to
`FOLDER/evals/held_out_loss.json`. A model that cannot be scored is told on standard error; the others go on.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars, load_from_disk

from ...errors import DataError, TagEvolError
from ...evals import held_out
from ...evals.result import Result, interval
from ...evals.task import Grade
from ...training import encode, models, quiet
from ...versions import versions
from .options import HELD_OUT


def score(folder: Path, rows: Dataset, format_name: str, max_length: int | None, about: Mapping[str, Any]) -> Result:
    """The mean over the rows of a row's mean loss a response token, in nats; less is better.

    Each row counts alike however long it is, so that two models can be compared row by row.

    Args:
        folder: Of the model, or of the adapter.
        rows: With the columns of a curated set.
        format_name: As in its training.
        max_length: Longer rows have no score, in tokens.
        about: For the record.

    Raises:
        DataError: If no row has a token to score, or the model cannot be loaded.
    """
    tokenizer = models.load_tokenizer(str(folder), revision="main", trust_remote_code=False, eos_token=None)
    encoded = encode.encode(rows, format_name, tokenizer)
    fitting = [n for n, ids in enumerate(encoded["input_ids"]) if max_length is None or len(ids) <= max_length]
    model = held_out.load_model(str(folder))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    found = held_out.row_losses(model, encoded.select(fitting), pad_id=pad, label=folder.name)
    grades = [_grade(encoded[n]["id"], *sums) for n, sums in zip(fitting, found, strict=True)]
    scores = [grade.score for grade in grades if grade.score is not None]
    if not scores:
        raise DataError(f"none of {len(rows)} held-out rows is within max_length: {max_length} tokens")
    too_long = len(rows) - len(fitting)
    return Result(
        task=HELD_OUT,
        metric="loss",
        mean=math.fsum(scores) / len(scores),
        n=len(scores),
        n_expected=len(rows) - too_long,
        interval=interval(scores),
        verdicts={"scored": len(scores)},
        summary={"tokens": sum(count for _, count in found), "too_long": too_long},
        grades=tuple(grades),
        about={"model": str(folder), "unit": "nats a response token", **about, "versions": versions()},
    )


def _grade(row: str, total: float, tokens: int) -> Grade:
    mean = total / tokens if tokens else math.nan
    if not math.isfinite(mean):
        return Grade(row, None, "no finite loss", parts={"tokens": tokens})
    return Grade(row, mean, "scored", parts={"tokens": tokens})


def main(jobs: Path) -> int:
    """Exit status: 0, or 2 where a model could not be scored."""
    disable_progress_bars()
    quiet.silence_libraries()
    body, status = json.loads(jobs.read_text(encoding="utf-8")), 0
    rows = load_from_disk(body["rows"])
    for model in body["models"]:
        folder = Path(model["folder"])
        try:
            result = score(folder, rows, body["format"], body["max_length"], model["about"])
        except TagEvolError as fault:
            print(f"error: {folder}: {fault}", file=sys.stderr, flush=True)  # noqa: T201 - read in the log
            status = 2
        else:
            result.save(folder / "evals")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
