"""All measures of a data set at once, for all its rows and for each group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

from ..errors import DataError
from ..tags.embed import Embedder, NgramEmbedder
from ..tags.taggers import OpenTagger
from . import lengths, obedience, overlap, repetition, spread, tagged
from .instructions import Groups, accepted_rows, columns, demand, grouped, whole_texts
from .measures import ALL, Measures

_HITS = 1000
_DIGITS = 6

Figures = dict[str, dict[str, float]]


def measure(
    dataset: Dataset,
    tagger: OpenTagger | None = None,
    *,
    sample: int = 50,
    by: str = "",
    references: Mapping[str, Sequence[str]] | tuple[()] = (),
    embedder: Embedder | None = None,
    seed: int = 42,
) -> Measures:
    """Measure the accepted rows of a data set; the order of the rows has no say.

    Args:
        dataset: Needs `id` and `instruction`. Rows with a rejection or a blank instruction are left out, with a note.
        tagger: For diversity and difficulty: InsTag's coarse labels, as in Tag-Evol 5.5. Without one they are absent.
        sample: Instructions of each group that are tagged for Tag-Evol's figures, 0 for none; Auto Evol-Instruct's
            take twice as many, so that the tagger is asked about at most `2 * sample` instructions a group.
        by: A column, such as "budget" or "round": its values are measured one by one as well.
        references: Name of a test set → its texts, for contamination.
        embedder: For the spread; character n-grams by default.
        seed: Of the sample.

    Raises:
        DataError: If a column is missing, no row can be measured, or `sample` is below 0.
        EngineError: If the tagger's engine fails.
    """
    demand(dataset, ("id", "instruction", *([by] if by else [])))
    if sample < 0:
        raise DataError(f"measure.sample: expected 0 or more instructions, got {sample}")
    accepted, notes = accepted_rows(dataset)
    rows, groups = columns(accepted), grouped(accepted, by)
    figures = {name: _figures(rows, places) for name, places in groups.items()}
    definitions = {"instructions": "Accepted instructions.", **tagged.DEFINITIONS, **obedience.DEFINITIONS}
    definitions |= {**repetition.DEFINITIONS, **lengths.DEFINITIONS}
    definitions |= _add_spread(figures, rows["instruction"], groups, embedder or NgramEmbedder())
    if tagger is None or sample == 0:
        notes.append("Diversity and difficulty were not measured: no tagger was asked.")
    else:
        notes += _add_tags(figures, accepted, groups, tagger, sample, seed)
    hits: list[dict[str, Any]] = []
    if references:
        found = overlap.contamination(whole_texts(rows), dict(references))
        shares, meanings = overlap.figures(found, groups, list(dict(references)))
        for name in groups:
            figures[name] |= shares[name]
        definitions |= meanings
        hits = [_hit(rows["id"], hit) for hit in found.hits]
        notes += [f"Of {len(hits):,} overlaps with test sets the first {_HITS:,} are listed."] * (len(hits) > _HITS)
    shown, defined = _shown(figures, definitions)
    return Measures(shown, len(accepted), defined, tuple(notes), tuple(hits[:_HITS]))


def _figures(rows: Mapping[str, list[Any]], places: Sequence[int]) -> dict[str, float]:
    """The figures of a group that need no embedder, no tagger and no references."""
    part = {name: [values[place] for place in places] for name, values in rows.items()}
    texts, seeds = part["instruction"], part.get("seed_instruction", ())
    found = {"instructions": float(len(places)), **lengths.lengths(texts, seeds), **repetition.repetition(texts)}
    if all(name in part for name in obedience.NEEDS):
        names = [name for name in (*obedience.NEEDS, "seed_tags") if name in part]
        evolved = zip(*(part[name] for name in names), strict=True)
        found |= obedience.obedience(dict(zip(names, values, strict=True)) for values in evolved)
    return found


def _add_spread(figures: Figures, texts: Sequence[str], groups: Groups, embedder: Embedder) -> dict[str, str]:
    """Each text is embedded once: the groups' sums add up to that of all."""
    parts = {
        name: spread.Directions.of([texts[place] for place in places], embedder)
        for name, places in groups.items()
        if name != ALL or len(groups) == 1
    }
    parts[ALL] = spread.together(parts.values())
    for name, found in parts.items():
        if found.spread is not None:
            figures[name]["embedding_spread"] = found.spread
    return {"embedding_spread": spread.definition(embedder)}


def _add_tags(
    figures: Figures, dataset: Dataset, groups: Groups, tagger: OpenTagger, sample: int, seed: int
) -> list[str]:
    """Tag the samples of all groups at once; that of all rows lies inside those of the groups."""
    rank = {place: number for number, place in enumerate(tagged.ranked(dataset["id"][:], seed))}
    drawn = {name: sorted(places, key=rank.__getitem__)[: 2 * sample] for name, places in groups.items()}
    found = tagged.tag_sample(dataset, {place for places in drawn.values() for place in places}, tagger)
    for name, places in drawn.items():
        own, more = _tags(found, places[:sample]), _tags(found, places)
        figures[name] |= {**tagged.tag_evol_figures(own), **tagged.auto_evol_figures(more)}
    return _about_tags(found, drawn, sample, tagger)


def _tags(found: Mapping[int, list[str] | str], places: Sequence[int]) -> list[list[str]]:
    """The tags of those that could be tagged."""
    return [tags for place in places if isinstance(tags := found[place], list)]


def _about_tags(found: Mapping[int, list[str] | str], drawn: Groups, sample: int, tagger: OpenTagger) -> list[str]:
    notes = [f"Tagged: {len(found):,} instructions, each with at most {tagger.max_tags} {tagger.granularity} tags."]
    lost = Counter(tags for tags in found.values() if isinstance(tags, str))
    if lost:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(lost.items()))
        notes.append(f"{sum(lost.values())} of them could not be tagged and do not count ({reasons}).")
    small = [f"{name} ({len(places)})" for name, places in drawn.items() if len(places) < 2 * sample]
    if small:
        asked = f"Fewer instructions than the samples of {sample} and {2 * sample} ask for"
        notes.append(f"{asked}: {', '.join(small)}; diversity grows with the sample, so do not compare theirs.")
    return notes


def _hit(ids: Sequence[str], hit: overlap.Hit) -> dict[str, Any]:
    return {"id": ids[hit.row], "reference": hit.reference, "number": hit.number, "words": hit.words}


def _shown(figures: Figures, definitions: Mapping[str, str]) -> tuple[Figures, dict[str, str]]:
    """Rounded figures in the order of their definitions, and the definitions of those that are there."""
    order = [name for name in definitions if any(name in group for group in figures.values())]
    groups = {
        name: {figure: round(group[figure], _DIGITS) for figure in order if figure in group}
        for name, group in figures.items()
    }
    return groups, {name: definitions[name] for name in order}
