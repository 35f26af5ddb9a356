"""Stage: one question to the model for each row, and new columns from the answer.

A stage is a value. It works by itself (`stage.apply(dataset)`), in `Dataset.map(stage, batched=True)` and in
`IterableDataset.map(stage, batched=True)`, and gives the same rows in all three. It pickles to its specification, so
its fingerprint is the same in every process and changes with the prompt, a parameter or the code.

On Ray Data: `ray.data.from_huggingface(dataset).map_batches(stage, batch_format="pyarrow")`, or one model an actor by
`map_batches(TagEvol, fn_constructor_args=(engine,), batch_format="pyarrow", compute=ActorPoolStrategy(4), num_gpus=1)`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import pyarrow as pa
from datasets import Dataset, Features, IterableDataset

from . import parsing, rows
from .asking import Answers, Asking, seldom_collected
from .engines.base import Engine, Message, Reply, Request, Sampling, Schema
from .engines.stored import StoredEngine, stored
from .engines.usage import Meter
from .errors import DataError, ParseError
from .progress import progress
from .prompts import Prompt, load_prompt
from .rows import REJECTION, Column, Row, columns_of, iterate, rejection, rows_of, seed_for, table_with, with_batches

_REDRAW_TEMPERATURE = 0.3  # a greedy model would answer a second draw with the same text

AnyDataset = TypeVar("AnyDataset", Dataset, IterableDataset)


@dataclass(frozen=True)
class Stage(ABC):
    """Prompt, parser and checks of one model step; the base of every step that asks a model.

    A subclass gives `name`, `features` (the columns that it writes), `needs` (the columns that it reads), and the
    methods `values`, `parse` and, where the form of the reply is not enough, `check`.

    Attributes:
        engine: Any engine; one without a store gets a temporary store.
        prompt: Name of a prompt of this package, or the path of a text file, or a `Prompt`.
        temperature: 0 is greedy; from the second draw on at least 0.3.
        top_p: In (0, 1].
        max_tokens: Upper bound of a reply's length, in tokens; a reply cut off there is a failed draw.
        attempts: How often a row is asked at the most, >= 1; after that it is rejected with its last reason.
        seed: Together with the row's id and the draw it seeds each request.
    """

    engine: Engine
    prompt: str | Path | Prompt = dataclasses.field(default="", kw_only=True)
    temperature: float = dataclasses.field(default=0.0, kw_only=True)
    top_p: float = dataclasses.field(default=1.0, kw_only=True)
    max_tokens: int = dataclasses.field(default=1024, kw_only=True)
    attempts: int = dataclasses.field(default=3, kw_only=True)
    seed: int = dataclasses.field(default=42, kw_only=True)

    name: ClassVar[str]
    features: ClassVar[Features]
    needs: ClassVar[tuple[str, ...]] = ("instruction", "input")

    def __post_init__(self) -> None:
        object.__setattr__(self, "engine", stored(self.engine))
        object.__setattr__(self, "prompt", load_prompt(self.prompt or self.name))
        if self.attempts < 1:
            raise ValueError(f"{self.name}.attempts: expected at least 1, got {self.attempts}")

    @property
    def schema(self) -> Schema | None:
        """JSON schema of the reply, the same for all rows where that is possible; None for free text."""
        return None

    def schema_for(self, row: Row) -> Schema | None:
        """The schema for this row; `schema` unless a subclass needs a few variants (never one a row)."""
        return self.schema

    @property
    def shared(self) -> Mapping[str, str]:
        """Values of the prompt's shared part."""
        return {}

    def shared_for(self, row: Row) -> Mapping[str, str]:
        """Values of the prompt's shared part for this row; `shared` unless there are a few variants."""
        return self.shared

    @abstractmethod
    def values(self, row: Row) -> Mapping[str, str]:
        """Values of the prompt's own part for this row."""

    @abstractmethod
    def parse(self, row: Row, text: str) -> dict[str, Any]:
        """Values of the new columns.

        Raises:
            ParseError: If the text cannot be used.
        """

    def check(self, row: Row, parsed: Mapping[str, Any]) -> None:
        """Look at the parsed values.

        Raises:
            ParseError: If they break a rule of this step.
        """
        return

    def verdict(self, row: Row, parsed: Mapping[str, Any]) -> tuple[str, str] | None:
        """A reason to reject the row that a good reply gives, with its detail; None to keep it.

        For a step that judges: unlike what `check` finds, it is not asked again, and the row keeps the new columns.
        """
        return None

    def request(self, row: Row, draw: int = 0) -> Request:
        """The question for this row; `draw` counts the tries from 0."""
        temperature = self.temperature if draw == 0 else max(self.temperature, _REDRAW_TEMPERATURE)
        seed = seed_for(self.seed, row["id"], self.name, draw) if temperature > 0 else None
        text = cast(Prompt, self.prompt).render(self.shared_for(row), self.values(row))
        return Request(
            messages=(
                *(Message(turn["role"], turn["content"]) for turn in self.turns(row)),
                Message("user", text),
            ),
            sampling=Sampling(temperature, self.top_p, self.max_tokens, seed),
            schema=self.schema_for(row),
            draw=draw,
        )

    def turns(self, row: Row) -> Sequence[Mapping[str, str]]:
        """Turns of the chat before the prompt; none but for a step that goes on with the row's conversation."""
        return ()

    def __call__(self, batch: Mapping[str, Sequence[Any]] | pa.Table) -> dict[str, Column] | pa.Table:
        """New columns for a batch, for `Dataset.map(stage, batched=True)` and its like; of an Arrow table all columns.

        Raises:
            DataError: If a column that this step reads is missing, or the batch is of another kind, as Ray's default.
        """
        if isinstance(batch, pa.Table):
            return table_with(batch, self._columns(batch.to_pydict()))
        if not isinstance(batch, Mapping) or (type(batch) is dict and any(hasattr(v, "dtype") for v in batch.values())):
            raise DataError(
                f"{self.name}: expected lists or an Arrow table, got a batch of {_kind(batch)}; on Ray Data write "
                'map_batches(stage, batch_format="pyarrow"), in datasets with_format(None)'
            )
        return self._columns(batch)

    def _columns(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Column]:
        self._demand(batch)
        found = list(rows_of(batch))
        answers = self._ask(found, lambda: None)
        return columns_of(self._read(found, 0, answers), self.written)

    def apply(self, dataset: AnyDataset) -> AnyDataset:
        """The data set with this step's columns, without a border between batches.

        First every request is asked, the replies going into the store in whatever order they come; then the rows are
        written in order from the store. A kill loses at most what was in flight.

        Raises:
            DataError: If a column that this step reads is missing.
            EngineError: If the engine or the store fails.
        """
        if isinstance(dataset, IterableDataset):
            return dataset.map(self, batched=True)
        self._demand(dataset.column_names)
        meter = Meter(cast(StoredEngine, self.engine).usage)
        with progress(self.name, len(dataset), meter.line) as advance:
            answers = self._ask(iterate(dataset), advance)
        done = 0
        with progress(f"{self.name}: writing", len(dataset)) as advance:

            def read(batch: Sequence[Row]) -> list[dict[str, Any]]:
                nonlocal done
                first, done = done, done + len(batch)
                advance(len(batch))
                return self._read(batch, first, answers)

            with seldom_collected():
                return with_batches(dataset, read, self.written)

    @property
    def written(self) -> Features:
        """The declared columns and `rejection`."""
        return Features({**self.features, "rejection": REJECTION})

    def spec(self) -> dict[str, Any]:
        """Everything that defines this stage but its engine, as plain values."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        prompt = cast(Prompt, fields.pop("prompt"))
        fields.pop("engine")
        return {"prompt": dataclasses.asdict(prompt), **fields}

    def __reduce__(self) -> tuple[Callable[..., Stage], tuple[object, ...]]:
        return _rebuild, (type(self), json.dumps(self.spec(), sort_keys=True), _code(type(self)), self.engine)

    def _demand(self, columns: Iterable[str]) -> None:
        have = list(columns)
        missing = [name for name in ("id", *self.needs) if name not in have]
        if missing:
            raise DataError(
                f"{self.name} needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}; the data set has: "
                f"{', '.join(have) or 'none'}; tagevol_hf.prepare(dataset) brings known formats into this form"
            )

    def _ask(self, source: Iterable[Row], advance: Callable[[], None]) -> Answers:
        engine = cast(StoredEngine, self.engine)
        return Asking(engine, self.request, self._values, self.attempts).run(source, advance)

    def _values(self, row: Row, reply: Reply) -> dict[str, Any]:
        if reply.finish_reason == "error":
            raise ParseError(reply.reason, reply.detail)
        if reply.finish_reason == "length":
            raise ParseError("truncated", f"after {self.max_tokens} tokens")
        parsed = self.parse(row, reply.text)
        self.check(row, parsed)
        return parsed

    def _read(self, batch: Sequence[Row], first: int, answers: Answers) -> list[dict[str, Any]]:
        """Values of the written columns of rows from position `first` on, from their last replies."""
        replies = answers.last(range(first, first + len(batch)))
        return [self._written(row, *last) for row, last in zip(batch, replies, strict=True)]

    def _written(self, row: Row, reply: Reply, attempts: int) -> dict[str, Any]:
        mark = row.get("rejection")
        if mark is None:
            try:
                parsed = self._values(row, reply)
            except ParseError as fault:
                mark = rejection(self.name, fault.reason, fault.detail, reply.text, attempts)
            else:
                found = self.verdict(row, parsed)
                mark = None if found is None else rejection(self.name, *found, reply.text, attempts)
                return {**self._kept(row), **parsed, "rejection": mark}
        return {**self._kept(row), "rejection": mark}

    def _kept(self, row: Row) -> dict[str, Any]:
        return {name: row.get(name) for name in self.features}

    def object_in(self, row: Row, text: str) -> dict[str, Any]:
        """The reply's JSON object, checked against the row's schema.

        Raises:
            ParseError: If there is none or it does not match.
        """
        value = parsing.checked_value(text, self.schema_for(row) or {})
        if not isinstance(value, dict):
            raise ParseError("wrong_schema", "expected a JSON object")
        return value


def _kind(batch: object) -> str:
    values = batch.values() if isinstance(batch, dict) else ()
    return next((type(value).__name__ for value in values if hasattr(value, "dtype")), type(batch).__name__)


def _rebuild(kind: type[Stage], spec: str, code: str, engine: Engine) -> Stage:
    fields = json.loads(spec)
    return kind(engine, prompt=Prompt(**fields.pop("prompt")), **fields)


def _code(kind: type[Stage]) -> str:
    """Digest of the source of a stage's classes and of the modules that they stand in."""
    sources: list[str] = []
    for owner in (base for base in kind.__mro__ if issubclass(base, Stage)):
        module = inspect.getmodule(owner)
        try:
            sources.append(inspect.getsource(module if module and module.__name__ != "__main__" else owner))
        except (OSError, TypeError):  # no source at hand, as in an interactive session
            sources.append(owner.__qualname__)
    sources += [inspect.getsource(parsing), inspect.getsource(rows)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()[:16]
