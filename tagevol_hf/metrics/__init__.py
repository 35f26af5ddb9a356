r"""Measures of this package as modules of `evaluate`, which load from where it is installed, without a network.

>>> import evaluate
>>> from tagevol_hf import metric_path
>>> accuracy = evaluate.load(metric_path("math_accuracy"))
>>> accuracy.compute(predictions=["The answer is \boxed{0.5}."], references=["\frac{1}{2}"])
"""

from __future__ import annotations

from pathlib import Path

from ..errors import RecipeError

NAMES = ("tag_diversity", "tag_difficulty", "math_accuracy", "win_rate")


def metric_path(name: str) -> str:
    """Where a module is, for `evaluate.load`.

    Args:
        name: One of `NAMES`.

    Raises:
        RecipeError: If there is none of this name.
    """
    if name not in NAMES:
        raise RecipeError(f"metric_path: {name!r}: expected one of {', '.join(NAMES)}")
    return str(Path(__file__).parent / name)
