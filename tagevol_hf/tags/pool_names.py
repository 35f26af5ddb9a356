"""The rows' own tags under the names of a normalised pool."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from ..rows import Row, with_columns
from .normalize import TagNormalizer
from .pool import canonical_name
from .taggers import ASPECTS


def canonical_tags(dataset: Dataset, normalizer: TagNormalizer) -> Dataset:
    """The data set with canonical names in `aspects` and `tags`, as `TagPool.normalized` has them. A pure map.

    With both under the same names, no seed is offered a tag that it has. No tag leaves: one that the normaliser does
    not know keeps its own name, so that a row's number of tags says as much as before.
    """

    def named(tags: list[str] | None) -> list[str] | None:
        return None if tags is None else list(dict.fromkeys(canonical_name(normalizer, tag) for tag in tags))

    def renamed(row: Row) -> dict[str, Any]:
        aspects = row["aspects"]
        parts = None if aspects is None else [{**part, "tags": named(part["tags"])} for part in aspects]
        return {"aspects": parts, "tags": named(row["tags"])}

    return with_columns(dataset, renamed, ASPECTS)
