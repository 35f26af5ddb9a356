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
        config: Which configuration of a data set on the Hub.
        split: Which split of it.
        revision: Which commit, tag or branch of it; the newest by default. A commit makes the run repeatable.
        columns: Which column holds what, as {instruction: question, response: answer}.
        license: Of the data, as the Hub names licences (cc-by-4.0, mit, …); it is carried over into the card.
        streaming: Fetch rows one by one, only as many as `limit` asks for, in place of all files of the source.
    """

    source: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    license: str | None = None
    streaming: bool = False


class EngineStep(Part):
    """A step that may ask a model; `engines` may name one for it."""


class ModelStep(EngineStep):
    """Options that every step has that asks one question about each row; None keeps the step's own default.

    Attributes:
        prompt: A text file in place of the step's own prompt; a relative path counts from the recipe's folder.
        temperature: How the reply is drawn; 0 is greedy.
        top_p: Share of the likeliest tokens that are drawn from.
        max_tokens: Longest reply, in tokens.
        attempts: How often a row is asked in all, before it is rejected with the reason of its last reply.
    """

    prompt: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    attempts: int | None = Field(default=None, ge=1)
