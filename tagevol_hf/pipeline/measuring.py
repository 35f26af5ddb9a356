"""The step that measures."""

from __future__ import annotations

from typing import Any

from ..tags.taggers import OpenTagger
from .journey import Journey

_SAID = ("difficulty", "diversity", "contaminated_share")  # of the measures; all are in measures.json


def measure(journey: Journey, options: Any) -> None:
    """Diversity, difficulty, obedience, repetition, spread, length, contamination (fold)."""
    from ..measure import measure as measured

    with journey.run.step("measure", "fold", len(journey.rows)) as record:
        tagging = {"max_tags": options.max_tags}
        tagger = journey.stage(OpenTagger, "measure", options, record, **tagging) if options.sample else None
        measures = measured(
            journey.rows,
            tagger,
            sample=options.sample,
            by=options.by,
            references=journey.references,
            embedder=journey.embedder(options.embedder),
            seed=journey.recipe.seed,
        )
        measures.save(journey.run.path / "measures.json")
        said = measures.summary()
        record.summary = {name: said[name] for name in _SAID if name in said}
        record.rows_out = len(journey.rows)
