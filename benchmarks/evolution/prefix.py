"""Measure how much of Tag-Evol's prompts is shared, and what vLLM's prefix cache makes of it on a CPU.

    python benchmarks/evolution/prefix.py

The model is tiny and random, made on the spot; its answers are cut after a few tokens, as only the prompts matter.
Writes a JSON and a Markdown file into benchmarks/results; the exit status is 1 where a target was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

for _name, _value in {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}.items():
    os.environ.setdefault(_name, _value)

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "engines")]

from datasets import Dataset, Features, List, Value  # noqa: E402 - the folders of the benchmarks come onto the path first
from scenarios.plan import Outcome  # noqa: E402
from scenarios.report import as_text, machine, save  # noqa: E402

from tagevol_hf.engines.base import Reply, Request  # noqa: E402
from tagevol_hf.engines.vllm import VLLMEngine  # noqa: E402
from tagevol_hf.evolve.tag_evol import TagEvol, draw_candidates  # noqa: E402
from tagevol_hf.formats import prepare  # noqa: E402
from tagevol_hf.rows import ROW_FEATURES  # noqa: E402
from tagevol_hf.tags.pool import TagPool  # noqa: E402
from tagevol_hf.training.tiny import make_tiny_model  # noqa: E402
from tagevol_hf.versions import versions  # noqa: E402

_BUDGETS, _BLOCK, _LEAST = (1, 3, 5), 128, 0.85
_OPTIONS = {"dtype": "float32", "enforce_eager": "true", "max_model_len": "4096", "max_num_seqs": "16"}


class Seen:
    """Passes requests on, and keeps each with its reply."""

    def __init__(self, inner: VLLMEngine) -> None:
        self.inner, self.identity = inner, inner.identity
        self.pairs: list[tuple[Request, Reply]] = []

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As the engine inside."""
        asked: list[Request] = []
        for position, reply in self.inner.stream(_noting(requests, asked)):
            self.pairs.append((asked[position], reply))
            yield position, reply

    def close(self) -> None:
        """The engine inside is closed by its owner."""


def _noting(requests: Iterable[Request], asked: list[Request]) -> Iterator[Request]:
    for request in requests:
        asked.append(request)
        yield request


def main() -> int:
    """Measure; 1 where a target was missed."""
    given = _arguments()
    where = machine()
    seeds = _seeds(given.seeds)
    outcome = Outcome(f"prefix of Tag-Evol's prompts: {given.seeds} seeds, budgets {_BUDGETS}, vLLM on a CPU")
    with tempfile.TemporaryDirectory(prefix="bench-prefix-") as folder:
        model = make_tiny_model(Path(folder) / "tiny", "llama", seeds["instruction"][:], vocab_size=512)
        engine = VLLMEngine(str(model), engine_args=_OPTIONS)
        try:
            earlier: list[list[int]] = []
            for budget in _BUDGETS:
                _measure(outcome, engine, model, seeds, budget, earlier)
        finally:
            engine.close()
    outcome.runs.append(
        {"case": "versions", "versions": {k: v for k, v in versions().items() if k in ("vllm", "torch")}}
    )
    file = save(given.results, "evolution-prefix", where, outcome)
    sys.stdout.write(f"{as_text(outcome)}\n{file.name}\n")
    return int(not all(check.held for check in outcome.checks))


def _measure(
    outcome: Outcome, engine: VLLMEngine, model: Path, seeds: Dataset, budget: int, earlier: list[list[int]]
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    seen = Seen(engine)
    pool = TagPool({f"field {number} of knowledge": {"topic": 1} for number in range(200)})
    TagEvol(seen, attempts=1, max_tokens=8).apply(draw_candidates(seeds, pool, [budget]))
    prompts = [_tokens(tokenizer, request) for request, _ in seen.pairs]
    before = min(_before_the_row(tokenizer, request) for request, _ in seen.pairs)
    same = _common(prompts)
    shared = min(same, before)
    cached, queried = sum(reply.cached_tokens for _, reply in seen.pairs), sum(map(len, prompts))
    opening = max((_common([prompts[0], other]) for other in earlier), default=0)  # what a budget before left behind
    bound = (len(prompts) - 1) * _whole_blocks(same) + _whole_blocks(opening)
    earlier.append(prompts[0])
    share = shared / before
    outcome.table.append(
        {
            "budget": budget,
            "prompts": len(prompts),
            "tokens a prompt": round(queried / len(prompts)),
            "before the row": before,
            "shared": shared,
            "share": f"{share:.1%}",
            "served by the cache": f"{cached:,}",
            "of all prompt tokens": f"{cached / queried:.1%}",
            "of what whole blocks allow": f"{cached / bound:.1%}",
        }
    )
    outcome.runs.append({"budget": budget, "shared": shared, "before": before, "cached": cached, "queried": queried})
    outcome.at_least(f"share of the tokens before the row, b = {budget}", share, _LEAST)
    outcome.at_least(f"served of what whole blocks allow, b = {budget}", cached / bound, _LEAST)


def _tokens(tokenizer: Any, request: Request) -> list[int]:
    return list(tokenizer(_rendered(tokenizer, request), add_special_tokens=False).input_ids)


def _before_the_row(tokenizer: Any, request: Request) -> int:
    """Tokens of the prompt, with the chat template's opening, up to where the row's part begins."""
    text = _rendered(tokenizer, request).partition("<instruction>\n")[0]
    return len(tokenizer(text, add_special_tokens=False).input_ids)


def _rendered(tokenizer: Any, request: Request) -> str:
    turns = [{"role": message.role, "content": message.content} for message in request.messages]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _whole_blocks(tokens: int) -> int:
    return tokens // _BLOCK * _BLOCK


def _common(prompts: Sequence[Sequence[int]]) -> int:
    places = enumerate(zip(*prompts, strict=False))
    return next((place for place, tokens in places if len(set(tokens)) > 1), min(map(len, prompts)))


def _seeds(count: int) -> Dataset:
    """The first seeds of the quickstart: their openings differ, so that only what is the prompt's own is shared."""
    lines = (ROOT / "recipes" / "quickstart" / "seeds.jsonl").read_text("utf-8").splitlines()[:count]
    features = Features({**ROW_FEATURES, "tags": List(Value("string"))})
    texts = [json.loads(line)["instruction"] for line in lines]
    rows = [{**row, "tags": ["planning"]} for row in prepare(Dataset.from_dict({"instruction": texts}))]
    return Dataset.from_list(rows, features=features)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, choices=range(2, 65), metavar="2..64")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
