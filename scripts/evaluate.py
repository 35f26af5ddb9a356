#!/usr/bin/env python
"""Measure a fine-tuned model, before and after, on rows that it was not trained on.

    python scripts/evaluate.py --model runs/quickstart/sft-tiny --base runs/quickstart/sft-tiny/tiny-model \
        --data runs/quickstart --out runs/quickstart/evaluation.json

Prints the mean loss of a response token for the base and the trained model, and a few replies of both. What stands in
--out for the same weights, rows and options is shown, and not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from huggingface_hub.utils import disable_progress_bars as disable_hub_progress_bars

from tagevol_hf.errors import DataError, RecipeError, TagEvolError
from tagevol_hf.evals import held_out
from tagevol_hf.training import card, curated, encode, formats, models, quiet, record
from tagevol_hf.versions import versions

_DECIDING = (
    *(".safetensors", ".bin", ".jinja", ".model", "config.json", "adapter_config.json"),
    *("tokenizer.json", "tokenizer_config.json"),
)  # endings and names of files that decide what a model says


def arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--model", required=True, help="trained model or LoRA adapter: a folder or a Hub id")
    parser.add_argument("--base", help="the model before training; default: the one that train.json names")
    parser.add_argument("--data", required=True, help="run folder whose not_chosen/ rows are held out")
    parser.add_argument("--format", help="as of scripts/sft.py; default: as trained, else alpaca")
    parser.add_argument("--limit", type=int, default=64, help="rows to score at most (default 64)")
    parser.add_argument("--max_length", type=int, default=2048, help="longer rows are left out (default 2048 tokens)")
    parser.add_argument("--batch_size", type=int, default=8, help="rows at a time (default 8)")
    parser.add_argument("--replies", type=int, default=3, help="instructions to show replies to (default 3)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Held-out rows, encoded as in training, scored by both models."""
    trained = record.read_json(Path(options.model) / "train.json")
    format_name = formats.check_format(options.format or trained.get("format", "alpaca"))
    base = options.base or base_of(options.model, trained)
    if options.limit < 1:
        raise RecipeError(f"--limit: expected at least 1, got {options.limit}")
    selected, not_chosen = (curated.read_part(options.data, part) for part in ("selected", "not_chosen"))
    chosen = held_out.held_out_rows(selected, not_chosen, options.limit)
    question = question_of(options, format_name, base, chosen.rows)
    earlier = record.read_json(options.out) if options.out else {}
    if question and earlier.get("question") == question:
        print(f"{options.out}: already measured: nothing to do (same model, rows and options)")
        return earlier
    tokenizer = models.load_tokenizer(options.model, revision="main", trust_remote_code=False, eos_token=None)
    encoded = encode.encode(chosen.rows, format_name, tokenizer)
    fitting = [index for index, ids in enumerate(encoded["input_ids"]) if len(ids) <= options.max_length]
    if not fitting:
        raise DataError(f"all {len(encoded)} held-out rows exceed --max_length {options.max_length} tokens")
    rows, encoded_rows = chosen.rows.select(fitting), encoded.select(fitting)

    shown = range(min(options.replies, len(fitting)))
    before, replies_before = measure(base, tokenizer, encoded_rows, shown, options) if base else (None, None)
    after, replies_after = measure(options.model, tokenizer, encoded_rows, shown, options)
    return {
        "task": "held_out_loss",
        "unit": "nats a response token",
        "question": question,
        "n": after.n,
        "n_tokens": after.n_tokens,
        "before": before.as_dict() if before else None,
        "after": after.as_dict(),
        "model": options.model,
        "training": trained.get("digest"),
        "base": base,
        "data": options.data,
        "format": format_name,
        "held_out": chosen.kind,
        "held_out_means": held_out.KINDS[chosen.kind],
        "available": chosen.available,
        "too_long": len(encoded) - len(fitting),
        "samples": [
            {
                "id": rows[index]["id"],
                "instruction": rows[index]["instruction"][: held_out.REPLY_CHARACTERS],
                "before": replies_before[index] if replies_before else None,
                "after": replies_after[index],
            }
            for index in shown
        ],
        "versions": versions(),
    }


def question_of(options: argparse.Namespace, format_name: str, base: str | None, rows: Dataset) -> str:
    """Digest of what is measured; empty for a model of the Hub, which may change under its name."""
    if not Path(options.model).is_dir():
        return ""
    looks = [options.max_length, options.replies, format_name, curated.content_digest(rows)]
    facts = [marks_of(options.model), marks_of(base) if base else None, *looks]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def marks_of(model: str) -> Any:
    """Sizes and times of the files that decide what a model says; of one on the Hub its name."""
    if not Path(model).is_dir():
        return model
    files = [file for file in sorted(Path(model).iterdir()) if file.suffix in _DECIDING or file.name in _DECIDING]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def measure(
    path: str, tokenizer: Any, encoded: Dataset, shown: range, options: argparse.Namespace
) -> tuple[held_out.Loss, list[str]]:
    """Loss and replies of one model; only one model is in memory at a time."""
    model = held_out.load_model(path)
    size = model.get_input_embeddings().weight.shape[0]
    if (largest := max(max(ids) for ids in encoded["input_ids"])) >= size:
        raise DataError(f"{path}: knows {size} tokens, the tokenizer of --model gives {largest}; wrong --base?")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    label = f"scoring {Path(path).name}"
    loss = held_out.response_loss(model, encoded, pad_id=pad, batch_size=options.batch_size, label=label)
    return loss, held_out.replies(model, tokenizer, [held_out.prompt_ids(encoded[index]) for index in shown])


def base_of(model: str, trained: dict[str, Any]) -> str | None:
    """What the model was trained from, as its train.json says."""
    name = trained.get("model")
    if name and name.startswith(models.TINY):
        tiny = Path((trained.get("merged") or {}).get("base") or Path(model) / "tiny-model")
        return str(tiny) if tiny.is_dir() else None
    return name


def show(result: dict[str, Any], file: Path | None) -> None:
    """The result for a person; the sample replies only where they do not go into a file."""
    print(f"held-out loss on {result['n']} rows with {result['n_tokens']} response tokens")
    print(f"  ({result['held_out_means']})")
    for name in ("before", "after"):
        if figures := result[name]:
            loss, perplexity = figures["loss"], figures["perplexity"]
            print(f"  {name:<6}  {loss:.4f} nats a token   perplexity {perplexity:,.1f}")
    if file:
        print(f"replies of the models to {len(result['samples'])} of these rows are in {file}")
        return
    for sample in result["samples"]:
        print(f"\n{sample['instruction']!r}")
        for name in ("before", "after"):
            if sample[name] is not None:
                print(f"  {name:<6}  {sample[name]!r}")


def main(argv: list[str]) -> int:
    """Exit status: 0 when measured, 2 with one line on standard error when something is wrong."""
    disable_progress_bars()
    disable_hub_progress_bars()  # transformers follows this one
    options = arguments(argv)
    quiet.silence_libraries()
    try:
        result = evaluate(options)
    except TagEvolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(result, options.out)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        record.write_json(options.out, result)
        if options.out == Path(options.model) / card.EVALUATION:
            card.refresh_card(options.out.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
