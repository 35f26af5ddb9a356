"""The run folder: everything that one run of a recipe leaves behind.

recipe.yaml        the resolved recipe
store.sqlite       the request store
steps/NN-name/     the rows after each step
tag_pool.json, tags.json, clusters.json   the values that fold steps made
comparisons/       the compared pairs
selected/ not_chosen/ rejected/           the result; together they hold every row
run.json           counts a step, reasons, tokens, seconds, engines, versions
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import filelock
import yaml
from datasets import Dataset, concatenate_datasets, load_from_disk
from datasets.utils import disable_progress_bars, enable_progress_bars

from . import __version__
from .engines.open import is_language_model, open_engine
from .engines.stored import StoredEngine
from .engines.usage import Usage
from .errors import DataError
from .progress import progress
from .recipe import MODEL_STEPS, Recipe
from .rows import ROW_FEATURES, split_rejected
from .versions import versions


@dataclass
class StepRecord:
    """What one step did; `rows_in + added = rows_out + not_chosen + sum(rejected)` always holds.

    Attributes:
        number: Position in the journey, from 1.
        kind: "load", "map", "fan", "fold" or "pick".
        added: Rows that a fan added.
        asked: Requests that the engine answered.
        stored: Requests that the store answered.
        failed: Requests without a reply, by reason.
        seconds: Wall time.
        prompt: Name and digest of the prompt, or None.
        summary: Further small values of this step.
    """

    number: int
    name: str
    kind: str
    rows_in: int
    added: int = 0
    rows_out: int = 0
    not_chosen: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    asked: int = 0
    stored: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    prompt: dict[str, str] | None = None
    summary: dict[str, Any] = field(default_factory=dict)

    def balance(self) -> None:
        """Check the equation.

        Raises:
            RuntimeError: If a row was lost or doubled: an error of this package.
        """
        if self.rows_in + self.added != self.rows_out + self.not_chosen + sum(self.rejected.values()):
            raise RuntimeError(f"step {self.name} lost or doubled rows: {self}; please report this")


class RunFolder:
    """One run while it goes on. A second process on the same folder is refused.

    Args:
        path: The folder; made where it does not exist.
        recipe: What is run.
        command: The command line, for the record.
    """

    def __init__(self, path: Path, recipe: Recipe, command: str = "") -> None:
        self.path, self.recipe = path, recipe
        self.steps: list[StepRecord] = []
        self._command, self._started, self._clock = command, datetime.now(timezone.utc), time.monotonic()
        self._engines: dict[str, StoredEngine] = {}
        self._usages: list[Usage] = []
        self._identities: dict[str, str] = {}
        self._rejected: list[Dataset] = []
        self._totals: dict[str, Any] = {}
        path.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(path / ".lock")

    def __enter__(self) -> RunFolder:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise DataError(f"{self.path}: another process is working on this run; wait for it or end it") from None
        disable_progress_bars()
        for stale in ("steps", "comparisons", "comparisons_rejected"):  # of the run before
            shutil.rmtree(self.path / stale, ignore_errors=True)
        self._swap(
            self.path / "recipe.yaml",
            yaml.safe_dump(self.recipe.plain(), sort_keys=False, allow_unicode=True),
        )
        self.write("running")
        return self

    def __exit__(self, *_: object) -> None:
        for engine in self._engines.values():
            engine.close()
        enable_progress_bars()
        self._lock.release()

    def engine(self, step: str) -> StoredEngine:
        """The engine of a step, with the run's store. Only one model in this process's memory at a time."""
        spec = self.recipe.engine(step)
        if spec.startswith("vllm:"):
            for other in [name for name in self._engines if name != spec and name.startswith("vllm:")]:
                self._engines.pop(other).close()
        if spec not in self._engines:
            engine = self._engines[spec] = open_engine(spec, store=self.path / "store.sqlite")
            self._usages.append(engine.usage)
        return self._engines[spec]

    @contextmanager
    def step(self, name: str, kind: str, rows_in: int) -> Iterator[StepRecord]:
        """Record one step: its time, and what it asked."""
        record = StepRecord(len(self.steps) + 1, name, kind, rows_in)
        before, start = _sum(self._usages), time.monotonic()
        with nullcontext() if name in MODEL_STEPS else progress(name, None):  # a model step shows its own bar
            yield record
        after = _sum(self._usages)
        for key in ("asked", "prompt_tokens", "completion_tokens", "cached_tokens"):
            setattr(record, key, getattr(after, key) - getattr(before, key))
        record.stored = after.stored + after.shared - before.stored - before.shared
        record.failed = dict(after.failed - before.failed)
        record.seconds = round(time.monotonic() - start, 3)
        record.balance()
        self.steps.append(record)
        self.write("running")

    def keep(self, record: StepRecord, rows: Dataset) -> Dataset:
        """Save the rows of a step, put the rejected ones aside, and give the others.

        Raises:
            DataError: If no row is left.
        """
        kept, lost = split_rejected(rows)
        if len(lost):
            self._rejected.append(lost)
        reasons = Counter(mark["reason"] for mark in lost["rejection"])
        record.rejected = dict(sorted(reasons.items()))
        record.rows_out = len(kept)
        if len(kept) == 0:
            self._fail(record)
        return self.save(kept, f"steps/{record.number:02d}-{record.name}")

    def save(self, dataset: Dataset, name: str) -> Dataset:
        """Save a data set under a name in this folder, whole or not at all, and open it from there."""
        target = self.path / name
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        dataset.save_to_disk(fresh, num_shards=None if len(dataset) else 1)  # with no shard it could not be loaded
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
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
            **{key: sum(getattr(step, key) for step in self.steps)
               for key in ("asked", "stored", "prompt_tokens", "completion_tokens", "cached_tokens")},
        }  # fmt: skip
        totals = self._totals
        if totals["read"] + totals["added"] != len(selected) + len(not_chosen) + len(rejected):
            raise RuntimeError(f"{self.path}: the run lost or doubled rows: {totals}; please report this")
        self.write("complete")

    def write(self, status: str) -> None:
        """Write run.json, whole or not at all."""
        used = dict.fromkeys(self.recipe.engine(name) for name, _ in self.recipe.steps if name in MODEL_STEPS)
        self._identities |= {spec: engine.identity for spec, engine in self._engines.items() if engine.used}
        body = {
            "name": self.recipe.name,
            "status": status,
            "version": __version__,
            "digest": self.recipe.digest,
            "seed": self.recipe.seed,
            "command": self._command,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._clock, 3),
            "engines": {
                name: {
                    "spec": spec,
                    "identity": self._identities.get(spec, ""),
                    "language_model": is_language_model(spec),
                }
                for name, spec in self.recipe.engines.items()
                if spec in used
            },
            "versions": versions(),
            "steps": [asdict(step) for step in self.steps],
            "totals": self._totals,
        }
        self._swap(self.path / "run.json", json.dumps(body, ensure_ascii=False, indent=1))

    def _fail(self, record: StepRecord) -> None:
        self.save(_together(self._rejected, None), "rejected")
        reasons = ", ".join(f"{reason} {count}" for reason, count in record.rejected.items()) or "none came in"
        raise DataError(
            f"{record.name}: no row is left ({reasons}); each rejected row with its reason and the raw reply is in "
            f"{self.path / 'rejected'}"
        )

    def _swap(self, path: Path, text: str) -> None:
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)


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


def _sum(usages: list[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        total.failed.update(usage.failed)
        for key in ("asked", "stored", "shared", "prompt_tokens", "completion_tokens", "cached_tokens"):
            setattr(total, key, getattr(total, key) + getattr(usage, key))
    return total


def _together(parts: list[Dataset], like: Dataset | None) -> Dataset:
    """All rejected rows in one data set; columns that a row does not have yet are null."""
    if parts:
        return concatenate_datasets(parts)
    features = like.features if like is not None else ROW_FEATURES
    return Dataset.from_dict({name: [] for name in features}, features=features)
