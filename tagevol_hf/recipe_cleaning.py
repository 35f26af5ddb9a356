"""The options of the steps that clean: benchmarks' questions and near duplicates leave."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .recipe_parts import Part, Source

Column = Literal["instruction", "response"]


def _source(value: Any) -> Any:
    """A source in one line: a file, or a Hub id, both with #config:split, of which either may be left out."""
    if not isinstance(value, str):
        return value
    source, _, rest = value.partition("#")
    config, _, split = rest.partition(":")
    return {"source": source, **({"config": config} if config else {}), **({"split": split} if split else {})}


class Decontaminate(Part):
    """Find the rows that hold questions of benchmarks, and reject them.

    Words are compared without case, punctuation, symbols and digits, as in Tag-Evol's test.

    Attributes:
        against: The benchmarks, each as a source or in short, as gsm8k-test.jsonl or openai/gsm8k#main:test.
        n: Lengths of n-grams in words; a row holds a question if it has enough n-grams of one of these lengths.
        share: Least share of the question's n-grams that are enough; 0 takes any one, as Tag-Evol.
        near: Least share of the question's words, in their order, of a near match; null looks for none.
        columns: What is looked at; the instruction goes together with its input and the turns before it.
        action: "reject" the rows, or "report" them only; the report is contamination.json.
        num_proc: Processes at a time.
    """

    against: list[Source] = Field(min_length=1)
    n: list[Annotated[int, Field(ge=1)]] = Field(default=[8, 13], min_length=1)
    share: float = Field(default=0.5, ge=0, le=1)
    near: float | None = Field(default=0.8, gt=0, le=1)
    columns: list[Column] = Field(default=["instruction"], min_length=1)
    action: Literal["reject", "report"] = "reject"
    num_proc: int = Field(default=1, ge=1)

    @field_validator("against", mode="before", json_schema_input_type=list[str | Source])
    @classmethod
    def _in_short(cls, values: Any) -> Any:
        return [_source(value) for value in values] if isinstance(values, list) else values


class NearDuplicates(Part):
    """Keep one of rows that say nearly the same, and reject the others.

    Attributes:
        by: "minhash" compares word n-grams, the wording; "embedding" compares vectors, the meaning, each row with each.
        threshold: Least similarity: of the sets of n-grams (Jaccard), by default 0.8, or of the vectors (cosine), by
            default 0.95.
        columns: What is compared; the instruction goes together with its input and the turns before it.
        best: A column of numbers; the row with the highest stays. Without one it is that with the longest response.
        n: Length of an n-gram in words.
        embedder: For the vectors.
    """

    by: Literal["minhash", "embedding"] = "minhash"
    threshold: float | None = Field(default=None, gt=0, le=1)
    columns: list[Column] = Field(default=["instruction"], min_length=1)
    best: str = ""
    n: int = Field(default=3, ge=1)
    embedder: str = "auto"

    @property
    def embeds(self) -> bool:
        """Whether the embedder is used."""
        return self.by == "embedding"
