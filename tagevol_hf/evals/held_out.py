"""Loss of a model on responses that it was not trained on: the plainest sign that a training did something.

The figure is the mean negative log-likelihood of a response token (its end token included) given everything
before it, in nats, over all scored tokens of all rows; perplexity is its exponential. It compares two models
with the same tokenizer on the same rows; across tokenizers it compares nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from datasets import Dataset

from ..errors import DataError, MissingExtraError
from ..progress import progress

MASKED = -100
REPLY_CHARACTERS = 200
KINDS = {
    "unseen_seeds": "rows that were not chosen, from seeds of which no row was trained on",
    "seen_seeds": "rows that were not chosen, though another row of their seed was trained on",
}


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows to evaluate on.

    Attributes:
        rows: In a fixed order that does not depend on the order of the run's rows.
        kind: A key of `KINDS`: how far from the training data they are.
        available: Rows of this kind before a limit was put on them.
    """

    rows: Dataset
    kind: str
    available: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Result of one model.

    Attributes:
        loss: Mean negative log-likelihood of a response token, in nats.
        perplexity: exp(loss).
        n: Rows scored.
        n_tokens: Response tokens scored.
    """

    loss: float
    perplexity: float
    n: int
    n_tokens: int

    def as_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def held_out_rows(selected: Dataset, not_chosen: Dataset, limit: int) -> HeldOut:
    """Rows with a response that were not trained on, preferably from seeds that were not either.

    Args:
        selected: Rows that were trained on; needs `id`, uses `seed_id` where it is there.
        not_chosen: The run's rows that were not selected; needs `id` and `response`.
        limit: Largest number of rows, at least 1; they are drawn by the hash of their id.

    Raises:
        DataError: If nothing was held out.
    """
    answered = [index for index, text in enumerate(not_chosen["response"]) if text and text.strip()]
    seeds, trained = _seeds(not_chosen), set(_seeds(selected))
    unseen = [index for index in answered if seeds[index] not in trained]
    chosen, kind = (unseen, "unseen_seeds") if unseen else (answered, "seen_seeds")
    if not chosen:
        raise DataError(
            f"nothing is held out: none of {len(not_chosen)} rows in not_chosen/ has a response; select "
            "fewer rows than the run has, or evaluate on another run"
        )
    ids = not_chosen["id"]
    drawn = sorted(chosen, key=lambda index: hashlib.sha256(str(ids[index]).encode()).digest())[:limit]
    return HeldOut(not_chosen.select(drawn), kind, len(chosen))


def response_loss(model: Any, encoded: Dataset, *, pad_id: int, batch_size: int = 8, label: str = "scoring") -> Loss:
    """Score the labelled tokens of encoded rows.

    Args:
        model: A causal language model of transformers.
        encoded: Columns `input_ids` and `labels`; -100 in `labels` is not scored.
        pad_id: Token that fills up a batch; any will do, as it is masked.
        batch_size: Rows at a time; it changes the result by rounding only.
        label: Words beside the progress bar.

    Raises:
        DataError: If no token is labelled.
    """
    rows = row_losses(model, encoded, pad_id=pad_id, batch_size=batch_size, label=label)
    total, count = math.fsum(loss for loss, _ in rows), sum(tokens for _, tokens in rows)
    if count == 0:
        raise DataError(f"none of {len(rows)} held-out rows has a token to score; raise max_length")
    mean = total / count
    return Loss(mean, math.exp(mean) if mean < 700 else math.inf, len(rows), count)


def row_losses(
    model: Any, encoded: Dataset, *, pad_id: int, batch_size: int = 8, label: str = "scoring"
) -> list[tuple[float, int]]:
    """Score the labelled tokens of each encoded row by itself.

    Args:
        model: A causal language model of transformers.
        encoded: As for `response_loss`.
        pad_id: Likewise.
        batch_size: Likewise.
        label: Words beside the progress bar.

    Returns:
        (summed negative log-likelihood in nats, number of scored tokens) of each row, in the order of the rows.
    """
    rows = list(zip(encoded["input_ids"], encoded["labels"], strict=True))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index][0]))
    found: list[tuple[float, int]] = [(0.0, 0)] * len(rows)
    with progress(label, len(rows)) as advance:
        for start in range(0, len(rows), batch_size):
            batch = order[start : start + batch_size]
            for index, scored in zip(batch, _batch_losses(model, [rows[n] for n in batch], pad_id), strict=True):
                found[index] = scored
                advance()
    return found


def replies(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], *, new_tokens: int = 64) -> list[str]:
    """Greedy replies to tokenized prompts, one by one, cut to 200 characters; for a person to look at."""
    import torch

    end = tokenizer.eos_token_id
    pad = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    texts = []
    for ids in prompts:
        prompt = torch.tensor([list(ids)], device=model.device)
        with torch.inference_mode():
            output = model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=False,
                max_new_tokens=new_tokens,
                pad_token_id=pad,
                eos_token_id=end,
            )
        text = tokenizer.decode(output[0, prompt.shape[1] :], skip_special_tokens=True)
        texts.append(text.strip()[:REPLY_CHARACTERS])
    return texts


def prompt_ids(encoded_row: Mapping[str, Any]) -> list[int]:
    """Everything before the last response of an encoded row."""
    labels = encoded_row["labels"]
    end = len(labels)
    while end and labels[end - 1] == MASKED:  # what a chat template puts behind the response
        end -= 1
    while end and labels[end - 1] != MASKED:
        end -= 1
    return list(encoded_row["input_ids"][:end])


def load_model(path: str) -> Any:
    """A causal model or a PEFT adapter in evaluation mode, on the GPU if there is one (then in bfloat16).

    Raises:
        DataError: If no model can be loaded from there.
        MissingExtraError: If torch or transformers is not installed.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "train") from error
    gpu = torch.cuda.is_available()
    try:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16 if gpu else torch.float32)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: no causal model there ({reason}); give a model folder or a Hub id") from error
    return model.to("cuda" if gpu else "cpu").eval()


def _seeds(rows: Dataset) -> list[str]:
    """Each row's seed; a row that was not evolved is its own."""
    ids = list(rows["id"])
    seeds = list(rows["seed_id"]) if "seed_id" in rows.column_names else [None] * len(ids)
    return [seed or row_id for seed, row_id in zip(seeds, ids, strict=True)]


def _batch_losses(model: Any, batch: Sequence[tuple[list[int], list[int]]], pad_id: int) -> list[tuple[float, int]]:
    """Summed negative log-likelihood in nats, and the number of scored tokens, of each row."""
    import torch

    width = max(len(ids) for ids, _ in batch)
    ids = torch.full((len(batch), width), pad_id)
    labels = torch.full((len(batch), width), MASKED)
    mask = torch.zeros((len(batch), width), dtype=torch.long)
    for index, (row_ids, row_labels) in enumerate(batch):
        length = len(row_ids)
        ids[index, :length], labels[index, :length] = torch.tensor(row_ids), torch.tensor(row_labels)
        mask[index, :length] = 1
    with torch.inference_mode():
        logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, :-1]
    targets = labels[:, 1:].to(logits.device)
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=MASKED, reduction="none"
    )
    sums, counts = losses.double().view(targets.shape).sum(1), (targets != MASKED).sum(1)
    return list(zip(sums.tolist(), counts.tolist(), strict=True))
