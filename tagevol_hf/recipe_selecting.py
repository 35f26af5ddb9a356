"""The options of the steps that tag openly, score and select."""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import Field, model_validator

from .recipe_parts import EngineStep, ModelStep, Part
from .selection.plans import Plan
from .tags.normalization import PRESETS, Normalization

Embedding = str  # "auto", "builtin", "phrase-bert", the folder of a model, or its Hub id


class OpenTags(ModelStep):
    """Label each query with open tags.

    Attributes:
        granularity: "coarse" as in the paper, or "fine".
        max_tags: Most tags of a row.
        turns: "together" labels all user turns of a conversation in one request, "each" every turn in its own.
    """

    granularity: Literal["coarse", "fine"] = "coarse"
    max_tags: int = Field(default=6, ge=1)
    turns: Literal["together", "each"] = "together"


class NormalizeTags(Part):
    """Merge the open tags into canonical labels; a value left out is that of the preset.

    Attributes:
        preset: "default", "paper" (InsTag's four steps) or "release" (what TACOS' released code does).
        steps: Those to be taken: rare tags leave (frequency), spellings merge (rule), near-equal tags merge by their
            vectors (semantic), tags that nearly always come together merge (association).
        alpha: Tags that occur less often are rare; by default the paper's 20, scaled to the data's size.
        stem: What the rule step takes off words, see `tags.rule.rule_key`.
        eps: Greatest cosine distance of two tags that merge in the semantic step.
        confidence: Share of a tag's rows that must have the other in the association step.
        support: Least number of rows with both there; by default InsTag's 40, scaled.
        orphans: A row without any label left: "best" keeps its most frequent tag, "rest" puts it into the rest cluster.
        embedder: For the semantic step.
    """

    preset: Literal["default", "paper", "release"] = "default"
    steps: list[Literal["frequency", "rule", "semantic", "association"]] | None = None
    alpha: int | None = Field(default=None, ge=1)
    stem: Literal["inflection", "porter", "phrase", "none"] | None = None
    eps: float | None = Field(default=None, ge=0, le=2)
    confidence: float | None = Field(default=None, gt=0, le=1)
    support: int | None = Field(default=None, ge=1)
    orphans: Literal["best", "rest"] | None = None
    embedder: Embedding = "auto"

    def settings(self) -> Normalization:
        """The preset with what the recipe changes of it."""
        given = {name: getattr(self, name) for name in _SETTINGS if getattr(self, name) is not None}
        return dataclasses.replace(PRESETS[self.preset], **given)

    @property
    def embeds(self) -> bool:
        """Whether the embedder is used."""
        return "semantic" in self.settings()


_SETTINGS = tuple(field.name for field in dataclasses.fields(Normalization))


class ClusterStep(Part):
    """Cluster the labels by k-means, and the rows by their labels.

    Attributes:
        k: Number of clusters; None takes one for 20 rows to be selected, at most 50.
        assign: "paper": a row belongs to the cluster nearest to the mean of its labels. "release": to the clusters of
            all its labels.
        same_labels: Of rows with the same set of clusters, keep the one with the "longest" response (as the paper's
            released code) or the "first"; with "none" all stay.
        embedder: Gives the labels' vectors.
    """

    k: int | None = Field(default=None, ge=1)
    assign: Literal["paper", "release"] = "paper"
    same_labels: Literal["none", "longest", "first"] = "none"
    embedder: Embedding = "auto"

    @model_validator(mode="after")
    def _sets_have_several(self) -> ClusterStep:
        if self.assign == "paper" and self.same_labels != "none":
            raise ValueError(
                "same_labels keeps one row of each set of clusters, which needs assign: release; with assign: paper "
                "one row of each cluster would be left"
            )
        return self


class SingleScore(ModelStep):
    """Score each response by itself, to compare comparative scoring with."""


class CompareStep(ModelStep):
    """Compare answers in pairs inside each cluster.

    Attributes:
        plan: Who meets whom: "k-regular" (random), "adjacent" (the paper's released code), "anchor" (all meet the same
            few), "swiss" (later rounds pair near scores).
        comparisons: How many others each row meets at least.
        orders: "both" against position bias, or "one", drawn at random.
        score: "mean" of a row's scores, or "bradley-terry" from who won.
    """

    plan: Plan = "k-regular"
    comparisons: int = Field(default=2, ge=1)
    orders: Literal["both", "one"] = "both"
    score: Literal["mean", "bradley-terry"] = "mean"


class SelectStep(Part):
    """Take the best, `n` rows in all.

    Attributes:
        n: Rows to take; fewer are taken where fewer can be.
        allocate: How many of each cluster: "equal" shares, with what small ones lack carried on; "proportional" to
            size; by its square root ("sqrt"); or the best of all ("global").
        by: The column that ranks: `score`, `length_controlled_score` or `single_score`.
    """

    n: int = Field(ge=1)
    allocate: Literal["equal", "proportional", "sqrt", "global"] = "equal"
    by: Literal["score", "length_controlled_score", "single_score"] = "score"

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that write what this one reads."""
        return ("cluster", "single_score" if self.by == "single_score" else "compare")


class BaselineSettings(EngineStep):
    """What the ways of selecting need that the papers compare with.

    Attributes:
        model: Folder or Hub id of a causal language model, for "ifd" and "perplexity".
        embedder: For "deita" and "k-center".
    """

    model: str = ""
    embedder: Embedding = "auto"


EMBEDDING = ("deita", "k-center")  # the others use no embedder

Method = Literal["random", "longest", "alpagasus", "deita", "instag", "ifd", "k-center", "perplexity", "full"]


class BaselineStep(BaselineSettings):
    """Select `n` rows by a way that TACOS is compared with, in place of `select`.

    Attributes:
        method: Which way; "ifd" and "perplexity" need `model`, "alpagasus" and "deita" ask the engine.
        n: Rows to take.
    """

    method: Method
    n: int = Field(ge=1)

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that write what this one reads."""
        return ("normalize_tags",) if self.method == "instag" else ()

    @property
    def embeds(self) -> bool:
        """Whether the embedder is used."""
        return self.method in EMBEDDING


class CompareSelections(BaselineSettings):
    """One table of what was selected and what other ways would have selected, at equal size.

    Attributes:
        methods: The other ways.
        seeds: Draws of "random", for the mean and the spread.
    """

    methods: tuple[Method, ...] = Field(default=("random", "longest"), min_length=1)
    seeds: int = Field(default=3, ge=1)

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that write what this one reads."""
        return ("normalize_tags",)


class Refine(ModelStep):
    """Rewrite the response, then the instruction of each chosen row (TACOS' refined variant)."""
