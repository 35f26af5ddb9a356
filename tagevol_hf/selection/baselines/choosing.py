"""One call for every baseline: it adds the columns that the method reads, unless they are there, and selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from datasets import Dataset

from ...engines.base import Engine
from ...errors import DataError
from ...tags.embed import Embedder
from ..choice import Selection
from .alpagasus import AlpaGasus
from .candidates import Baseline
from .deita import Deita
from .instag import InsTag
from .k_center import KCenter
from .perplexed import IFD, Perplexity
from .scoring import Means, with_scores
from .simple import Full, Longest, Random

if TYPE_CHECKING:
    from .language_model import LanguageModel

BASELINES: Mapping[str, type[Baseline]] = MappingProxyType(
    {
        "random": Random,
        "longest": Longest,
        "alpagasus": AlpaGasus,
        "deita": Deita,
        "instag": InsTag,
        "ifd": IFD,
        "k-center": KCenter,
        "perplexity": Perplexity,
        "full": Full,
    }
)


def baseline(
    name: str,
    dataset: Dataset,
    n: int,
    *,
    engine: Engine | None = None,
    model: str | Path | LanguageModel | None = None,
    embedder: str | Embedder = "builtin",
    seed: int = 42,
) -> tuple[Dataset, Selection]:
    """Choose n rows by a baseline with its usual settings.

    Args:
        name: A key of `BASELINES`.
        dataset: Rows as `prepare` gives them; columns that are there already, such as `labels` or `grade`, are used.
        n: How many rows, >= 0.
        engine: Asked by instag (open tags), alpagasus (grades), and deita where there is no model.
        model: Causal language model for ifd and perplexity, and deita's scorer: folder, Hub id, or a loaded one.
        embedder: For deita, k-center, and instag's tag table: an embedder, or its name as `open_embedder` takes it.
        seed: Of all random choices and requests.

    Returns:
        The data set with the columns that scoring added (rows that could not be scored may carry a rejection), and
        the choice, whose `apply` takes that data set.

    Raises:
        DataError: If the name is unknown, a column is missing, or an engine or model is needed and not given.
        EngineError: If the engine or the model fails.
        MissingExtraError: If a model is needed, and torch or transformers is not installed.
    """
    if name not in BASELINES:
        near = get_close_matches(name, BASELINES, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(BASELINES)}"
        raise DataError(f"baseline: {name!r} is not a baseline; {hint}")
    means = Means(name, engine, model, embedder, seed)
    scored = with_scores(dataset, means)
    return scored, _rule(means).select(scored, n)


def _rule(means: Means) -> Baseline:
    """The method with its usual settings."""
    seeded: Mapping[str, Callable[[], Baseline]] = {
        "random": lambda: Random(means.seed),
        "alpagasus": lambda: AlpaGasus(seed=means.seed),
        "deita": lambda: Deita(means.embedder),
        "k-center": lambda: KCenter(means.embedder, seed=means.seed),
    }
    return seeded.get(means.name, BASELINES[means.name])()
