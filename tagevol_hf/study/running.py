"""The arms of a study, one after the other; a finished arm is not run again while its recipe is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

import filelock

from .. import __version__
from ..engines.usage import Limits as Caps
from ..errors import DataError, LimitError, RecipeError, TagEvolError
from ..pipeline import curate
from ..recipe import Limits, Recipe
from ..run_folder import read_run
from ..step_record import StepRecord
from .arms import Arm
from .comparison import Comparison, compare_runs
from .file import FILES, Study
from .outcome import Outcome, finished, not_run, unfinished
from .trained.comparing import check_sections, train_and_evaluate
from .trained.training import Say

Tell = Callable[[str, StepRecord | None], None]


def run_study(
    study: Study,
    arms: Sequence[Arm],
    folder: Path,
    command: str = "",
    caps: Caps | None = None,
    tell: Tell | None = None,
    say: Say | None = None,
    *,
    run_code: bool = False,
) -> Comparison:
    """Run all arms, train on them where the study says so, and compare them.

    A second run asks nothing and trains nothing again, and goes on where the first one ended.

    Args:
        study: The study.
        arms: Its arms.
        folder: The study's folder: a run folder for each arm, one request store for all, `compare.json`.
        command: The command line, for the record.
        caps: Caps on all arms together, in the place of the recipes' own.
        tell: Called with an arm's name and the record of each step that ends; with None where the arm was finished.
        say: Called with a line for each training and evaluation that begins.
        run_code: Whether code that a trained model wrote may be run, in a sandbox, for humaneval and mbpp.

    Raises:
        EngineError: If an engine or the store fails; likewise LimitError at a cap. What is there is compared before.
        DataError: If the folder is no study's, or another process works in it. An arm of which no row is left does
            not raise, nor does a training or an evaluation that fails: these are outcomes.
        RecipeError: If the training recipe cannot be read, or a task lacks what it needs; before anything is asked.
    """
    check_sections(study.train, study.evaluate, run_code=run_code)
    with _held(folder):
        comparison = _run_all(study, arms, folder, command, caps or Caps(), tell or (lambda arm, step: None))
        return _trained(study, comparison, folder, say or (lambda line: None), run_code)


def train_runs(
    study: Study,
    runs: Sequence[Path],
    folder: Path,
    command: str = "",
    say: Say | None = None,
    *,
    run_code: bool = False,
) -> Comparison:
    """Train on finished runs and evaluate the models, as a study does with its own arms.

    Args:
        study: Its sections `train` and `evaluate` count; the runs are compared with the first one where it names none
            of them as `against`.
        runs: At least two.
        folder: Of `compare.json`, the models and the evaluations.
        command: The command line, for the record.
        say: Called with a line for each training and evaluation that begins.
        run_code: As for `run_study`.

    Raises:
        RecipeError: If the study has no section `train`; else as `run_study` and `compare_runs`.
    """
    if study.train is None:
        raise RecipeError(f"compare: the study {study.name} has no section train, so nothing can be trained as it does")
    check_sections(study.train, study.evaluate, run_code=run_code)
    with _held(folder):
        comparison = compare_runs(runs, folder, command)
        names = [one.name for one in comparison.outcomes]
        evaluate = study.evaluate
        if evaluate is not None and evaluate.against not in names:
            evaluate = evaluate.model_copy(update={"against": names[0]})
        study = study.model_copy(update={"evaluate": evaluate})
        return _trained(study, comparison, folder, say or (lambda line: None), run_code)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder for this process alone."""
    if (folder / "run.json").exists():
        raise DataError(f"{folder}: a run folder; give the study another folder by --out")
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DataError(f"{folder}: another process is working on this study; wait for it or end it") from None
    try:
        yield
    finally:
        lock.release()


def _run_all(study: Study, arms: Sequence[Arm], folder: Path, command: str, caps: Caps, tell: Tell) -> Comparison:
    outcomes: list[Outcome] = []
    try:
        for arm in arms:
            outcomes.append(_run(arm, folder, command, caps, tell))
            caps = _left(caps, outcomes[-1])
    except TagEvolError as fault:
        rest = [not_run(arm.name, folder / arm.name, str(fault)) for arm in arms[len(outcomes) :]]
        _compared(study, arms, [*outcomes, *rest], command).save(folder)
        raise
    comparison = _compared(study, arms, outcomes, command)
    comparison.save(folder)
    return comparison


def _trained(study: Study, comparison: Comparison, folder: Path, say: Say, run_code: bool) -> Comparison:
    """The comparison with what was trained on the arms."""
    if study.train is None:
        return comparison
    runs = {one.name: one.folder for one in comparison.outcomes if one.status == "complete"}
    trained = train_and_evaluate(study.train, study.evaluate, runs, folder, run_code=run_code, say=say)
    comparison = comparison.with_trained(trained)
    comparison.save(folder)
    return comparison


def _run(arm: Arm, folder: Path, command: str, caps: Caps, tell: Tell) -> Outcome:
    path = folder / arm.name
    if _is_done(path, arm.recipe):
        tell(arm.name, None)
        return finished(arm.name, path)
    recipe, store = _capped(arm.recipe, caps), folder / "store.sqlite"
    try:
        run = curate(recipe, path, command, lambda step: tell(arm.name, step), store)
    except DataError as fault:
        return unfinished(arm.name, path, str(fault))
    except LimitError as fault:
        raise LimitError(f"arm {arm.name}: {fault}") from None
    return finished(arm.name, path, run.record)


def _capped(recipe: Recipe, caps: Caps) -> Recipe:
    """The recipe with what is left of the caps; 0 lets the store still answer."""
    limits = Limits.model_construct(**vars(caps)) if caps else recipe.limits
    return recipe.model_copy(update={"limits": limits})


def _left(caps: Caps, outcome: Outcome) -> Caps:
    """What the next arms may still ask."""
    spent = outcome.spent
    if not caps or spent is None:
        return caps
    values = {name: None if most is None else max(0, most - spent[name]) for name, most in vars(caps).items()}
    return Caps(**values)


def _is_done(path: Path, recipe: Recipe) -> bool:
    """Whether a folder holds the finished run of just this recipe, of this version, on files that did not change."""
    try:
        record = read_run(path)
        since = (path / "recipe.yaml").stat().st_mtime_ns
    except (DataError, OSError):
        return False
    expected = {"status": "complete", "digest": recipe.digest, "version": __version__}
    same = all(record.get(key) == value for key, value in expected.items())
    return same and all(file.stat().st_mtime_ns < since for file in _files(recipe.plain()))


def _files(value: Any, key: str = "") -> list[Path]:
    """The local files and folders that a recipe names."""
    if isinstance(value, dict):
        return [file for name, part in value.items() for file in _files(part, name)]
    if isinstance(value, list):
        return [file for part in value for file in _files(part, key)]
    if not isinstance(value, str) or key not in FILES:
        return []
    named = [Path(path) for path in glob(value)]
    return named + [file for path in named if path.is_dir() for file in path.iterdir()]


def _compared(study: Study, arms: Sequence[Arm], outcomes: Sequence[Outcome], command: str) -> Comparison:
    return Comparison.of(
        outcomes,
        name=study.name,
        question=study.question,
        command=command,
        plot=study.plot,
        axis=study.sweep.key if study.sweep else "",
        arms=arms,
    )
