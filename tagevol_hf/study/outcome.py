"""What became of one arm: its figures, from its run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..recipe_steps import EVOLUTIONS, MODEL_STEPS
from ..run_folder import read_run
from .figures import figures_of
from .reading import lost_of, measures_of, recipe_of, seeds_of

_ROLES = dict.fromkeys(EVOLUTIONS, "evolution")  # so that the engines of two methods are compared


@dataclass(frozen=True)
class Outcome:
    """One arm of a comparison.

    Attributes:
        status: "complete", "failed" (no row was left) or "not run".
        message: Why it is not complete.
        digest: Of its recipe.
        seed: Of its random choices.
        seeds: {rows, digest}: the rows that came in; equal digests mean equal ids and texts.
        engines: What the engine is asked for → {spec, identity, language_model}.
        figures: Name → value; what cannot be said of this arm is absent.
        groups: Of the measures by budget or round → figures.
        rejected: Reason → rows.
        steps: {name, calls, asked, stored, failed, prompt_tokens, completion_tokens, seconds} of each step.
        definitions: Of the measured figures.
        notes: Of the measures.
        recipe: The whole recipe as plain values.
        spent: What the engines were asked in the last run: {max_requests, max_tokens, max_cost}.
    """

    name: str
    folder: Path
    status: str
    message: str = ""
    digest: str = ""
    version: str = ""
    started: str = ""
    seed: int | None = None
    seeds: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    spent: Mapping[str, float] | None = None

    def plain(self, beside: Path) -> dict[str, Any]:
        """As plain values; folders inside `beside` count from it."""
        body = asdict(self)
        for name in ("definitions", "recipe", "spent"):
            body.pop(name)
        inside = self.folder.resolve().is_relative_to(beside.resolve())
        folder = self.folder.resolve().relative_to(beside.resolve()) if inside else self.folder.resolve()
        return {**body, "folder": folder.as_posix()}


def finished(name: str, folder: Path, record: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of a finished run; `record` is its account where it was run just now.

    Raises:
        DataError: If the folder is not that of a finished run.
    """
    run = read_run(folder)
    if run.get("status") != "complete":
        raise DataError(f"{folder}: not finished (status {run.get('status')!r}); finish it with: tagevol curate RECIPE")
    recipe, measures = recipe_of(folder), measures_of(folder)
    groups = {name: dict(figures) for name, figures in measures.groups.items()}
    return _outcome(
        name,
        folder,
        run,
        status="complete",
        seeds=seeds_of(folder),
        figures={**figures_of(run, recipe), **groups.pop("all", {})},
        groups=groups,
        definitions=dict(measures.definitions),
        notes=tuple(measures.notes),
        recipe=recipe,
        spent=None if record is None else _spent(record),
    )


def unfinished(name: str, folder: Path, message: str) -> Outcome:
    """The outcome of a run of which no row was left."""
    try:
        run = read_run(folder)
    except DataError:
        return Outcome(name, folder, "failed", message)
    return _outcome(
        name,
        folder,
        run,
        status="failed",
        message=message,
        seeds=seeds_of(folder),
        rejected=lost_of(folder),
        recipe=recipe_of(folder),
        spent=_spent(run),
    )


def not_run(name: str, folder: Path, message: str) -> Outcome:
    """The outcome of a run that another one's end prevented."""
    return Outcome(name, folder, "not run", message)


def _outcome(name: str, folder: Path, run: Mapping[str, Any], **more: Any) -> Outcome:
    known = {
        "digest": str(run.get("digest", "")),
        "version": str(run.get("version", "")),
        "started": str(run.get("started", "")),
        "seed": run.get("seed"),
        "engines": dict(_engines(run)),
        "rejected": run.get("totals", {}).get("rejected", {}),
        "steps": tuple(_step(entry) for entry in run.get("steps", ())),
    }
    return Outcome(name, folder, **{**known, **more})


def _step(entry: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: entry.get(key, 0) for key in ("asked", "stored", "prompt_tokens", "completion_tokens", "seconds")}
    failed = sum(entry.get("failed", {}).values())
    return {"name": entry["name"], "calls": values["asked"] + values["stored"], "failed": failed, **values}


def _engines(run: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The engine of each step that asks one; all methods of evolution are one role."""
    engines = run.get("engines", {})
    for step in run.get("steps", ()):
        name = step["name"]
        if name in MODEL_STEPS:
            own = next((one for one in (name, "respond" if name == "agree" else name) if one in engines), "default")
            if own in engines:
                told = {key: engines[own].get(key) for key in ("spec", "identity", "language_model")}
                yield _ROLES.get(name, name), told


def _spent(run: Mapping[str, Any]) -> dict[str, float]:
    tokens = sum(step["prompt_tokens"] + step["completion_tokens"] for step in run.get("steps", ()))
    return {"max_requests": run.get("asked", 0), "max_tokens": tokens, "max_cost": run.get("cost", 0.0)}
