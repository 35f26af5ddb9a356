"""Reading a recipe: its YAML file, the values that the command line overrides, and paths that count from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .engines.kinds import check_name
from .errors import EngineError, RecipeError
from .project import near_recipe
from .recipe import Recipe, check_known, recipe_from
from .recipe_steps import STEPS

_NAMES = {"recipe": "curate.yaml", "study": "study.yaml"}  # of the file in a folder
# Of a step, where they name a file or a folder.
_FILES = ("prompt", "method", "start", "from", "add", "embedder", "model", "against")


def load_recipe(path: str | Path, overrides: Sequence[str] = (), limit: int | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: The YAML file, or the folder that holds it as `curate.yaml`.
        overrides: `key=value` each, as `data.source=my.jsonl`, `engines.default=builtin` or `tag_evol.budgets=[1,3]`;
            a step is named by its name. The value is read as YAML.
        limit: Sets `data.limit`.

    Raises:
        RecipeError: If the file is missing or not valid, an override names nothing, or an engine's name is none.
    """
    file = Path(path) / "curate.yaml" if Path(path).is_dir() else Path(path)
    body = yaml_mapping(file, "recipe", "name, data, engines, steps")
    _check_kind(body, file)
    for override in overrides:
        _override(body, override)
    _local_paths(body, file.parent)
    if limit is not None:
        _set(body, ["data", "limit"], limit, f"--limit {limit}")
    where = _where(file, overrides)
    recipe = recipe_from(body, where)
    _check_engines(recipe, where)
    return recipe


def _where(file: Path, overrides: Sequence[str]) -> str:
    """The file for messages, with what the command line put into it: keys only, since a value may be a secret."""
    keys = ", ".join(override.partition("=")[0] for override in overrides)
    return f"{file} with --set {keys}" if keys else str(file)


def yaml_mapping(file: Path, kind: str, keys: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        file: The file.
        kind: What it holds, "recipe" or "study", for messages.
        keys: What it should hold, for the message about one that is no mapping.

    Raises:
        RecipeError: If there is no such file, or it is not valid YAML or no mapping.
    """
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = near_recipe(str(file))
        hint = f"did you mean {near}?" if near else f"give a YAML file or a folder that holds {_NAMES[kind]}"
        raise RecipeError(f"{file}: no such {kind}; {hint}") from None
    except OSError as fault:
        raise RecipeError(f"{file}: cannot be read ({fault.strerror}); give a YAML file") from None
    except UnicodeDecodeError as fault:
        raise RecipeError(f"{file}: not UTF-8 text (byte {fault.start}); save it as UTF-8") from None
    except yaml.YAMLError as fault:
        raise RecipeError(f"{file}: not valid YAML ({_yaml_fault(fault)})") from None
    if body is None:
        raise RecipeError(f"{file}: the file is empty; a {kind} holds {keys}: see recipes/quickstart/{_NAMES[kind]}")
    if not isinstance(body, dict):
        raise RecipeError(f"{file}: expected keys and values ({keys}), got {type(body).__name__}")
    return body


def _yaml_fault(fault: yaml.YAMLError) -> str:
    """What is wrong, and where it is in the file."""
    problem, mark = getattr(fault, "problem", None), getattr(fault, "problem_mark", None)
    if problem and mark is not None:
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"
    return " ".join(str(fault).replace('in "<unicode string>", ', "").split())


def _check_kind(body: dict[str, Any], file: Path) -> None:
    """Say which command takes a file that is no recipe, and which key is not one."""
    if "model_name_or_path" in body:
        raise RecipeError(
            f"{file}: this is a training recipe, not one to curate by; it is taken by: tagevol train RUN --sft {file}"
        )
    if "arms" in body or "sweep" in body:
        raise RecipeError(f"{file}: this is a study, not one recipe; it is taken by: tagevol compare {file}")
    for key in body:
        check_known(str(key), tuple(Recipe.model_fields), str(file), "a field of a recipe")


def _check_engines(recipe: Recipe, where: str) -> None:
    """Refuse a misspelt engine now; else it would be found when the first step that asks it begins."""
    for name, spec in recipe.engines.items():
        _check_engine(name, spec, where)


def _check_engine(name: str, spec: str, where: str) -> None:
    try:
        check_name(spec)
    except EngineError as fault:
        raise RecipeError(f"{where}: engines.{name}: {fault}") from None


def _local_paths(body: dict[str, Any], folder: Path) -> None:
    """Files beside the recipe: its data, its prompts and methods, its tag pools."""
    data = body.get("data")
    if isinstance(data, dict):
        _local(data, "source", folder)
        for other in data.get("also") or []:
            _local(other, "source", folder)
    for entry in body.get("steps") or []:
        for options in entry.values() if isinstance(entry, dict) else ():
            for key in _FILES:
                _local(options, key, folder)
            for key in ("against", "references"):
                for part in (options.get(key) or []) if isinstance(options, dict) else ():
                    _local(part, "source", folder)


def _local(options: Any, key: str, folder: Path) -> None:
    """A path that is there counts from the recipe's folder."""
    value = options.get(key) if isinstance(options, dict) else None
    if isinstance(value, str) and value and (folder / value).exists():
        options[key] = str(folder / value)
    if isinstance(value, list):
        options[key] = [str(folder / one) if isinstance(one, str) and (folder / one).exists() else one for one in value]


def setting(text: str) -> tuple[str, Any]:
    """What `--set` was given: a key, and its value read as YAML.

    Raises:
        RecipeError: If it is not `key=value`.
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise RecipeError(f"--set {text}: expected key=value, as --set data.limit=100")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as fault:
        raise RecipeError(f"--set {text}: the value is not valid YAML ({_yaml_fault(fault)})") from None


def _override(body: dict[str, Any], text: str) -> None:
    key, parsed = setting(text)
    if key == "data.source":
        value = text.partition("=")[2]
        if Path(value).exists():
            parsed = str(Path(value).resolve())
        if isinstance(body.get("data"), dict):
            for name in ("also", "config", "revision"):  # they belong to the recipe's own data
                body["data"].pop(name, None)
    _set(body, key.split("."), parsed, f"--set {text}")


def _set(body: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    """Set one field; the first part may be the name of a step."""
    check_known(path[0], (*Recipe.model_fields, *STEPS), where, "a field or a step")
    target: Any = body
    if path[0] in STEPS:
        target = _options(body, path[0], where)
        path = path[1:]
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise RecipeError(f"{where}: {part} holds no fields")
    if not path:
        raise RecipeError(f"{where}: name a field of the step")
    target[path[-1]] = value


def _options(body: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    steps = body.get("steps") or []
    for place, entry in enumerate(steps):
        if entry == name:
            steps[place] = entry = {name: {}}
        if isinstance(entry, dict) and name in entry:
            entry[name] = entry[name] or {}
            options: dict[str, Any] = entry[name]
            return options
    have = ", ".join(next(iter(entry)) if isinstance(entry, dict) else str(entry) for entry in steps)
    raise RecipeError(f"{where}: the recipe has no step {name}; its steps: {have}")
