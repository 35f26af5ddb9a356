"""study.yaml → typed values. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator, model_validator

from ..errors import RecipeError
from ..recipe import valid_part
from ..recipe_file import setting, yaml_mapping
from ..recipe_measuring import MeasureStep
from ..recipe_parts import Part
from .trained.options import Evaluate, Train, checked, located

FILES = ("source", "prompt", "method", "start", "from", "add")  # last parts of keys whose values may be files
_ARM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")
_SECTIONS = {"train": "seeds=[0]", "evaluate": "limit=50"}  # with a field, for messages
_TAKEN = ("store.sqlite", "compare.json", "report.html", "study.yaml", "trained")


class ArmOptions(Part):
    """One arm.

    Attributes:
        recipe: The arm's own recipe; the study's by default.
        set_: In a study `set`: fields that this arm has otherwise, by the keys of --set.
    """

    recipe: str | None = None
    set_: dict[str, Any] = Field(default_factory=dict, alias="set")


class Sweep(Part):
    """One arm for each value of a key.

    Attributes:
        key: As in --set, for instance tag_evol.budgets.
        values: What the key becomes, one after the other.
        name: Name of an arm; {} stands for the value. By default the key's last part, "=" and the value.
    """

    key: str
    values: list[Any] = Field(min_length=1)
    name: str = ""

    @field_validator("name")
    @classmethod
    def _has_a_place(cls, name: str) -> str:
        if name and "{}" not in name:
            raise ValueError("expected a name with {} in the place of the value, as b={}")
        return name

    def arm_name(self, value: Any) -> str:
        """The name of a value's arm."""
        return (self.name or f"{self.key.rpartition('.')[2]}={{}}").replace("{}", _short(value))


class Study(Part):
    """One study.

    Attributes:
        name: Names its folder, `runs/<name>`.
        question: What it is to answer, in a sentence.
        recipe: The recipe of all arms that have none of their own.
        set_: In a study `set`: fields that all arms have otherwise, by the keys of --set.
        arms: Name → options; or
        sweep: One arm a value.
        engines: In the place of the recipes' engines, so that all arms use the same.
        measure: How all arms are measured, in the place of the recipes' own step `measure`; `by` counts for the arms
            whose method has such a column.
        plot: Figures that are drawn; by default difficulty, obedience of the replies and the rejected share.
        train: How a model is trained on what each arm selected; None does not.
        evaluate: What these models are to do.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    question: str = ""
    recipe: str | None = None
    set_: dict[str, Any] = Field(default_factory=dict, alias="set")
    arms: dict[str, ArmOptions] = Field(default_factory=dict)
    sweep: Sweep | None = None
    engines: dict[str, str] | None = None
    measure: MeasureStep = MeasureStep()
    plot: list[str] = Field(default=["difficulty", "reply_obedience", "rejected_share"])
    train: Train | None = None
    evaluate: Evaluate | None = None

    @field_validator("arms", mode="before")
    @classmethod
    def _empty_arms(cls, arms: Any) -> Any:
        return {str(name): options or {} for name, options in arms.items()} if isinstance(arms, dict) else arms

    @model_validator(mode="after")
    def _one_way(self) -> Study:
        if bool(self.arms) == bool(self.sweep):
            raise ValueError("expected either arms, as {tag-evol: {}, evol-instruct: {recipe: …}}, or a sweep")
        if self.recipe is None and (self.sweep or any(arm.recipe is None for arm in self.arms.values())):
            raise ValueError("recipe: expected a recipe's file, or one for each arm")
        _check_names(self.arm_names)
        if self.evaluate is not None and self.train is None:
            raise ValueError("evaluate: expected a section train, as {sft: FILE}: trained models are evaluated")
        return self

    @property
    def arm_names(self) -> list[str]:
        """Of the arms, those of a sweep written out."""
        return [self.sweep.arm_name(value) for value in self.sweep.values] if self.sweep else list(self.arms)


def load_study(path: str | Path, settings: Sequence[str] = ()) -> tuple[Study, Path]:
    """Read a study.

    Args:
        path: The YAML file, or the folder that holds it as `study.yaml`.
        settings: `key=value` each, as `train.seeds=[0]` or `evaluate.data.gsm8k=FILE`; those that are not of the
            sections `train` and `evaluate` are passed over, see `arms_of`.

    Returns:
        The study, and its file. Paths in it count from the file's folder.

    Raises:
        RecipeError: If the file is missing or not valid.
    """
    file = Path(path) / "study.yaml" if Path(path).is_dir() else Path(path)
    body = yaml_mapping(file, "study", "name, recipe, arms or sweep")
    for text in settings:
        if is_of_section(text):
            _set(body, text)
    study: Study = valid_part(Study, body, str(file))
    train = located(study.train, file) if study.train else None
    evaluate = checked(study.evaluate, file, study.arm_names) if study.evaluate else None
    return study.model_copy(update={"train": train, "evaluate": evaluate}), file


def is_of_section(text: str) -> bool:
    """Whether a setting is one of the section `train` or `evaluate`, not of the arms' recipes."""
    return text.partition("=")[0].partition(".")[0] in _SECTIONS


def _set(body: dict[str, Any], text: str) -> None:
    key, value = setting(text)
    *path, last = key.split(".")
    if not path:
        raise RecipeError(f"--set {text}: name a field of the section, as {last}.{_SECTIONS[last]}")
    part = body
    for name in path:
        part[name] = {} if part.get(name) is None else part[name]
        part = part[name]
        if not isinstance(part, dict):
            raise RecipeError(f"--set {text}: {name} holds no fields")
    part[last] = value


def local(value: Any, key: str, folder: Path) -> Any:
    """The value of a key; a file or a folder that is there counts from the study's folder."""
    if key.rpartition(".")[2] not in FILES:
        return value
    if isinstance(value, list):
        return [local(one, key, folder) for one in value]
    there = isinstance(value, str) and value and (folder / value).exists()
    return str((folder / value).resolve()) if there else value


def as_yaml(value: Any) -> str:
    """A value as one line of YAML, for --set."""
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False).strip()[
        1:-1
    ]


def _short(value: Any) -> str:
    """A value in the characters that an arm's name may have: [1, 3] → "1-3"."""
    parts = value if isinstance(value, list) else [value]
    text = "-".join(str(part) if not isinstance(part, float) else f"{part:g}" for part in parts)
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", text).strip("-") or "none"


def _check_names(names: list[str]) -> None:
    """Each arm has a folder of its own on every file system."""
    seen: set[str] = set()
    for name in names:
        if not _ARM.fullmatch(name) or name in _TAKEN:
            raise ValueError(f"arm {name!r}: expected letters, digits and . _ = + - only, as evol-instruct")
        if name.lower() in seen:
            raise ValueError(f"arm {name!r}: two arms have this name")
        seen.add(name.lower())
