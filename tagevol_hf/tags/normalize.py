"""The tag normaliser of InsTag (arXiv 2308.07074, section 3.2), used by TACOS: raw tags → canonical names.

Four steps decide once, on all tags of a data set: rare tags leave (frequency), spellings of the same tag merge (rule),
near-equal tags merge (semantic), tags that nearly always come together merge (association). The result is a table
that says for every raw tag where it went, at which step, and why.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import Row, iterate, with_columns
from .associate import TagRows
from .embed import Embedder
from .normalization import PRESETS, Normalization
from .rule import plain
from .steps import Entry, Found, key_of

__all__ = ["LABELS", "PRESETS", "Entry", "Normalization", "TagNormalizer", "add_labels", "fit_normalizer"]

_FORMAT = 2
LABELS = Features({"labels": List(Value("string"))})


@dataclass(frozen=True)
class TagNormalizer:
    """A fitted normaliser; a value that can be saved, loaded and applied to other data.

    A canonical name is the most frequent spelling of its group (ties: the first in the alphabet), so every name is
    its own canonical name and a second application changes nothing. The table is sorted: row order has no say.

    Attributes:
        entries: One for each raw tag, sorted by tag.
        rows: Rows that it was fitted on.
        settings: The steps, with the numbers that were used.
        embedder: Identity of the embedder; None where there was no semantic step.
    """

    entries: tuple[Entry, ...]
    rows: int
    settings: Normalization
    embedder: str | None

    @classmethod
    def fit(
        cls,
        tag_lists: Iterable[Sequence[str]],
        settings: Normalization | None = None,
        embedder: Embedder | None = None,
    ) -> TagNormalizer:
        """Fit on the tags of each row.

        Args:
            tag_lists: The tags of one row each; blank tags are ignored. Read once.
            settings: The steps; `Normalization()` by default.
            embedder: For the semantic step, which is left out without one.

        Raises:
            DataError: If a setting is out of range.
        """
        settings = settings or Normalization()
        together = TagRows() if "association" in settings else None
        counts: Counter[str] = Counter()
        rows = 0
        for rows, tags in enumerate(tag_lists, 1):  # noqa: B007 - the number of rows is used below
            distinct = {tag for tag in tags if tag.strip()}
            counts.update(distinct)
            if together is not None:
                together.add(distinct)
        return cls._from(counts, rows, settings, embedder, together)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        rows: int,
        settings: Normalization | None = None,
        embedder: Embedder | None = None,
    ) -> TagNormalizer:
        """As `fit`, from how many of `rows` rows have each tag.

        Raises:
            DataError: If a setting is out of range, or the association step is asked for, which needs the rows.
        """
        settings = settings or Normalization()
        if "association" in settings:
            raise DataError("normalize_tags: the step association counts tags that come together; use fit, with rows")
        return cls._from(counts, rows, settings, embedder, None)

    @classmethod
    def _from(
        cls,
        counts: Mapping[str, int],
        rows: int,
        settings: Normalization,
        embedder: Embedder | None,
        together: TagRows | None,
    ) -> TagNormalizer:
        settings = settings.for_rows(rows)
        found = Found.of(counts, settings, embedder if "semantic" in settings else None, together)
        entries = tuple(sorted(found.entries(counts), key=lambda entry: entry.tag))
        identity = embedder.identity if embedder is not None and "semantic" in settings else None
        return cls(entries, rows, settings, identity)

    def apply(self, tags: Sequence[str]) -> list[str]:
        """The distinct canonical names of a row's tags, in order.

        A tag that was not there at fitting goes by the rule step alone. Where none of the tags has a canonical name,
        the row keeps its most frequent one (ties: the first), in its most frequent spelling, or, with
        `orphans="rest"`, gets no name. Else the result is empty only if there is no tag.
        """
        given = [tag for tag in tags if tag.strip()]
        names = [name for tag in given if (name := self._canonical(tag)) is not None]
        if given and not names and self.settings.orphans == "best":
            best = max(given, key=self._count)
            bare = plain(best) if "rule" in self.settings else best
            names = [self._spellings.get(key_of(best, self.settings)) or bare]
        return list(dict.fromkeys(names))

    @property
    def names(self) -> list[str]:
        """The canonical names, sorted."""
        return [entry.tag for entry in self.entries if entry.step == "kept"]

    def entry(self, tag: str) -> Entry | None:
        """What became of a raw tag; None if it was not there at fitting."""
        return self._table.get(tag)

    def summary(self) -> dict[str, Any]:
        """Number of raw tags, of names, and of tags that left or were merged at each step; the settings."""
        steps = Counter(entry.step for entry in self.entries)
        return {
            "raw_tags": len(self.entries),
            "names": steps["kept"],
            "too_rare": steps["frequency"],
            "merged_by_rule": steps["rule"],
            "merged_by_embedding": steps["semantic"],
            "merged_by_association": steps["association"],
            **dataclasses.asdict(self.settings),
            "steps": ", ".join(self.settings.steps),
            "embedder": self.embedder,
        }

    def save(self, path: str | Path) -> None:
        """Write the table as JSON."""
        text = json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, ensure_ascii=False, indent=1)
        Path(path).write_text(text, encoding="utf-8", errors="surrogatepass")

    @classmethod
    def load(cls, path: str | Path) -> TagNormalizer:
        """Read a table that `save` wrote.

        Raises:
            DataError: If the file cannot be read or is not such a table.
        """
        try:
            body: Any = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogatepass"))
            if body.pop("format") != _FORMAT:
                raise DataError(f"{path}: a tag normaliser of another format, expected {_FORMAT}; fit it again")
            entries = tuple(Entry(**entry) for entry in body.pop("entries"))
            return cls(entries, settings=Normalization(**body.pop("settings")), **body)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise DataError(f"{path}: not a tag normaliser ({fault!r})") from None

    def _canonical(self, tag: str) -> str | None:
        known = self._table.get(tag)
        return known.canonical if known is not None else self._by_key.get(key_of(tag, self.settings))

    def _count(self, tag: str) -> int:
        known = self._table.get(tag)
        return known.count if known is not None else 0

    @functools.cached_property
    def _table(self) -> dict[str, Entry]:
        return {entry.tag: entry for entry in self.entries}

    @functools.cached_property
    def _by_key(self) -> dict[str, str]:
        return {entry.key: entry.canonical for entry in self.entries if entry.canonical is not None}

    @functools.cached_property
    def _spellings(self) -> dict[str, str]:
        """Most frequent spelling by rule key."""
        spellings: dict[str, str] = {}
        for entry in sorted(self.entries, key=lambda entry: (-entry.count, entry.tag)):
            spellings.setdefault(entry.key, entry.tag)
        return spellings


def fit_normalizer(
    dataset: Dataset, settings: Normalization | None = None, embedder: Embedder | None = None
) -> TagNormalizer:
    """Fit on the column `open_tags`; rejected rows do not count (TACOS, section 3.1).

    Args:
        dataset: Rows with `open_tags`, as `OpenTagger.apply` gives them.
        settings: The steps and their thresholds; the defaults of `Normalization` where None.
        embedder: For the step "semantic"; the built-in character n-grams where None.

    Raises:
        DataError: If there is no such column, or a setting is out of range.
    """
    _demand(dataset, "open_tags", "OpenTagger")
    have = [name for name in ("open_tags", "rejection") if name in dataset.column_names]
    rows = iterate(dataset.select_columns(have))
    return TagNormalizer.fit((_raw(row) for row in rows if row.get("rejection") is None), settings, embedder)


def add_labels(dataset: Dataset, normalizer: TagNormalizer) -> Dataset:
    """The data set with the column `labels`: the canonical names of each row's `open_tags`; empty if rejected.

    Args:
        dataset: Rows with `open_tags`; they need not be those that the normaliser was fitted on.
        normalizer: As `fit_normalizer` gives it.

    Raises:
        DataError: If there is no column `open_tags`.
    """
    _demand(dataset, "open_tags", "OpenTagger")

    def read(row: Row) -> dict[str, Any]:
        return {"labels": normalizer.apply(_raw(row)) if row.get("rejection") is None else []}

    return with_columns(dataset, read, LABELS)


def _raw(row: Row) -> list[str]:
    return [part["tag"] for part in row["open_tags"] or () if part["tag"]]


def _demand(dataset: Dataset, column: str, stage: str) -> None:
    if column not in dataset.column_names:
        raise DataError(
            f"the tag normaliser needs the column {column}; the data set has: {', '.join(dataset.column_names)}; "
            f"apply {stage} first"
        )
