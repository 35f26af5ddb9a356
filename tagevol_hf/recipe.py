"""curate.yaml → typed values. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import RecipeError
from .formats import MAX_CHARS

_KEY = re.compile(r"://[^/?#]*@|[?&](?:api_?key|key|token|password)=", re.IGNORECASE)

Budget = Annotated[int, Field(ge=1, le=15)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Part):
    """Where the rows come from.

    Attributes:
        source: File, glob, folder or Hub id; a relative path counts from the recipe's folder.
        columns: Which column holds what, as {instruction: question, response: answer}.
        limit: Only the first so many rows.
        max_chars: Longest text of a row, in characters; longer rows are rejected.
    """

    source: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    limit: int | None = Field(default=None, ge=1)
    max_chars: int = Field(default=MAX_CHARS, ge=1)


class ModelStep(_Part):
    """Options that every step has that asks a model; None keeps the step's own default."""

    prompt: str | None = None
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    attempts: int | None = Field(default=None, ge=1)


class AspectTags(ModelStep):
    """Tag the seeds: aspects, then tags under each."""

    max_aspects: int = Field(default=6, ge=1)
    max_tags: int = Field(default=8, ge=1)


class TagPoolStep(_Part):
    """Collect the tags of all seeds."""


class TagEvolStep(ModelStep):
    """Evolve each seed once for each budget."""

    budgets: list[Budget] = Field(default=[1, 3, 5], min_length=1)
    candidates: int = Field(default=21, ge=1)
    words_per_tag: int = Field(default=20, ge=1)
    max_chars: int = Field(default=4000, ge=1)

    @model_validator(mode="after")
    def _numbers(self) -> TagEvolStep:
        if len(set(self.budgets)) != len(self.budgets):
            raise ValueError(f"budgets: expected different numbers, got {self.budgets}")
        if self.candidates < max(self.budgets):
            raise ValueError(f"candidates: expected at least the largest budget, {max(self.budgets)}")
        return self


class Respond(ModelStep):
    """Answer each instruction."""


class OpenTags(ModelStep):
    """Label each query with open tags."""

    granularity: Literal["coarse", "fine"] = "coarse"
    max_tags: int = Field(default=6, ge=1)


class NormalizeTags(_Part):
    """Merge the open tags into canonical labels.

    Attributes:
        alpha: Tags that occur less often are dropped; None scales the paper's 20 to the data's size.
        eps: Greatest cosine distance of two tags that are merged.
        embedder: "builtin", or the path or Hub id of a sentence-transformers model.
    """

    alpha: int | None = Field(default=None, ge=1)
    eps: float = Field(default=0.05, ge=0, le=2)
    embedder: str = "builtin"


class ClusterStep(_Part):
    """Cluster the labels by k-means; None takes one cluster for 20 rows to be selected, at most 50."""

    k: int | None = Field(default=None, ge=1)
    embedder: str = "builtin"


class CompareStep(ModelStep):
    """Compare answers in pairs inside each cluster."""

    comparisons: int = Field(default=2, ge=1)
    orders: Literal["both", "one"] = "both"


class SelectStep(_Part):
    """Take the best of each cluster, `n` rows in all."""

    n: int = Field(ge=1)


Step = (
    AspectTags | TagPoolStep | TagEvolStep | Respond | OpenTags | NormalizeTags | ClusterStep | CompareStep | SelectStep
)

STEPS: Mapping[str, type[Step]] = {
    "aspect_tags": AspectTags,
    "tag_pool": TagPoolStep,
    "tag_evol": TagEvolStep,
    "respond": Respond,
    "open_tags": OpenTags,
    "normalize_tags": NormalizeTags,
    "cluster": ClusterStep,
    "compare": CompareStep,
    "select": SelectStep,
}

# What must come before a step, because it writes what the step reads.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "tag_pool": ("aspect_tags",),
    "tag_evol": ("aspect_tags", "tag_pool"),
    "normalize_tags": ("open_tags",),
    "cluster": ("normalize_tags",),
    "compare": ("cluster",),
    "select": ("compare",),
}
MODEL_STEPS = tuple(name for name, kind in STEPS.items() if issubclass(kind, ModelStep))


class Recipe(_Part):
    """One recipe: data, engines and steps.

    Attributes:
        name: Names the run folder, `runs/<name>`.
        seed: Seed of all random choices.
        engines: Engine of each step by its name; `default` for the others.
        steps: (name, options) in the order of the journey.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 42
    data: Data
    engines: dict[str, str]
    steps: list[tuple[str, Any]] = Field(min_length=1)

    def option(self, name: str) -> Any:
        """Options of a step, or None where the recipe does not have it."""
        return next((options for step, options in self.steps if step == name), None)

    def engine(self, step: str) -> str:
        """The engine's spec for a step."""
        return self.engines.get(step) or self.engines["default"]

    @property
    def clusters(self) -> int:
        """Number of clusters: as given, or one for 20 rows to be selected (the paper: 50 for 1,000)."""
        given: int | None = self.option("cluster").k
        chosen = self.option("select")
        return given or max(1, min(50, round((chosen.n if chosen else 1000) / 20)))

    def plain(self) -> dict[str, Any]:
        """The recipe as plain values, with all defaults, as it is written into the run folder."""
        body = self.model_dump(exclude={"steps"})
        body["steps"] = [{name: options.model_dump()} for name, options in self.steps]
        return body

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of `plain()`."""
        return hashlib.sha256(json.dumps(self.plain(), sort_keys=True).encode()).hexdigest()[:12]


def recipe_from(body: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values; `where` names the source in messages.

    Raises:
        RecipeError: As `load_recipe`.
    """
    values = dict(body)
    values["steps"] = [_step(entry, f"{where}: steps[{place}]") for place, entry in enumerate(_steps(values, where))]
    recipe: Recipe = _valid(Recipe, values, where)
    if "default" not in recipe.engines and not all(
        name in recipe.engines for name, _ in recipe.steps if name in MODEL_STEPS
    ):
        raise RecipeError(f"{where}: engines needs the key default, as {{default: builtin}}")
    for name, spec in recipe.engines.items():
        if _KEY.search(spec):  # before anything is written: a recipe goes into run folders and cards
            raise RecipeError(
                f"{where}: engines.{name} holds a key or a password; set TAGEVOL_API_KEY in the environment"
            )
        check_known(name, ("default", *MODEL_STEPS), f"{where}: engines", "a step that asks a model")
    _check_order([name for name, _ in recipe.steps], where)
    return recipe


def _steps(values: Mapping[str, Any], where: str) -> list[Any]:
    steps = values.get("steps")
    if not isinstance(steps, list):
        raise RecipeError(f"{where}: steps: expected a list, as [aspect_tags: {{}}, tag_pool: {{}}], got {steps!r}")
    return steps


def _step(entry: Any, where: str) -> tuple[str, Any]:
    if isinstance(entry, str):
        entry = {entry: {}}
    if not isinstance(entry, dict) or len(entry) != 1:
        raise RecipeError(f"{where}: expected one step, as tag_pool: {{}}, got {entry!r}")
    name, options = next(iter(entry.items()))
    check_known(str(name), tuple(STEPS), where, "a step")
    return name, _valid(STEPS[name], options or {}, f"{where}.{name}")


def _valid(kind: type[_Part], values: Any, where: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as fault:
        first = fault.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            owner = _owner(kind, first["loc"][:-1])
            raise RecipeError(_unknown(str(first["loc"][-1]), tuple(owner.model_fields), f"{where}.{path}")) from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise RecipeError(f"{where}{'.' if path else ''}{path}: {message}{got}") from None


def _owner(kind: type[_Part], path: tuple[Any, ...]) -> type[_Part]:
    for part in path:
        annotation = kind.model_fields[part].annotation
        kinds = [arg for arg in (annotation, *get_args(annotation)) if isinstance(arg, type) and issubclass(arg, _Part)]
        kind = kinds[0] if kinds else kind
    return kind


def check_known(name: str, known: tuple[str, ...], where: str, what: str) -> None:
    """Refuse a name that is not among the known ones, with the nearest of them.

    Raises:
        RecipeError: If it is not known.
    """
    if name not in known:
        raise RecipeError(_unknown(name, known, f"{where}: {name}", what))


def _unknown(name: str, known: tuple[str, ...], where: str, what: str = "a field") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
    return f"{where} is not {what}; {hint}"


def _check_order(names: list[str], where: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise RecipeError(f"{where}: steps[{place}]: {name} stands there twice")
        for needed in BEFORE.get(name, ()):
            if needed not in names[:place]:
                raise RecipeError(f"{where}: steps[{place}].{name} needs the step {needed} before it")
