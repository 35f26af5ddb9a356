"""Reading the options in an engine's name: `HEAD?option=value&option=value`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import unquote

from ..errors import EngineError


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """The part before `?`, and the options after it with `%xx` decoded.

    Raises:
        EngineError: If an option has no value or is given twice.
    """
    head, _, query = text.partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = (unquote(piece) for piece in part.partition("="))
        if not equals:
            raise EngineError(f"engine {head!r}: option {name!r} has no value; expected {name}=VALUE")
        if name in options:
            raise EngineError(f"engine {head!r}: option {name!r} is given twice; keep one")
        options[name] = value
    return head, options


def split_address(text: str) -> tuple[str, str, dict[str, str]]:
    """Of `URL?option=value#MODEL`, or with the options behind the model: the URL, the model or "", and the options.

    Raises:
        EngineError: If an option has no value or is given twice.
    """
    address, _, named = text.partition("#")
    url, *before = address.split("?", 1)
    model, *behind = named.split("?", 1)
    return url, model, split_options("?".join([url, "&".join([*before, *behind])]))[1]


def unknown_option(engine: str, name: str, known: Iterable[str]) -> EngineError:
    """The error for an option that does not exist, with the nearest name. Never shows the option's value."""
    known = sorted(known)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known[:20])}"
    return EngineError(f"engine {engine!r}: {name!r} is not an option; {hint}")


def positive(engine: str, name: str, value: object, kind: type[int] | type[float]) -> float:
    """An option as a number above 0.

    Raises:
        EngineError: If it is not one.
    """
    try:
        number = kind(str(value))
    except ValueError:
        number = kind(0)
    if not 0 < number < float("inf"):
        raise EngineError(f"engine {engine!r}: {name} is {value!r}; expected a positive {kind.__name__}")
    return number
