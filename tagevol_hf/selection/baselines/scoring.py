"""Adding the columns that a baseline reads, unless they are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from datasets import Dataset

from ...engines.base import Engine
from ...errors import DataError
from ...tags.embed import Embedder
from ...tags.normalize import add_labels, fit_normalizer
from ...tags.taggers import OpenTagger
from .alpagasus import Grader
from .deita_scorer import DeitaScore, DeitaScorer
from .deita_scores import ComplexityRater, QualityRater
from .perplexing import add_perplexity
from .vectors import opened

if TYPE_CHECKING:
    from .language_model import LanguageModel


@dataclass(frozen=True)
class Means:
    """What a baseline may score with; the attributes are as the arguments of `baseline`."""

    name: str
    engine: Engine | None
    model: str | Path | LanguageModel | None
    embedder: str | Embedder
    seed: int

    def engine_for(self, column: str) -> Engine:
        """The engine that gives a column, or a `DataError` where there is none."""
        if self.engine is None:
            raise DataError(f"{self.name} needs the column {column}, or engine=… to ask for it; got neither")
        return self.engine

    def model_for(self, column: str) -> str | Path | LanguageModel:
        """The language model that gives a column, or a `DataError` where there is none."""
        if self.model is None:
            raise DataError(f"{self.name} needs the column {column}, or model=… (a causal language model); got neither")
        return self.model


def with_scores(dataset: Dataset, means: Means) -> Dataset:
    """The data set with the columns that the baseline `means.name` reads."""
    return _SCORING[means.name](dataset, means) if means.name in _SCORING else dataset


def _with_labels(dataset: Dataset, means: Means) -> Dataset:
    if "labels" in dataset.column_names:
        return dataset
    if "open_tags" not in dataset.column_names:
        dataset = OpenTagger(means.engine_for("labels"), seed=means.seed).apply(dataset)
    return add_labels(dataset, fit_normalizer(dataset, embedder=opened(means.embedder)))


def _with_grades(dataset: Dataset, means: Means) -> Dataset:
    if "grade" in dataset.column_names:
        return dataset
    return Grader(means.engine_for("grade"), seed=means.seed).apply(dataset)


def _with_deita_scores(dataset: Dataset, means: Means) -> Dataset:
    raters: Mapping[DeitaScore, type[ComplexityRater] | type[QualityRater]]
    raters = {"complexity": ComplexityRater, "quality": QualityRater}
    for score, rater in raters.items():
        if score in dataset.column_names:
            continue
        if means.model is not None:
            dataset = DeitaScorer(means.model, score).apply(dataset)
        elif means.engine is not None:
            dataset = rater(means.engine, seed=means.seed).apply(dataset)
        else:
            raise DataError(f"deita needs the column {score}, or model=… (a scorer), or engine=… to ask; got none")
    return dataset


def _with_perplexity(dataset: Dataset, means: Means) -> Dataset:
    if means.name in dataset.column_names:
        return dataset
    return add_perplexity(dataset, means.model_for(means.name))


_SCORING: Mapping[str, Callable[[Dataset, Means], Dataset]] = MappingProxyType(
    {
        "instag": _with_labels,
        "alpagasus": _with_grades,
        "deita": _with_deita_scores,
        "ifd": _with_perplexity,
        "perplexity": _with_perplexity,
    }
)
