"""The steps of the tag normaliser one after the other, and what each of them did to each raw tag."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .associate import Associated, TagRows
from .embed import Embedder
from .merge import Joined, join_near
from .normalization import Normalization
from .rule import rule_key

Step = Literal["frequency", "rule", "semantic", "association", "kept"]


@dataclass(frozen=True)
class Entry:
    """What became of one raw tag.

    Attributes:
        tag: The raw tag.
        count: Rows that have it.
        key: Its rule key.
        canonical: The name it goes by, or None where it was too rare.
        step: The step that decided last: "kept" means that the tag is a canonical name.
        why: The reason in one line.
    """

    tag: str
    count: int
    key: str
    canonical: str | None
    step: Step
    why: str


def key_of(tag: str, settings: Normalization) -> str:
    """What is the same for all spellings of a tag; the tag itself where there is no rule step."""
    return rule_key(tag, settings.stem) if "rule" in settings else tag


@dataclass(frozen=True)
class Found:
    """What the steps found: groups of tags with one key, and which names went into which."""

    groups: Mapping[str, Sequence[str]]
    rare: frozenset[str]
    joined: Mapping[str, Joined]
    associated: Mapping[str, Associated]
    alpha: int

    @classmethod
    def of(
        cls, counts: Mapping[str, int], settings: Normalization, embedder: Embedder | None, together: TagRows | None
    ) -> Found:
        """Take the steps; `together` is for the association step, `embedder` for the semantic one."""
        groups: dict[str, list[str]] = {}
        for tag in sorted(counts, key=lambda tag: (-counts[tag], tag)):
            groups.setdefault(key_of(tag, settings), []).append(tag)
        alpha = settings.alpha or 1
        rare = frozenset(key for key, tags in groups.items() if counts[tags[0]] < alpha)
        weights = {tags[0]: sum(counts[tag] for tag in tags) for key, tags in groups.items() if key not in rare}
        joined = {} if embedder is None else join_near(weights, embedder, settings.eps)
        found = cls(groups, rare, joined, {}, alpha)
        if together is None:
            return found
        names = {tag: found.name(key, tags[0]) for key, tags in groups.items() for tag in tags}
        associated = together.associate(names, settings.support or 1, settings.confidence)
        return dataclasses.replace(found, associated=associated)

    def name(self, key: str, head: str) -> str | None:
        """The name of a group by its most frequent spelling."""
        if key in self.rare:
            return None
        name = self.joined[head].into if head in self.joined else head
        return self.associated[name].into if name in self.associated else name

    def entries(self, counts: Mapping[str, int]) -> Iterable[Entry]:
        """One for each raw tag."""
        for key, tags in self.groups.items():
            canonical = self.name(key, tags[0])
            for tag in tags:
                step, why = self._why(key, tag, tags[0])
                yield Entry(tag, counts[tag], key, canonical, step, why)

    def _why(self, key: str, tag: str, head: str) -> tuple[Step, str]:
        if key in self.rare:
            return "frequency", f"fewer than {self.alpha} rows have it"
        moved = self.joined.get(head)
        name = moved.into if moved else head
        if (rule := self.associated.get(name)) is not None:
            return "association", f"{rule.together} of the {rule.rows} rows with {name!r} have {rule.implied!r}, too"
        if moved is not None:
            return "semantic", f"{head!r} is {moved.distance:.4f} from {moved.into!r} by cosine distance"
        if tag == head:
            return "kept", "the most frequent name of its group"
        return "rule", f"the same but for case, signs or inflection ({key!r})"
