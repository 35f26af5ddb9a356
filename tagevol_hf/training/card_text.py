"""Values for a model card: nothing in them tells who made it or gives a key away, and nothing breaks the card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:api_?key|secret|password|passwd|credentials?)$|^(?:(?:hub|hf|access|auth|wandb)_)?token$"
)
_SECRETS = (
    (re.compile(r"\b(hf_|sk-|gh[a-z]_|github_pat_)[\w-]{8,}"), r"\1…"),
    (re.compile(r"(?i)\b(bearer\s+)\S+"), r"\1…"),
    (
        re.compile(
            r"(?i)\b((?:\w+[_-])?(?:api[_-]?key|secret|password)|(?:(?:hub|hf|access|auth)[_-])?token)"
            r"([\"']?\s*[=:]\s*)[^\s&\"']+"
        ),
        r"\1\2…",
    ),
)
_ADDRESS = re.compile(r"(?i)\b((?!file:)[a-z][a-z0-9+.-]*://)(?:[^\s/?#]*@)?([^\s?#]*)(?:\?[^\s#]*)?")
_WHOLE_PATH = re.compile(r"(?:file://)?(?:~|/|\.\./|[A-Za-z]:[\\/]|\\\\)[^\n]*")
_ROOT = r"(?:~[\w.-]*/|/|(?:\.\./)+|[A-Za-z]:\\|\\\\)"
_PART = r"[^\s/\\,;'\"()\[\]{}?&#]"
_PATH = re.compile(rf"(?:(?<=^)|(?<=[\s=:,;'\"(\[{{]))(?:file://)?{_ROOT}(?:{_PART}+[/\\])+({_PART}*)")
_MARKDOWN = re.compile(r"([\\`*_\[\]|~$])")


class Ready(str):
    """A text that is Markdown already."""

    __slots__ = ()


def scrub(value: Any) -> Any:
    """A value, or all that a mapping or a list holds, without keys, passwords and places on the user's machine.

    Of a path outside the working folder only the last part is left; an address loses what stands before its host
    and behind its path; an entry whose name says that it is a secret is left out.
    """
    if isinstance(value, Mapping):
        return {str(key): scrub(each) for key, each in value.items() if not _SECRET_NAME.search(str(key))}
    if isinstance(value, (list, tuple)):
        return [scrub(each) for each in value]
    return _scrub_text(value) if isinstance(value, str) else value


def plain(value: Any) -> str:
    """A value as Markdown that shows exactly its characters, on one line, also inside a table."""
    if isinstance(value, Ready):
        return value
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return Ready(_MARKDOWN.sub(r"\\\1", text))


def code(value: Any) -> str:
    """A value as code inside a line or a table."""
    text = " ".join(_harmless(str(value)).split()).replace("|", "\\|")
    ticks = "`" * (_longest_run(text) + 1)
    space = " " if "`" in text else ""
    return Ready(f"{ticks}{space}{text}{space}{ticks}") if text else Ready("")


def fenced(value: Any, language: str = "") -> str:
    """A text as a code block that no fence inside it ends."""
    text = _harmless(str(value)).strip("\n")
    fence = "`" * max(3, _longest_run(text) + 1)
    return Ready(f"{fence}{language}\n{text}\n{fence}")


def markdown_templates(package: str) -> Environment:
    """The `templates` of a package, in which every value is Markdown text unless it says otherwise."""
    loader = PackageLoader(package, "templates")
    return Environment(  # noqa: S701 - this is Markdown, which `plain` escapes
        loader=loader, undefined=StrictUndefined, finalize=plain, trim_blocks=True, lstrip_blocks=True
    )


def _scrub_text(text: str) -> str:
    home = str(Path.home())
    if _WHOLE_PATH.fullmatch(text):
        parts = [part for part in re.split(r"[/\\]", text.removeprefix("file://")) if part]
        text = f"…/{parts[-1]}" if len(parts) > 1 and parts[-1] != Path.home().name else "…"
    elif len(home) > 1:
        text = re.sub(re.escape(home) + r"(?=$|[/\\\s:\"'?&])", "~", text)
    text = _PATH.sub(r"…/\1", _ADDRESS.sub(r"\1\2", text))
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _harmless(text: str) -> str:
    return text.replace("<!--", "<! --")  # a comment could pass for the mark where the card ends


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
