"""A study → its arms, each with a recipe of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RecipeError
from ..project import recipe_path
from ..recipe import Recipe, check_known, recipe_from
from ..recipe_file import load_recipe, yaml_mapping
from ..recipe_measuring import MeasureStep
from ..recipe_parts import Source
from ..recipe_steps import STEPS
from .file import ArmOptions, Study, as_yaml, local

_COLUMNS = {"tag_evol": "budget", "evol_instruct": "round", "auto_evol": "round"}  # that a method's rows can be told by


@dataclass(frozen=True)
class Arm:
    """One arm of a study.

    Attributes:
        file: The recipe's file.
        settings: What differs from the file, each as key=value.
        value: Its place on a sweep's axis; None where the values are no numbers.
    """

    name: str
    recipe: Recipe
    file: Path
    settings: tuple[str, ...]
    value: float | None = None


def arms_of(study: Study, file: Path, settings: Sequence[str] = (), limit: int | None = None) -> list[Arm]:
    """The arms of a study, all read and checked before anything is asked.

    Args:
        study: The study.
        file: Its file.
        settings: `key=value` for all arms (a step's option for all that have this step), or `ARM:key=value` for one.
        limit: Only the first so many rows.

    Raises:
        RecipeError: If a recipe or a setting is not valid.
    """
    options = _options(study)
    numbers = _numbers(study)
    files = {name: _recipe_file(arm.recipe or study.recipe or "", file.parent) for name, arm in options.items()}
    given = _by_arm(settings, {name: _steps_of(path) for name, path in files.items()})
    arms = []
    for name, arm in options.items():
        path = files[name]
        changes = [*_changes(study, arm, file.parent), *given[name]]
        try:
            recipe = _measured(load_recipe(path, changes, limit), study.measure, file)
        except RecipeError as fault:
            raise RecipeError(f"{file}: arm {name}: {fault}") from None
        arms.append(Arm(name, recipe, path, tuple(changes), numbers.get(name)))
    return arms


def _options(study: Study) -> dict[str, ArmOptions]:
    """The arms of the study, those of a sweep written out."""
    sweep = study.sweep
    if sweep is None:
        return dict(study.arms)
    return {sweep.arm_name(value): ArmOptions.model_validate({"set": {sweep.key: value}}) for value in sweep.values}


def _numbers(study: Study) -> dict[str, float]:
    """The values of a sweep, where all are numbers (or lists of one number) and differ."""
    if study.sweep is None:
        return {}
    values = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in study.sweep.values]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return {}
    return {study.sweep.arm_name(whole): float(value) for whole, value in zip(study.sweep.values, values, strict=True)}


def _changes(study: Study, arm: ArmOptions, folder: Path) -> list[str]:
    """What the study changes in an arm's recipe; the arm's own changes come last."""
    engines = [f"engines={as_yaml(study.engines)}"] if study.engines else []
    changed: Mapping[str, Any] = {**study.set_, **arm.set_}
    return engines + [f"{key}={as_yaml(local(value, key, folder))}" for key, value in changed.items()]


def _by_arm(settings: Sequence[str], steps: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """The command line's settings, those for all arms first; `steps` are those of each arm."""
    names = tuple(steps)
    found: dict[str, list[str]] = {name: [] for name in names}
    own: list[tuple[str, str]] = []
    for text in settings:
        key, sign, value = text.partition("=")
        arm, colon, field = key.partition(":")
        if not colon and (named := next((name for name in names if text.startswith(f"{name}:")), "")):
            own.append((named, text[len(named) + 1 :]))  # a name that holds "="
        elif colon:
            check_known(arm, names, f"--set {text}", "an arm of this study")
            own.append((arm, f"{field}{sign}{value}"))
        else:
            step = key.partition(".")[0]
            having = [name for name in names if step in steps[name]] if step in STEPS else []
            for name in having or names:  # where no arm has the step, the first one tells
                found[name].append(text)
    for arm, text in own:
        found[arm].append(text)
    return found


def _steps_of(file: Path) -> set[str]:
    """Names of the steps of a recipe's file, which is checked elsewhere."""
    if file.is_dir():
        file = file / "curate.yaml"
    try:
        steps = yaml_mapping(file, "recipe", "name, data, engines, steps").get("steps")
    except RecipeError:  # told when the arm's recipe is read
        return set()
    entries = steps if isinstance(steps, list) else []
    return {str(name) for entry in entries for name in (entry if isinstance(entry, dict) else [entry])}


def _recipe_file(text: str, folder: Path) -> Path:
    """A recipe's file beside the study, or one of this project's."""
    beside = (folder / text).resolve()
    return beside if beside.exists() else recipe_path(Path(text))


def _measured(recipe: Recipe, measure: MeasureStep, file: Path) -> Recipe:
    """The recipe with the study's way of measuring as its last step."""
    names = [name for name, _ in recipe.steps]
    columns = {_COLUMNS[name] for name in names if name in _COLUMNS}
    references = [
        Source(**{**part.model_dump(), "source": local(part.source, "source", file.parent)})
        for part in measure.references
    ]
    step = measure.model_copy(
        update={"by": measure.by if measure.by in columns else "", "references": references}
    ).model_dump(by_alias=True)
    body = recipe.plain()
    body["steps"] = [entry for entry in body["steps"] if "measure" not in entry] + [{"measure": step}]
    return recipe_from(body, "measure")
