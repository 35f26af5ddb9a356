"""The README.md of a model's folder: the card is one marked section of it, all else in it is the user's."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import yaml

_BEGIN = "<!-- tagevol card {digest}: written anew by tagevol, up to the other mark; the rest stays -->"
_END = "<!-- tagevol card: end -->"
_FOUND = re.compile(r"<!-- tagevol card ([0-9a-f]+|none):[^\n]*-->\n.*\n" + re.escape(_END), re.DOTALL)
_HEAD = re.compile(r"\A---\r?\n(.*?)\r?\n---(?:\r?\n|\Z)", re.DOTALL)
_COMMENT = re.compile(r"(?m)^[^'\"\n]*#")
_PEFT_LINES = re.compile(r"(?:\n|\A)### Framework versions\s+- PEFT [^\n]*(?:\n|\Z)")
_UNFILLED = "# Model Card for Model ID"  # peft writes this form into each folder that has no README


def marked(head: str, body: str) -> str:
    """A card as a whole file: YAML head, then the marked section.

    Args:
        head: YAML of the card's metadata.
        body: Markdown.
    """
    begin = _BEGIN.format(digest=_digest(_loaded(head)))
    return f"---\n{head.strip()}\n---\n\n{begin}\n{body.strip()}\n{_END}\n"


def write_readme(folder: Path, card: str) -> None:
    """Write the card into `folder/README.md`, whole or not at all, beside what a person wrote there.

    Args:
        folder: A model's folder.
        card: Result of `marked`.
    """
    path = folder / "README.md"
    old = path.read_text("utf-8") if path.is_file() else ""
    beside = path.with_name(f".README.md.{os.getpid()}")
    beside.write_text(renewed(old, card), encoding="utf-8")
    beside.replace(path)


def renewed(old: str, card: str) -> str:
    """The text of a README with the card in it.

    Only the marked section is replaced, or put at the end where there is none. The head is replaced as long as nobody
    changed it (more tags are kept); else only the keys that it lacks are added.

    Args:
        old: The file's text, empty when there is no file.
        card: Result of `marked`.
    """
    head, rest = _parts(old)
    if not old.strip() or (_UNFILLED in rest and "[More Information Needed]" in rest):
        return card
    fresh, body = _parts(card)
    found, section = _FOUND.search(rest), body.strip()
    head = _new_head(head, found[1] if found else "", fresh)
    if found is None:
        return f"---\n{head}\n---\n{rest.rstrip()}\n\n{section}\n"
    after = _PEFT_LINES.sub("", rest[found.end() :]).lstrip("\n")
    return f"---\n{head}\n---\n{rest[: found.start()]}{section}\n{after and chr(10) + after}"


def _parts(text: str) -> tuple[str, str]:
    """The YAML of the head, and what follows it."""
    found = _HEAD.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def _new_head(head: str, digest: str, fresh: str) -> str:
    """The YAML of the head, with what the card's own head says."""
    theirs, ours = _loaded(head), _loaded(fresh) or {}
    if theirs is None:
        return head  # not YAML: a person's to mend
    if is_path(theirs.get("base_model")):  # peft writes where the model lay
        place = theirs.pop("base_model")
        theirs["tags"] = [tag for tag in _list(theirs.get("tags")) if str(place) not in str(tag)]
        head = _dumped(theirs)
    if _digest(theirs) == digest and not _COMMENT.search(head):
        tags = list(dict.fromkeys([*_list(ours.get("tags")), *_list(theirs.get("tags"))]))
        known = {"base_model": theirs.get("base_model"), **ours, "tags": tags}
        return _dumped({key: value for key, value in known.items() if value})
    missing = {key: value for key, value in ours.items() if key not in theirs}
    return f"{head.rstrip()}\n{_dumped(missing) if missing else ''}".strip()


def is_path(name: Any) -> bool:
    """Whether the name of a model is a place on a disk, and not one on the Hub."""
    return isinstance(name, str) and (not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", name) or Path(name).exists())


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _loaded(head: str) -> dict[str, Any] | None:
    try:
        value = yaml.safe_load(head) if head.strip() else {}
    except yaml.YAMLError:
        return None
    return value if isinstance(value, dict) else None


def _dumped(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).strip()


def _digest(values: dict[str, Any] | None) -> str:
    """Of the metadata, but for what peft changes in it each time it saves an adapter."""
    if values is None:
        return "none"
    kept = {key: value for key, value in values.items() if key not in ("tags", "base_model", "library_name")}
    return hashlib.sha256(_dumped(dict(sorted(kept.items()))).encode()).hexdigest()[:12]
