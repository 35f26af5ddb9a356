"""The steps that clean: benchmarks' questions and near duplicates leave."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError
from ..recipe_parts import Source
from ..rows import iterate
from ..sources import load
from .journey import Journey, read

_QUESTIONS = ("instruction", "messages", "conversations", "question", "problem", "prompt", "query", "text")


def decontaminate(journey: Journey, options: Any) -> None:
    """Rows that hold questions of benchmarks leave, or are reported (map)."""
    from ..measure.benchmark_search import Rule
    from ..measure.leaks import find_leaks, reject_leaks

    with journey.run.step("decontaminate", "map", len(journey.rows)) as record:
        rule = Rule(tuple(options.n), options.share, options.near)
        questions = benchmarks(options)
        leaks = find_leaks(
            journey.rows, questions, rule, columns=tuple(dict.fromkeys(options.columns)), num_proc=options.num_proc
        )
        leaks.save(journey.run.path / "contamination.json")
        record.summary = {**leaks.summary(), "action": options.action}
        rows = reject_leaks(journey.rows, leaks) if options.action == "reject" else journey.rows
        journey.rows = journey.run.keep(record, rows)


def near_duplicates(journey: Journey, options: Any) -> None:
    """Of rows that say nearly the same one stays (map)."""
    from ..measure.near_duplicates import find_near_duplicates, reject_near_duplicates

    with journey.run.step("near_duplicates", "map", len(journey.rows)) as record:
        duplicates = find_near_duplicates(
            journey.rows,
            by=options.by,
            threshold=options.threshold,
            columns=tuple(dict.fromkeys(options.columns)),
            best=options.best,
            n=options.n,
            embedder=journey.embedder(options.embedder) if options.embeds else None,
        )
        record.summary = duplicates.summary()
        journey.rows = journey.run.keep(record, reject_near_duplicates(journey.rows, duplicates))


def check_cleaning(journey: Journey) -> None:
    """Refuse benchmarks that cannot be read and a missing library, before anything is asked.

    Raises:
        DataError: Names the benchmark.
        MissingExtraError: If rensa is needed and not installed.
    """
    if (leaving := journey.recipe.option("decontaminate")) is not None:
        benchmarks(leaving)
    merging = journey.recipe.option("near_duplicates")
    if merging is not None and merging.by == "minhash" and find_spec("rensa") is None:
        raise MissingExtraError("rensa", "dedup")


def benchmarks(options: Any) -> dict[str, list[str]]:
    """Name of each benchmark of the step `decontaminate` → the texts of its questions.

    A file is named without its folder, as the name goes into reports and cards.

    Raises:
        DataError: If one cannot be read, or stands there twice.
    """
    found: dict[str, list[str]] = {}
    for place, part in enumerate(options.against):
        if part in options.against[:place]:
            raise DataError(f"decontaminate.against: {part.source} stands there twice; leave one out")
        name = _name(part)
        name = f"{name} ({place + 1})" if name in found else name
        try:
            found[name] = _questions(part)
        except DataError as fault:
            told = str(fault).removeprefix("data.source ").replace("data.columns", "columns")
            raise DataError(f"decontaminate.against: {name}: {told}") from None
    return found


def _name(part: Source) -> str:
    config = f"#{part.config}" if part.config else ""
    split = f":{part.split}" if part.split != "train" else ""
    return f"{Path(part.source).name if Path(part.source).exists() else part.source}{config}{split}"


def _questions(part: Source) -> list[str]:
    """The questions of a benchmark with their input, by the usual names of the column where none is given."""
    if not part.columns:
        names = load(part.source, config=part.config, split=part.split, revision=part.revision, limit=1).column_names
        usual = next((name for name in _QUESTIONS if name in names), None)
        if usual not in (None, *_QUESTIONS[:3]):
            part = part.model_copy(update={"columns": {"instruction": usual}})
    return ["\n\n".join(text for text in (row["instruction"], row["input"]) if text) for row in iterate(read(part))]
