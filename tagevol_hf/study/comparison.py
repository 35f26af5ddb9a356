"""Finished arms side by side: compare.json, and what makes them hard to compare."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import DataError, RecipeError
from ..homes import portable
from .arms import Arm
from .doubts import doubts_of
from .figures import DEFINITIONS
from .outcome import Outcome, finished
from .trained.comparing import Trained

_FORMAT = 1
_OWN = ("name", "measure")  # of recipes; that these differ says nothing


@dataclass(frozen=True)
class Comparison:
    """Outcomes of several arms.

    Attributes:
        axis: Key of a sweep; empty where the arms are no sweep.
        places: Arm → its value on that axis, where these are numbers.
        plot: Figures that are drawn.
        definitions: Figure → what it is.
        doubts: What makes the arms hard to compare, one line each.
        differences: Key of the recipes → its value in each complete arm, where they differ.
        recipes: Arm → {recipe: its file, set: what was changed in it}.
        trained: Trainings and evaluations of the arms; None where the study has none.
    """

    name: str
    question: str
    command: str
    outcomes: tuple[Outcome, ...]
    axis: str = ""
    places: Mapping[str, float] = field(default_factory=dict)
    plot: tuple[str, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    differences: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trained: Trained | None = None

    @classmethod
    def of(
        cls,
        outcomes: Sequence[Outcome],
        name: str,
        question: str = "",
        command: str = "",
        plot: Sequence[str] = (),
        axis: str = "",
        arms: Sequence[Arm] = (),
    ) -> Comparison:
        """Compare what became of the arms."""
        used = {figure for outcome in outcomes for figure in outcome.figures}
        measured = {key: text for outcome in outcomes for key, text in outcome.definitions.items()}
        definitions = {key: text for key, text in {**DEFINITIONS, **measured}.items() if key in used}
        return cls(
            name,
            question,
            command,
            tuple(outcomes),
            axis,
            {arm.name: arm.value for arm in arms if arm.value is not None},
            tuple(plot),
            definitions,
            tuple(doubts_of(outcomes, plot)),
            differences(outcomes),
            {arm.name: {"recipe": str(arm.file), "set": list(arm.settings)} for arm in arms},
        )

    @property
    def failed(self) -> list[str]:
        """Names of the arms that have no result."""
        return [outcome.name for outcome in self.outcomes if outcome.status != "complete"]

    @property
    def by_rule(self) -> list[str]:
        """Names of the arms that the built-in engine answered, at least in part; it is no language model."""
        return [
            outcome.name
            for outcome in self.outcomes
            if any(engine["language_model"] is False for engine in outcome.engines.values())
        ]

    def with_trained(self, trained: Trained) -> Comparison:
        """With what became of the trainings, and with what makes those hard to compare."""
        doubts = list(self.doubts) + list(trained.doubts)
        if self.by_rule:
            doubts.append(f"The built-in rule engine made data of {', '.join(self.by_rule)}: the models learned that.")
        return replace(self, trained=trained, doubts=tuple(doubts))

    def plain(self, folder: Path) -> dict[str, Any]:
        """As plain values of JSON; folders of runs count from `folder`."""
        trained = self.trained
        return {
            "format": _FORMAT,
            "name": self.name,
            "question": self.question,
            "version": __version__,
            "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": self.command,
            "axis": self.axis,
            "places": dict(self.places),
            "plot": list(self.plot),
            "definitions": dict(self.definitions),
            "by_rule": self.by_rule,
            "doubts": list(self.doubts),
            "differences": {key: dict(values) for key, values in self.differences.items()},
            "recipes": {name: dict(values) for name, values in self.recipes.items()},
            "arms": [outcome.plain(folder) for outcome in self.outcomes],
            "trainings": [dict(one) for one in trained.trainings] if trained else [],
            "evaluations": [dict(one) for one in trained.evaluations] if trained else [],
            "contrasts": [dict(one) for one in trained.contrasts] if trained else [],
        }

    def save(self, folder: Path) -> Path:
        """Write compare.json, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "compare.json"
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        text = json.dumps(portable(self.plain(folder)), ensure_ascii=False, indent=1)
        fresh.write_text(text, encoding="utf-8", errors="surrogatepass")
        fresh.replace(target)
        return target


def compare_runs(folders: Sequence[Path], out: Path, command: str = "") -> Comparison:
    """Compare finished runs, and write `compare.json` into the folder `out`. Asks nothing.

    Raises:
        RecipeError: If there are fewer than two different ones.
        DataError: If one is not a finished run, or `out` is a run folder.
    """
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise RecipeError("compare: expected a study, or two or more different run folders")
    if (out / "run.json").exists():
        raise DataError(f"{out}: a run folder; give the comparison another folder by --out")
    ends = [folder.name or str(folder) for folder in folders]
    names = ends if len(set(ends)) == len(ends) else [str(folder) for folder in folders]
    outcomes = [finished(name, folder) for name, folder in zip(names, folders, strict=True)]
    comparison = Comparison.of(outcomes, name=" and ".join(names), command=command, plot=_shared(outcomes))
    comparison.save(out)
    return comparison


def _shared(outcomes: Sequence[Outcome]) -> list[str]:
    """The figures that are worth a drawing and that some arm has."""
    wanted = ("difficulty", "diversity", "reply_obedience", "rejected_share", "calls_per_instruction", "words_mean")
    return [name for name in wanted if any(name in outcome.figures for outcome in outcomes)]


def differences(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Keys of the recipes in which the complete arms differ; a step that an arm lacks is None there."""
    flat = {one.name: dict(_flat(one.recipe)) for one in outcomes if one.status == "complete"}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    found = {key: {name: values.get(key) for name, values in flat.items()} for key in keys}
    return {key: values for key, values in found.items() if len({json.dumps(one) for one in values.values()}) > 1}


def _flat(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(key, value) as --set has them."""
    body = {key: value for key, value in recipe.items() if key not in _OWN}
    steps = [entry for entry in body.pop("steps", ()) if "measure" not in entry]
    yield "steps", ", ".join(name for entry in steps for name in entry)
    for part in (body, *steps):
        yield from _leaves(part, "")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
