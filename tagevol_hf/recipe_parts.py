"""What all parts of a recipe have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of a recipe: an unknown key is an error, and nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Source(Part):
    """Where rows come from.

    Attributes:
        source: File, glob, folder or Hub id; a relative path counts from the recipe's folder.
        columns: Which column holds what, as {instruction: question, response: answer}.
    """

    source: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)


class EngineStep(Part):
    """A step that may ask a model; `engines` may name one for it."""


class ModelStep(EngineStep):
    """Options that every step has that asks one question about each row; None keeps the step's own default."""

    prompt: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    attempts: int | None = Field(default=None, ge=1)
