"""What the steps of a run share: the rows as they are now, and how a stage is asked."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

from datasets import Dataset

from ..errors import DataError
from ..evolve.eliminate import Eliminator
from ..evolve.rounds import Rewriter, evolve_in_rounds
from ..formats import MAX_CHARS, prepare
from ..recipe import Data, Recipe
from ..recipe_parts import ModelStep, Source
from ..rows import iterate
from ..run_files import write_whole
from ..run_folder import RunFolder
from ..sources import load, together
from ..stage import Stage
from ..step_record import StepRecord
from ..tags.embed import Embedder, open_embedder, out_of_reach, resolved
from ..tags.pool import TagPool

AStage = TypeVar("AStage", bound=Stage)


class Journey:
    """A run on its way.

    Attributes:
        rows: The rows that are left, after the last step.
        not_chosen: Good rows that a selection left out; None before a selection.
        pool: The tag pool, once there is one.
        method: The method that `optimize_method` found, or "".
        references: Name of a test set → its texts, for `measure`.
        partial: Whether `rows` are those of one shard alone, because others' replies are not there yet.
    """

    def __init__(self, run: RunFolder, recipe: Recipe) -> None:
        self.run, self.recipe = run, recipe
        self.rows = Dataset.from_dict({})
        self.not_chosen: Dataset | None = None
        self.pool = TagPool({})
        self.method = ""
        self.references: dict[str, list[str]] = {}
        self.partial = False

    def ask(
        self,
        kind: type[AStage],
        name: str,
        options: ModelStep,
        rows: Dataset | None = None,
        seeds: int | None = None,
        **parameters: Any,
    ) -> StepRecord:
        """Apply a stage and keep its rows; `seeds` is the number of rows before a fan."""
        rows = self.rows if rows is None else rows
        before = len(rows) if seeds is None else seeds
        with self.run.step(name, "map" if seeds is None else "fan", before) as record:
            record.added = len(rows) - before
            stage = self.stage(kind, name, options, record, **parameters)
            self.rows = self.run.keep(record, stage.apply(rows))
        return record

    def rounds(
        self, kind: type[Rewriter], name: str, options: Any, eliminator: Eliminator | None, **parameters: Any
    ) -> None:
        """Evolve in rounds: one row a seed and round."""
        with self.run.step(name, "fan", len(self.rows)) as record:
            evolver = self.stage(kind, name, options, record, **parameters)
            evolved = evolve_in_rounds(self.rows, evolver, options.rounds, eliminator)
            record.added = len(evolved) - len(self.rows)
            self.rows = self.run.keep(record, evolved)

    def stage(self, kind: type[AStage], name: str, options: ModelStep, record: StepRecord, **parameters: Any) -> AStage:
        """A stage with the recipe's engine, seed and options."""
        given = {key: getattr(options, key) for key in ModelStep.model_fields if getattr(options, key) is not None}
        stage = kind(self.run.engine(name), seed=self.recipe.seed, **parameters, **given)
        record.prompt = {"name": stage.prompt.name, "digest": stage.prompt.digest}  # type: ignore[union-attr] # read by then
        return stage

    def embedder(self, spec: str) -> Embedder:
        """The embedder that a step names.

        What "auto" is, is found once and noted in the run folder: a run has one embedder to its end, whatever a restart
        finds.
        """
        file = self.run.whole / "embedder.txt"
        if spec == "auto" and not file.exists():
            write_whole(file, resolved(spec))
        return open_embedder(file.read_text(encoding="utf-8") if spec == "auto" else spec)


def load_rows(journey: Journey) -> None:
    """Read the data and bring it into the form of a row; what later steps would miss is told now."""
    for name, options in journey.recipe.steps:
        if getattr(options, "embeds", True) and (why := out_of_reach(getattr(options, "embedder", ""))):
            raise DataError(f"{name}.embedder: {why}; --set {name}.embedder=builtin needs no model")
    measuring = journey.recipe.option("measure")
    for part in measuring.references if measuring else ():
        journey.references[name_of(part)] = _reference(part)
    data = journey.recipe.data
    rows = read_all(data)
    with journey.run.step("load", "load", len(rows)) as record:
        journey.rows = journey.run.keep(record, rows)
        record.summary = dict(Counter(rows["source"])) if data.also else {}


def read_all(data: Data) -> Dataset:
    """The rows of all sources, in the form of a row.

    Raises:
        DataError: As `read`.
    """
    parts = {name_of(part): read(part, data.max_chars, data.limit) for part in (data, *data.also)}
    rows = together(parts) if data.also else next(iter(parts.values()))
    return rows if data.limit is None else rows.select(range(min(data.limit, len(rows))))


def user_turns(dataset: Dataset) -> int:
    """Turns of the user in all rows, the last ones included."""
    turns = (turn for row in iterate(dataset.select_columns(["history"])) for turn in row["history"])
    return len(dataset) + sum(1 for turn in turns if turn["role"] == "user")


def read(part: Source, max_chars: int = MAX_CHARS, limit: int | None = None) -> Dataset:
    """The rows of one source, in the form of a row.

    Raises:
        DataError: If they cannot be read, or there are none.
    """
    source = load(
        part.source,
        config=part.config,
        split=part.split,
        revision=part.revision,
        limit=limit,
        streaming=part.streaming,
    )
    if len(source) == 0:
        raise DataError(f"data.source {part.source!r}: the data set has no rows")
    rows: Dataset = prepare(source, part.columns, max_chars)
    return rows


def _reference(part: Source) -> list[str]:
    """The texts of a test set."""
    try:
        texts: list[str] = read(part)["instruction"][:]
    except DataError as fault:
        told = str(fault).removeprefix("data.source ")
        raise DataError(f"measure.references: {told}; leave them out by --set measure.references=[]") from None
    return texts


def name_of(part: Source) -> str:
    """What a source is called beside others."""
    return f"{part.source}:{part.config}" if part.config else part.source
