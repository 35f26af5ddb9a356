"""instructor over the `openai` SDK: replies checked against a class, and asked again. See `measure.py`."""

from __future__ import annotations

import asyncio

import instructor
from instructor.core import InstructorRetryException
from measure import Given, command_line, measured
from openai import AsyncOpenAI, OpenAIError
from pydantic import BaseModel, Field
from work import Task, judge, load_rows

_RETRIES = 6


class Tag(BaseModel):
    """A tag of the reply."""

    tag: str = Field(min_length=1, max_length=60)
    explanation: str = Field(max_length=200)


class Tags(BaseModel):
    """The reply."""

    tags: list[Tag] = Field(min_length=1, max_length=6)


async def ask_all(given: Given, task: Task, texts: list[str]) -> list[Tags | None]:
    """The replies in the order of the texts; None where a request failed for good."""
    replies: list[Tags | None] = [None] * len(texts)
    numbered = enumerate(texts)
    plain = AsyncOpenAI(base_url=given.url, api_key="none", timeout=given.timeout, max_retries=_RETRIES)
    client = instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA)

    async def work() -> None:
        for number, text in numbered:
            body = {name: value for name, value in task.body(text).items() if name != "response_format"}
            try:
                replies[number] = await client.chat.completions.create(
                    response_model=Tags, max_retries=_RETRIES, **body
                )
            except (OpenAIError, InstructorRetryException):
                continue

    await asyncio.gather(*(work() for _ in range(given.concurrency)))
    return replies


def main() -> None:
    """Ask about the rows."""
    given = command_line(__doc__)
    rows, task = load_rows(given.rows), Task(given.rows)
    with measured() as report:
        replies = asyncio.run(ask_all(given, task, rows["instruction"][:]))
    pairs = zip(rows["id"], replies, strict=True)
    report.rows = judge(((name, reply.model_dump()) for name, reply in pairs if reply is not None), len(rows))
    report.write(given, "instructor", "openai")


if __name__ == "__main__":
    main()
