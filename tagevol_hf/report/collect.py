"""From a run folder to plain values for the page; whatever optional piece is missing is None or empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recipe_steps import EVOLUTIONS
from ..rows import REASONS
from ..run_folder import read_run
from .cleaning import Doubles, Leaks, read_doubles, read_leaks
from .cluster_map import cluster_map
from .figures import River, river
from .journey import Cost, Step, Totals, read_cost, read_step, read_totals
from .labels import Labels, read_labels
from .measured import Measured, read_measures
from .proof import Evaluation, Training, evaluation, model_folder, trainings
from .samples import Rows, read_rows
from .scatter import Scatter, scatter
from .scored import Scored, read_scored
from .selections import Selections, read_selections
from .values import counts_of, list_of, mapping_of, number_of, read_json, read_text, whole_of
from .words import decimal, duration, moment, plural, without_secrets


@dataclass(frozen=True)
class Engine:
    """One engine and the step that it serves."""

    step: str
    spec: str
    identity: str
    language_model: bool


@dataclass(frozen=True)
class Bar:
    """One bar of a bar chart: a name, its count, and that as a share of the longest bar."""

    name: str
    value: int
    share: float


@dataclass(frozen=True)
class Pool:
    """The tag pool: how many, and the most frequent ones; `rest` comes after `tags`."""

    size: int
    aspects: int
    tags: tuple[Bar, ...]
    rest: tuple[Bar, ...]
    aspect_bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Page:
    """All that the template shows."""

    name: str
    started: str
    complete: bool
    sentence: str
    engines: tuple[Engine, ...]
    steps: tuple[Step, ...]
    river: River | None
    totals: Totals | None
    cost: Cost
    reasons: tuple[Bar, ...]
    leaks: Leaks | None
    doubles: Doubles | None
    judge: Mapping[str, float]
    labels: Labels | None
    quality: Mapping[str, float]
    selections: Selections | None
    rows: Rows
    map: Scatter | None
    pool: Pool | None
    measured: Measured | None
    trainings: tuple[Training, ...]
    scored: tuple[Scored, ...]
    evaluation: Evaluation | None
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    recipe: str

    @property
    def by_rule(self) -> list[str]:
        """Steps, or "default", whose engine is no language model."""
        return [engine.step for engine in self.engines if not engine.language_model]


def collect(folder: Path) -> Page:
    """Read a run folder.

    Raises:
        DataError: If there is no readable run.json.
    """
    run = read_run(folder)
    entries = _objects(run.get("steps"))
    steps = tuple(read_step(number, entry) for number, entry in enumerate(entries, 1))
    given = mapping_of(run.get("totals"))
    totals = read_totals(given)
    model = model_folder(folder)
    proof = evaluation(folder, model)
    rows = read_rows(folder)
    return Page(
        name=str(run.get("name") or "run"),
        started=moment(run["started"]) if run.get("started") else "",
        complete=run.get("status") == "complete",
        sentence=_sentence(totals, steps, proof),
        engines=_engines(mapping_of(run.get("engines"))),
        steps=steps,
        river=river([step.flow for step in steps]),
        totals=totals,
        cost=read_cost({**given, "seconds": run.get("seconds")}),
        reasons=bars(dict(counts_of(given.get("rejected")))),
        leaks=read_leaks(entries, rows.rejected, folder / "contamination.json"),
        doubles=read_doubles(entries, rows.rejected),
        judge=next((step.figures for step in steps if step.name == "compare"), {}),
        labels=read_labels(folder / "tags.json"),
        quality=_quality(run),
        selections=read_selections(folder / "selections.json"),
        rows=rows,
        map=scatter(cluster_map(folder)),
        pool=_pool(folder / "tag_pool.json"),
        measured=read_measures(folder / "measures.json"),
        trainings=trainings(folder),
        scored=read_scored(folder),
        evaluation=proof,
        facts=_facts(run),
        versions=tuple((str(name), str(value)) for name, value in mapping_of(run.get("versions")).items()),
        recipe=without_secrets(read_text(folder / "recipe.yaml")),
    )


def _quality(run: Mapping[str, Any]) -> dict[str, float]:
    """The figures of the clusters, from the step that made them."""
    for step in _objects(run.get("steps")):
        if step.get("name") == "cluster":
            found = mapping_of(mapping_of(step.get("summary")).get("quality"))
            return {str(key): figure for key, value in found.items() if (figure := number_of(value)) is not None}
    return {}


def _sentence(totals: Totals | None, steps: tuple[Step, ...], proof: Evaluation | None) -> str:
    """The run in one sentence."""
    read = totals.read if totals else steps[0].flow.rows_in if steps else 0
    evolved = next((step.flow.rows_out for step in steps if step.name in EVOLUTIONS), None)
    became = f"became {plural(evolved, 'evolved one')}" if evolved is not None else "read"
    parts = [f"{plural(read, 'instruction')} {became}"]
    if totals:
        parts.append(f"{totals.selected:,} {'was' if totals.selected == 1 else 'were'} selected")
    if proof and proof.loss_before is not None and proof.loss_after is not None:
        parts.append(f"held-out loss {decimal(proof.loss_before)} → {decimal(proof.loss_after)}")
    return "; ".join(parts) + "."


def _engines(given: Mapping[str, Any]) -> tuple[Engine, ...]:
    return tuple(
        Engine(
            str(step),
            without_secrets(mapping_of(engine).get("spec")),
            without_secrets(mapping_of(engine).get("identity")),
            mapping_of(engine).get("language_model") is not False,
        )
        for step, engine in given.items()
    )


def bars(counts: Mapping[str, int], most: int | None = None) -> tuple[Bar, ...]:
    """Bars of the largest counts first; `share` is in 0..1."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    longest = max((number for _, number in ranked), default=0) or 1
    return tuple(Bar(name, number, number / longest) for name, number in ranked)


_TAGS, _MORE_TAGS, _ASPECTS = 40, 1960, 16


def _pool(file: Path) -> Pool | None:
    body = read_json(file)
    entries = _objects(body.get("tags"))
    if not entries:
        return None
    tags: dict[str, int] = {}
    aspects: dict[str, int] = {}
    for entry in entries:
        under = counts_of(entry.get("aspects"))
        tags[str(entry.get("tag", ""))] = whole_of(entry.get("count")) or sum(number for _, number in under)
        for aspect, number in under:
            aspects[aspect] = aspects.get(aspect, 0) + number
    ranked = bars(tags, _TAGS + _MORE_TAGS)
    return Pool(len(tags), len(aspects), ranked[:_TAGS], ranked[_TAGS:], bars(aspects, _ASPECTS))


def _facts(run: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Short facts about how the run was made."""
    facts = [
        ("Started", moment(run["started"]) if run.get("started") else ""),
        ("Took", duration(run.get("seconds"))),
        ("Seed", str(run.get("seed", ""))),
        ("Recipe digest", str(run.get("digest", ""))),
        ("tagevol_hf", str(run.get("version", ""))),
        ("Command", without_secrets(run.get("command"))),
    ]
    return tuple((name, value) for name, value in facts if value and value != "–")


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in list_of(value) if isinstance(entry, Mapping)]


def meaning_of(reason: str) -> str:
    """One line on a reason of a rejection; empty for an unknown one."""
    return REASONS.get(reason, "")
