"""The work of the engine benchmarks: rows to be tagged, the question for each, and how results are judged.

    python benchmarks/engines/work.py --rows 10000 --folder /tmp/rows-10000

The folder then holds `rows` (a `datasets` folder with the columns id and instruction) and `task.json` (the prompt
around the instruction, its schema, the length bound), so that a peer in its own environment needs nothing of this
project. Everything is made from the row's number; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from replies import tags_of, words

_CHARACTERS = 300  # of a row's text, about


def mark(number: int) -> str:
    """What the server knows a row by; stands at the start of its text."""
    return f"[row {number:07d}]"


def row(number: int) -> dict[str, str]:
    """A row: its id and its text."""
    name = mark(number)
    return {"id": f"row-{number:07d}", "instruction": f"{name} {words(name.encode(), _CHARACTERS - len(name))}"}


def make(folder: Path, count: int, first: int = 0) -> None:
    """Write the rows from a number on, and the task, unless the folder has them already."""
    if (folder / "task.json").exists():
        return
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    rows = (row(number) for number in range(first, first + count))
    ids, texts = zip(*((given["id"], given["instruction"]) for given in rows), strict=True)
    Dataset.from_dict({"id": ids, "instruction": texts}).save_to_disk(str(folder / "rows"))
    (folder / "task.json").write_text(json.dumps(_task()))  # last: the folder is whole now


def load_rows(folder: Path) -> Any:
    """The rows as a `datasets.Dataset` on disk."""
    from datasets import Dataset

    return Dataset.load_from_disk(str(folder / "rows"))


class Task:
    """The question, for clients that are not this project.

    Attributes:
        schema: JSON schema of the reply.
        max_tokens: Bound of the reply's length.
    """

    def __init__(self, folder: Path) -> None:
        given = json.loads((folder / "task.json").read_text())
        self.schema: dict[str, Any] = given["schema"]
        self.max_tokens: int = given["max_tokens"]
        self.before, self.after = given["before"], given["after"]

    def prompt(self, instruction: str) -> str:
        """What the user asks about one row."""
        return f"{self.before}{instruction}{self.after}"

    @property
    def response_format(self) -> dict[str, Any]:
        """Structured output as the protocol has it."""
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": self.schema, "strict": True}}

    def body(self, instruction: str) -> dict[str, Any]:
        """The body of a request, the same that this project sends."""
        return {
            "model": "bench",
            "messages": [{"role": "user", "content": self.prompt(instruction)}],
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": self.max_tokens,
            "response_format": self.response_format,
        }


def judge(results: Iterable[tuple[str, object]], count: int, rejected: int = 0) -> dict[str, int]:
    """Count the rows that a client delivered.

    Args:
        results: The id and the reply of each row that was delivered as good: its JSON text, or an object with `tags`.
        count: Rows that there were.
        rejected: Rows that the client set apart and said so.
    """
    right: Counter[str] = Counter()
    wrong = 0
    for name, reply in results:
        found = _tags(reply)
        if found and found == tags_of(mark(int(name.removeprefix("row-"))).encode(), len(found)):
            right[name] += 1
        else:
            wrong += 1
    twice = sum(right.values()) - len(right)
    return {
        "rows_valid": len(right),
        "rows_invalid_delivered": wrong + twice,
        "rows_rejected": rejected,
        "rows_missing": count - len(right) - wrong - rejected,
    }


def _tags(reply: object) -> list[str] | None:
    """Tags of a reply, or None where it has none or has them in another form."""
    try:
        value = json.loads(reply) if isinstance(reply, str) else reply
        parts = value["tags"] if isinstance(value, Mapping) else value
        return [part["tag"] for part in parts if isinstance(part["explanation"], str)]  # type: ignore[index,union-attr]
    except (ValueError, LookupError, TypeError):
        return None


def _task() -> dict[str, Any]:
    from tagevol_hf.engines.builtin import BuiltinEngine
    from tagevol_hf.tags.taggers import OpenTagger

    request = OpenTagger(BuiltinEngine()).request({"id": "row-0", "instruction": "\0"})
    before, after = request.messages[0].content.split("\0")
    return {"before": before, "after": after, "schema": request.schema, "max_tokens": request.sampling.max_tokens}


def main() -> None:
    """Write the work into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first row")
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    make(given.folder, given.rows, given.first)


if __name__ == "__main__":
    main()
