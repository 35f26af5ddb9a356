"""curate.yaml → typed values. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import Field, ValidationError

from .engines.kinds import IN_MEMORY
from .engines.usage import Limits as Caps
from .engines.usage import Prices
from .errors import RecipeError
from .formats import MAX_CHARS
from .homes import portable, resolved
from .recipe_parts import Part, Source
from .recipe_steps import BEFORE, EVOLUTIONS, MODEL_STEPS, SELECTIONS, STEPS

_KEY = re.compile(r"://[^/?#]*@|[?&](?:api_?key|key|token|password)=", re.IGNORECASE)


class Data(Source):
    """The seeds.

    Attributes:
        also: Further sources, whose rows come after those of the first; then only a row's own columns stay.
        limit: Only the first so many rows, of all sources together.
        max_chars: Longest text of a row, in characters; longer rows are rejected.
    """

    also: list[Source] = Field(default_factory=list)
    limit: int | None = Field(default=None, ge=1)
    max_chars: int = Field(default=MAX_CHARS, ge=1)


class Limits(Part):
    """Caps on what one call may ask; what the store answers counts for nothing.

    Attributes:
        max_requests: Requests to the engines.
        max_tokens: Tokens of prompts and replies together.
        max_cost: Cost at `prices`, in their currency.
    """

    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_cost: float | None = Field(default=None, gt=0)

    def caps(self) -> Caps:
        """For the engines."""
        return Caps(self.max_requests, self.max_tokens, self.max_cost)


class Price(Part):
    """What an engine's tokens cost, in one currency, for a million of them.

    Attributes:
        prompt: Those of the prompt.
        completion: Those of the reply.
        cached: Those of the prompt that the prefix cache serves; by default as much as the others.
    """

    prompt: float = Field(default=0, ge=0)
    completion: float = Field(default=0, ge=0)
    cached: float | None = Field(default=None, ge=0)


class Recipe(Part):
    """One recipe: data, engines and steps.

    Attributes:
        name: Names the run folder, `runs/<name>`.
        seed: Seed of all random choices.
        engines: Engine of each step by its name; `default` for the others.
        prices: What the engines' tokens cost, by the same names; for the account and for `limits.max_cost`.
        limits: Caps on one call.
        steps: (name, options) in the order of the journey.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 42
    data: Data
    engines: dict[str, str]
    prices: dict[str, Price] = Field(default_factory=dict)
    limits: Limits = Limits()
    steps: list[tuple[str, Any]] = Field(min_length=1)

    def option(self, name: str) -> Any:
        """Options of a step, or None where the recipe does not have it."""
        return next((options for step, options in self.steps if step == name), None)

    def engine(self, step: str) -> str:
        """The engine's spec for a step."""
        return self.engines[self._engine_name(step)]

    def prices_of(self, step: str) -> Prices | None:
        """The prices of a step's engine, or None."""
        price = self.prices.get(self._engine_name(step))
        return None if price is None else Prices(price.prompt, price.completion, price.cached)

    def _engine_name(self, step: str) -> str:
        """The step itself where it has an engine of its own; `agree` asks the engine that answered."""
        names = (step, "respond") if step == "agree" else (step,)
        return next((name for name in names if name in self.engines), "default")

    @property
    def clusters(self) -> int:
        """Number of clusters: as given, or one for 20 rows to be selected (the paper: 50 for 1,000)."""
        given: int | None = self.option("cluster").k
        chosen = self.option("select")
        return given or max(1, min(50, round((chosen.n if chosen else 1000) / 20)))

    def plain(self) -> dict[str, Any]:
        """The recipe as plain values, with all defaults, as it is written into the run folder."""
        body = self.model_dump(exclude={"steps"})
        body["steps"] = [{name: options.model_dump(by_alias=True)} for name, options in self.steps]
        return body

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of `plain()` without prices and limits, which change no row.

        It is the same for each user's home folder.
        """
        body = {name: value for name, value in portable(self.plain()).items() if name not in ("prices", "limits")}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


def recipe_from(body: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values; `where` names the source in messages.

    Raises:
        RecipeError: As `load_recipe`.
    """
    values = resolved(dict(body))
    values["steps"] = [_step(entry, f"{where}: steps[{place}]") for place, entry in enumerate(_steps(values, where))]
    recipe: Recipe = valid_part(Recipe, values, where)
    asking = [name for name, _ in recipe.steps if name in MODEL_STEPS]
    if "default" not in recipe.engines and not all(recipe._engine_name(name) in recipe.engines for name in asking):
        raise RecipeError(f"{where}: engines needs the key default, as {{default: builtin}}")
    for name, spec in recipe.engines.items():
        if _KEY.search(spec):  # before anything is written: a recipe goes into run folders and cards
            raise RecipeError(
                f"{where}: engines.{name} holds a key or a password; set TAGEVOL_API_KEY in the environment"
            )
        check_known(name, ("default", *MODEL_STEPS), f"{where}: engines", "a step that asks a model")
    for name in recipe.prices:
        check_known(name, tuple(recipe.engines), f"{where}: prices", "one of the engines")
    if recipe.limits.max_cost is not None and not recipe.prices:
        example = "prices: {default: {prompt: 0.15, completion: 0.6}}"
        raise RecipeError(f"{where}: limits.max_cost needs the prices of a million tokens, as {example}")
    _check_order(recipe, where)
    _check_two_models(recipe, where)
    return recipe


def _check_selection(names: list[str], where: str) -> None:
    """One way of selecting at the most, and what looks at the chosen rows comes after it."""
    chosen = [name for name in names if name in SELECTIONS]
    if len(chosen) > 1:
        raise RecipeError(
            f"{where}: steps: {' and '.join(chosen)} stand in one recipe, and each selects; compare_selections shows "
            "what other ways would have selected"
        )
    for name in ("compare_selections", "refine"):
        if name in names and not chosen:
            raise RecipeError(f"{where}: steps: {name} needs the step select before it")
        if name in names and names.index(name) < names.index(chosen[0]):
            raise RecipeError(f"{where}: steps: {name} needs the step {chosen[0]} before it")


def _check_two_models(recipe: Recipe, where: str) -> None:
    """optimize_method asks two engines in turn; only one model at a time is in this machine's memory."""
    if recipe.option("optimize_method") is None:
        return
    both = {recipe.engine("optimize_method"), recipe.engine("auto_evol")}
    if len(both) == 2 and all(spec.startswith(IN_MEMORY) for spec in both):
        raise RecipeError(
            f"{where}: engines: optimize_method asks two models in turn ({', '.join(sorted(both))}), and only one at a "
            "time is in this machine's memory; serve one of them and give its http:// address"
        )


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
    return name, valid_part(STEPS[name], options or {}, f"{where}.{name}")


def valid_part(kind: type[Part], values: Any, where: str) -> Any:
    """The values of a part of a recipe, checked; `where` names the place in messages.

    Raises:
        RecipeError: For the first fault; for an unknown key with the nearest known one.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as fault:
        first = fault.errors()[0]
        path = ".".join(str(part) for part in first["loc"] if "[" not in str(part))  # not the name of a type
        if first["type"] == "extra_forbidden":
            owner = _owner(kind, first["loc"][:-1])
            known = tuple(field.alias or name for name, field in owner.model_fields.items())
            raise RecipeError(_unknown(str(first["loc"][-1]), known, f"{where}.{path}")) from None
        message = first["msg"].removeprefix("Value error, ")
        got = "" if first["type"] == "missing" or not first["loc"] else f", got {first['input']!r}"
        raise RecipeError(f"{where}{'.' if path else ''}{path}: {message}{got}") from None


def _owner(kind: type[Part], path: tuple[Any, ...]) -> type[Part]:
    for part in path:
        if part not in kind.model_fields:  # a key of a mapping
            continue
        annotation = kind.model_fields[part].annotation
        kinds = [arg for arg in (annotation, *get_args(annotation)) if isinstance(arg, type) and issubclass(arg, Part)]
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


def _check_order(recipe: Recipe, where: str) -> None:
    names = [name for name, _ in recipe.steps]
    for place, (name, options) in enumerate(recipe.steps):
        if name in names[:place]:
            raise RecipeError(f"{where}: steps[{place}]: {name} stands there twice")
        for needed in (*BEFORE.get(name, ()), *getattr(options, "needs", ())):
            if needed not in names[:place]:
                raise RecipeError(f"{where}: steps[{place}].{name} needs the step {needed} before it")
    _check_selection(names, where)
    methods = [name for name in names if name in EVOLUTIONS]
    if len(methods) > 1:
        raise RecipeError(
            f"{where}: steps: {' and '.join(methods)} stand in one recipe, and each evolves the seeds; "
            "write one recipe a method and compare them by: tagevol compare"
        )
    if "optimize_method" in names and "auto_evol" not in names[names.index("optimize_method") :]:
        raise RecipeError(f"{where}: steps: optimize_method finds a method for auto_evol, which must come after it")
