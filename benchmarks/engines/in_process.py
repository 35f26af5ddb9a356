"""vLLM in this process: `LLM.chat` over a list of prompts against this project's engine with its store, in one run.

    python benchmarks/engines/in_process.py --prompts 1000 --rounds 3 --out in-process.json

A tiny random model is made on the spot and loaded twice, once for each side, with the same settings. In each round
both sides answer the same new prompts, greedily, in turns of who is first; structured output off and on. Ours stores
every reply in a SQLite file on disk as it comes, which is looked at from outside at half of the run. The exit status
is 1 where ours is slower than 0.90 of the other's rate, or where the replies differ.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

for _name, _value in {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB, for each side
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # all in this process, so that nothing of ours is hidden behind the model
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(_name, _value)

from scenarios.report import machine  # noqa: E402 - the environment comes before what reads it
from work import row  # noqa: E402

from tagevol_hf.engines.base import Message, Request, Sampling  # noqa: E402
from tagevol_hf.engines.store import RequestStore  # noqa: E402
from tagevol_hf.engines.stored import StoredEngine  # noqa: E402
from tagevol_hf.engines.vllm import VLLMEngine  # noqa: E402
from tagevol_hf.training.tiny import make_tiny_model  # noqa: E402

TARGET = 0.90
SETTINGS = {"dtype": "float32", "enforce_eager": True, "max_model_len": 2048, "max_num_seqs": 256}
SCHEMA = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 3, "maxItems": 3},
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
    },
    "required": ["tags", "score"],
    "additionalProperties": False,
}
MAX_TOKENS = {"off": 64, "on": 128}  # by structured output; with it, a reply ends by itself
_TASK = "Name three tags of this instruction, and a score from 1 to 10, as JSON. " * 3


@dataclass
class Turn:
    """One side's answers to one round of prompts."""

    texts: list[str]
    tokens: int
    seconds: float
    cpu: float
    stored_at_half: int = 0


class Raw:
    """vLLM's own `LLM.chat`."""

    def __init__(self, model: Path) -> None:
        from vllm import LLM

        more = {"enable_prefix_caching": True, "enable_chunked_prefill": False, "disable_log_stats": True}
        structured = {"backend": "guidance", "disable_any_whitespace": True}
        self._llm = LLM(model=str(model), structured_outputs_config=structured, **SETTINGS, **more)

    def answer(self, prompts: Sequence[str], structured: str) -> Turn:
        """Ask for all at once."""
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        kept = StructuredOutputsParams(json=json.dumps(SCHEMA)) if structured == "on" else None
        params = SamplingParams(temperature=0.0, max_tokens=MAX_TOKENS[structured], structured_outputs=kept)
        begin, cpu = time.perf_counter(), time.process_time()
        outputs = self._llm.chat([[{"role": "user", "content": text}] for text in prompts], params, use_tqdm=False)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        replies = [output.outputs[0] for output in outputs]
        return Turn([reply.text for reply in replies], sum(len(reply.token_ids) for reply in replies), seconds, cpu)


class Ours:
    """This project's engine with a new store for each turn."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._engine = VLLMEngine(str(model), engine_args=SETTINGS)
        self._folder, self._turns = folder, 0

    def answer(self, prompts: Sequence[str], structured: str) -> Turn:
        """Ask one by one, and look at the store from outside at half."""
        self._turns += 1
        file = self._folder / f"store-{self._turns}.sqlite"
        sampling = Sampling(max_tokens=MAX_TOKENS[structured])
        schema = SCHEMA if structured == "on" else None
        texts, tokens, at_half = [""] * len(prompts), 0, 0
        begin, cpu = time.perf_counter(), time.process_time()
        engine = StoredEngine(self._engine, RequestStore(file))
        requests = (Request((Message("user", text),), sampling, schema) for text in prompts)
        for seen, (position, reply) in enumerate(engine.stream(requests), 1):
            texts[position], tokens = reply.text, tokens + reply.completion_tokens
            if seen == len(prompts) // 2:
                at_half = _stored(file)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        engine.store.close()
        return Turn(texts, tokens, seconds, cpu, at_half)


def _stored(file: Path) -> int:
    """Replies in a store, as another connection sees them."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM replies").fetchone()[0])
    finally:
        connection.close()


@dataclass
class Round:
    """What one round found.

    Attributes:
        structured: Whether structured output was "on" or "off".
        first: Who went first.
        raw_s: Seconds of `LLM.chat`.
        ours_s: Seconds of ours.
        raw_cpu_s: CPU seconds of `LLM.chat`.
        ours_cpu_s: CPU seconds of ours.
        tokens: Generated by each side.
        same: Prompts to which both gave the same reply.
        stored_at_half: Replies in the store when half of them had been handed out.
    """

    structured: str
    first: str
    raw_s: float
    ours_s: float
    raw_cpu_s: float
    ours_cpu_s: float
    tokens: dict[str, int]
    same: int
    stored_at_half: int


def measure(count: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Run both sides in turns; the rounds, the medians, and ours over raw as rates."""
    texts = [row(number)["instruction"] for number in range(50)]
    model = make_tiny_model(folder / "tiny-llama", "llama", [_TASK, json.dumps(SCHEMA), *texts])
    sides = {"raw": Raw(model), "ours": Ours(model, folder)}
    found: list[Round] = []
    for structured in ("off", "on"):
        for side in sides.values():  # the first batches compile kernels and the grammar
            side.answer(_prompts(10_000_000, min(count, 300)), structured)
        for number in range(rounds):
            found.append(_round(sides, structured, number, count))
            sys.stdout.write(f"{found[-1]}\n")
            sys.stdout.flush()
    return {"rounds": [asdict(round_) for round_ in found], "result": _medians(found, count)}


def _round(sides: dict[str, Any], structured: str, number: int, count: int) -> Round:
    prompts = _prompts(number * count, count)
    order = ["raw", "ours"] if number % 2 == 0 else ["ours", "raw"]
    turns = {name: sides[name].answer(prompts, structured) for name in order}
    raw, ours = turns["raw"], turns["ours"]
    same = sum(a == b for a, b in zip(raw.texts, ours.texts, strict=True))
    tokens = {"raw": raw.tokens, "ours": ours.tokens}
    times = raw.seconds, ours.seconds, raw.cpu, ours.cpu
    return Round(structured, order[0], *times, tokens, same, ours.stored_at_half)


def _prompts(first: int, count: int) -> list[str]:
    return [f"{_TASK}{row(number)['instruction']}" for number in range(first, first + count)]


def _medians(rounds: Sequence[Round], count: int) -> dict[str, dict[str, float]]:
    return {
        f"structured output {structured}": _median([found for found in rounds if found.structured == structured], count)
        for structured in ("off", "on")
    }


def _median(rounds: Sequence[Round], count: int) -> dict[str, float]:
    names = ("raw_s", "ours_s", "raw_cpu_s", "ours_cpu_s")
    middle = {name: statistics.median(getattr(found, name) for found in rounds) for name in names}
    return {
        "raw_per_s": count / middle["raw_s"],
        "ours_per_s": count / middle["ours_s"],
        "ours_over_raw": middle["raw_s"] / middle["ours_s"],
        "ours_over_raw_by_round": statistics.median(found.raw_s / found.ours_s for found in rounds),
        "ours_over_raw_by_cpu": middle["raw_cpu_s"] / middle["ours_cpu_s"],
        "same_replies_share": sum(found.same for found in rounds) / (count * len(rounds)),
        "stored_at_half_share": min(found.stored_at_half for found in rounds) / (count / 2),
    }


def main() -> int:
    """Measure, print, write; 1 where a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="file for the result, as JSON")
    given = parser.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory(prefix="in-process-", ignore_cleanup_errors=True) as folder:
        found = measure(given.prompts, given.rounds, Path(folder))
    report = {"machine": where, "versions": _versions(), "settings": {**SETTINGS, "prompts": given.prompts}, **found}
    report["settings"]["own_process"] = os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"
    sys.stdout.write(json.dumps(report["result"], indent=1) + "\n")
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n")
    return int(not all(_held(line) for line in found["result"].values()))


def _held(line: dict[str, float]) -> bool:
    return line["ours_over_raw"] >= TARGET and line["same_replies_share"] >= 0.99 and line["stored_at_half_share"] >= 1


def _versions() -> dict[str, str]:
    import vllm

    return {"vllm": vllm.__version__, **{name: version(name) for name in ("torch", "transformers", "tokenizers")}}


if __name__ == "__main__":
    sys.exit(main())
