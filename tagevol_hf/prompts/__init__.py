"""Prompts: one text file each, the part that all rows share first, the row's part last.

A file holds the shared part, a line `=== row ===`, and the row's part. `{{name}}` stands for a value. Values are put
in by one pass over the template, so braces in the data are never read as placeholders. In the row's part a value
stands between tags, as in `<instruction>…</instruction>`; a closing tag inside the data is defused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import RecipeError

_MARK = "=== row ==="
_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt's text.

    Attributes:
        name: File name without its ending, for messages and reports.
        shared: The part that is the same for all rows of a stage; vLLM's prefix cache serves it.
        row: The part that differs by row.
    """

    name: str
    shared: str
    row: str

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of the text."""
        return hashlib.sha256(f"{self.shared}\n{_MARK}\n{self.row}".encode()).hexdigest()[:12]

    def render(self, shared: Mapping[str, str], row: Mapping[str, str]) -> str:
        """The whole prompt for one row.

        Raises:
            RecipeError: If the text has a placeholder for which there is no value.
        """
        closing = _closing(self.row)
        values = {name: closing.sub(r"<\\/", value) for name, value in row.items()}
        return _fill_shared(self.name, self.shared, tuple(shared.items())) + _fill(self.name, self.row, values)


def load_prompt(name: str | Path | Prompt) -> Prompt:
    """A prompt of this package by its name, or one from a text file by its path.

    Raises:
        RecipeError: If there is no such prompt, or its text lacks the line `=== row ===`.
    """
    if isinstance(name, Prompt):
        return name
    folder = Path(__file__).parent
    path = Path(name) if str(name).endswith(".txt") else folder / f"{name}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.txt")))
        raise RecipeError(f"prompt {str(name)!r}: no such file; give a path to a .txt file or one of: {known}")
    text = path.read_text(encoding="utf-8")
    shared, mark, row = text.partition(f"\n{_MARK}\n")
    if not mark:
        raise RecipeError(f"{path}: expected a line {_MARK!r} between the shared part and the row's part")
    return Prompt(path.stem, shared + "\n", row.rstrip("\n"))


def load_text(name: str | Path) -> str:
    """A text that goes into a prompt, by its name such as "methods/initial", or from a text file by its path.

    Raises:
        RecipeError: If there is no such text, or it is blank.
    """
    folder = Path(__file__).parent
    path = Path(name) if str(name).endswith(".txt") else folder / f"{name}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in (folder / Path(name).parent).glob("*.txt")))
        raise RecipeError(f"{str(name)!r}: no such text; give a path to a .txt file or one of: {known}")
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise RecipeError(f"{path}: the file is blank")
    return text


def _fill(prompt: str, template: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in values:
            known = ", ".join(sorted(values)) or "none"
            raise RecipeError(f"prompt {prompt}: {{{{{name}}}}} has no value here; known: {known}")
        return values[name]

    return _PLACE.sub(value, template)


@lru_cache(maxsize=256)
def _fill_shared(prompt: str, template: str, values: tuple[tuple[str, str], ...]) -> str:
    return _fill(prompt, template, dict(values))


@lru_cache(maxsize=256)
def _closing(template: str) -> re.Pattern[str]:
    """Finds the closing tags of a template, to be defused in the data."""
    return re.compile(r"</(?=(?:" + "|".join(_tags(template)) + r")\s*>)", re.IGNORECASE)


def _tags(template: str) -> list[str]:
    return [re.escape(tag) for tag in re.findall(r"</(\w+)>", template)] or ["(?!)"]
