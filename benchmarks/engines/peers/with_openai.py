"""The `openai` SDK: `AsyncOpenAI` with its own retries, as many workers as requests in flight. See `measure.py`.

Replies are kept as text; the SDK checks them only against classes, not against a schema that is sent as it is.
"""

from __future__ import annotations

import asyncio

from measure import Given, command_line, measured
from openai import AsyncOpenAI, OpenAIError
from work import Task, judge, load_rows

_RETRIES = 6


async def ask_all(given: Given, task: Task, texts: list[str]) -> list[str | None]:
    """The replies in the order of the texts; None where a request failed for good."""
    replies: list[str | None] = [None] * len(texts)
    numbered = enumerate(texts)
    async with AsyncOpenAI(base_url=given.url, api_key="none", timeout=given.timeout, max_retries=_RETRIES) as client:

        async def work() -> None:
            for number, text in numbered:
                try:
                    answer = await client.chat.completions.create(**task.body(text))
                except OpenAIError:
                    continue
                replies[number] = answer.choices[0].message.content

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
    report.write(given, "openai")


if __name__ == "__main__":
    main()
