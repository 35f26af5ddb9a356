"""The errors of this package.

    TagEvolError
    ├── RecipeError        a recipe or a command-line value is wrong
    ├── DataError          a data set cannot be read or lacks a column
    ├── ParseError         one reply of a model cannot be used (never leaves a stage: the row is rejected)
    ├── EngineError        a machine failed: a server, a model file, a store
    ├── LimitError         a cap on requests, tokens or cost was reached; the same call goes on from there
    └── MissingExtraError  a library of an optional extra is not installed

A bad *row* is never an exception: it is marked with a reason from `rows.REASONS` and kept.
A bad *machine* always is one. Messages say where, what was expected, what was found, and what to do next.
"""

from __future__ import annotations


def one_line(fault: BaseException, most: int = 500) -> str:
    """What an exception says, without line breaks, for the inside of a message.

    Args:
        fault: The exception; of one that says nothing, the name of its type.
        most: Characters at the most.
    """
    return (" ".join(str(fault).split()) or type(fault).__name__)[:most]


class TagEvolError(Exception):
    """Base of every error that this package raises on purpose."""


class RecipeError(TagEvolError):
    """A recipe file, or a value given on the command line, is not valid."""


class DataError(TagEvolError):
    """A data set cannot be read, is empty, or lacks a needed column."""


class ParseError(TagEvolError):
    """One reply cannot be used.

    Args:
        reason: A key of `rows.REASONS`.
        detail: What was wrong with this reply, in one line.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class EngineError(TagEvolError):
    """An engine or the request store cannot go on: a machine failed, not a row."""


class LimitError(TagEvolError):
    """A cap of the user's was reached: everything that was answered is stored, nothing more is asked."""


class MissingExtraError(TagEvolError):
    """A library of an optional extra is missing.

    Args:
        library: The import name that failed.
        extra: The extra of this package that brings it.
    """

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'tagevol_hf[{extra}]'")
        self.library = library
        self.extra = extra
