"""The least that a client can do: aiohttp, the same bodies, replies read as JSON into a list. See `measure.py`.

No store, no check against the schema, no retries, nothing written: what this needs, every client needs.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp
from measure import Given, command_line, measured
from work import Task, judge, load_rows


async def ask_all(given: Given, task: Task, texts: list[str]) -> list[Any]:
    """The replies in the order of the texts; None where a request failed or its reply is not JSON."""
    replies: list[Any] = [None] * len(texts)
    numbered = enumerate(texts)
    limits = aiohttp.ClientTimeout(total=given.timeout)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits) as session:

        async def ask(text: str) -> Any:
            async with session.post(f"{given.url}/chat/completions", json=task.body(text)) as answer:
                return json.loads((await answer.json())["choices"][0]["message"]["content"])

        async def work() -> None:
            for number, text in numbered:
                with suppress(aiohttp.ClientError, asyncio.TimeoutError, LookupError, ValueError):
                    replies[number] = await ask(text)

        await asyncio.gather(*(work() for _ in range(given.concurrency)))
    return replies


def main() -> None:
    """Ask about the rows."""
    given = command_line(__doc__)
    rows, task = load_rows(given.rows), Task(given.rows)
    with measured() as report:
        replies = asyncio.run(ask_all(given, task, rows["instruction"][:]))
    good = ((name, reply) for name, reply in zip(rows["id"], replies, strict=True) if reply is not None)
    report.rows = judge(good, len(rows))
    report.write(given, "aiohttp")


if __name__ == "__main__":
    main()
