"""Packed and padded batches: every row whole with its labels, and no row sees another."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from run_folders import load_script

from tagevol_hf.training.encode import ENCODED_FEATURES
from tagevol_hf.training.tiny import make_tiny_model

pytestmark = pytest.mark.slow

MASKED = -100
TOLERANCE = 1e-4
LONGEST = 48
LENGTHS = [1, 2, 3, LONGEST, LONGEST - 1, *range(4, 34)]
ARCHITECTURES = ("llama", "mistral", "qwen2")
ATTENTION = ("sdpa", "eager")
KINDS = ("packing", "padding", "padding-free")
Pair = tuple[tuple[int, ...], tuple[int, ...]]


def rows(vocabulary: int) -> list[Pair]:
    """Random ids, learned in one or two stretches that may begin with the row; two rows are the same."""
    draw = random.Random(0)
    pairs = []
    for length in [*LENGTHS, 20]:
        ids = tuple(draw.randrange(4, vocabulary) for _ in range(length))
        first, second = sorted(draw.randrange(length + 1) for _ in range(2))
        labels = (token if place < first or place >= second else MASKED for place, token in enumerate(ids))
        pairs.append((ids, tuple(labels)))
    return [*pairs, pairs[-1]]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / request.param
    return make_tiny_model(folder, request.param, ["a few words"], vocab_size=300)


@pytest.fixture(scope="module", params=ATTENTION)
def attention(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trainers(model: Path, attention: str) -> dict[str, Any]:
    return {
        "packing": trainer_of(model, attention, packing=True, max_length=LONGEST),
        "padding": trainer_of(model, attention, packing=False, max_length=None),
        "padding-free": trainer_of(model, attention, packing=False, max_length=None, padding_free=True),
    }


@pytest.fixture(scope="module")
def packing(trainers: dict[str, Any]) -> Any:
    return trainers["packing"]


def trainer_of(model: Path, attention: str, **changes: Any) -> Any:
    """As scripts/sft.py makes it, in evaluation mode: the same numbers each time."""
    from transformers import AutoTokenizer
    from trl import ModelConfig, SFTConfig

    options = {"per_device_train_batch_size": 4, "use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    config = SFTConfig(output_dir=str(model / "out"), report_to="none", disable_tqdm=True, **options, **changes)
    names = ("id", "input_ids", "labels")
    table = [dict(zip(names, (str(n), *pair), strict=True)) for n, pair in enumerate(rows(260))]
    data = Dataset.from_list(table, features=ENCODED_FEATURES)
    tokenizer = AutoTokenizer.from_pretrained(model)
    settings = ModelConfig(model_name_or_path=str(model), attn_implementation=attention)
    trainer = load_script("sft").make_trainer(str(model), config, settings, data, None, tokenizer)
    assert trainer.model.config._attn_implementation == attention
    trainer.model.eval()
    return trainer


def places_of(batch: dict[str, Any]) -> list[Any]:
    """Where each row stands in a batch: its line, and its columns without padding."""
    if "attention_mask" in batch:
        return [(line, slice(0, int(mask.sum()))) for line, mask in enumerate(batch["attention_mask"])]
    positions = batch["position_ids"][0]
    starts = [*(positions == 0).nonzero().flatten().tolist(), len(positions)]
    return [(0, slice(*ends)) for ends in pairwise(starts)]


def logits_of(trainer: Any, batch: dict[str, Any]) -> Any:
    """What the model says to a batch as the trainer gives it."""
    import torch

    with torch.no_grad():
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return trainer.model(**inputs, use_cache=False).logits


def alone(trainer: Any, ids: Any) -> Any:
    import torch

    with torch.no_grad():
        return trainer.model(input_ids=ids[None], use_cache=False).logits[0]


def losses_and_gradients(trainer: Any, batches: list[dict[str, Any]], learned: int) -> tuple[float, list[Any]]:
    """Of TRL's own loss, summed over batches, per learned token of all of them."""
    trainer.model.zero_grad()
    loss = sum(trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=learned) for batch in batches)
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in trainer.model.parameters()]
    trainer.model.zero_grad()
    return loss.item(), gradients


def seen(ids: Any, labels: Any) -> Pair:
    """A row but for its first label, which TRL masks in packs: nothing stands before it to predict it from."""
    return tuple(ids), (MASKED, *labels[1:])


# Packs hold all that they should


def test_packs_hold_every_row_whole_with_its_labels(packing: Any) -> None:
    found: Counter[Pair] = Counter()
    for pack in packing.train_dataset:
        assert len(pack["input_ids"]) == len(pack["labels"]) == sum(pack["seq_lengths"]) <= LONGEST
        ends = list(accumulate(pack["seq_lengths"], initial=0))
        found.update((tuple(pack["input_ids"][a:b]), tuple(pack["labels"][a:b])) for a, b in pairwise(ends))
    assert found == Counter(rows(260))
    assert max(len(pack["seq_lengths"]) for pack in packing.train_dataset) > 2


# Rows in one batch do not see each other


@pytest.mark.parametrize("kind", KINDS)
def test_rows_say_in_a_batch_what_they_say_alone(kind: str, trainers: dict[str, Any]) -> None:
    trainer, found, together = trainers[kind], Counter[Pair](), 0
    for batch in trainer.get_train_dataloader():
        logits, places = logits_of(trainer, batch), places_of(batch)
        together = max(together, len(places))
        for place in places:
            ids, labels = batch["input_ids"][place], batch["labels"][place]
            found[seen(ids.tolist(), labels.tolist())] += 1
            assert (logits[place] - alone(trainer, ids)).abs().max() < TOLERANCE
    assert together >= 4
    assert found == Counter(seen(*pair) for pair in rows(260))


def test_a_row_s_tokens_change_nothing_in_its_pack_but_itself(packing: Any) -> None:
    batch = next(iter(packing.get_train_dataloader()))
    before, places = logits_of(packing, batch), places_of(batch)
    for changed in places:
        other = {**batch, "input_ids": batch["input_ids"].clone()}
        other["input_ids"][changed] = (other["input_ids"][changed] + 7) % 256
        after = logits_of(packing, other)
        assert not after[changed].equal(before[changed])
        assert all(after[place].equal(before[place]) for place in places if place != changed)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradients_are_those_of_the_rows_alone(kind: str, trainers: dict[str, Any]) -> None:
    trainer, collator = trainers[kind], trainers["padding"].data_collator
    together = list(trainer.get_train_dataloader())
    single = [collator([{"input_ids": list(ids), "labels": list(labels)}]) for ids, labels in rows(260)]
    learned = sum(label != MASKED for _, labels in rows(260) for label in labels[1:])
    loss, gradients = losses_and_gradients(trainer, together, learned)
    alone_loss, alone_gradients = losses_and_gradients(trainer, single, learned)
    assert loss > 1
    assert abs(loss - alone_loss) < TOLERANCE
    for ours, theirs in zip(gradients, alone_gradients, strict=True):
        assert (ours - theirs).abs().max() < TOLERANCE
    assert max(float(gradient.abs().max()) for gradient in gradients) > 100 * TOLERANCE


def test_these_checks_find_rows_that_see_each_other(packing: Any) -> None:
    """A pack with positions that run through, as careless packing has them, is found out."""
    batch = next(iter(packing.get_train_dataloader()))
    places = places_of(batch)
    careless = {"input_ids": batch["input_ids"], "labels": batch["labels"]}
    logits = logits_of(packing, careless)
    apart = [(logits[place] - alone(packing, batch["input_ids"][place])).abs().max() for place in places]
    assert apart[0] < TOLERANCE
    assert max(apart[1:]) > 10 * TOLERANCE


def test_padding_is_never_learned(trainers: dict[str, Any]) -> None:
    padding = 0
    for batch in trainers["padding"].get_train_dataloader():
        added = batch["attention_mask"] == 0
        padding += int(added.sum())
        assert (batch["labels"][added] == MASKED).all()
    assert padding > 100
