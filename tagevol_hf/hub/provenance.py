"""How a published data set was made: the content of provenance.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from .. import __version__
from ..errors import DataError
from ..run_folder import read_run
from .layout import FORMAT, digests_name
from .secrets import published
from .shards import Shard, Written

_STEP = (
    *("number", "name", "kind", "rows_in", "added", "rows_out", "not_chosen", "rejected", "asked", "stored"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "cost", "seconds", "prompt", "summary"),
)
_TOKENS = ("asked", "stored", "stored_tokens", "prompt_tokens", "completion_tokens", "cached_tokens")
_TOTALS = ("read", "added", "selected", "not_chosen", "rejected")


def provenance_of(run: Path, configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The content of provenance.json.

    Args:
        run: A finished run folder.
        configs: Name → entry, as `entry_of` makes it.

    Returns:
        format, version, run (its id), name, started, seed, recipe {text, digest, sha256}, totals (rows), steps,
        reasons, engines, prompts {name: digest}, versions, tokens, seconds, cost, configs. No key, no place on this
        machine. The same run gives the same content.

    Raises:
        DataError: If the run folder cannot be read.
    """
    record = read_run(run)
    totals = record.get("totals") or {}
    steps = [{name: step[name] for name in _STEP if name in step} for step in record.get("steps", ())]
    body = {
        "name": record.get("name"),
        "started": record.get("started"),
        "seed": record.get("seed"),
        "totals": {name: totals.get(name) for name in _TOTALS},
        "steps": steps,
        "engines": record.get("engines", {}),
        "prompts": {step["prompt"]["name"]: step["prompt"]["digest"] for step in steps if step.get("prompt")},
        "versions": {"tagevol_hf": record.get("version"), **record.get("versions", {})},
        "tokens": {name: totals.get(name, 0) for name in _TOKENS},
        "seconds": record.get("seconds"),
        "cost": record.get("cost"),
    }
    head = {"format": FORMAT, "version": __version__, "run": run_id(run), "recipe": recipe_part(run)}
    return {**head, **_scrubbed(body), "configs": {name: dict(entry) for name, entry in configs.items()}}


def entry_of(config: str, written: Written, run: str, digests_sha256: str) -> dict[str, Any]:
    """What provenance.json says about a config whose rows were all just written."""
    shards = [asdict(Shard(shard.path, shard.rows, shard.sha256, run)) for shard in written.shards]
    return {
        "rows": len(written.rows),
        "features": written.features.to_dict(),
        "digest": written.digest,
        "digests": {"path": digests_name(config), "sha256": digests_sha256},
        "shards": shards,
    }


def recipe_part(run: Path) -> dict[str, str]:
    """The recipe as it is published: its text, its digest, and that of the recipe that ran.

    `digest` and `ran` are the same unless a key or a place on this machine was taken out.
    """
    text, body = read_recipe(run / "recipe.yaml")
    ran = recipe_digest(body)
    clean = published(body)
    if clean != body:
        text = yaml.safe_dump(clean, sort_keys=False, allow_unicode=True)
    return {"text": text, "digest": recipe_digest(clean), "ran": ran, "sha256": text_sha256(text)}


def read_recipe(file: Path) -> tuple[str, dict[str, Any]]:
    """The text and the values of a recipe.yaml.

    Raises:
        DataError: If it is missing or no recipe.
    """
    try:
        text = file.read_text(encoding="utf-8")
        body = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise DataError(f"{file.name}: cannot be read ({' '.join(str(fault).split())[:200]})") from None
    if not isinstance(body, dict):
        raise DataError(f"{file.name}: expected keys and values, got {type(body).__name__}")
    return text, body


def recipe_digest(body: Mapping[str, Any]) -> str:
    """As `Recipe.digest`, from the values of a recipe.yaml; holds for recipes of other versions of this package."""
    kept = {name: value for name, value in body.items() if name not in ("prices", "limits")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:12]


def run_id(run: Path) -> str:
    """Which run this is: 12 hex digits of its run.json."""
    return hashlib.sha256((run / "run.json").read_bytes()).hexdigest()[:12]


def text_sha256(text: str) -> str:
    """Hex SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def as_json(provenance: Mapping[str, Any]) -> str:
    """The text of provenance.json."""
    return json.dumps(provenance, ensure_ascii=False, indent=1) + "\n"


def read_provenance(file: Path) -> dict[str, Any]:
    """The content of a provenance.json.

    Raises:
        DataError: If it is missing, damaged or of a later format.
    """
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file.name}: missing; was this data set pushed by tagevol push?") from None
    except (OSError, ValueError) as fault:
        raise DataError(f"{file.name}: cannot be read ({fault})") from None
    if not isinstance(body, dict) or not isinstance(body.get("configs"), dict):
        raise DataError(f"{file.name}: not written by tagevol push")
    if body.get("format") != FORMAT:
        raise DataError(
            f"{file.name}: format {body.get('format')!r}, this version reads {FORMAT}; take a later tagevol_hf"
        )
    return body


def _scrubbed(body: dict[str, Any]) -> dict[str, Any]:
    clean: dict[str, Any] = published(body)
    return clean
