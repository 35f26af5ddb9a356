"""Training and evaluation in processes of their own, as a user would start them; their messages go where ours go."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from .child import child_environment
from .errors import MissingExtraError, RecipeError, TagEvolError
from .project import project_file

_GUARD = Path(__file__).parent / "engines" / "child_guard.py"
_GRACE_SECONDS = "10"  # that a child has to end when it must


def launch_training(run_folder: Path, sft: Path, accelerate: str | None, arguments: list[str]) -> Path:
    """Train in a process of its own, as a user would; gives the model's folder."""
    if not sft.is_file():
        raise RecipeError(f"{sft}: no such training recipe")
    model = run_folder / sft.stem
    launch = [*launcher(accelerate), "--config", str(sft), "--curated", str(run_folder), "--output_dir", str(model)]
    launch += arguments
    before = _text(model / "train.json")
    _call(launch, "training", "train")
    if _text(model / "train.json") != before:
        (model / "eval.json").unlink(missing_ok=True)  # it was about the model before
    return model


def missing_for_training() -> str:
    """The first library of the extra `train` that is not installed; empty if all are."""
    needed = ("torch", "transformers", "trl", "accelerate")
    return next((library for library in needed if importlib.util.find_spec(library) is None), "")


def launcher(accelerate: str | None) -> list[str]:
    """The command that trains, but for its arguments; on one GPU or on the CPU if `accelerate` names nothing else."""
    name = accelerate or ("single_gpu" if shutil.which("nvidia-smi") else "cpu")
    threads = os.environ.get("OMP_NUM_THREADS") or "2"  # accelerate would put its own number over the user's
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--num_cpu_threads_per_process", threads]
    config = project_file(f"accelerate_configs/{name}.yaml")
    return [*launch, "--config_file", str(config), str(project_file("scripts/sft.py"))]


def call_guarded(command: list[str], log: Path) -> int:
    """Run a command in a child that is ended with us, however we end; what it says goes to the file `log`.

    Returns:
        Its exit status; below 0 where it did not end by itself.
    """
    guarded = [sys.executable, str(_GUARD), str(os.getpid()), _GRACE_SECONDS, *command]
    environment = {**child_environment(), "TOKENIZERS_PARALLELISM": "false"}
    with log.open("wb") as file:
        guard = subprocess.Popen(
            guarded, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True, env=environment
        )
        with guard:  # its input stays open so long: the end of it means the end of the child
            said = guard.stdout.read().split() if guard.stdout else []
    return int(said[-1]) if len(said) > 1 else -1


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
    if library := missing_for_training():
        raise MissingExtraError(library, extra)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    status = subprocess.run(command, check=False, env=environment, stdout=output).returncode
    if status == 2:
        sys.exit(2)  # the child has said what is wrong
    if status:
        raise TagEvolError(f"{what} ended with status {status}; its messages are above; the same command tries again")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
