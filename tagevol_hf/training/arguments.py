"""What a training is called with: our own arguments beside TRL's, both as plain text first.

`scripts/sft.py` must know a few values (the data, the model, the output folder) before TRL parses anything:
TRL's configuration already starts the process group, and a training that is done should say so at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from ..errors import RecipeError

NEEDED = ("curated", "model_name_or_path", "output_dir")


@dataclass
class CuratedArguments:
    """The arguments of `scripts/sft.py` that are not TRL's.

    Attributes:
        curated: Run folder, saved data set or Hub id to train on.
        format: How a row is written, one of `formats.FORMATS`.
        long_rows: What happens to rows longer than max_length, "truncate" or "drop".
        retrain: Train again although the same training is done.
    """

    curated: str = field(metadata={"help": "Run folder (runs/<name>), saved data set or Hub id to train on."})
    format: str = field(default="alpaca", metadata={"help": "How a row is written: alpaca or messages."})
    long_rows: str = field(default="truncate", metadata={"help": "Rows beyond max_length: truncate or drop."})
    retrain: bool = field(default=False, metadata={"help": "Train again although the same training is done."})


def plain_arguments(argv: Sequence[str]) -> dict[str, Any]:
    """Names and values as given: those of the `--config` file, overridden by the command line.

    Args:
        argv: Arguments after the script's name, as `--name value`, `--name=value` or a bare `--name`.

    Raises:
        RecipeError: If the configuration cannot be read, is not a mapping, or a needed name is missing.
    """
    given = _command_line(argv)
    config = given.pop("config", None)
    values = {**_config_file(Path(str(config))), **given} if config is not None else given
    missing = [name for name in NEEDED if not values.get(name)]
    if missing:
        raise RecipeError(f"{config or 'command line'}: {missing[0]} is missing; add --{missing[0]} <value>")
    return values


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
        values = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        hint = "give --config recipes/<...>/sft-<model>.yaml"
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: expected a mapping of argument names to values, got {type(values).__name__}")
    return {str(name): value for name, value in values.items()}
