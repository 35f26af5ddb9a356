"""The steps of a recipe by their names, and which must come before which."""

from __future__ import annotations

from collections.abc import Mapping

from .recipe_cleaning import Decontaminate, NearDuplicates
from .recipe_evolving import (
    Agree,
    AspectTags,
    AutoEvolStep,
    EvolInstructStep,
    OptimizeMethod,
    Respond,
    Review,
    TagEvolStep,
    TagPoolStep,
)
from .recipe_measuring import MeasureStep
from .recipe_parts import EngineStep, Part
from .recipe_selecting import (
    BaselineStep,
    ClusterStep,
    CompareSelections,
    CompareStep,
    NormalizeTags,
    OpenTags,
    Refine,
    SelectStep,
    SingleScore,
)

STEPS: Mapping[str, type[Part]] = {
    "aspect_tags": AspectTags,
    "tag_pool": TagPoolStep,
    "tag_evol": TagEvolStep,
    "evol_instruct": EvolInstructStep,
    "optimize_method": OptimizeMethod,
    "auto_evol": AutoEvolStep,
    "review": Review,
    "respond": Respond,
    "agree": Agree,
    "open_tags": OpenTags,
    "normalize_tags": NormalizeTags,
    "cluster": ClusterStep,
    "single_score": SingleScore,
    "compare": CompareStep,
    "select": SelectStep,
    "baseline": BaselineStep,
    "compare_selections": CompareSelections,
    "refine": Refine,
    "decontaminate": Decontaminate,
    "near_duplicates": NearDuplicates,
    "measure": MeasureStep,
}

# What must come before a step, because it writes what the step reads; some options have `needs` of their own.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "tag_pool": ("aspect_tags",),
    "tag_evol": ("aspect_tags", "tag_pool"),
    "review": ("tag_evol",),
    "agree": ("respond",),
    "normalize_tags": ("open_tags",),
    "cluster": ("normalize_tags",),
    "compare": ("cluster",),
}
MODEL_STEPS = tuple(name for name, kind in STEPS.items() if issubclass(kind, EngineStep))
EVOLUTIONS = ("tag_evol", "evol_instruct", "auto_evol")  # a recipe has one of them at the most
SELECTIONS = ("select", "baseline")  # likewise
