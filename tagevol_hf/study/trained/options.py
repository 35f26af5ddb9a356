"""The sections `train` and `evaluate` of a study: how its arms are trained and evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ...errors import RecipeError
from ...evals.model import ENGINES
from ...evals.tasks import check_names
from ...project import recipe_path
from ...recipe import check_known
from ...recipe_parts import Part

HELD_OUT = "held_out_loss"
Equal = Literal["rows", "tokens", "as_selected"]
_OURS = ("config", "curated", "curate", "output_dir", "seed", "data_seed", "retrain", "push_to_hub",
         "resume_from_checkpoint")  # fmt: skip


class Train(Part):
    """How all arms are trained.

    Attributes:
        sft: A training recipe, as for scripts/sft.py; the same for all arms but for the data and the seed.
        accelerate: Name of a file in accelerate_configs/; by default single_gpu where there is a GPU, else cpu.
        seeds: One training for each, of each arm.
        equal: What the arms have in common: as many "rows" as the arm with the fewest; as many learned "tokens" as the
            arm with the fewest; or nothing, each arm whole ("as_selected"). Each is a comparison of its own.
        set_: In a study `set`: arguments of scripts/sft.py that all trainings have otherwise.
    """

    sft: str
    accelerate: str | None = None
    seeds: list[int] = Field(default=[0], min_length=1)
    equal: list[Equal] = Field(default=["rows"], min_length=1)
    set_: dict[str, bool | int | float | str | list[str]] = Field(default_factory=dict, alias="set")

    @field_validator("seeds", "equal")
    @classmethod
    def _differ(cls, values: list[Any]) -> list[Any]:
        if len(set(values)) < len(values):
            raise ValueError("expected different values")
        return values

    @field_validator("seeds")
    @classmethod
    def _not_negative(cls, seeds: list[int]) -> list[int]:
        if min(seeds) < 0:
            raise ValueError("expected seeds of at least 0")
        return seeds

    @field_validator("set_")
    @classmethod
    def _not_ours(cls, values: dict[str, Any]) -> dict[str, Any]:
        taken = [name for name in values if name in _OURS]
        if taken:
            raise ValueError(f"{taken[0]} is the study's own matter; leave it out (seeds: are a key of train)")
        return values


class Evaluate(Part):
    """What the trained models are to do.

    Attributes:
        tasks: Names of `tagevol eval`; "held_out_loss" is measured on rows that no training sees.
        data: Task → its problems: a file beside the study or a Hub id; by default the task's own place on the Hub. For
            held_out_loss a saved data set, a run folder or a Hub id with other rows than those of the arms.
        references: Task → a file of reference answers, where the task's problems hold none.
        limit: Only the first so many problems of each task.
        engine: Who answers: vllm, vllm-serve or transformers, with ?option=value if need be.
        max_new_tokens: Longest answer; by default the task's.
        held_out_rows: Rows for held_out_loss, at most.
        against: The arm with which the others are compared; by default the first.
        judge: Engine of the judge, for tasks that need one.
        max_requests: Of each model's evaluation, the judge's included; at most so many are sent.
        max_tokens: Likewise, in tokens of requests and replies.
    """

    tasks: list[str] = Field(default=[HELD_OUT], min_length=1)
    data: dict[str, str] = Field(default_factory=dict)
    references: dict[str, str] = Field(default_factory=dict)
    limit: int | None = Field(default=200, ge=1)
    engine: str = "vllm"
    max_new_tokens: int | None = Field(default=None, ge=1)
    held_out_rows: int = Field(default=256, ge=2)
    against: str | None = None
    judge: str | None = None
    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)

    @property
    def asking(self) -> list[str]:
        """The tasks in which the model answers."""
        return [name for name in dict.fromkeys(self.tasks) if name != HELD_OUT]


def located(train: Train, file: Path) -> Train:
    """The section with the path of its training recipe, beside the study or one of this project's.

    Raises:
        RecipeError: If there is no such file.
    """
    beside = (file.parent / train.sft).resolve()
    sft = beside if beside.is_file() else recipe_path(Path(train.sft))
    if not sft.is_file():
        raise RecipeError(f"{file}.train.sft: {train.sft}: no such training recipe; it counts from the study's folder")
    return train.model_copy(update={"sft": str(sft)})


def checked(evaluate: Evaluate, file: Path, arms: Sequence[str]) -> Evaluate:
    """The section with the paths of its data, and all of it that can be checked at once.

    Raises:
        RecipeError: If a task, an arm or an engine is not known, or a local file is not there.
    """
    where = f"{file}.evaluate"
    check_names((name for name in evaluate.tasks if name != HELD_OUT), f"{where}.tasks")
    if evaluate.against is not None:
        check_known(evaluate.against, tuple(arms), f"{where}.against", "an arm of this study")
    if evaluate.engine.partition("?")[0] not in ENGINES:
        raise RecipeError(f"{where}.engine: expected one of {', '.join(ENGINES)}, got {evaluate.engine!r}")
    places = {
        "data": _places(evaluate.data, evaluate.tasks, file.parent, f"{where}.data"),
        "references": _places(evaluate.references, evaluate.asking, file.parent, f"{where}.references"),
    }
    return evaluate.model_copy(update={**places, "against": evaluate.against or next(iter(arms))})


def _places(given: Mapping[str, str], tasks: Sequence[str], folder: Path, where: str) -> dict[str, str]:
    """Task → file, folder or Hub id."""
    for name in given:
        check_known(name, tuple(tasks), where, "one of its tasks")
    return {name: _place(text, folder, f"{where}.{name}") for name, text in given.items()}


def _place(text: str, folder: Path, where: str) -> str:
    beside = (folder / text).resolve()
    if beside.exists():
        return str(beside)
    if Path(text).exists():
        return str(Path(text).resolve())
    if text.startswith((".", "/", "~")) or text.count("/") != 1 or Path(text).suffix in (".json", ".jsonl", ".gz"):
        raise RecipeError(f"{where}: {text}: no such file; it counts from the study's folder")
    return text
