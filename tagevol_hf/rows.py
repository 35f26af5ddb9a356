"""The row that every step works on, and how a row says why it was rejected.

A row holds one turn to be tagged, evolved, answered or scored:

    id           unique in a data set; given by the source, or the hash of the row's text
    instruction  the last user turn
    input        additional input in the manner of Alpaca, often empty
    response     the assistant's reply to that turn, empty where there is none
    history      the turns before it, each {role, content}; empty for a single turn
    rejection    null, or why the row left: {stage, reason, detail, raw, attempts}
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features, List, Value, concatenate_datasets

Row = Mapping[str, Any]

_SURROGATE = re.compile("[\ud800-\udfff]")

MESSAGE = {"role": Value("string"), "content": Value("string")}

REJECTION = {
    "stage": Value("string"),
    "reason": Value("string"),
    "detail": Value("string"),
    "raw": Value("string"),
    "attempts": Value("int64"),
}

ROW_FEATURES = Features(
    {
        "id": Value("string"),
        "instruction": Value("string"),
        "input": Value("string"),
        "response": Value("string"),
        "history": List(MESSAGE),
        "rejection": REJECTION,
    }
)

REASONS: Mapping[str, str] = MappingProxyType(
    {
        # found when the data is read
        "empty_instruction": "the instruction is null or empty",
        "too_long": "the row's text is longer than data.max_chars",
        "duplicate_id": "an earlier row has the same id",
        "bad_messages": "the conversation has no user turn, or a turn that is not plain text",
        # the engine could not answer
        "prompt_too_long": "the prompt does not fit into the model's context",
        "refused_request": "the engine refused this request",
        "timeout": "no reply came within the time limit",
        "truncated": "the reply was cut off at max_tokens",
        "empty_reply": "the reply has no text",
        # the reply does not have the asked form
        "not_json": "the reply holds no JSON value",
        "wrong_schema": "the reply's JSON does not match the schema",
        "no_tags": "no usable tag was given",
        # Tag-Evol (arXiv 2505.24165, section 3)
        "too_few_candidates": "the pool has fewer foreign tags than the budget asks for",
        "wrong_count": "not exactly b tags were chosen",
        "not_a_candidate": "a chosen number is not in the list of candidates",
        "repeated_choice": "a tag was chosen twice",
        "own_tag": "a chosen tag is already a tag of the seed",
        "unchanged": "the evolved instruction is the seed's",
        "leaked_prompt": "words of the prompt stand in the evolved instruction",
        "too_much_growth": "the evolved instruction grew beyond the length rule",
        "answer_not_instruction": "the evolved text answers the seed instead of asking",
        "refusal": "the model refused",
        "lost_input": "code, a table, a quotation or the input of the seed is gone from the evolved one",
        "language_changed": "the evolved instruction is in another language than the seed",
        # the review of an evolved instruction by a second engine
        "tag_not_integrated": "a chosen tag does not shape the evolved instruction",
        "core_task_lost": "the evolved instruction asks for another task than the seed",
        "hallucinated_constraint": "the evolved instruction demands something that neither the seed nor a tag explains",
        # Evol-Instruct's elimination (arXiv 2304.12244, section 3.2)
        "no_information_gain": "the evolved instruction asks for no more than its parent",
        "apology": "the answer is short and says sorry",
        "empty_answer": "the answer holds nothing but punctuation and stop words",
        # answers
        "no_agreement": "the final answer is not the one that most further draws give",
        # TACOS (arXiv 2507.03673, section 3)
        "no_score": "no comparison of this row gave a score",
        "same_clusters": "another row with the same set of clusters was kept in its place",
        # cleaning
        "contaminated": "the row holds a question of a benchmark",
        "near_duplicate": "a row that says nearly the same was kept in its place",
    }
)


def rejection(stage: str, reason: str, detail: str = "", raw: str = "", attempts: int = 0) -> dict[str, Any]:
    """Value of a row's `rejection` column; `reason` must be a key of `REASONS`.

    Raises:
        ValueError: If the reason is not in the closed list.
    """
    if reason not in REASONS:
        raise ValueError(f"unknown reason {reason!r}; known: {', '.join(REASONS)}")
    return {"stage": stage, "reason": reason, "detail": detail, "raw": raw, "attempts": attempts}


def seed_for(seed: int, row_id: str, step: str, draw: int = 0) -> int:
    """Random seed in [0, 2**31) that depends on nothing but its arguments, never on row order or process."""
    text = json.dumps([seed, row_id, step, draw], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1


class Column(list[Any]):
    """A list of cell values that keeps its declared Arrow type when `datasets` writes it.

    `datasets` infers a column's type from the first batch, so a column of nulls or of empty lists there
    breaks on the first real value later; `pyarrow` asks this object instead.
    """

    def __init__(self, values: Sequence[Any], arrow_type: pa.DataType) -> None:
        super().__init__(values)
        self.arrow_type = arrow_type

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:  # noqa: A002 - the name that pyarrow uses
        """Arrow array of the declared type (called by pyarrow)."""
        try:
            return pa.array(list(self), type=type or self.arrow_type)
        except UnicodeEncodeError:  # a model may write half of a character
            return pa.array([storable(value) for value in self], type=type or self.arrow_type)


def storable(value: Any) -> Any:
    """The value with U+FFFD in place of each lone surrogate in its texts; UTF-8, and so Arrow, has none."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {key: storable(part) for key, part in value.items()}
    return [storable(part) for part in value] if isinstance(value, list | tuple) else value


def columns_of(rows: Sequence[Mapping[str, Any]], features: Features) -> dict[str, Column]:
    """Turn row-wise values into typed columns, for the return value of a batched `map`."""
    return {name: Column([row.get(name) for row in rows], features.arrow_schema.field(name).type) for name in features}


def table_with(table: pa.Table, columns: Mapping[str, Column]) -> pa.Table:
    """An Arrow table with these columns beside, or in place of, its own."""
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        array = pa.array(values)
        table = table.append_column(name, array) if place < 0 else table.set_column(place, name, array)
    return table


def rows_of(batch: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Rows of a batch of columns, in order."""
    names = list(batch)
    for values in zip(*(batch[name] for name in names), strict=True):
        yield dict(zip(names, values, strict=True))


_BATCH = 1000


def iterate(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Rows of a data set as plain Python values, in order, without loading all of them."""
    for batch in dataset.with_format(None).iter(batch_size=_BATCH):
        yield from rows_of(batch)


def with_columns(dataset: Dataset, read: Callable[[Row], Mapping[str, Any]], written: Features) -> Dataset:
    """The data set with the columns that `read` gives for each row beside, or in place of, its own."""
    return with_batches(dataset, lambda rows: [read(row) for row in rows], written)


def with_batches(
    dataset: Dataset,
    read: Callable[[Sequence[Row]], Sequence[Mapping[str, Any]]],
    written: Features,
    num_proc: int | None = None,
) -> Dataset:
    """As `with_columns`; `read` gets the rows in order, many at once; in so many processes at a time.

    A pure map: only the written columns are computed and written; the `datasets` cache is not read.
    """
    names = list(dict.fromkeys([*dataset.column_names, *written]))
    if len(dataset) == 0:
        features = Features({**dataset.features, **written})
        return Dataset.from_dict({name: [] for name in names}, features=features)
    added = dataset.with_format(None).map(
        lambda batch: columns_of(read(list(rows_of(batch))), written),
        batched=True,
        batch_size=_BATCH,
        num_proc=num_proc,
        features=written,
        remove_columns=dataset.column_names,
        load_from_cache_file=False,
        cache_file_name=_scratch_file(dataset),
        new_fingerprint=hashlib.sha256(f"{dataset._fingerprint}{names}".encode()).hexdigest()[:16],
    )
    kept = dataset.remove_columns([name for name in dataset.column_names if name in written])
    both = concatenate_datasets([kept, added], axis=1) if kept.column_names else added
    return both.select_columns(names)


def split_rejected(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """The rows without and those with a rejection, each in order.

    Args:
        dataset: Rows as `prepare` or a stage gives them, with the column `rejection`.

    Returns:
        (those that can be used, the rejected ones); together as many as came in.
    """
    marks = dataset.data.column("rejection").is_valid().to_numpy() if not dataset._indices else None
    if marks is None:
        marks = [mark is not None for mark in dataset["rejection"]]
    kept = [index for index, mark in enumerate(marks) if not mark]
    lost = [index for index, mark in enumerate(marks) if mark]
    return dataset.select(kept), dataset.select(lost)


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _scratch_file(dataset: Dataset) -> str | None:
    """A new file for the new columns of a data set that lives on disk, gone when the process ends."""
    if not dataset.cache_files:
        return None
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="tagevol-", ignore_cleanup_errors=True))
        weakref.finalize(_folders[0], _folders[0].cleanup)
    with tempfile.NamedTemporaryFile(dir=_folders[0].name, suffix=".arrow", delete=False) as file:
        return file.name
