"""The options of the step that measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .recipe_parts import ModelStep, Source


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
