"""Auto Evol-Instruct: rewriting by a method in words, which can be optimised (arXiv 2406.00770)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from ..engines.base import Schema
from ..parsing import JsonSchema, object_schema
from ..prompts import Prompt, load_text
from .method import OptimizedMethod
from .rounds import Rewriter

METHODS = ("initial", "published")


@dataclass(frozen=True, kw_only=True)
class AutoEvol(Rewriter):
    """One round of Auto Evol-Instruct, for `evolve_in_rounds`.

    Attributes:
        method: The method's text, as `load_method` or `optimize_method` gives it; blank for the published one.
    """

    prompt: str | Path | Prompt = "auto_evol"
    top_p: float = 0.95
    method: str = ""

    name: ClassVar[str] = "auto_evol"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "method", self.method.strip() or load_method("published"))

    @property
    def schema(self) -> Schema:
        """The work on the method's steps, and the final instruction."""
        return _schema(self.max_chars)

    @property
    def shared(self) -> Mapping[str, str]:
        """The method."""
        return {"method": self.method}

    def operator_for(self, seed_id: str, number: int) -> str:
        """There is but the method."""
        return ""


def load_method(name: str | Path) -> str:
    """The text of a method.

    Args:
        name: "initial" (four steps, the beginning of the optimisation), "published" (seven steps, after the one that
            the paper's appendix gives as the result of its twelfth step), or the path of a text file or of what
            `OptimizedMethod.save` wrote.

    Raises:
        RecipeError: If there is no such method, or it is blank.
        DataError: If a JSON file holds no optimised method.
    """
    if str(name).endswith(".json"):
        return OptimizedMethod.load(name).method
    return load_text(name if str(name).endswith(".txt") else f"methods/{name}")


@lru_cache(maxsize=16)
def _schema(max_chars: int) -> JsonSchema:
    work = {"type": "string", "maxLength": 4000}
    return object_schema(
        "auto_evol", {"work": work, "final": {"type": "string", "minLength": 1, "maxLength": max_chars}}
    )
