"""Places on the user's machine in files that may be passed on: `~` for the home folder, `$USER` for the user's name.

What is written with `portable` is read with `resolved`, so that a file of one user works for another.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

COMMON_NAMES = frozenset({"root", "user", "home", "runner", "ubuntu", "admin", "nobody"})  # which tell nothing
_SHORTEST = 3  # characters of a user's name; a shorter one stands in paths by chance


def user_name() -> str:
    """The user's login name; empty where there is none, or it tells nothing."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        return ""
    return "" if name in COMMON_NAMES or len(name) < _SHORTEST else name


def portable(value: Any) -> Any:
    """A value, or all texts that a mapping or a list holds, without the home folder and the user's name in paths."""
    home, user = str(Path.home()), user_name()
    patterns = []
    if len(home) > 1:
        patterns.append((re.compile(r"(?<![\w./~$-])" + re.escape(home) + r"(?=$|[/\\\s:;,\"'?&#)\]])"), "~"))
    if user:
        patterns.append((re.compile(rf"(?<=/){re.escape(user)}(?=$|[/\\\s:;,\"'?&#)\]])"), "$USER"))

    def hide(text: str) -> str:
        for pattern, other in patterns:
            text = pattern.sub(lambda _: other, text)  # noqa: B023 - used at once
        return text

    return _in_all(value, hide)


def resolved(value: Any) -> Any:
    """A value, or all texts that a mapping or a list holds, with `~/` and `/$USER` as they are on this machine.

    `~/` counts at the beginning of a text, and behind the colon of an engine's name.
    """
    home, user = str(Path.home()), user_name()

    def show(text: str) -> str:
        text = re.sub(r"(?:(?<=^)|(?<=:))~(?=/)", lambda _: home, text)
        return re.sub(r"(?<=/)\$USER(?=$|/)", lambda _: user, text) if user else text

    return _in_all(value, show)


def _in_all(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_all(each, change) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_in_all(each, change) for each in value]
    return change(value) if isinstance(value, str) else value
