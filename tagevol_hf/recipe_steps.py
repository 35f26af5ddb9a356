"""The steps of a recipe: their options, and which must come before which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Budget = Annotated[int, Field(ge=1, le=15)]


class Part(BaseModel):
    """A part of a recipe: an unknown key is an error, and nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelStep(Part):
    """Options that every step has that asks a model; None keeps the step's own default."""

    prompt: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    attempts: int | None = Field(default=None, ge=1)


class AspectTags(ModelStep):
    """Tag the seeds: aspects, then tags under each."""

    max_aspects: int = Field(default=6, ge=1)
    max_tags: int = Field(default=8, ge=1)


class TagPoolStep(Part):
    """Collect the tags of all seeds."""


class TagEvolStep(ModelStep):
    """Evolve each seed once for each budget."""

    budgets: list[Budget] = Field(default=[1, 3, 5], min_length=1)
    candidates: int = Field(default=21, ge=1)
    words_per_tag: int = Field(default=20, ge=1)
    max_chars: int = Field(default=4000, ge=1)

    @model_validator(mode="after")
    def _numbers(self) -> TagEvolStep:
        if len(set(self.budgets)) != len(self.budgets):
            raise ValueError(f"budgets: expected different numbers, got {self.budgets}")
        if self.candidates < max(self.budgets):
            raise ValueError(f"candidates: expected at least the largest budget, {max(self.budgets)}")
        return self


class Respond(ModelStep):
    """Answer each instruction."""


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


Step = (
    AspectTags | TagPoolStep | TagEvolStep | Respond | OpenTags | NormalizeTags | ClusterStep | CompareStep | SelectStep
)

STEPS: Mapping[str, type[Step]] = {
    "aspect_tags": AspectTags,
    "tag_pool": TagPoolStep,
    "tag_evol": TagEvolStep,
    "respond": Respond,
    "open_tags": OpenTags,
    "normalize_tags": NormalizeTags,
    "cluster": ClusterStep,
    "compare": CompareStep,
    "select": SelectStep,
}

# What must come before a step, because it writes what the step reads.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "tag_pool": ("aspect_tags",),
    "tag_evol": ("aspect_tags", "tag_pool"),
    "normalize_tags": ("open_tags",),
    "cluster": ("normalize_tags",),
    "compare": ("cluster",),
    "select": ("compare",),
}
MODEL_STEPS = tuple(name for name, kind in STEPS.items() if issubclass(kind, ModelStep))
