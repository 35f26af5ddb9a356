"""The journey of one recipe, top to bottom: rows in, a curated set out, everything in one run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, load_from_disk

from ..errors import DataError
from ..recipe import Recipe
from ..run_folder import RunFolder, read_run
from ..step_record import StepRecord
from . import baselines, cleaning, evolving, measuring, selecting
from .journey import Journey, load_rows

if TYPE_CHECKING:
    from ..figures import RunFigures

# Each step of a recipe is one function, in the order in which a recipe that has them all would take them.
STEPS: dict[str, Callable[[Journey, Any], None]] = {
    step.__name__: step
    for step in (
        evolving.aspect_tags,
        evolving.tag_pool,
        evolving.tag_evol,
        evolving.evol_instruct,
        evolving.optimize_method,
        evolving.auto_evol,
        evolving.review,
        evolving.respond,
        evolving.agree,
        selecting.open_tags,
        selecting.normalize_tags,
        selecting.cluster,
        selecting.single_score,
        selecting.compare,
        selecting.select,
        baselines.baseline,
        baselines.compare_selections,
        selecting.refine,
        cleaning.decontaminate,
        cleaning.near_duplicates,
        measuring.measure,
    )
}


@dataclass(frozen=True)
class Run:
    """A run, as `curate` gives it or `load_run` finds it.

    Attributes:
        path: The run folder.
        record: What `run.json` holds.
    """

    path: Path
    record: dict[str, Any]

    @property
    def selected(self) -> Dataset:
        """The curated rows.

        Raises:
            DataError: As for the other rows: if the run is not finished.
        """
        return self._rows("selected")

    @property
    def not_chosen(self) -> Dataset:
        """Good rows that the selection left out."""
        return self._rows("not_chosen")

    @property
    def rejected(self) -> Dataset:
        """Rows that left on the way, each with its `rejection`."""
        return self._rows("rejected")

    @property
    def figures(self) -> RunFigures:
        """Figures for papers and notebooks (extra `figures`), of the run as it is now."""
        from ..figures import RunFigures

        return RunFigures(self.path)

    def _rows(self, name: str) -> Dataset:
        if not (self.path / name).is_dir():
            status = self.record.get("status", "unknown")
            raise DataError(f"{self.path}: no {name} rows (status: {status}); go on with: tagevol curate RECIPE")
        try:
            return load_from_disk(str(self.path / name))
        except (OSError, ValueError, KeyError) as fault:  # Arrow's and JSON's errors are of these
            raise DataError(f"{self.path / name}: cannot be read ({fault}); run the recipe again") from None


def load_run(folder: str | Path) -> Run:
    """The run in a folder, finished or not; nothing is asked.

    Raises:
        DataError: If the folder is not a run folder, or its run.json cannot be read.
    """
    return Run(Path(folder), read_run(Path(folder)))


def curate(
    recipe: Recipe,
    folder: str | Path | None = None,
    command: str = "",
    tell: Callable[[StepRecord], None] | None = None,
    store: str | Path | None = None,
    on: str | None = None,
) -> Run:
    """Run a recipe. A second run of the same recipe in the same folder asks the engine nothing again.

    Args:
        recipe: What to do.
        folder: The run folder; `runs/<name>` by default.
        command: The command line, for the record.
        tell: Called with the record of each step when it ends.
        store: The request store, where several runs share one; in the run folder by default.
        on: The Ray cluster that the engines work on, as `open_engine` takes it; None for this machine.

    Raises:
        DataError: If the data cannot be used, or no row is left after a step.
        EngineError: If an engine or the store fails; the same call goes on where this one ended.
    """
    path = Path(folder) if folder is not None else Path("runs") / recipe.name
    with RunFolder(path, recipe, command, None if store is None else Path(store), on) as run:
        journey = Journey(run, recipe)
        tell = tell or (lambda _: None)
        load_rows(journey)
        baselines.check_models(journey)
        cleaning.check_cleaning(journey)
        tell(run.steps[-1])
        for name, options in recipe.steps:
            STEPS[name](journey, options)
            tell(run.steps[-1])
        left = journey.rows.select([]) if journey.not_chosen is None else journey.not_chosen
        run.finish(journey.rows, left)
    return Run(path, read_run(path))
