"""The card of a published data set: what it is, how it was made, and how to check that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..report.values import read_json
from ..training.card import CITATIONS
from ..training.card_file import marked, renewed
from ..training.card_text import code, fenced, markdown_templates
from . import card_facts
from .card_head import split_head, with_configs
from .layout import CONFIGS
from .licences import conflicts_of, license_of, models_of, sources_of

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def dataset_card(run: Path, provenance: Mapping[str, Any], there: str | None, repo: str) -> str:
    """The whole README.md of a data set.

    Our part of it is one marked section, and the keys of the head that nobody changed; all else in it is a person's,
    and stays. No row's text is in it. The same arguments give the same text.

    Args:
        run: The run folder, for its measures.
        provenance: Content of provenance.json, as `provenance_of` makes it.
        there: Text of the README.md that the repository has; None where it has none.
        repo: `owner/name`.

    Raises:
        DataError: If the head of `there` is no valid YAML.
    """
    recipe = yaml.safe_load(provenance["recipe"]["text"]) or {}
    sources, models = sources_of(recipe), models_of(provenance["engines"])
    cited = [CITATIONS.read_text("utf-8").strip(), *(source.cite for source in sources if source.cite)]
    facts = {
        "name": provenance["name"],
        "verify": code(f"tagevol verify {repo}"),
        "opening": card_facts.opening(provenance, sources),
        "why": card_facts.why(provenance),
        "rules_only": bool(provenance["engines"]) and not models,
        "configs": card_facts.config_rows(provenance),
        "columns": card_facts.column_rows(provenance),
        "steps": card_facts.step_rows(provenance),
        "reasons": card_facts.reason_rows(provenance),
        "made": card_facts.made_facts(provenance),
        "recipe": fenced(provenance["recipe"]["text"], "yaml"),
        "sources": sources,
        "models": models,
        "license": license_of(sources),
        "unknown": [used.name for used in (*sources, *models) if not used.license],
        "conflicts": conflicts_of(sources, models),
        "diversity": card_facts.diversity_facts(provenance),
        "measures": card_facts.measures(run / "measures.json"),
        "judge": card_facts.judge_facts(provenance),
        "contamination": card_facts.contamination(provenance, read_json(run / "contamination.json")),
        "prompts": [(code(name), code(digest)) for name, digest in sorted(provenance["prompts"].items())],
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(provenance["versions"].items())),
        "earlier": card_facts.earlier_rows(provenance),
        "loading": fenced(_loading(repo, provenance), "python"),
        "citations": fenced("\n\n".join(cited), "bibtex"),
    }
    body = markdown_templates(__package__).get_template("dataset_card.md").render(facts)
    text, lists = split_head(there or "")
    head = _metadata(provenance, recipe, facts["license"])
    return with_configs(renewed(text, marked(head, body)), lists, _ordered(provenance["configs"]))


def _metadata(provenance: Mapping[str, Any], recipe: Mapping[str, Any], license_name: str) -> str:
    steps = {step["name"] for step in provenance["steps"]}
    rows = provenance["configs"].get("selected", {}).get("rows")
    tags = [
        "tagevol",
        "instruction-tuning",
        *(["synthetic"] if steps & {"tag_evol", "evol_instruct", "auto_evol", "respond", "refine"} else []),
        *(["tag-evol"] if "tag_evol" in steps else []),
        *(["tacos"] if {"cluster", "compare", "select"} <= steps else []),
    ]
    head = {
        "pretty_name": provenance["name"],
        "license": license_name,
        "license_name": "as-the-sources" if license_name == "other" else "",
        "license_link": "README.md" if license_name == "other" else "",
        "task_categories": ["text-generation"],
        "size_categories": [] if rows is None else [_size(rows)],
        "source_datasets": [source.name for source in sources_of(recipe) if source.on_hub],
        "tags": tags,
    }
    return yaml.safe_dump({key: value for key, value in head.items() if value}, sort_keys=False, allow_unicode=True)


def _size(rows: int) -> str:
    return next((name for most, name in _SIZES if rows < most), "n>1M")


def _loading(repo: str, provenance: Mapping[str, Any]) -> str:
    names = _ordered(provenance["configs"])
    lines = ["from datasets import load_dataset", ""]
    lines += [f'{name} = load_dataset({json.dumps(repo)}, "{name}", split="train")' for name in names]
    return "\n".join(lines)


def _ordered(configs: Mapping[str, Any]) -> list[str]:
    return [name for name in CONFIGS if name in configs]
