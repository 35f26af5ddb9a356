"""The figures of a run: each by its name, or all in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..progress import announce
from .data import FIGURES, Source

if TYPE_CHECKING:
    from .picture import Picture


class RunFigures:
    """The figures of one run, as matplotlib figures; they show themselves in a notebook.

    The run is read at the first figure; take a new `run.figures` after a training.

    Args:
        folder: The run folder, finished or not.
    """

    def __init__(self, folder: str | Path) -> None:
        self._source = Source(Path(folder))

    def names(self) -> tuple[str, ...]:
        """The figures for which the run has data.

        Raises:
            DataError: If the folder holds no readable run.json.
        """
        return tuple(name for name, (read, _) in FIGURES.items() if self._source.page and read(self._source))

    def clusters(self) -> Picture:
        """The map of the clusters: each row a point, chosen ones filled (7 in wide).

        Raises:
            DataError: As every figure: if the run has nothing for it; says which step makes it.
            MissingExtraError: As every figure: without matplotlib.
        """
        return self.figure("clusters")

    def funnel(self) -> Picture:
        """Rows after each step, with those rejected and not chosen there (3.4 in wide)."""
        return self.figure("funnel")

    def tags(self) -> Picture:
        """The 15 most frequent labels, or tags of the pool where there are no labels (3.4 in wide)."""
        return self.figure("tags")

    def budgets(self) -> Picture:
        """By budget or round: rows and chosen ones, words of an instruction, tags of one (7 in wide)."""
        return self.figure("budgets")

    def scores(self) -> Picture:
        """Rows by score, chosen and not chosen (3.4 in wide)."""
        return self.figure("scores")

    def lengths(self) -> Picture:
        """Rows by words of the response, each Han or Kana character a word, chosen and not chosen (3.4 in wide)."""
        return self.figure("lengths")

    def judge(self) -> Picture:
        """What place and length do to the judge's verdicts (3.4 in wide).

        With an interval of 95 % where run.json has the count that a share is of: Wilson's, or the normal one for the
        difference of two shares. It takes comparisons as independent.
        """
        return self.figure("judge")

    def reasons(self) -> Picture:
        """Rejected rows by reason (3.4 in wide)."""
        return self.figure("reasons")

    def loss(self) -> Picture:
        """Loss of the trainings by step, on training and on held-out rows (3.4 in wide)."""
        return self.figure("loss")

    def figure(self, name: str) -> Picture:
        """A figure by its name.

        Raises:
            DataError: If there is no figure of that name, or the run has nothing for it.
            MissingExtraError: If matplotlib is not installed.
        """
        if name not in FIGURES:
            raise DataError(f"figures: expected one of {', '.join(FIGURES)}, got {name!r}")
        read, needs = FIGURES[name]
        folder = self._source.folder
        steps = ", ".join(step.name for step in self._source.page.steps) or "none"
        if not (data := read(self._source)):
            raise DataError(f"{folder}: figure {name}: expected {needs}; got a run of the steps: {steps}")
        return _drawing(name)(data)


def write_figures(run_folder: str | Path, target: str | Path, say: Callable[[str], None] = announce) -> list[Path]:
    """Write every figure for which a run has data, as .png (200 dots an inch) and .svg (text stays text).

    Equal runs give equal bytes of SVG under the same matplotlib.

    Args:
        run_folder: The run folder.
        target: Folder of the files; made where it does not exist.
        say: Told each figure that is left out, and why.

    Returns:
        The files, named after the figures.

    Raises:
        DataError: If there is no readable run.json, or the target is no folder.
        MissingExtraError: If matplotlib is not installed.
    """
    figures, folder = RunFigures(run_folder), Path(target)
    there = figures.names()
    drawings = {name: _drawing(name) for name in there}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise DataError(f"{folder}: expected a folder for figures ({fault.strerror}); name another one") from None
    for name, (_, needs) in FIGURES.items():
        if name not in drawings:
            say(f"figure {name} is left out: it needs {needs}")
    return [file for name in there for file in figures.figure(name).write(folder / name)]


def _drawing(name: str) -> Callable[[Any], Picture]:
    """The function that draws the data of a figure; only it needs matplotlib.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    from . import picture  # noqa: F401, I001 - says first that matplotlib is missing
    from . import bars, clusters, lines

    drawings: dict[str, Callable[[Any], Picture]] = {
        "clusters": clusters.clusters,
        "funnel": bars.funnel,
        "tags": lambda data: bars.tags(*data),
        "budgets": lines.budgets,
        "scores": lambda data: bars.histogram(data, "score"),
        "lengths": lambda data: bars.histogram(data, "words of the response"),
        "judge": lines.judge,
        "reasons": bars.reasons,
        "loss": lines.loss,
    }
    return drawings[name]
