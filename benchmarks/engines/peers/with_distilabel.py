"""distilabel: a pipeline with one `TextGeneration` step over `OpenAILLM`. See `measure.py`.

Its batch is what runs at once, so the batch is as large as the concurrency. The schema goes to the server with the
request, as for all clients; distilabel does not check replies against it. (Its other way, `structured_output`, asks
through instructor, for which there is a client of its own.)
"""

from __future__ import annotations

import openai  # noqa: F401 - not used here: it would be imported within the measured time
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import TextGeneration
from measure import Given, command_line, measured
from work import Task, judge, load_rows


def pipeline_of(given: Given, task: Task) -> Pipeline:
    """The pipeline; it keeps its state in the client's folder."""
    with Pipeline(name="bench", cache_dir=given.folder) as pipeline:
        TextGeneration(
            name="tags",
            llm=OpenAILLM(
                model="bench",
                base_url=given.url,
                api_key="none",
                timeout=int(given.timeout),
                generation_kwargs={
                    "temperature": 0.0,
                    "max_new_tokens": task.max_tokens,
                    "extra_body": {"response_format": task.response_format},
                },
            ),
            input_batch_size=given.concurrency,
            add_raw_input=False,
            add_raw_output=False,
        )
    return pipeline


def main() -> None:
    """Tag the rows; a second run with the same folder goes on from its cache."""
    given = command_line(__doc__)
    rows, task = load_rows(given.rows), Task(given.rows)
    asked = rows.map(lambda row: {"instruction": task.prompt(row["instruction"])}, keep_in_memory=True)
    with measured() as report:
        tagged = pipeline_of(given, task).run(dataset=asked)["default"]["train"]
    good = ((row["id"], row["generation"]) for row in tagged if row["generation"] is not None)
    report.rows = judge(good, len(rows))
    report.write(given, "distilabel", "openai", "datasets")


if __name__ == "__main__":
    main()
