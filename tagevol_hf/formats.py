"""The formats that instruction data comes in, and how each becomes a row.

    Alpaca      instruction, input, output (or response)
    completion  prompt, completion (text, or lists of messages)
    messages    messages: [{role, content}]
    ShareGPT    conversations: [{from, value}]

A conversation keeps its turns: the last user turn becomes `instruction`, the reply to it `response`, everything
before it `history`. Further columns stay; one whose name a step writes is renamed to `source_…`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import Dataset, Features, IterableDataset

from .errors import DataError
from .rows import ROW_FEATURES, columns_of, rejection, rows_of

MAX_CHARS = 50_000
FIELDS = ("id", "instruction", "input", "response", "prompt", "completion", "messages")
WRITTEN = (
    "aspect_names", "aspects", "tags", "source", "seed_id", "seed_instruction", "seed_tags", "budget", "candidates",
    "chosen_tags", "plan", "integrated_tags", "core_kept", "hallucinated", "parent_instruction", "round", "depth",
    "operator", "final_answer", "agreement", "agreement_draws",
    "open_tags", "labels", "cluster", "clusters", "score", "comparisons", "nearest_other", "cluster_rank", "why",
)  # fmt: skip

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "bot": "assistant",
          "model": "assistant", "chatgpt": "assistant", "system": "system"}  # fmt: skip

Turn = dict[str, str]


def prepare(dataset: Any, columns: Mapping[str, str] | None = None, max_chars: int = MAX_CHARS) -> Any:
    """Bring a data set of a known format into the form that all steps work on (`rows.ROW_FEATURES`).

    Every row stays: one that cannot be used carries a `rejection` ("empty_instruction", "too_long", "duplicate_id",
    "bad_messages"). A data set in that form already is returned as it is.

    Args:
        dataset: A `Dataset`; or an `IterableDataset`, in which repeated ids cannot be seen.
        columns: Which column holds what, as {"instruction": "question", "response": "answer"}; keys are `FIELDS`.
        max_chars: Longest text of a row, in characters, all its parts together.

    Raises:
        DataError: If no known format is found; the message lists the columns that are there.
    """
    names = _names(dataset)
    if not columns and set(ROW_FEATURES) <= set(names):
        return dataset
    read = _reader(names, columns or {})
    used = set(_used(names, columns or {}))
    extra = {
        name: f"source_{name}" if name in (*ROW_FEATURES, *WRITTEN) else name for name in names if name not in used
    }
    features = (
        Features({**ROW_FEATURES, **{extra[name]: dataset.features[name] for name in extra}})
        if dataset.features
        else None
    )
    convert = _Converter(read, extra, max_chars, features, unique=isinstance(dataset, Dataset))
    if isinstance(dataset, IterableDataset):
        return dataset.map(convert, batched=True, remove_columns=names, features=features)
    if len(dataset) == 0:
        return Dataset.from_dict({name: [] for name in features or ()}, features=features)
    return dataset.map(
        convert,
        batched=True,
        features=features,
        remove_columns=names,
        load_from_cache_file=False,
        new_fingerprint=hashlib.sha256(f"{dataset._fingerprint}{columns}{max_chars}".encode()).hexdigest()[:16],
    )


class _Converter:
    """Batch of source rows → batch of rows; knows the ids that it has seen."""

    def __init__(
        self,
        read: Callable[[Mapping[str, Any]], dict[str, Any]],
        extra: Mapping[str, str],
        max_chars: int,
        features: Features | None,
        unique: bool,
    ) -> None:
        self._read, self._extra, self._max_chars = read, extra, max_chars
        self._features, self._unique = features or ROW_FEATURES, unique
        self._seen: dict[str, int] = {}

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        rows = [
            {**self._row(source), **{new: source[old] for old, new in self._extra.items()}} for source in rows_of(batch)
        ]
        return dict(columns_of(rows, self._features))

    def _row(self, source: Mapping[str, Any]) -> dict[str, Any]:
        row = {"input": "", "response": "", "history": [], "rejection": None, **self._read(source)}
        given = row.get("id")
        row["id"] = str(given) if given not in (None, "") else _digest(row)
        mark = row["rejection"] or self._fault(row)
        if self._unique:
            mark = self._count(row, given not in (None, "")) or mark
        return {**row, "rejection": mark}

    def _fault(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        if not row["instruction"].strip():
            return rejection("load", "empty_instruction")
        size = sum(len(row[name]) for name in ("instruction", "input", "response"))
        size += sum(len(turn["content"]) for turn in row["history"])
        if size > self._max_chars:
            return rejection("load", "too_long", f"{size} characters, data.max_chars is {self._max_chars}")
        return None

    def _count(self, row: dict[str, Any], given: bool) -> dict[str, Any] | None:
        """Make the id unique: a repeated given id is a fault; equal rows without ids are numbered."""
        base = row["id"]
        count = self._seen[base] = self._seen.get(base, 0) + 1
        if count == 1:
            return None
        row["id"] = f"{base}#{count}"
        return rejection("load", "duplicate_id", f"row {count} with the id {base!r}") if given else None


def _names(dataset: Any) -> list[str]:
    names = dataset.column_names
    if names is None:  # a stream says its columns only when read
        names = list(next(iter(dataset.take(1)), {}))
    return list(names)


def _reader(names: Sequence[str], columns: Mapping[str, str]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function from a source row to the parts of a row."""
    have = ", ".join(names) or "none"
    unknown = sorted(set(columns) - set(FIELDS))
    if unknown:
        raise DataError(f"data.columns: {unknown[0]!r} is not one of {', '.join(FIELDS)}")
    absent = sorted(set(columns.values()) - set(names))
    if absent:
        raise DataError(f"data.columns: there is no column {absent[0]!r}; the data set has: {have}")
    place = _places(names, columns)
    if "instruction" in place:
        return lambda row: {field: _text(row[name]) if field != "id" else row[name] for field, name in place.items()}
    if "prompt" in place:
        return lambda row: _completion(row, place)
    if "messages" in place:
        return lambda row: _identified(_conversation(row[place["messages"]]), row, place)
    raise DataError(
        f"no known format: expected the columns instruction (with input, output), prompt and completion, messages, "
        f"or conversations; the data set has: {have}; name them by data.columns, as {{instruction: question}}"
    )


def _places(names: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Field → column, for the first format that the columns (or their mapping) give."""
    mapped = dict(columns)
    if not set(mapped) & {"instruction", "prompt", "messages"}:
        guess = {
            "instruction": "instruction",
            "prompt": "prompt",
            "messages": "messages",
            "conversations": "messages",
        }
        found = next((name for name in guess if name in names), None)
        if found is None:
            return {}
        mapped[guess[found]] = found
    partners = {"instruction": (("input", "input"), ("response", "response"), ("response", "output")),
                "prompt": (("completion", "completion"), ("completion", "response")), "messages": ()}  # fmt: skip
    lead = next(field for field in ("instruction", "prompt", "messages") if field in mapped)
    for field, name in (*partners[lead], ("id", "id")):
        if field not in mapped and name in names and name not in mapped.values():
            mapped[field] = name
    return {
        field: name for field, name in mapped.items() if field in (lead, "id", *(part[0] for part in partners[lead]))
    }


def _used(names: Sequence[str], columns: Mapping[str, str]) -> list[str]:
    return list(_places(names, columns).values())


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _completion(row: Mapping[str, Any], place: Mapping[str, str]) -> dict[str, Any]:
    prompt, completion = row[place["prompt"]], row.get(place.get("completion", ""), None)
    if isinstance(prompt, list):
        tail = completion if isinstance(completion, list) else [{"role": "assistant", "content": completion or ""}]
        return _identified(_conversation([*prompt, *tail]), row, place)
    return _identified({"instruction": _text(prompt), "response": _text(completion)}, row, place)


def _identified(parts: dict[str, Any], row: Mapping[str, Any], place: Mapping[str, str]) -> dict[str, Any]:
    return {**parts, "id": row[place["id"]]} if "id" in place else parts


def _conversation(value: Any) -> dict[str, Any]:
    """Parts of a conversation; a fault gives a rejection and the raw turns in it."""
    turns, fault = _turns(value)
    users = [place for place, turn in enumerate(turns) if turn["role"] == "user"]
    if not fault and not users:
        fault = "no user turn"
    after = turns[users[-1] + 1 :] if users else []
    if not fault and (len(after) > 1 or any(turn["role"] != "assistant" for turn in after)):
        fault = "after the last user turn, more than one reply"
    if fault:
        raw = json.dumps(value, ensure_ascii=False, default=str)[:2000]
        text = turns[users[-1]]["content"] if users else ""
        return {"instruction": text, "rejection": rejection("load", "bad_messages", fault, raw)}
    last = users[-1]
    return {
        "instruction": turns[last]["content"],
        "response": after[0]["content"] if after else "",
        "history": turns[:last],
    }


def _turns(value: Any) -> tuple[list[Turn], str]:
    turns: list[Turn] = []
    for entry in value if isinstance(value, list) else ():
        role = (entry or {}).get("role") or (entry or {}).get("from")
        content = entry.get("content") if entry and entry.get("content") is not None else (entry or {}).get("value")
        if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
            content = "\n".join(str(part.get("text") or "") for part in content)
        if role not in _ROLES:
            return turns, f"a turn of the role {role!r}"
        if not isinstance(content, str):
            return turns, f"a turn of {_ROLES[role]} without plain text"
        turns.append({"role": _ROLES[role], "content": content})
    return turns, ""


def _digest(row: Mapping[str, Any]) -> str:
    """Id of a row without one: the first 16 hex digits of the SHA-256 of its text."""
    parts = [row["instruction"], row["input"], row["response"], row["history"]]
    text = json.dumps(parts, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
