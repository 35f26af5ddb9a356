"""Bespoke Curator: `curator.LLM` with a response format, which it checks and asks again for. See `measure.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# Not used here: it would be imported within the measured time.
import bespokelabs.curator.request_processor.online.openai_online_request_processor  # noqa: F401
import litellm
from bespokelabs import curator
from measure import command_line, measured
from pydantic import BaseModel, Field
from work import Task, judge, load_rows

_UNLIMITED = 10**9


class Tag(BaseModel):
    """A tag of the reply."""

    tag: str = Field(min_length=1, max_length=60)
    explanation: str = Field(max_length=200)


class Tags(BaseModel):
    """The reply."""

    tags: list[Tag] = Field(min_length=1, max_length=6)


class Tagger(curator.LLM):
    """The question for a row, and its columns from the reply."""

    task: Task

    def prompt(self, row: dict[str, Any]) -> str:
        """What is asked."""
        return self.task.prompt(row["instruction"])

    def parse(self, row: dict[str, Any], reply: Tags) -> dict[str, Any]:
        """The row that is kept."""
        return {"id": row["id"], **reply.model_dump()}


def use_local_tokenizer() -> None:
    """Its tokenizer's file comes with litellm; without this it would be downloaded."""
    folder = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)


def main() -> None:
    """Tag the rows; a second run with the same folder goes on from its files."""
    use_local_tokenizer()
    given = command_line(__doc__)
    rows, Tagger.task = load_rows(given.rows), Task(given.rows)
    with measured() as report:
        tagger = Tagger(
            model_name="bench",
            backend="openai",
            response_format=Tags,
            generation_params={"temperature": 0.0, "top_p": 1.0, "max_tokens": Tagger.task.max_tokens},
            backend_params={
                "base_url": given.url,
                "request_timeout": int(given.timeout),
                "require_all_responses": False,
                "max_concurrent_requests": given.concurrency,
                "max_requests_per_minute": _UNLIMITED,
                "max_tokens_per_minute": _UNLIMITED * 1000,
                "seconds_to_pause_on_rate_limit": 1,
            },
        )
        tagged = tagger(rows, working_dir=str(given.folder)).dataset
    report.rows = judge(((row["id"], row) for row in tagged), len(rows))
    report.write(given, "bespokelabs-curator", "datasets", "litellm", "aiohttp")


if __name__ == "__main__":
    main()
