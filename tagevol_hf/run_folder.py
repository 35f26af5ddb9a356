"""The run folder: everything that one run of a recipe leaves behind.

recipe.yaml        the resolved recipe
store.sqlite       the request store
steps/NN-name/     the rows after each step
tag_pool.json, method.json, tags.json, clusters.json, cluster_map.json, selections.json, contamination.json,
measures.json      what fold steps made
embedder.txt       what the embedder "auto" was found to be
comparisons/       the compared pairs
selected/ not_chosen/ rejected/           the result; together they hold every row
run.json           counts a step, reasons, tokens, seconds, engines, versions
shards/            of a run in shards, what each one asked; a run folder of its own
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import filelock
import yaml
from datasets import Dataset, concatenate_datasets, load_from_disk
from datasets.utils import disable_progress_bars, enable_progress_bars

from . import __version__
from .engines.kinds import IN_MEMORY, is_language_model
from .engines.open import open_engine
from .engines.part import Part
from .engines.stored import StoredEngine
from .engines.usage import Spending, Usage
from .errors import DataError, EngineError, TagEvolError
from .homes import portable
from .progress import progress
from .recipe import Recipe
from .recipe_steps import MODEL_STEPS
from .rows import ROW_FEATURES, split_rejected
from .run_files import is_busy, remove_leftovers, save_whole, unwritable, write_whole, writing
from .step_record import StepRecord
from .versions import versions

_SUMS = ("asked", "stored", "stored_tokens", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")
_FOLDS = ("tag_pool", "method", "tags", "clusters", "cluster_map", "selections", "contamination", "measures")
_VALUES = tuple(f"{name}.json" for name in _FOLDS)


class NoRowLeft(DataError):  # noqa: N818 - what is wrong is the data
    """Every row was rejected in a step, or none came in."""


class RunFolder:
    """One run while it goes on. A second process on the same folder is refused.

    Args:
        path: The folder; made where it does not exist.
        recipe: What is run.
        command: The command line, for the record.
        store: The request store; `store.sqlite` in the folder by default.
        on: The Ray cluster that the engines work on; None for this machine.
        part: What a shard of a run may ask; None for a whole run.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        command: str = "",
        store: Path | None = None,
        on: str | None = None,
        part: Part | None = None,
    ) -> None:
        self.path, self.recipe, self.store = path, recipe, store or path / "store.sqlite"
        self.steps: list[StepRecord] = []
        self._on, self._part = on, part
        self._command, self._started, self._clock = command, datetime.now(timezone.utc), time.monotonic()
        self._engines: dict[str, StoredEngine] = {}
        self._usages: list[Usage] = []
        self._identities: dict[str, str] = {}
        self._rejected: list[Dataset] = []
        self._totals: dict[str, Any] = {}
        self._served: dict[str, dict[str, int]] = {}
        self._stopped_by = ""
        self._spending = Spending(recipe.limits.caps())
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(path / ".lock")

    def __enter__(self) -> RunFolder:
        with writing(self.path):
            self._begin()
        return self

    def _begin(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise DataError(f"{self.path}: another process is working on this run; wait for it or end it") from None
        for shard in sorted(self.path.glob("shards/*-of-*")):
            if is_busy(shard):
                self._lock.release()
                raise DataError(f"{shard}: another process is working on this shard; wait for it or end it")
        remove_leftovers(self.path)
        for stale in ("steps", "comparisons", "comparisons_rejected"):  # of the run before
            shutil.rmtree(self.path / stale, ignore_errors=True)
        for stale in _VALUES:
            (self.path / stale).unlink(missing_ok=True)
        text = yaml.safe_dump(portable(self.recipe.plain()), sort_keys=False, allow_unicode=True)
        write_whole(self.path / "recipe.yaml", text)
        self.write("running")
        disable_progress_bars()

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        try:
            for engine in self._engines.values():
                engine.close()
            said = unwritable(self.path, fault) if isinstance(fault, OSError) else None
            if said or isinstance(fault, TagEvolError):
                self._stopped_by = said or str(fault)
                with suppress(OSError):  # the fault may be that nothing can be written
                    self.write("stopped")
            if said:
                raise EngineError(said) from fault
        finally:
            enable_progress_bars()
            self._lock.release()

    @property
    def whole(self) -> Path:
        """The folder of the whole run, also for a shard of it."""
        return self._part.run if self._part is not None else self.path

    @property
    def asked(self) -> int:
        """Requests that the engines answered so far."""
        return sum(self._usages, Usage()).asked

    def engine(self, step: str) -> StoredEngine:
        """The engine of a step, with the run's store. Only one model in this machine's memory at a time."""
        spec = self.recipe.engine(step)
        if spec.startswith(IN_MEMORY):
            for other in [name for name in self._engines if name != spec and name.startswith(IN_MEMORY)]:
                self._engines.pop(other).close()
        if spec not in self._engines:
            prices = self.recipe.prices_of(step)
            engine = open_engine(
                spec, store=self.store, prices=prices, spending=self._spending, on=self._on, part=self._part
            )
            self._engines[spec] = engine
            self._usages.append(engine.usage)
        return self._engines[spec]

    @contextmanager
    def step(self, name: str, kind: str, rows_in: int) -> Iterator[StepRecord]:
        """Record one step: its time, and what it asked."""
        record = StepRecord(len(self.steps) + 1, name, kind, rows_in)
        before, start = sum(self._usages, Usage()), time.monotonic()
        with nullcontext() if name in MODEL_STEPS else progress(name, None):  # a model step shows its own bar
            yield record
        record.account(sum(self._usages, Usage()) - before, time.monotonic() - start)
        record.balance()
        self.steps.append(record)
        self.write("running")

    def keep(self, record: StepRecord, rows: Dataset, lost_too: Dataset | None = None) -> Dataset:
        """Save the rows of a step, put the rejected ones aside, and give the others.

        Args:
            record: Of the step.
            rows: What the step made.
            lost_too: Further rejected rows, which need not have the columns of the others.

        Raises:
            DataError: If no row is left.
        """
        kept, lost = split_rejected(rows)
        parts = [part for part in (lost, lost_too) if part is not None and len(part)]
        self._rejected.extend(parts)
        reasons = Counter(mark["reason"] for part in parts for mark in part["rejection"])
        record.rejected = dict(sorted(reasons.items()))
        record.rows_out = len(kept)
        if len(kept) == 0:
            self._fail(record)
        return self.save(kept, f"steps/{record.number:02d}-{record.name}")

    def save(self, dataset: Dataset, name: str) -> Dataset:
        """Save a data set under a name in this folder, whole or not at all, and open it from there."""
        target = self.path / name
        save_whole(dataset, target)
        return load_from_disk(str(target))

    def finish(self, selected: Dataset, not_chosen: Dataset) -> None:
        """Save the result and close the account."""
        rejected = _together(self._rejected, selected)
        for name, rows in (("selected", selected), ("not_chosen", not_chosen), ("rejected", rejected)):
            self.save(rows, name)
        reasons: Counter[str] = Counter()
        for step in self.steps:
            reasons.update(step.rejected)
        self._totals = {
            "read": self.steps[0].rows_in,
            "added": sum(step.added for step in self.steps),
            "selected": len(selected),
            "not_chosen": len(not_chosen),
            "rejected": dict(sorted(reasons.items())),
            **{key: sum(getattr(step, key) for step in self.steps) for key in _SUMS},
        }
        totals = self._totals
        if totals["read"] + totals["added"] != len(selected) + len(not_chosen) + len(rejected):
            raise RuntimeError(f"{self.path}: the run lost or doubled rows: {totals}; please report this")
        self.write("complete")

    def write(self, status: str) -> None:
        """Write run.json, whole or not at all."""
        used = dict.fromkeys(self.recipe.engine(name) for name, _ in self.recipe.steps if name in MODEL_STEPS)
        self._identities |= {spec: engine.identity for spec, engine in self._engines.items() if engine.used}
        self._served |= {spec: engine.served for spec, engine in self._engines.items() if engine.served}
        spent = sum(self._usages, Usage())
        body = {
            "name": self.recipe.name,
            "status": status,
            **({"stopped_by": self._stopped_by} if self._stopped_by else {}),
            "version": __version__,
            "digest": self.recipe.digest,
            "seed": self.recipe.seed,
            "command": self._command,
            **({"on": self._on} if self._on else {}),
            **({"shard": self._part.name} if self._part else {}),
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._clock, 3),
            "engines": {
                name: {
                    "spec": spec,
                    "identity": self._identities.get(spec, ""),
                    "language_model": is_language_model(spec),
                    "served": self._served.get(spec, {}),
                }
                for name, spec in self.recipe.engines.items()
                if spec in used
            },
            "versions": versions(),
            "asked": spent.asked,
            "cost": round(spent.cost, 6),
            "steps": [asdict(step) for step in self.steps],
            "totals": self._totals,
        }
        write_whole(self.path / "run.json", json.dumps(portable(body), ensure_ascii=False, indent=1))

    def _fail(self, record: StepRecord) -> None:
        self.save(_together(self._rejected, None), "rejected")
        reasons = ", ".join(f"{reason} {count}" for reason, count in record.rejected.items()) or "none came in"
        raise NoRowLeft(
            f"{record.name}: no row is left ({reasons}); each rejected row with its reason and the raw reply is in "
            f"{self.path / 'rejected'}"
        )


def read_run(path: Path) -> dict[str, Any]:
    """The `run.json` of a run folder.

    Raises:
        DataError: If the folder is not a run folder, or its run.json cannot be read.
    """
    try:
        body: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: not a run folder (no run.json); make one with: tagevol curate RECIPE") from None
    except (ValueError, OSError) as fault:
        raise DataError(f"{path / 'run.json'}: cannot be read ({fault}); run the recipe again") from None
    return body


def _together(parts: list[Dataset], like: Dataset | None) -> Dataset:
    """All rejected rows in one data set; columns that a row does not have yet are null."""
    if parts:
        return concatenate_datasets(parts)
    features = like.features if like is not None else ROW_FEATURES
    return Dataset.from_dict({name: [] for name in features}, features=features)
