"""The options of the steps that select and measure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .recipe_parts import ModelStep, Part, Source


class OpenTags(ModelStep):
    """Label each query with open tags."""

    granularity: Literal["coarse", "fine"] = "coarse"
    max_tags: int = Field(default=6, ge=1)


class NormalizeTags(Part):
    """Merge the open tags into canonical labels.

    Attributes:
        alpha: Tags that occur less often are dropped; None scales the paper's 20 to the data's size.
        eps: Greatest cosine distance of two tags that are merged.
        embedder: "builtin", or the path or Hub id of a sentence-transformers model.
    """

    alpha: int | None = Field(default=None, ge=1)
    eps: float = Field(default=0.05, ge=0, le=2)
    embedder: str = "builtin"


class ClusterStep(Part):
    """Cluster the labels by k-means; None takes one cluster for 20 rows to be selected, at most 50."""

    k: int | None = Field(default=None, ge=1)
    embedder: str = "builtin"


class CompareStep(ModelStep):
    """Compare answers in pairs inside each cluster."""

    comparisons: int = Field(default=2, ge=1)
    orders: Literal["both", "one"] = "both"


class SelectStep(Part):
    """Take the best of each cluster, `n` rows in all."""

    n: int = Field(ge=1)


class MeasureStep(ModelStep):
    """Measure what the rows are: diversity, difficulty, obedience, repetition, spread, length, contamination.

    Attributes:
        sample: Instructions that are tagged for diversity and difficulty; 0 asks nothing.
        max_tags: Most coarse tags of an instruction; a bound that hard instructions reach would hide their difficulty.
        by: Measured for each of its values as well.
        references: Test sets that the instructions are compared with.
        embedder: For the spread: "builtin", or the path or Hub id of a sentence-transformers model.
    """

    sample: int = Field(default=50, ge=0)
    max_tags: int = Field(default=20, ge=1)
    by: Literal["", "budget", "round"] = ""
    references: list[Source] = Field(default_factory=list)
    embedder: str = "builtin"
