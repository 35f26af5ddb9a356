"""Auto Evol-Instruct's optimisation of its method (arXiv 2406.00770, sections 3.2 to 3.4)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datasets import Dataset

from ..engines.base import Engine
from ..errors import DataError
from ..rows import ROW_FEATURES, Row, iterate, seed_for, split_rejected
from .auto_evol import AutoEvol, load_method
from .failures import failure_of
from .method import OptimizationStep, OptimizedMethod, Trial
from .optimizer import MethodOptimizer, TrajectoryAnalyst
from .respond import Responder
from .rounds import MOST_ROUNDS, evolve_in_rounds

STEP = "optimize_method"
_LEAST_ROWS = 2


def optimize_method(
    dataset: Dataset,
    evolver: AutoEvol,
    optimizer: Engine,
    *,
    start: str = "",
    steps: int = 10,
    batch: int = 10,
    evolutions: int = 1,
    candidates: int = 5,
    dev: int = 50,
    subset: int = 2000,
    temperature: float = 0.6,
    top_p: float = 0.95,
    seed: int = 42,
) -> OptimizedMethod:
    """Look for a method under which fewer evolved instructions fail.

    Each step evolves a mini-batch with the method as it is, lets the optimiser name the failures in these trajectories
    and write several better methods, tries each on a development set, and goes on with the one that fails least. It
    ends after `steps`, when no candidate fails less often than the method as it is, or when nothing fails any more.

    Every question goes through the engines' stores: after a kill the same call goes on and asks nothing again. All
    samples are drawn from (seed, row id), so the order of the rows has no say.

    Args:
        dataset: Instructions in the form of a row; rejected ones are left out.
        evolver: Evolves and, through its engine, answers; both at temperature 0 here.
        optimizer: Engine of the optimiser.
        start: The method to begin with; blank for the paper's initial one.
        steps: Optimisation steps at the most, >= 1 (the paper: 10).
        batch: Instructions in a mini-batch, >= 1 (the paper: 10).
        evolutions: How often each of them is evolved in its trajectory, in 1..10.
        candidates: Methods that are written in a step, >= 1 (the paper: 5).
        dev: Instructions of the development set, >= 1 (the paper: 50).
        subset: Instructions that both are drawn from, >= 2 (the paper: about 2,000).
        temperature: Of the optimiser's candidates.
        top_p: Likewise.
        seed: Of all samples.

    Raises:
        DataError: If a column is missing, a number is out of range, or there are fewer than two rows.
        EngineError: If an engine or a store fails.
    """
    _check({"steps": steps, "batch": batch, "evolutions": evolutions, "candidates": candidates, "dev": dev})
    if evolutions > MOST_ROUNDS:
        raise DataError(f"{STEP}.evolutions: expected 1 to {MOST_ROUNDS}, got {evolutions}")
    parts = _parts(dataset, batch, dev, subset, seed)
    trying = _Trying(parts.dev, dataclasses.replace(evolver, temperature=0.0))
    analyst = TrajectoryAnalyst(optimizer, seed=seed)
    writer = MethodOptimizer(optimizer, seed=seed, temperature=temperature, top_p=top_p)

    first = best = trying.trial(start or load_method("initial"))
    done: list[OptimizationStep] = []
    ended = f"the limit of {steps} steps"
    for number in range(1, steps + 1):
        if best.failure_rate == 0:
            ended = "no instruction of the development set fails any more"
            break
        chosen = parts.batch(number, batch, seed)
        trajectories = list(trying.trajectories(chosen, best.method, evolutions))
        found, feedback, note = analyst.analyse(number, trajectories)
        written = writer.write(number, best.method, feedback, candidates)
        trials = [trying.trial(text) if text else Trial("", None, {}, why) for text, why in written]
        place = _better(trials, best)
        done.append(OptimizationStep(number, tuple(chosen["id"]), found, feedback, tuple(trials), place, note))
        if place is None:
            ended = "no candidate of the last step fails less often"
            break
        best = trials[place - 1]
    notes = (*parts.notes, *(f"Step {step.number}: {step.note}." for step in done if step.note))
    return OptimizedMethod(best.method, best.failure_rate or 0.0, first, tuple(done), ended, notes)


def _check(numbers: dict[str, int]) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise DataError(f"{STEP}.{name}: expected at least 1, got {number}")


def _better(trials: Sequence[Trial], best: Trial) -> int | None:
    """Number of the trial with the lowest failure rate, the first of equals, if it is below that of the best."""
    tried = [(trial.failure_rate, number) for number, trial in enumerate(trials, 1) if trial.failure_rate is not None]
    rate, number = min(tried, default=(1.0, 0))
    return number if number and rate < (best.failure_rate or 0.0) else None


@dataclass(frozen=True)
class _Parts:
    """The development set, and the rows that mini-batches are drawn from."""

    dev: Dataset
    train: Dataset
    notes: tuple[str, ...]

    def batch(self, number: int, size: int, seed: int) -> Dataset:
        """The mini-batch of a step."""
        ids = self.train["id"][:]
        order = sorted(range(len(ids)), key=lambda place: (seed_for(seed, ids[place], STEP, number), ids[place]))
        return self.train.select(order[:size])


def _failure(row: Row) -> str | None:
    """The failure of an evolved and answered row: what its answer shows, or why there is none."""
    mark = row["rejection"]
    if mark is None:
        return failure_of(row["response"])
    cut_off = mark["stage"] == Responder.name and mark["reason"] == "truncated"
    return failure_of(mark["raw"]) if cut_off else str(mark["reason"])


def _parts(dataset: Dataset, batch: int, dev: int, subset: int, seed: int) -> _Parts:
    missing = [name for name in ROW_FEATURES if name not in dataset.column_names]
    if missing:
        raise DataError(
            f"{STEP} needs the column {missing[0]}; the data set has: {', '.join(dataset.column_names) or 'none'}; "
            "tagevol_hf.prepare(dataset) brings known formats into this form"
        )
    rows = split_rejected(dataset.select_columns(list(ROW_FEATURES)))[0]
    if len(rows) < _LEAST_ROWS or subset < _LEAST_ROWS:
        raise DataError(f"{STEP}: expected at least {_LEAST_ROWS} instructions, got {min(len(rows), subset)}")
    ids = rows["id"][:]
    drawn = sorted(range(len(ids)), key=lambda place: (seed_for(seed, ids[place], STEP), ids[place]))[:subset]
    held = min(dev, max(1, len(drawn) - batch, len(drawn) // 2))
    notes: tuple[str, ...] = ()
    if held < dev or len(drawn) - held < batch:
        notes = (f"{len(drawn)} instructions: {held} in the development set, {len(drawn) - held} for mini-batches.",)
    return _Parts(rows.select(drawn[:held]), rows.select(drawn[held:]), notes)


@dataclass(frozen=True)
class _Trying:
    """Evolves, and answers what was evolved, with one method or another."""

    dev: Dataset
    evolver: AutoEvol

    def trial(self, method: str) -> Trial:
        """A method on the development set: how often the answers to its evolved instructions show a failure.

        An instruction that could not be evolved or answered is a failure too; a cut-off answer is judged as it is.
        """
        evolved = evolve_in_rounds(self.dev, dataclasses.replace(self.evolver, method=method), 1)
        answers = Responder(self.evolver.engine, seed=self.evolver.seed).apply(evolved)
        failures: Counter[str] = Counter()
        for row in iterate(answers.select_columns(["response", "rejection"])):
            if (failure := _failure(row)) is not None:
                failures[failure] += 1
        return Trial(method, failures.total() / len(self.dev), dict(sorted(failures.items())))

    def trajectories(self, chosen: Dataset, method: str, evolutions: int) -> Iterator[list[str]]:
        """For each instruction its stages: itself, then each good rewrite of the one before."""
        evolver = dataclasses.replace(self.evolver, method=method)
        evolved = evolve_in_rounds(chosen, evolver, evolutions)
        stages: dict[str, list[str]] = {row["id"]: [row["instruction"]] for row in iterate(chosen)}
        for row in iterate(evolved):
            if row["rejection"] is None:
                stages[row["seed_id"]].append(row["instruction"])
        yield from stages.values()
