"""The options of the steps that evolve and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .recipe_parts import ModelStep, Part

Budget = Annotated[int, Field(ge=1, le=15)]
Operator = Literal["constraints", "deepen", "concretize", "reasoning", "breadth", "complicate_input"]


class AspectTags(ModelStep):
    """Tag the seeds.

    Attributes:
        method: "one-call" (aspects and the tags under each in one reply, as Tag-Evol's release), "two-call" (aspects
            first, then the tags under them), or a flat list without aspects: "fine" or, as InsTag, "coarse".
        max_aspects: Most aspects of a seed.
        max_tags: Most tags under an aspect, or in a flat list.
    """

    method: Literal["one-call", "two-call", "fine", "coarse"] = "one-call"
    max_aspects: int = Field(default=6, ge=1)
    max_tags: int = Field(default=8, ge=1)

    @model_validator(mode="after")
    def _one_prompt(self) -> AspectTags:
        if self.method == "two-call" and self.prompt is not None:
            raise ValueError("prompt: two calls have a prompt each; expected none with the method two-call")
        return self


class TagPoolStep(Part):
    """Collect the tags that evolution draws from.

    Attributes:
        source: What the seeds' own tags are called in a pool of several sources; the recipe's name by default.
        from_: In a recipe `from`: another pool in place of the seeds' tags: a run folder, a tag_pool.json, a saved
            data set or a Hub id.
        add: Further pools beside it.
        least: Tags of fewer rows are left out.
        sources: Only tags of these sources; None takes all.
        normalize: Near-equal tags become one: "rule" by spelling, "semantic" by spelling and embedding.
        embedder: For "semantic": "builtin", or the path or Hub id of a sentence-transformers model.
        eps: For "semantic": the greatest cosine distance of two tags that become one.
    """

    source: str | None = None
    from_: str | None = Field(default=None, alias="from")
    add: list[str] = Field(default_factory=list)
    least: int = Field(default=1, ge=1)
    sources: list[str] | None = None
    normalize: Literal["none", "rule", "semantic"] = "none"
    embedder: str = "builtin"
    eps: float = Field(default=0.05, ge=0, le=2)


class AdaptiveBudget(Part):
    """For `budgets: adaptive`: each seed gets the b that lifts its own number of tags to `target`; see `Adaptive`.

    Attributes:
        target: Tags, own and foreign, that a row shall have; by default the median of the seeds' own ones, plus the
            middle of `least` and `most`.
        least: Smallest b.
        most: Largest b.
    """

    target: int | None = Field(default=None, ge=1)
    least: Budget = 1
    most: Budget = 7

    @model_validator(mode="after")
    def _range(self) -> AdaptiveBudget:
        if self.least > self.most:
            raise ValueError(f"least: expected at most {self.most} (most)")
        return self


class TagEvolStep(ModelStep):
    """Evolve each seed once for each budget.

    Attributes:
        variant: "paper" (rewrite by chosen tags), "release-math" (a new instruction from scratch) or "random" (all of b
            given tags).
        budgets: Numbers of tags, each in 1..15; or "adaptive": one row a seed.
        adaptive: Its range, for "adaptive".
        candidates: Foreign tags that a row is shown, from which b are to be chosen.
        words_per_tag: The prompt allows so many words more than the seed for each tag; the check, twice as many.
        max_chars: Longest rewrite, in characters.
    """

    variant: Literal["paper", "release-math", "random"] = "paper"
    budgets: list[Budget] | Literal["adaptive"] = Field(default=[1, 3, 5], min_length=1)
    adaptive: AdaptiveBudget = AdaptiveBudget()
    candidates: int = Field(default=21, ge=1)
    words_per_tag: int = Field(default=20, ge=1)
    max_chars: int = Field(default=4000, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _singular(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("budget") == "adaptive" and "budgets" not in values:
            values = {**{key: value for key, value in values.items() if key != "budget"}, "budgets": "adaptive"}
        if isinstance(values.get("budgets"), str) and values["budgets"] != "adaptive":
            raise ValueError(
                f"budgets: expected a list of numbers from 1 to 15, or adaptive, got {values['budgets']!r}"
            )
        return values

    @model_validator(mode="after")
    def _numbers(self) -> TagEvolStep:
        most = self.adaptive.most if self.budgets == "adaptive" else max(self.budgets)
        if self.budgets != "adaptive" and len(set(self.budgets)) != len(self.budgets):
            raise ValueError(f"budgets: expected different numbers, got {self.budgets}")
        if self.candidates < most:
            raise ValueError(f"candidates: expected at least the largest budget, {most}")
        return self


class Review(ModelStep):
    """Let an engine look at each evolved instruction: are the chosen tags in it, is the core task kept?

    Attributes:
        reject: Findings that reject a row; the others are only noted in its columns.
    """

    reject: list[Literal["tag_not_integrated", "core_task_lost", "hallucinated_constraint"]] = Field(
        default=["tag_not_integrated", "core_task_lost"]
    )


class EvolInstructStep(ModelStep):
    """Evol-Instruct: rounds of rewriting, each from the round before.

    Attributes:
        rounds: How often each seed is rewritten, one upon the other.
        operators: What a rewrite may do; "breadth" writes another task of the same field, the others make this one
            harder.
        assign: How a row gets its operator in a round: "rotate" through the list, or "random".
        eliminate: The paper's elimination inside each round: "equality" asks whether the rewrite adds anything,
            "answer" asks for the answer and drops apologies and empty ones. Each is one more request.
    """

    rounds: int = Field(default=3, ge=1, le=10)
    operators: list[Operator] = Field(
        default=["constraints", "deepen", "concretize", "reasoning", "breadth"], min_length=1
    )
    assign: Literal["rotate", "random"] = "rotate"
    eliminate: list[Literal["equality", "answer"]] = Field(default=["equality", "answer"])


class OptimizeMethod(ModelStep):
    """Auto Evol-Instruct's optimisation loop; the engine of this step is the optimiser, that of `auto_evol` evolves.

    Attributes:
        start: The method that it begins with: "initial", "published", a text file, or a run's method.json.
        steps: Optimisation steps at the most.
        batch: Instructions in a mini-batch.
        evolutions: How often each of them is evolved, one upon the other.
        candidates: Methods that are tried in a step.
        dev: Instructions that a method's failure rate is measured on.
        subset: Instructions that the mini-batches and the development set are drawn from.
    """

    start: str = "initial"
    steps: int = Field(default=10, ge=1)
    batch: int = Field(default=10, ge=1)
    evolutions: int = Field(default=1, ge=1)
    candidates: int = Field(default=5, ge=1)
    dev: int = Field(default=50, ge=1)
    subset: int = Field(default=2000, ge=2)
    temperature: float | None = Field(default=0.6, ge=0)
    top_p: float | None = Field(default=0.95, gt=0, le=1)

    @model_validator(mode="after")
    def _own_prompts(self) -> OptimizeMethod:
        given = [name for name in ("prompt", "max_tokens", "attempts") if getattr(self, name) is not None]
        if given:
            raise ValueError(f"{given[0]}: the loop has prompts and limits of its own; set those of auto_evol instead")
        return self


class AutoEvolStep(ModelStep):
    """Auto Evol-Instruct: rewriting by a method in words.

    Attributes:
        method: "published", "initial", a text file or a run's method.json; None takes what `optimize_method` found,
            else "published".
        rounds: How often each seed is rewritten, one upon the other.
    """

    method: str | None = None
    rounds: int = Field(default=1, ge=1, le=10)


class Respond(ModelStep):
    """Answer each instruction."""


class Agree(ModelStep):
    """Ask for each answer again, and keep it where most draws give the same final answer.

    Attributes:
        draws: Further draws a row.
        least: Share of all draws that must give the row's own final answer.
    """

    draws: int = Field(default=4, ge=1)
    least: float = Field(default=0.5, ge=0, le=1)
    temperature: float | None = Field(default=0.7, gt=0)
