"""Plain `Dataset.map` with an async function over aiohttp; no retries, as the library has none. See `measure.py`.

`map` runs 1,000 of these at once, so a semaphore keeps the number in flight.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from measure import command_line, measured
from work import Task, judge, load_rows


class Asker:
    """The function for `map`; its session is made in the loop that `map` runs."""

    def __init__(self, url: str, task: Task, concurrency: int, timeout: float) -> None:
        self.url, self.task, self.timeout = f"{url}/chat/completions", task, timeout
        self.turns = asyncio.Semaphore(concurrency)
        self.session: aiohttp.ClientSession | None = None

    async def ask(self, row: dict[str, Any]) -> dict[str, str]:
        """The reply's text, if it is JSON."""
        if self.session is None:
            limits = aiohttp.ClientTimeout(total=self.timeout)
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits)
        async with self.turns, self.session.post(self.url, json=self.task.body(row["instruction"])) as answer:
            answer.raise_for_status()
            text = (await answer.json())["choices"][0]["message"]["content"]
        json.loads(text)
        return {"reply": text}


def main() -> None:
    """Tag the rows."""
    given = command_line(__doc__)
    rows = load_rows(given.rows)
    asker = Asker(given.url, Task(given.rows), given.concurrency, given.timeout)
    with measured() as report:
        tagged = rows.map(asker.ask, new_fingerprint="bench", cache_file_name=str(given.folder / "tagged.arrow"))
    report.rows = judge(zip(tagged["id"], tagged["reply"], strict=True), len(rows))
    report.write(given, "datasets", "aiohttp")


if __name__ == "__main__":
    main()
