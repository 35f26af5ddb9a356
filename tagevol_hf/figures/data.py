"""What each figure shows, read from a run folder in the way of the report; None where a run has nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from datasets import Dataset

from ..measure.words import count_words
from ..report.cluster_map import ClusterMap, cluster_map
from ..report.collect import Page, collect
from ..report.columns import tables
from ..report.figures import Bin, Flow, histogram
from ..report.samples import open_rows
from ..report.values import list_of, mapping_of, number_of, read_json
from .judged import Judged, judged

Counts = Sequence[tuple[str, int]]
Curve = Sequence[tuple[float, float]]

_MOST_BARS, _MOST_FLOWS, _MOST_CURVES = 15, 24, 6


@dataclass(frozen=True)
class Budgets:
    """What grows with the budget, or the round: `figures` by name, and rows (all, chosen) of each number."""

    kind: str
    rows: Mapping[int, tuple[int, int]]
    figures: Mapping[str, Curve]


class Source:
    """A run folder; what several figures need is read once.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def page(self) -> Page:
        """What the report shows.

        Raises:
            DataError: If there is no readable run.json.
        """
        return collect(self.folder)

    @cached_property
    def map(self) -> ClusterMap | None:
        """The map of the clusters."""
        return cluster_map(self.folder)


def funnel(source: Source) -> list[Flow] | None:
    """What each step did to the number of rows."""
    flows = [step.flow for step in source.page.steps if step.flow.through]
    return flows[:_MOST_FLOWS] or None


def tags(source: Source) -> tuple[str, Counts] | None:
    """What is counted, and the most frequent labels; where there are none, tags of the pool."""
    labels, pool = source.page.labels, source.page.pool
    counts = [(label.name, label.count) for label in labels.after if label.count] if labels else []
    if counts:
        return "label", counts[:_MOST_BARS]
    counts = [(bar.name, bar.value) for bar in pool.tags if bar.value] if pool else []
    return ("knowledge tag", counts[:_MOST_BARS]) if counts else None


def reasons(source: Source) -> Counts | None:
    """Rejected rows by reason."""
    return [(bar.name, bar.value) for bar in source.page.reasons][:_MOST_BARS] or None


def scores(source: Source) -> list[Bin] | None:
    """Rows by score."""
    return list(source.page.rows.scores) or None


def lengths(source: Source) -> list[Bin] | None:
    """Rows by the words of their responses; those without a response have no say."""
    chosen, other = (_words(open_rows(source.folder / name, [])) for name in ("selected", "not_chosen"))
    return histogram(chosen, other) or None


def _words(dataset: Dataset | None) -> list[float]:
    texts = (text for table in tables(dataset, "response") for text in table.column("response").to_pylist())
    return [float(count_words(text)) for text in texts if text]


def judge(source: Source) -> list[Judged] | None:
    """How far the judge of the comparisons can be trusted."""
    return judged(source.page.judge) or None


def budgets(source: Source) -> Budgets | None:
    """Words of an instruction, and what was measured, by budget or round."""
    evolved = source.page.rows.evolved
    numbered = {_number(label): (rows, taken) for label, rows, taken, _ in evolved.counts}
    if not numbered:
        return None
    figures = {"words an instruction": [(float(_number(label)), words) for label, _, _, words in evolved.counts]}
    groups = mapping_of(read_json(source.folder / "measures.json").get("groups"))
    for name, said in _MEASURED.items():
        points = [
            (float(number), value)
            for number in numbered
            if (value := number_of(mapping_of(groups.get(f"{evolved.kind} {number}")).get(name))) is not None
        ]
        if points:
            figures[said] = points
    return Budgets(evolved.kind, numbered, figures)


def _number(label: str) -> int:
    """The number in "3 tags" or "round 3"."""
    return int("".join(filter(str.isdigit, label)) or 0)


_MEASURED = {
    "difficulty": "tags an instruction",
    "auto_evol_complexity": "complexity, 1 to 10",
    "diversity": "different tags",
}


def loss(source: Source) -> dict[str, Curve] | None:
    """The curves of the latest trainings: in words → (step, loss)."""
    curves: dict[str, Curve] = {}
    for training in source.page.trainings:
        raw = read_json(source.folder / training.name / "train.json")
        for key, said in (("loss_history", "training"), ("held_out_history", "held out")):
            points = _points(raw.get(key))
            if len(points) > 1:
                curves[f"{training.name}, {said}"] = points
    return dict(list(curves.items())[:_MOST_CURVES]) or None


def _points(history: Any) -> Curve:
    pairs = [
        (entry.get("step"), entry.get("loss")) if isinstance(entry, Mapping) else tuple(list_of(entry)[:2])
        for entry in list_of(history)
    ]
    sound = [[number_of(value) for value in pair] for pair in pairs if len(pair) == 2]
    return sorted({step: value for step, value in sound if step is not None and value is not None}.items())


# Figure → how its data is read, and what makes it.
FIGURES: Mapping[str, tuple[Callable[[Source], Any], str]] = {
    "clusters": (lambda source: source.map, "the map of the clusters, which the step cluster makes"),
    "funnel": (funnel, "steps with rows, which every run has"),
    "tags": (tags, "labels or tags, which the steps normalize_tags and tag_pool make"),
    "budgets": (budgets, "rows with a budget or a round, which tag_evol, evol_instruct or auto_evol make"),
    "scores": (scores, "rows with a score, which the step compare makes"),
    "lengths": (lengths, "rows with a response, which the step respond makes"),
    "judge": (judge, "figures of the judge, which the step compare makes"),
    "reasons": (reasons, "rejected rows; here no row was rejected"),
    "loss": (loss, "a training of two logged steps, which tagevol train makes"),
}
