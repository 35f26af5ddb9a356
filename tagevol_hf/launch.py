"""Training and evaluation in processes of their own, as a user would start them; their messages go where ours go."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from .errors import MissingExtraError, RecipeError, TagEvolError
from .project import project_file


def launch_training(run_folder: Path, sft: Path, accelerate: str | None, arguments: list[str]) -> Path:
    """Train in a process of its own, as a user would; gives the model's folder."""
    if not sft.is_file():
        raise RecipeError(f"{sft}: no such training recipe")
    model = run_folder / sft.stem
    name = accelerate or ("single_gpu" if shutil.which("nvidia-smi") else "cpu")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--num_cpu_threads_per_process", "2"]
    launch += [
        "--config_file",
        str(project_file(f"accelerate_configs/{name}.yaml")),
        str(project_file("scripts/sft.py")),
    ]
    launch += ["--config", str(sft), "--curated", str(run_folder), "--output_dir", str(model), *arguments]
    before = _text(model / "train.json")
    _call(launch, "training", "train")
    if _text(model / "train.json") != before:
        (model / "eval.json").unlink(missing_ok=True)  # it was about the model before
    return model


def launch_evaluation(run_folder: Path, model: Path, output: IO[str] | None = None) -> None:
    """Measure a trained model on held-out rows in a process of its own; the result is `MODEL/eval.json`.

    Args:
        run_folder: Where the rows are.
        model: What is measured.
        output: Where its messages go in place of standard output.
    """
    script = [sys.executable, str(project_file("scripts/evaluate.py"))]
    script += ["--model", str(model), "--data", str(run_folder), "--out", str(model / "eval.json")]
    _call(script, "evaluation", "train", output)


def _call(command: list[str], what: str, extra: str, output: IO[str] | None = None) -> None:
    """Run a step in a child process; its messages go where ours go."""
    for library in ("torch", "transformers", "trl", "accelerate"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError(library, extra)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    status = subprocess.run(command, check=False, env=environment, stdout=output).returncode
    if status == 2:
        sys.exit(2)  # the child has said what is wrong
    if status:
        raise TagEvolError(f"{what} ended with status {status}; its messages are above; the same command tries again")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
