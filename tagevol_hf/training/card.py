"""The card of a trained model: what it was trained on and from, so that a reader can judge it and make it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from .card_facts import (
    data_facts,
    given,
    given_arguments,
    is_adapter,
    loss_rows,
    measured,
    opening,
    rules_only,
    step_row,
    training_facts,
)
from .card_file import is_path, marked, write_readme
from .card_text import Ready, fenced, markdown_templates, scrub
from .models import TINY
from .record import read_json

EVALUATION = "eval.json"
CITATIONS = resources.files(__package__).joinpath("templates", "citations.bib")


def model_card(
    train: Mapping[str, Any],
    run_folder: Path | None,
    *,
    evaluation: Mapping[str, Any] | None = None,
    name: str = "",
) -> str:
    """The text of a model's README.md: metadata for the Hub, and one marked section.

    No place on the user's machine, address with a password, token or key is in it.

    Args:
        train: What `train.json` holds, or as much of it as is known so far. `merged` in it says that this is a LoRA
            adapter merged into its base.
        run_folder: The run whose rows were trained on; None where there is none on this machine.
        evaluation: What `scripts/evaluate.py` wrote.
        name: Of the model, for its heading.
    """
    train = scrub({**train, "base": _hub_id(train.get("model"))})
    run, recipe = _run(run_folder), _recipe(run_folder)
    facts = {
        "name": name or "Fine-tuned model",
        "opening": opening(train),
        "merged": bool(train.get("merged")),
        "rules_only": rules_only(run),
        "tiny": str(train.get("model", "")).startswith(TINY),
        "data": data_facts(train, run),
        "steps": [step_row(step) for step in run.get("steps", [])],
        "recipe": fenced(recipe, "yaml") if recipe else "",
        "training": training_facts(train),
        "arguments": given_arguments(train),
        "history": loss_rows(train),
        "measured": measured(scrub(evaluation)) if evaluation else None,
        "loading": _loading(train),
        "versions": sorted(train.get("versions", {}).items()),
        "citations": fenced(CITATIONS.read_text("utf-8"), "bibtex"),
    }
    return marked(
        _metadata(train, run_folder), markdown_templates(__package__).get_template("model_card.md").render(facts)
    )


def write_card(folder: Path, train: Mapping[str, Any], run_folder: Path | None, name: str = "") -> None:
    """Write the card into the model's folder; what a person wrote into its README.md stays.

    Args:
        folder: The model's; `eval.json` in it, from `scripts/evaluate.py --out`, is shown if it is of this training.
        train: As of `model_card`.
        run_folder: As of `model_card`.
        name: Of the model; by default that of its repository or folder.
    """
    evaluation = read_json(folder / EVALUATION)
    if evaluation.get("training", train.get("digest")) != train.get("digest"):
        evaluation = {}
    name = name or str(given(train).get("hub_model_id") or folder.resolve().name).rpartition("/")[2]
    write_readme(folder, model_card(train, run_folder, evaluation=evaluation, name=name))


def refresh_card(folder: Path) -> None:
    """Write the card of a trained model once more, as after an evaluation; without a `train.json` nothing is done.

    Args:
        folder: The model's.
    """
    if train := read_json(folder / "train.json"):
        write_card(folder, train, run_of(folder, train))


def run_of(folder: Path, train: Mapping[str, Any]) -> Path | None:
    """The run folder whose rows a model was trained on, where it is still there.

    Args:
        folder: The model's.
        train: What its `train.json` holds.
    """
    for place in (given(train).get("curated"), folder.resolve().parent):
        if place and read_json(Path(str(place)) / "run.json").get("digest"):
            return Path(str(place))
    return None


def _metadata(train: Mapping[str, Any], run_folder: Path | None) -> str:
    adapter, curated = is_adapter(train), given(train).get("curated")
    from_hub = run_folder is None and _is_dataset(curated)
    data = ModelCardData(
        base_model=train["base"],
        datasets=[str(curated)] if from_hub else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["trl", "sft", "tagevol", *(["lora"] if adapter else [])],
    )
    if train["base"]:
        data["base_model_relation"] = "adapter" if adapter else "finetune"
    return str(data.to_yaml())


def _loading(train: Mapping[str, Any]) -> str:
    file = "load_adapter.py.txt" if is_adapter(train) else "load_model.py.txt"
    own = None if train.get("merged") else given(train).get("hub_model_id")  # that is the adapter's
    where = json.dumps(own or "path/to/this/folder", ensure_ascii=False)
    base = " ".join(str(train["base"] or train.get("model", "")).split())
    text = markdown_templates(__package__).get_template(file).render(where=Ready(where), base=Ready(base))
    return fenced(text, "python")


def _run(folder: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = scrub(read_json(folder / "run.json")) if folder else {}
    return found


def _recipe(folder: Path | None) -> str:
    """The recipe as YAML, without secrets; empty where it cannot be read."""
    try:
        value = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8")) if folder else None
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return yaml.safe_dump(scrub(value), sort_keys=False, allow_unicode=True, width=110) if value else ""


def _is_dataset(name: Any) -> bool:
    local = ("runs/", "recipes/")
    return isinstance(name, str) and name.count("/") == 1 and not is_path(name) and not name.startswith(local)


def _hub_id(model: Any) -> str | None:
    return model if isinstance(model, str) and model and not is_path(model) else None
