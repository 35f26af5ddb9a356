"""Under which licences the sources and the models of a run stand, what follows for the set, and where they disagree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FILES = (".json", ".jsonl", ".csv", ".parquet", ".gz", ".zst", ".txt", ".arrow")


@dataclass(frozen=True)
class Used:
    """A source or a model of a run.

    Attributes:
        name: Id on the Hub, file name, or what a server calls its model.
        revision: Commit, or a digest of the files; empty where none was fixed.
        role: The steps that it serves; "rows" of a source.
        license: As the Hub names licences; empty where it is not known.
        demands: What its licence asks of those who train on what it writes; empty where nothing is known.
        cite: BibTeX; empty where none is known.
        on_hub: Whether the name is an id on the Hub.
    """

    name: str
    revision: str
    role: str
    license: str
    demands: str = ""
    cite: str = ""
    on_hub: bool = False


def sources_of(recipe: Mapping[str, Any]) -> list[Used]:
    """The sources of the rows, with the licence that the recipe gives, or else the one that is known."""
    data = recipe.get("data") or {}
    found: dict[tuple[str, str], Used] = {}
    for part in (data, *(data.get("also") or ())):
        name = str(part.get("source") or "")
        known = _known()["sources"].get(name.lower(), {})
        named = str(part.get("license") or known.get("license", ""))
        revision = str(part.get("revision") or "")
        used = Used(name, revision, "rows", named, "", known.get("cite", ""), is_hub_id(name))
        found.setdefault((name, revision), used)
    return list(found.values())


def models_of(engines: Mapping[str, Mapping[str, Any]]) -> list[Used]:
    """The language models that answered, in the order of the steps."""
    roles: dict[str, list[str]] = {}
    for step, engine in engines.items():
        if engine.get("language_model"):
            roles.setdefault(str(engine.get("identity") or engine.get("spec") or ""), []).append(step)
    return [_model(identity, ", ".join(steps)) for identity, steps in roles.items()]


def license_of(sources: Sequence[Used]) -> str:
    """The licence that the set can have by those of its sources, as the Hub names licences; empty where none follows.

    One licence for all sources is carried over; where some are free and the others have one licence together, it is
    that one. "other" where several free ones meet: then each row keeps its source's.
    """
    if not sources or not all(source.license for source in sources) or conflicts_of(sources, ()):
        return ""
    named = {source.license for source in sources}
    strict = {name for name in named if _kind(name) != "free"}
    if len(strict or named) == 1:
        return next(iter(strict or named))
    return "other" if not strict else ""


def conflicts_of(sources: Sequence[Used], models: Sequence[Used]) -> list[str]:
    """What a reader must know before using the set, a sentence each."""
    strict = [source for source in sources if source.license and _kind(source.license) != "free"]
    told = [
        f"{source.name} ({source.license}) may not be published in a changed form"
        for source in strict
        if _kind(source.license) == "no-derivatives"
    ]
    changed = [source for source in strict if _kind(source.license) != "no-derivatives"]
    if len({source.license for source in changed}) > 1:
        named = " and ".join(f"{source.name} ({source.license})" for source in changed)
        told.append(f"{named} ask for different licences of what is made from them: no single one fits the whole set")
    told += [f"{model.name} ({model.license}): {model.demands}" for model in models if model.demands]
    return told


def is_hub_id(name: str) -> bool:
    """Whether a source's name is an id on the Hub, and no file."""
    return bool(_HUB_ID.fullmatch(name)) and not name.lower().endswith(_FILES)


def _model(identity: str, role: str) -> Used:
    name, _, rest = identity.partition("@")
    revision = rest.partition("+")[0]
    name = name.partition("+")[0]
    lowered = name.lower()
    known: Mapping[str, str] = next((one for one in _known()["models"] if re.match(one["begins"], lowered)), {})
    demands = _known()["demands"].get(known.get("demands", ""), "")
    return Used(name, revision, role, known.get("license", ""), demands, on_hub=is_hub_id(name))


def _kind(license_name: str) -> str:
    kinds: Mapping[str, Sequence[str]] = _known()["kinds"]
    return next((kind for kind, names in kinds.items() if license_name.lower() in names), "own terms")


@cache
def _known() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("licences.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found
