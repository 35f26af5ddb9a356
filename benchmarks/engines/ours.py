"""This project: `stage.apply` over rows on disk, with store, validation and the rows written. See `measure.py`."""

from __future__ import annotations

import logging

from measure import command_line, measured
from work import judge, load_rows

import tagevol_hf.engines.server  # noqa: F401 - libraries are loaded before the clock starts
from tagevol_hf.engines.open import open_engine
from tagevol_hf.rows import iterate, split_rejected
from tagevol_hf.tags.taggers import OpenTagger


def main() -> None:
    """Tag the rows; a second run with the same folder goes on from its store."""
    given = command_line(__doc__)
    logging.basicConfig(level=logging.WARNING)
    rows = load_rows(given.rows)
    given.folder.mkdir(parents=True, exist_ok=True)
    spec = f"{given.url}?concurrency={given.concurrency}&timeout={given.timeout:g}#bench"
    with measured() as report:
        engine = open_engine(spec, store=given.folder / "store.sqlite")
        tagged = OpenTagger(engine).apply(rows)
        tagged.save_to_disk(str(given.folder / f"tagged-{given.out.stem}"))
    good, lost = split_rejected(tagged)
    explained = sum(bool(why["reason"]) and why["attempts"] >= 1 for why in lost["rejection"])
    results = ((row["id"], row["open_tags"]) for row in iterate(good))
    report.rows = judge(results, len(rows), rejected=explained)
    usage = engine.usage
    report.notes = {"asked": usage.asked, "stored": usage.stored, "redrawn": dict(usage.redrawn)}
    report.notes["served"] = engine.served
    engine.close()
    report.write(given, "aiohttp", "datasets")


if __name__ == "__main__":
    main()
