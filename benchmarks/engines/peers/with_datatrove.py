"""datatrove: `InferenceRunner` against an endpoint, with its checkpoints. See `measure.py`.

It checks no replies: the function that asks reads the JSON, and a document whose reply is none is left out.
"""

from __future__ import annotations

import json
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
from measure import Given, command_line, measured
from work import Task, judge, load_rows


def executor_of(given: Given, task: Task, documents: list[Document]) -> LocalPipelineExecutor:
    """The pipeline; it keeps its state in the client's folder."""

    async def ask(document: Document, generate: Any) -> Any:
        answer = await generate({**task.body(document.text), "model": "bench"})
        try:
            return json.loads(answer.text)
        except ValueError:
            return None

    runner = InferenceRunner(
        rollout_fn=ask,
        config=InferenceConfig(
            server_type="endpoint",
            model_name_or_path="bench",
            endpoint_url=given.url,
            api_key="none",
            max_concurrent_generations=given.concurrency,
            request_timeout=given.timeout,
            server_ready_delay_sec=0.1,
        ),
        output_writer=JsonlWriter(
            str(given.folder / "out"), output_filename="${rank}_chunk_${chunk_index}.jsonl", compression=None
        ),
        checkpoints_local_dir=str(given.folder / "checkpoints"),
        records_per_chunk=500,
    )
    return LocalPipelineExecutor(pipeline=[documents, runner], logging_dir=str(given.folder / "logs"))


def main() -> None:
    """Tag the rows; a second run with the same folder goes on from its checkpoints."""
    given = command_line(__doc__)
    rows = load_rows(given.rows)
    documents = [Document(text=row["instruction"], id=row["id"]) for row in rows]
    with measured() as report:
        executor_of(given, Task(given.rows), documents).run()
    lines = (line for file in sorted((given.folder / "out").glob("*.jsonl")) for line in file.read_text().splitlines())
    written = (json.loads(line) for line in lines)
    report.rows = judge(((row["id"], row["metadata"]["rollout_results"][0]) for row in written), len(rows))
    report.write(given, "datatrove", "openai")


if __name__ == "__main__":
    main()
