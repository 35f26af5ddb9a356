"""A run in shards, without a scheduler: several jobs, on one machine or many, ask for a part of the replies each.

Job 3 of 16 works in `RUN/shards/3-of-16`. It takes the steps of the recipe in their order. A step about single rows is
done for all rows where the replies are there, else for the job's own rows alone. A step that needs all rows waits for
the other jobs. `merge_shards` brings their replies together; what the jobs ask for after that is the next phase.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from datasets import Dataset

from ..engines.base import Reply, Request, failed
from ..engines.part import Part, Withheld, everything
from ..errors import DataError, RecipeError
from ..recipe import Recipe
from ..rows import iterate, seed_for
from ..run_files import is_busy, write_whole
from ..run_folder import NoRowLeft, RunFolder
from ..step_record import StepRecord
from . import STEPS, baselines, cleaning
from .journey import Journey, load_rows

Kind = Literal["rows", "requests", "one", "nothing"]

# What a step asks about: single rows; all rows together, in requests that can be shared out; all rows, one request
# after the other, which the first shard does for all; nothing, of all rows.
KINDS: dict[str, Kind] = {
    "aspect_tags": "rows",
    "tag_pool": "nothing",
    "tag_evol": "rows",
    "evol_instruct": "rows",
    "optimize_method": "one",
    "auto_evol": "rows",
    "review": "rows",
    "respond": "rows",
    "agree": "rows",
    "open_tags": "rows",
    "normalize_tags": "nothing",
    "cluster": "nothing",
    "single_score": "rows",
    "compare": "requests",
    "select": "nothing",
    "baseline": "requests",
    "compare_selections": "requests",
    "refine": "rows",
    "decontaminate": "rows",
    "near_duplicates": "nothing",
    "measure": "requests",
}
_PATIENCE = 10.0  # seconds; other shards look at the run's lock in the same moment
FAILED = "failed.json"


@dataclass(frozen=True)
class Shard:
    """One of several jobs.

    Attributes:
        number: From 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Shard:
        """From "3/16".

        Raises:
            RecipeError: If it is not of that form, or out of range.
        """
        number, _, of = text.strip().partition("/")
        if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise RecipeError(f"--shard: expected a number and how many there are, as 1/16 to 16/16, got {text!r}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def folder(self, run: Path) -> Path:
        """Where it works."""
        return run / "shards" / f"{self.number}-of-{self.of}"

    def has(self, name: str) -> bool:
        """Whether what has this name falls to this shard."""
        return seed_for(0, name, "shard") % self.of == self.number - 1

    def asks(self, request: Request) -> bool:
        """Whether a request falls to this shard; it and its further draws to the same."""
        return self.has("\n".join(message.content for message in request.messages))

    def rows_of(self, rows: Dataset) -> Dataset:
        """Its own rows. What was made from a seed goes with the seed, so that a shard can go on with its own rows."""
        names = [name for name in ("id", "seed_id") if name in rows.column_names]
        own = (self.has(row.get("seed_id") or row["id"]) for row in iterate(rows.select_columns(names)))
        return rows.select([place for place, is_own in enumerate(own) if is_own])


@dataclass(frozen=True)
class ShardEnd:
    """How far a shard came.

    Attributes:
        asked: Requests in this job.
        last: The last step that it took.
        waits_for: The step that needs what the other shards ask; "" where the recipe's end was reached.
        partial: Whether the last steps were taken for the shard's own rows alone.
    """

    shard: Shard
    run: Path
    asked: int
    last: str
    waits_for: str
    partial: bool

    @property
    def status(self) -> str:
        """Whether there may be more to ask after a merge ("waiting") or not ("complete")."""
        return "waiting" if self.waits_for else "complete"

    def __str__(self) -> str:
        done = f"asked all that it can: {self.asked:,} requests up to {self.last}; when all shards are done"
        if not self.waits_for and not self.partial and not self.asked:
            done = "nothing left to ask; now"
        then = "the same command" if self.waits_for else "tagevol curate RECIPE"
        return f"shard {self.shard}: {done}: tagevol store merge {self.run}, then {then}"


def curate_shard(
    recipe: Recipe,
    shard: Shard,
    folder: str | Path | None = None,
    command: str = "",
    tell: Callable[[StepRecord], None] | None = None,
    on: str | None = None,
) -> ShardEnd:
    """Ask an engine about one shard's part of a run, as far as that goes without the others' replies.

    A job that ended in any way goes on by the same call. The run's own store is read and never written.

    Args:
        recipe: What to do.
        shard: Which part.
        folder: The folder of the whole run; `runs/<name>` by default.
        command: The command line, for the record.
        tell: Called with the record of each step when it ends.
        on: As for `curate`.

    Raises:
        DataError: As `curate`; or if another process works on the shard, or on the whole run.
        EngineError: As `curate`.
    """
    run = Path(folder) if folder is not None else Path("runs") / recipe.name
    if is_busy(run, _PATIENCE):
        raise DataError(f"{run}: another process works on the whole run, or merges its shards; wait for it or end it")
    base = run / "store.sqlite"
    part = Part(str(shard), run, base if base.exists() else None, failed=read_failed(run / "shards"))
    place = shard.folder(run)
    with RunFolder(place, recipe, command, on=on, part=part) as work:
        try:
            waits_for, partial = _Passage(Journey(work, recipe), shard, part, tell or (lambda _: None)).go()
        finally:
            write_failed(place, part.failed)
        end = ShardEnd(shard, run, work.asked, work.steps[-1].name, waits_for, partial)
        work.write(end.status)
        shutil.rmtree(place / "steps", ignore_errors=True)  # the whole run saves them; here they take room only
    return end


class _Passage:
    """The way of a shard through the steps of a recipe."""

    def __init__(self, journey: Journey, shard: Shard, part: Part, tell: Callable[[StepRecord], None]) -> None:
        self._journey, self._shard, self._part, self._tell = journey, shard, part, tell

    def go(self) -> tuple[str, bool]:
        """Take all steps that can be taken; the name of the one that must wait, or "", and whether rows are missing."""
        journey = self._journey
        load_rows(journey)
        baselines.check_models(journey)
        cleaning.check_cleaning(journey)
        self._tell(journey.run.steps[-1])
        for name, options in journey.recipe.steps:
            if journey.partial and KINDS[name] != "rows":
                return name, True
            try:
                self._take(name, options)
            except Withheld:
                return name, False
            except NoRowLeft:
                if journey.partial:  # all of this shard's rows were rejected
                    return self._next_for_all(name), True
                raise
            self._tell(journey.run.steps[-1])
        return "", journey.partial

    def _take(self, name: str, options: Any) -> None:
        journey, step = self._journey, STEPS[name]
        if KINDS[name] == "rows" and not journey.partial:
            try:
                self._part.asks = _nothing
                return step(journey, options)
            except Withheld:
                journey.rows, journey.partial = self._shard.rows_of(journey.rows), True
        self._part.asks = self._rule(name)
        if len(journey.rows) == 0:
            raise NoRowLeft(name)
        return step(journey, options)

    def _rule(self, name: str) -> Callable[[Request], bool]:
        rules = {"requests": self._shard.asks, "one": everything if self._shard.number == 1 else _nothing}
        return rules.get(KINDS[name], everything)

    def _next_for_all(self, name: str) -> str:
        """The first step from this one on that needs all rows."""
        names = [each for each, _ in self._journey.recipe.steps]
        return next((each for each in names[names.index(name) :] if KINDS[each] != "rows"), "")


def _nothing(request: Request) -> bool:
    raise Withheld


def write_failed(folder: Path, every: Mapping[str, Reply]) -> None:
    """Keep the requests that failed, by key."""
    told = {key: [reply.reason, reply.detail] for key, reply in every.items()}
    write_whole(folder / FAILED, json.dumps(told))


def read_failed(folder: Path) -> dict[str, Reply]:
    """The requests that failed, by key, as a shard or a merge left them; none where that cannot be read."""
    try:
        found = json.loads((folder / FAILED).read_text(encoding="utf-8"))
        return {key: failed(reason, detail) for key, (reason, detail) in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
