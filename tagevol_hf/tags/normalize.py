"""The tag normaliser of InsTag (arXiv 2308.07074, section 3.2), used by TACOS: raw tags → canonical names.

Three steps decide once, on all tags of a data set: rare tags leave (frequency), spellings of the same tag merge
(rule), near-equal tags merge (semantic). The result is a table that says for every raw tag where it went, and why.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset, Features, List, Value

from ..errors import DataError
from ..rows import Row, iterate, with_columns
from .embed import Embedder
from .merge import Joined, join_near
from .rule import Stem, plain, rule_key

_FORMAT = 1
LABELS = Features({"labels": List(Value("string"))})

Step = Literal["frequency", "rule", "semantic", "kept"]


@dataclass(frozen=True)
class Entry:
    """What became of one raw tag.

    Attributes:
        tag: The raw tag.
        count: Rows that have it.
        key: Its rule key.
        canonical: The name it goes by, or None where it was too rare.
        step: The step that decided: "kept" means that the tag is a canonical name.
        why: The reason in one line.
    """

    tag: str
    count: int
    key: str
    canonical: str | None
    step: Step
    why: str


@dataclass(frozen=True)
class TagNormalizer:
    """A fitted normaliser; a value that can be saved, loaded and applied to other data.

    A canonical name is the most frequent spelling of its group (ties: the first in the alphabet), so every name is
    its own canonical name and a second application changes nothing. The table is sorted: row order has no say.

    Attributes:
        entries: One for each raw tag, sorted by tag.
        rows: Rows that it was fitted on.
        alpha: Tags of fewer rows than this are rare.
        stem: How the rule step treats English words, see `rule_key`.
        eps: Greatest cosine distance between neighbours in the semantic step, in 0..2.
        embedder: Identity of the embedder; None where there was no semantic step.
    """

    entries: tuple[Entry, ...]
    rows: int
    alpha: int
    stem: Stem
    eps: float
    embedder: str | None

    @classmethod
    def fit(
        cls,
        tag_lists: Iterable[Sequence[str]],
        *,
        alpha: int | None = None,
        stem: Stem = "inflection",
        embedder: Embedder | None = None,
        eps: float = 0.05,
    ) -> TagNormalizer:
        """Fit on the tags of each row.

        Args:
            tag_lists: The tags of one row each; blank tags are ignored.
            alpha: Least number of rows that a tag must have, >= 1; None scales InsTag's 20 to the number of rows N:
                max(2, round(20 * N / 52000)). A rare tag with the rule key of a tag that stays is merged all the same.
            stem: See `rule_key`.
            embedder: For the semantic step; None leaves it out.
            eps: Greatest cosine distance of two neighbours there, in 0..2.
        """
        counts: Counter[str] = Counter()
        rows = 0
        for rows, tags in enumerate(tag_lists, 1):  # noqa: B007 - the number of rows is used below
            counts.update({tag for tag in tags if tag.strip()})
        return cls.from_counts(counts, rows=rows, alpha=alpha, stem=stem, embedder=embedder, eps=eps)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        rows: int,
        alpha: int | None = None,
        stem: Stem = "inflection",
        embedder: Embedder | None = None,
        eps: float = 0.05,
    ) -> TagNormalizer:
        """As `fit`, from how many of `rows` rows have each tag."""
        alpha = max(2, round(20 * rows / 52_000)) if alpha is None else alpha
        groups: dict[str, list[str]] = {}
        for tag in sorted(counts, key=lambda tag: (-counts[tag], tag)):
            groups.setdefault(rule_key(tag, stem), []).append(tag)
        alive = {key: tags for key, tags in groups.items() if counts[tags[0]] >= alpha}
        weights = {tags[0]: sum(counts[tag] for tag in tags) for tags in alive.values()}
        joined = join_near(weights, embedder, eps) if embedder is not None else {}
        entries = [
            _entry(tag, counts[tag], key, tags[0] if key in alive else None, joined, alpha)
            for key, tags in groups.items()
            for tag in tags
        ]
        identity = None if embedder is None else embedder.identity
        return cls(tuple(sorted(entries, key=lambda entry: entry.tag)), rows, alpha, stem, eps, identity)

    def apply(self, tags: Sequence[str]) -> list[str]:
        """The distinct canonical names of a row's tags, in order.

        A tag that was not there at fitting goes by the rule step alone. Where none of the tags has a canonical name,
        the row keeps its most frequent one (ties: the first), in its most frequent spelling, so that it does not
        vanish. The result is empty only if there is no tag.
        """
        given = [tag for tag in tags if tag.strip()]
        names = [name for tag in given if (name := self._canonical(tag)) is not None]
        if given and not names:
            best = max(given, key=self._count)
            names = [self._spellings.get(rule_key(best, self.stem)) or plain(best)]
        return list(dict.fromkeys(names))

    @property
    def names(self) -> list[str]:
        """The canonical names, sorted."""
        return [entry.tag for entry in self.entries if entry.step == "kept"]

    def entry(self, tag: str) -> Entry | None:
        """What became of a raw tag; None if it was not there at fitting."""
        return self._table.get(tag)

    def summary(self) -> dict[str, Any]:
        """Number of raw tags, of names, and of tags that left or were merged at each step; the parameters."""
        steps = Counter(entry.step for entry in self.entries)
        return {
            "raw_tags": len(self.entries),
            "names": steps["kept"],
            "too_rare": steps["frequency"],
            "merged_by_rule": steps["rule"],
            "merged_by_embedding": steps["semantic"],
            "alpha": self.alpha,
            "stem": self.stem,
            "eps": self.eps,
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
            return cls(entries, **body)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            raise DataError(f"{path}: not a tag normaliser ({fault!r})") from None

    def _canonical(self, tag: str) -> str | None:
        known = self._table.get(tag)
        return known.canonical if known is not None else self._by_key.get(rule_key(tag, self.stem))

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
    dataset: Dataset,
    *,
    alpha: int | None = None,
    stem: Stem = "inflection",
    embedder: Embedder | None = None,
    eps: float = 0.05,
) -> TagNormalizer:
    """Fit on the column `open_tags`; rejected rows do not count. The arguments are those of `TagNormalizer.fit`.

    Raises:
        DataError: If there is no such column.
    """
    _demand(dataset, "open_tags", "OpenTagger")
    have = [name for name in ("open_tags", "rejection") if name in dataset.column_names]
    rows = iterate(dataset.select_columns(have))
    tag_lists = (_raw(row) for row in rows if row.get("rejection") is None)
    return TagNormalizer.fit(tag_lists, alpha=alpha, stem=stem, embedder=embedder, eps=eps)


def add_labels(dataset: Dataset, normalizer: TagNormalizer) -> Dataset:
    """The data set with the column `labels`: the canonical names of each row's `open_tags`; empty if rejected.

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


def _entry(tag: str, count: int, key: str, head: str | None, joined: Mapping[str, Joined], alpha: int) -> Entry:
    """The entry of one tag; `head` is the most frequent spelling of its rule group, None where that is rare."""
    if head is None:
        return Entry(tag, count, key, None, "frequency", f"fewer than {alpha} rows have it")
    if (moved := joined.get(head)) is not None:
        why = f"{head!r} is {moved.distance:.4f} from {moved.into!r} by cosine distance"
        return Entry(tag, count, key, moved.into, "semantic", why)
    if tag == head:
        return Entry(tag, count, key, tag, "kept", "the most frequent name of its group")
    return Entry(tag, count, key, head, "rule", f"the same but for case, signs or inflection ({key!r})")
