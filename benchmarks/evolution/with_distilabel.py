"""distilabel's EvolInstruct over the same seeds and server: python with_distilabel.py URL SEEDS.json last|all.

Prints how many instructions it gives, whole ones and cut ones. `last` keeps the last round alone (its default), `all`
keeps every round.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import EvolInstruct


def main() -> None:
    """Run the pipeline, and report."""
    url, seeds, kept = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        with Pipeline(name="bench", cache_dir=folder) as pipeline:
            EvolInstruct(
                name="evolve",
                llm=OpenAILLM(model="bench", base_url=url, api_key="none"),
                num_evolutions=3,
                store_evolutions=kept == "all",
                input_batch_size=50,
            )
        rows = Dataset.from_dict({"instruction": json.loads(Path(seeds).read_text())})
        done = pipeline.run(dataset=rows, use_cache=False)["default"]["train"]
    given = list(done["evolved_instructions" if kept == "all" else "evolved_instruction"])
    texts = [text for row in given for text in (row if isinstance(row, list) else [row]) if text]
    whole = sum(text.endswith("].") for text in texts)
    found = {"accepted": whole, "cut": len(texts) - whole, "version": version("distilabel")}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
