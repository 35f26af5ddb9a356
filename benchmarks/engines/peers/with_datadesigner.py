"""NeMo Data Designer: one structured column over a seed data set. See `measure.py`.

It checks replies against the schema and asks again; the schema goes to the server with the request too.
"""

from __future__ import annotations

from typing import Any

import data_designer.config as dd
from data_designer.interface import DataDesigner
from measure import Given, command_line, measured
from work import Task, judge, load_rows


def config_of(given: Given, task: Task, seeds: Any) -> dd.DataDesignerConfigBuilder:
    """The model, the seeds and the column."""
    limits = dd.ChatCompletionInferenceParams(
        temperature=0.0,
        top_p=1.0,
        max_tokens=task.max_tokens,
        max_parallel_requests=given.concurrency,
        timeout=int(given.timeout),
        extra_body={"response_format": task.response_format},
    )
    model = dd.ModelConfig(
        alias="bench", model="bench", provider="local", inference_parameters=limits, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=seeds))
    prompt = task.prompt("{{ instruction }}")
    builder.add_column(
        dd.LLMStructuredColumnConfig(name="reply", model_alias="bench", prompt=prompt, output_format=task.schema)
    )
    return builder


def main() -> None:
    """Tag the rows."""
    given = command_line(__doc__)
    rows, task = load_rows(given.rows), Task(given.rows)
    seeds = rows.to_pandas()
    with measured() as report:
        provider = dd.ModelProvider(name="local", endpoint=given.url, api_key="none")
        designer = DataDesigner(artifact_path=given.folder, model_providers=[provider])
        designer.set_run_config(
            dd.RunConfig(disable_early_shutdown=True, otel_metrics_port=None, max_in_flight_tasks=2 * given.concurrency)
        )
        made = designer.create(config_of(given, task, seeds), num_records=len(rows), dataset_name="tagged")
    found = made.load_dataset()
    good = ((name, _plain(reply)) for name, reply in zip(found["id"], found["reply"], strict=True))
    report.rows = judge(good, len(rows))
    report.write(given, "data-designer")


def _plain(reply: Any) -> Any:
    """A reply as plain values; Parquet gives arrays."""
    return {"tags": list(reply["tags"])} if isinstance(reply, dict) else reply


if __name__ == "__main__":
    main()
