"""One model for each (equal, arm, seed): its data, its training in a child, what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DataError, RecipeError
from ...launch import call_guarded, launcher
from ...training import arguments, record
from ...training.curated import content_digest, load_curated
from .budgets import Pool, budget_of, draw, saved_subset
from .options import Train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Attributes:
        equal: What the arms have in common in it: "rows", "tokens" or "as_selected".
        seed: Of the rows that were drawn, of their order and of the training.
        folder: The model's.
        rows: That it was trained on.
        tokens: Learned ones in one pass over them.
        status: "complete" or "failed".
        message: Why it failed.
        digest: Of the training, as in train.json.
        losses: (first, last) training loss in nats a token; None where it has none.
    """

    arm: str
    equal: str
    seed: int
    folder: Path
    rows: int = 0
    tokens: int = 0
    status: str = "complete"
    message: str = ""
    digest: str = ""
    losses: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """As in messages: tacos, equal rows, seed 0."""
        return f"{self.arm}, {'equal ' * (self.equal != 'as_selected')}{self.equal.replace('_', ' ')}, seed {self.seed}"

    def plain(self, beside: Path) -> dict[str, Any]:
        """As plain values of JSON; the folder counts from `beside`."""
        names = ("arm", "equal", "seed", "rows", "tokens", "status", "message", "digest")
        body = {name: getattr(self, name) for name in names}
        losses = list(self.losses) if self.losses else None
        return {**body, "losses": losses, "folder": self.folder.relative_to(beside).as_posix()}


def given_arguments(train: Train) -> dict[str, Any]:
    """The arguments of all trainings, as text or as the recipe has them.

    Raises:
        RecipeError: If the training recipe cannot be read or names no model.
    """
    return arguments.plain_arguments(["--config", train.sft, "--curated", "-", *_set(train)])


def train_all(
    train: Train, pools: Sequence[Pool], faults: Mapping[str, str], model: str, place: Path, say: Say
) -> list[Training]:
    """Train on every arm, those that are done excepted; a training that fails does not stop the others.

    Args:
        train: The study's section.
        pools: The arms' rows.
        faults: Arm → why it has none.
        model: What all start from.
        place: Folder of the trainings: `<arm>/<equal>-seed<k>`.
        say: Prints a line.
    """
    done = []
    for equal in train.equal:
        budget = budget_of(equal, pools) if pools else None
        for seed in train.seeds:
            for arm, fault in faults.items():
                folder = place / arm / f"{equal}-seed{seed}"
                done.append(Training(arm, equal, seed, folder, status="failed", message=fault))
            for pool in pools:
                folder = place / pool.arm / f"{equal}-seed{seed}"
                done.append(_train(train, pool, Training(pool.arm, equal, seed, folder), budget, model, say))
    return done


def _train(train: Train, pool: Pool, job: Training, budget: int | None, model: str, say: Say) -> Training:
    subset = draw(pool, job.equal, budget, job.seed)
    if not subset.places:
        return _failed(job, "no row of the arm can be learned within max_length")
    job.folder.mkdir(parents=True, exist_ok=True)
    saved = saved_subset(pool, subset, job.folder)
    job = Training(job.arm, job.equal, job.seed, job.folder, saved["rows"], saved["tokens"])
    words = _words(train, job, model)
    try:
        digest = _digest(words, job.folder / "data", model)
        if record.is_done(job.folder, digest):
            say(f"  {job.name}: is trained, and nothing has changed")
            return _complete(job)
        say(f"  {job.name}: training on {job.rows:,} rows, {job.tokens:,} learned tokens; {_log(job)} tells of it")
        status = call_guarded([*launcher(train.accelerate), *words], _log(job))
    except (RecipeError, DataError) as fault:
        return _failed(job, str(fault))
    if status != 0 or not record.is_done(job.folder, digest):
        job = _failed(job, message_of(_log(job), status))
        say(f"    failed: {job.message}")
        return job
    return _complete(job)


def _words(train: Train, job: Training, model: str) -> list[str]:
    """The arguments of scripts/sft.py."""
    fixed = {
        "curated": str(job.folder / "data"),
        "curate": "never",
        "output_dir": str(job.folder),
        "model_name_or_path": model,
        "seed": str(job.seed),
        "data_seed": str(job.seed),
    }
    own = [word for name, value in fixed.items() for word in (f"--{name}", value)]
    return ["--config", train.sft, *_set(train), *own]


def _set(train: Train) -> list[str]:
    words = []
    for name, value in train.set_.items():
        values = value if isinstance(value, list) else [str(value).lower() if isinstance(value, bool) else str(value)]
        words += [f"--{name}", *values]
    return words


def _digest(words: Sequence[str], data: Path, model: str) -> str:
    """As scripts/sft.py has it, without starting it."""
    rows, _ = load_curated(str(data))
    return record.training_digest(arguments.plain_arguments(words), content_digest(rows), record.model_identity(model))


def _complete(job: Training) -> Training:
    told = record.read_json(job.folder / "train.json")
    first, last = told.get("first_loss"), told.get("last_loss")
    losses = None if first is None or last is None else (float(first), float(last))
    return Training(
        job.arm, job.equal, job.seed, job.folder, job.rows, job.tokens, digest=str(told["digest"]), losses=losses
    )


def _failed(job: Training, message: str) -> Training:
    return Training(job.arm, job.equal, job.seed, job.folder, job.rows, job.tokens, status="failed", message=message)


def _log(job: Training) -> Path:
    return job.folder / "training.log"


def message_of(log: Path, status: int, about: str = "") -> str:
    """Why a child ended so, from what it said, if that can be: last of all about `about`."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    own = [line.removeprefix(f"{about}: ") for line in said if about and line.startswith(f"{about}: ")]
    said = own or said
    return said[-1] if said else f"ended with status {status}; see {log}"
