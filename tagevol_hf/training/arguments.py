"""What a training is called with: our own arguments beside TRL's, both as plain text first.

`scripts/sft.py` must know a few values (the data, the model, the output folder) before TRL parses anything:
TRL's configuration already starts the process group, and a training that is done should say so at once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ..errors import RecipeError
from .formats import FORMATS

NEEDED = ("curated", "model_name_or_path")
CURATE = ("auto", "never")


@dataclass
class CuratedArguments:
    """The arguments of `scripts/sft.py` that are not TRL's.

    Attributes:
        curated: What to train on: a run folder, a curate recipe, a saved data set or a Hub id.
        curate: What happens where a recipe's data is not there yet: "auto" makes it first, "never" is an error.
        format: How a row is written, one of `formats.FORMATS`.
        long_rows: What happens to rows longer than max_length, "truncate" or "drop".
        eval_rows: Rows that were not chosen, to measure the loss on where `eval_strategy` asks for it.
        eval_tasks: Benchmarks to run at each evaluation, or at each checkpoint; names of `tagevol eval`.
        eval_task_data: Where their problems are, each as TASK=FILE; else on the Hub.
        eval_task_limit: Only the first so many problems of each.
        eval_task_max_new_tokens: Longest answer, in tokens; by default the task's own, up to 2048.
        eval_task_engine: "live" lets the model in memory answer at each evaluation; "vllm", "vllm-serve" or
            "transformers" answer for each checkpoint, in a process of their own.
        eval_task_judge: Engine of the judge, for tasks that need one.
        retrain: Train again although the same training is done.
    """

    curated: str = field(metadata={"help": "What to train on: run folder, curate recipe, saved data set or Hub id."})
    curate: str = field(default="auto", metadata={"help": "Data that is not there yet: auto makes it first; never."})
    format: str = field(default="alpaca", metadata={"help": f"How a row is written: {', '.join(FORMATS)}."})
    long_rows: str = field(default="truncate", metadata={"help": "Rows beyond max_length: truncate or drop."})
    eval_rows: int = field(default=256, metadata={"help": "Rows that were not chosen, for TRL's eval_strategy."})
    eval_tasks: list[str] = field(default_factory=list, metadata={"help": "Benchmarks to run while training."})
    eval_task_data: list[str] = field(default_factory=list, metadata={"help": "Their problems, each as TASK=FILE."})
    eval_task_limit: int = field(default=200, metadata={"help": "Only the first so many problems of each."})
    eval_task_max_new_tokens: int | None = field(default=None, metadata={"help": "Longest answer, in tokens."})
    eval_task_engine: str = field(
        default="live", metadata={"help": "live: the model in memory; vllm or transformers: each checkpoint."}
    )
    eval_task_judge: str | None = field(default=None, metadata={"help": "Engine of the judge."})
    retrain: bool = field(default=False, metadata={"help": "Train again although the same training is done."})


def plain_arguments(argv: Sequence[str]) -> dict[str, Any]:
    """Names and values as given: those of the `--config` file, overridden by the command line.

    Args:
        argv: Arguments after the script's name, as `--name value`, `--name=value` or a bare `--name`.

    Raises:
        RecipeError: If the configuration cannot be read, is not a mapping, or a needed name is missing.
    """
    given = _command_line(argv)
    config = given.get("config")
    values = {**_config_file(Path(str(config))), **given} if config is not None else given
    missing = [name for name in NEEDED if not values.get(name)]
    if missing:
        raise RecipeError(f"{config or 'command line'}: {missing[0]} is missing; add --{missing[0]} <value>")
    if str(values.get("curate", "auto")) not in CURATE:
        raise RecipeError(f"curate: expected one of {', '.join(CURATE)}, got {values['curate']!r}")
    return values


def output_dir(given: Mapping[str, Any], place: str) -> Path:
    """Where the model goes: `output_dir`, or else the run folder's subfolder with the name of the training recipe.

    Args:
        given: Result of `plain_arguments`.
        place: Where the curated set is.

    Raises:
        RecipeError: If there is neither an `output_dir` nor a run folder and a recipe to name it after.
    """
    if given.get("output_dir"):
        return Path(str(given["output_dir"]))
    if not given.get("config") or not (Path(place) / "run.json").is_file():
        raise RecipeError(f"output_dir is missing and {place} is no run folder to put the model into; add --output_dir")
    return Path(place) / Path(str(given["config"])).stem


def output_dir_to_be(given: Mapping[str, Any], place: str) -> Path:
    """As `output_dir`, where the run folder `place` may have to be made yet.

    Raises:
        RecipeError: If there is neither an `output_dir` nor a recipe to name it after.
    """
    if given.get("config") and not given.get("output_dir"):
        return Path(place) / Path(str(given["config"])).stem
    return output_dir(given, place)


def check_can_be_written(folder: Path) -> None:
    """Refuse an output folder that cannot be made or written, before anything is spent on it.

    Nothing is left behind by the trial; folders above that are not there yet are not made.

    Raises:
        RecipeError: If the first folder above that is there cannot be written, or is a file.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists() or path.is_symlink())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = "it is a file" if there.is_file() else str(error.strerror)
        raise RecipeError(
            f"output_dir: nothing can be written to {folder} ({there}: {why}); give another --output_dir"
        ) from error


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse the first name that TRL and this package do not know.

    Raises:
        RecipeError: With the nearest known name.
    """
    names = sorted(set(known))
    for name in given:
        if name not in names and name not in ("config", "env"):
            near = get_close_matches(name, names, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else "; see scripts/sft.py --help"
            raise RecipeError(f"{name} is not a training argument{hint}")


def check_reporters(names: str | Sequence[str] | None) -> None:
    """Refuse a tracker of experiments that is not known or not installed.

    Raises:
        RecipeError: If `report_to` names one.
    """
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in [names] if isinstance(names, str) else names or ():
        if name not in ("none", "all", *INTEGRATION_TO_CALLBACK):
            raise RecipeError(f"report_to: {name} is not known, expected none or {', '.join(INTEGRATION_TO_CALLBACK)}")
        if name not in ("none", "all", "flyte", *get_available_reporting_integrations()):
            raise RecipeError(f"report_to: {name} is not installed; install it, or set report_to: none")


def check_lora(given: Mapping[str, Any]) -> None:
    """Refuse options of LoRA without LoRA: all weights would be trained, and nothing would say so.

    Raises:
        RecipeError: If there are some, and `use_peft` is not given.
    """
    lora = [name for name in given if name.startswith("lora_")]
    if lora and "use_peft" not in given:
        raise RecipeError(f"{lora[0]}: has no effect without LoRA; add --use_peft true, or leave it out")


def without_config(argv: Sequence[str]) -> list[str]:
    """The arguments but for `--config` and its file."""
    words = [word for word in argv if not word.startswith("--config=")]
    if "--config" in words:
        place = words.index("--config")
        del words[place : place + 2]
    return words


def config_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the `--config` file alone; what stands under `env` goes into the environment, as with TRL."""
    values = _config_file(Path(str(given["config"]))) if given.get("config") else {}
    for name, value in (values.pop("env", None) or {}).items():
        os.environ[str(name)] = str(value)
    return values


@contextmanager
def clear_errors() -> Iterator[None]:
    """What a parser or a configuration says is wrong, as one line.

    Raises:
        RecipeError: In place of a ValueError or an argparse.ArgumentError.
    """
    try:
        yield
    except (ValueError, argparse.ArgumentError) as error:
        raise RecipeError(f"training arguments: {' '.join(str(error).split())}") from error


def is_true(values: Mapping[str, Any], name: str) -> bool:
    """Whether a plain argument is switched on; a bare `--name` is."""
    return str(values.get(name, False)).lower() in ("true", "1", "yes", "t", "y")


def _command_line(argv: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            values[name] = value if equals else True
        elif name and values[name] is True:
            values[name] = word
        elif name:
            values[name] = f"{values[name]} {word}"
        else:
            raise RecipeError(f"command line: expected --name value, got {word!r}")
    return values


def _config_file(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:  # its name stands in what YAML says is wrong
            values = yaml.safe_load(file)
    except OSError as error:
        hint = "give --config recipes/<...>/sft-<model>.yaml"
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: expected a mapping of argument names to values, got {type(values).__name__}")
    return {str(name): value for name, value in values.items()}
