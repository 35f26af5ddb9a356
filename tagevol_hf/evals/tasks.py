"""The benchmarks by name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import cast

from ..errors import RecipeError
from .task import Task

NAMES = ("gsm8k", "math500", "humaneval", "mbpp", "ifeval", "mt_bench", "alpaca_eval")


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse what is no benchmark.

    Raises:
        RecipeError: With the nearest name.
    """
    for name in names:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(NAMES)}"
            raise RecipeError(f"{where}: {name} is not a task; {hint}")


def task_of(name: str) -> Task:
    """The benchmark of this name; each is a file of this folder.

    Args:
        name: One of `NAMES`.

    Raises:
        KeyError: If there is no such benchmark.
    """
    if name not in NAMES:
        raise KeyError(name)
    return cast(Task, import_module(f".{name}", __package__).TASK)
