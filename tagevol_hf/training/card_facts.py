"""What a model card tells, from the records of a training and of its data run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .card_text import Ready, code, plain
from .record import UNIMPORTANT

HISTORY_ROWS = 12  # of the loss, in the card; train.json has them all


def opening(train: Mapping[str, Any]) -> str:
    """What the model is, in a sentence."""
    base = f"[{plain(train['base'])}](https://huggingface.co/{train['base']})" if train["base"] else "the model "
    base += "" if train["base"] else code(train.get("model") or "that train.json names")
    what = "A LoRA adapter for" if is_adapter(train) else "A fine-tuned version of"
    return Ready(
        f"{what} {base}, trained with [TRL](https://github.com/huggingface/trl)'s supervised fine-tuning on "
        "instruction data that was evolved and selected with tagevol_hf."
    )


def data_facts(train: Mapping[str, Any], run: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What was trained on, and how it was made: labels and values that are known."""
    return _shown([*_source(train), *_run_facts(run), *_row_facts(train)])


def training_facts(train: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """How it was trained: labels and values that are known."""
    return _shown(_training_facts(train))


def loss_rows(train: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The course of the loss, `HISTORY_ROWS` entries at most."""
    return [_entry(entry) for entry in _spread(train.get("loss_history") or [])]


def measured(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The held-out losses of an evaluation; None where it has none."""
    models = [
        {"label": label, "loss": f"{figures['loss']:.4f}", "perplexity": f"{figures['perplexity']:,.2f}"}
        for label in ("before", "after")
        if (figures := evaluation.get(label))
    ]
    means, rows = evaluation.get("held_out_means", "held-out rows"), evaluation.get("n", 0)
    found = {"means": means, "rows": f"{rows:,}", "tokens": f"{evaluation.get('n_tokens', 0):,}", "models": models}
    return found if models else None


def rules_only(run: Mapping[str, Any]) -> bool:
    """Whether no language model made the data of a run."""
    engines = (run.get("engines") or {}).values()
    return bool(engines) and not any(engine.get("language_model") for engine in engines)


def step_row(step: Mapping[str, Any]) -> dict[str, Any]:
    """What a step did with the rows."""
    names = ("name", "rows_in", "added", "rows_out")
    return {**{key: step.get(key, "") for key in names}, "rejected": sum((step.get("rejected") or {}).values())}


def given_arguments(train: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The arguments of the training that change the model, by name."""
    return [(code(name), code(value)) for name, value in sorted(given(train).items()) if name not in UNIMPORTANT]


def given(train: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of the training."""
    return train.get("arguments") or {}


def is_adapter(train: Mapping[str, Any]) -> bool:
    """Whether the model is a LoRA adapter."""
    return str(given(train).get("use_peft", "")).lower() in ("true", "1", "yes") and not train.get("merged")


def _source(train: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield "trained on", code(given(train).get("curated", ""))
    yield "SHA-256 of its texts", code(train.get("data_digest", ""))


def _run_facts(run: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    totals = run.get("totals") or {}
    yield "data run", code(run.get("name", ""))
    yield "digest of its recipe", code(run.get("digest", ""))
    yield "seed", run.get("seed")
    yield "made with tagevol_hf", run.get("version")
    for step, engine in (run.get("engines") or {}).items():
        kind = "a language model" if engine.get("language_model") else "rules, no language model"
        yield f"engine {step}", Ready(f"{code(engine.get('identity') or engine.get('spec', ''))} ({kind})")
    for label, key in (("rows read", "read"), ("rows added by evolving", "added"), ("rows selected", "selected"),
                       ("rows not chosen", "not_chosen")):  # fmt: skip
        yield label, totals.get(key)
    rejected = totals.get("rejected") or {}
    words = ", ".join(f"{reason} {count:,}" for reason, count in rejected.items())
    yield "rows rejected", f"{sum(rejected.values()):,} ({words})" if rejected else (0 if totals else None)


def _row_facts(train: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    yield "rows trained on", train.get("rows")
    yield "their tokens", train.get("tokens")
    yield "learned tokens", train.get("learned_tokens")
    yield "rows without a response, left out", train.get("rows_without_response")
    over_long, dropped = train.get("over_long"), train.get("dropped")
    if over_long:
        longest = train.get("longest", 0)
        done = "left out" if dropped else "cut at their end"
        yield "over-long rows", f"{over_long:,} with more than max_length, {done}; the longest has {longest:,} tokens"


def _training_facts(train: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    arguments = given(train)
    yield "format", code(train.get("format", ""))
    template = arguments.get("chat_template_path") or (
        "the tokenizer's own" if train.get("format") == "messages" else ""
    )
    yield "chat template", template or code(train.get("format", ""))
    yield "end token, learned with each response", code(train.get("end_token", ""))
    yield "base model's revision", code(arguments.get("model_revision", ""))
    for label, key in (("epochs", "epochs"), ("steps", "steps"), ("processes", "processes"), ("seconds", "seconds")):
        yield label, train.get(key)
    if train.get("first_loss") is not None:
        yield "training loss, first to last", f"{train['first_loss']:.4f} → {train['last_loss']:.4f}"
    if merged := train.get("merged"):
        yield "merged", f"in {merged.get('dtype')}, into revision {merged.get('revision')} of the base"
        yield "SHA-256 of the adapter", code(merged.get("adapter_digest", ""))


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"step": entry.get("step"), "epoch": f"{entry.get('epoch', 0):.2f}", "loss": f"{entry['loss']:.4f}"}


def _spread(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """So many entries at even distances, the first and the last among them."""
    last = len(entries) - 1
    if last < HISTORY_ROWS:
        return list(entries)
    return [entries[place] for place in sorted({round(n * last / (HISTORY_ROWS - 1)) for n in range(HISTORY_ROWS)})]


def _shown(facts: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The facts that are known, with their numbers readable."""
    return [
        (label, f"{value:,}" if isinstance(value, (int, float)) else value)
        for label, value in facts
        if value is not None and value != ""
    ]
