"""What the trained models can do: held-out losses, and benchmarks by `tagevol eval`, each in a child."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import __version__
from ...errors import DataError
from ...launch import call_guarded
from ...training.record import read_json, write_json
from .options import HELD_OUT, Evaluate
from .paired import Scores
from .pools import HeldOut
from .training import Say, Training, message_of

_MARKS = "evaluated.json"  # task → digest of model and options, beside the results


@dataclass(frozen=True)
class Evaluation:
    """What a model reached in a task.

    Attributes:
        message: Why there is no result; empty where there is one.
        result: As the task's file has it, without its grades.
        scores: Problem → score, of those that have one.
    """

    training: Training
    task: str
    message: str
    result: Mapping[str, Any]
    scores: Mapping[str, float]

    def plain(self, beside: Path) -> dict[str, Any]:
        """As plain values of JSON."""
        names = ("metric", "mean", "n", "n_expected", "interval", "confidence", "summary", "verdicts")
        return {
            "arm": self.training.arm,
            "equal": self.training.equal,
            "seed": self.training.seed,
            "task": self.task,
            "status": "failed" if self.message else "complete",
            "message": self.message,
            **{name: self.result.get(name) for name in names},
            "file": (self.training.folder / "evals" / f"{self.task}.json").relative_to(beside).as_posix(),
        }


@dataclass(frozen=True)
class Means:
    """What evaluations need besides the study's section.

    Attributes:
        held_out: Rows for the loss; None where the section does not ask for it, or there are none.
        fault: Why there are none.
        settings: Arguments of the trainings, for the form of those rows.
        max_length: Of them, in tokens.
        store: The study's request store.
        run_code: Whether generated code may be run, in a sandbox.
    """

    held_out: HeldOut | None
    fault: str
    settings: Mapping[str, Any]
    max_length: int | None
    store: Path
    run_code: bool


def evaluate_all(
    evaluate: Evaluate, trainings: Sequence[Training], means: Means, place: Path, say: Say
) -> list[Evaluation]:
    """Evaluate all models that were trained; what is there for the same model and options is read."""
    done = [job for job in trainings if job.status == "complete"]
    faults: dict[tuple[str, str], str] = {}
    if HELD_OUT in evaluate.tasks:
        faults.update(_score(done, evaluate, means, place, say))
    for job in done:
        lacking = [task for task in evaluate.asking if not is_there(job, task, key_of(evaluate, task, job, means))]
        if lacking:
            faults.update(_ask(evaluate, job, lacking, means, say))
    tasks = list(dict.fromkeys(evaluate.tasks))
    return [_read(job, task, faults.get((str(job.folder), task), "")) for job in done for task in tasks]


def scores_of(evaluations: Iterable[Evaluation], task: str, equal: str) -> dict[str, Scores]:
    """Arm → seed → problem → score, of one task and one budget."""
    found: dict[str, dict[int, Mapping[str, float]]] = {}
    for one in evaluations:
        if one.task == task and one.training.equal == equal and one.scores:
            found.setdefault(one.training.arm, {})[one.training.seed] = one.scores
    return dict(found)


def _score(
    done: Sequence[Training], evaluate: Evaluate, means: Means, place: Path, say: Say
) -> dict[tuple[str, str], str]:
    """The losses that are not there yet, all in one child; gives what went wrong."""
    if means.held_out is None:
        return {(str(job.folder), HELD_OUT): means.fault for job in done}
    lacking = [job for job in done if not is_there(job, HELD_OUT, key_of(evaluate, HELD_OUT, job, means))]
    if not lacking:
        return {}
    say(f"  {HELD_OUT}: {len(lacking)} models on {means.held_out.rows:,} rows ({means.held_out.kind})")
    jobs, log = place / "losses.json", place / "losses.log"
    about = {"held_out": means.held_out.kind, "rows_digest": means.held_out.digest}
    body = {
        "rows": str(means.held_out.folder),
        "format": str(means.settings.get("format", "alpaca")),
        "max_length": means.max_length,
        "models": [{"folder": str(job.folder), "about": {**about, "training": job.digest}} for job in lacking],
    }
    for job in lacking:
        _forget(job, [HELD_OUT])
    write_json(jobs, body)
    status = call_guarded([sys.executable, "-m", "tagevol_hf.study.trained.losses", str(jobs)], log)
    return _faults(lacking, [HELD_OUT], evaluate, means, log, status)


def _ask(evaluate: Evaluate, job: Training, tasks: Sequence[str], means: Means, say: Say) -> dict[tuple[str, str], str]:
    """Run `tagevol eval` for the tasks together; those that are then missing one by one. Gives what went wrong."""
    _forget(job, tasks)
    faults: dict[tuple[str, str], str] = {}
    rounds = [list(tasks)] if len(tasks) == 1 else [list(tasks), *([task] for task in tasks)]
    for part in rounds:
        missing = [task for task in part if not is_there(job, task, key_of(evaluate, task, job, means))]
        if not missing:
            continue
        say(f"  {job.name}: {', '.join(missing)}")
        log = job.folder / "evals" / "evaluation.log"
        log.parent.mkdir(exist_ok=True)
        status = call_guarded(_command(evaluate, job, missing, means), log)
        faults = {**faults, **_faults([job], missing, evaluate, means, log, status)}
    there = [task for task in tasks if is_there(job, task, key_of(evaluate, task, job, means))]
    return {key: fault for key, fault in faults.items() if key[1] not in there}


def _command(evaluate: Evaluate, job: Training, tasks: Sequence[str], means: Means) -> list[str]:
    program = [sys.executable, "-c", "from tagevol_hf.cli import main; main()", "eval", str(job.folder)]
    words = ["--tasks", ",".join(tasks), "--engine", evaluate.engine, "--store", str(means.store)]
    words += ["--out", str(job.folder / "evals"), "--incomplete", "allow", "--seed", str(job.seed)]
    for option, files in (("--data", evaluate.data), ("--references", evaluate.references)):
        words += [word for task in tasks if task in files for word in (option, f"{task}={files[task]}")]
    for option, value in (
        ("--limit", evaluate.limit),
        ("--max-new-tokens", evaluate.max_new_tokens),
        ("--judge", evaluate.judge),
        ("--max-requests", evaluate.max_requests),
        ("--max-tokens", evaluate.max_tokens),
    ):
        words += [option, str(value)] if value is not None else []
    return [*program, *words, *(["--allow-code-execution"] if means.run_code else [])]


def _faults(
    jobs: Sequence[Training], tasks: Sequence[str], evaluate: Evaluate, means: Means, log: Path, status: int
) -> dict[tuple[str, str], str]:
    """Mark the results that a child wrote; (model, task) → why there is none, for the others."""
    faults = {}
    for job in jobs:
        for task in tasks:
            if read_json(_file(job, task)).get("task") == task:
                marks = read_json(_file(job, _MARKS))
                write_json(_file(job, _MARKS), {**marks, task: key_of(evaluate, task, job, means)})
            else:
                faults[str(job.folder), task] = message_of(log, status, str(job.folder))
    return faults


def is_there(job: Training, task: str, key: str) -> bool:
    """Whether a result is there, of this key."""
    return read_json(_file(job, _MARKS)).get(task) == key and _file(job, task).is_file()


def _forget(job: Training, tasks: Iterable[str]) -> None:
    """Results of another model, or with other options."""
    for task in tasks:
        _file(job, task).unlink(missing_ok=True)


def _file(job: Training, name: str) -> Path:
    return job.folder / "evals" / (name if name == _MARKS else f"{name}.json")


def key_of(evaluate: Evaluate, task: str, job: Training, means: Means) -> str:
    """A digest of all that decides a result."""
    if task == HELD_OUT:
        rows = means.held_out.digest if means.held_out else ""
        parts: list[Any] = [__version__, job.digest, rows, means.max_length]
    else:
        data = [_content(files.get(task, "")) for files in (evaluate.data, evaluate.references)]
        options = (evaluate.limit, evaluate.engine, evaluate.max_new_tokens, evaluate.judge, means.run_code)
        parts = [__version__, job.digest, task, *data, *options]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _content(place: str) -> str:
    file = Path(place)
    if place and file.is_dir():
        return repr(sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in file.iterdir()))
    return hashlib.sha256(file.read_bytes()).hexdigest() if place and file.is_file() else place


def _read(job: Training, task: str, fault: str) -> Evaluation:
    body = {} if fault else read_json(_file(job, task))
    grades = body.pop("grades", [])
    try:
        scores = {str(one["id"]): float(one["score"]) for one in grades if one["score"] is not None}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{_file(job, task)}: cannot be read ({error}); delete it, and it is made again") from None
    if not fault and not scores:
        fault = "no problem has a score"
    return Evaluation(job, task, fault, body, scores)
