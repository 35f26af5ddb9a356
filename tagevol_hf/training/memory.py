"""How much memory a training takes on one GPU, from the model's shape alone: an estimate, before anything is loaded.

The terms are sums of sizes. What is not in them: CUDA's own context (about 0.5 GB), temporary copies that libraries
make (bf16 copies of weights in a step, gathered blocks and buckets of a sharded training), and fragmentation; so take
the next larger GPU where it is close. The logits are not counted: TRL computes the loss in chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Sharding = Literal["none", "fsdp2", "zero2", "zero3"]
NF4 = 0.5 + 0.127 / 8  # bytes a weight: 4 bits, and 0.127 bits for twice quantised scales (QLoRA, section 3)
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a LLaMA, Mistral or Qwen2 model.

    Attributes:
        layers: Blocks.
        hidden: Width of the residual stream.
        inner: Width of the feed-forward layer.
        queries: Width of all query heads together.
        keys: Width of all key heads together; values have the same.
        vocabulary: Rows of the embedding.
        tied: Whether the output layer is the embedding.
        biased: Whether queries, keys and values have a bias (Qwen2).
    """

    layers: int
    hidden: int
    inner: int
    queries: int
    keys: int
    vocabulary: int
    tied: bool
    biased: bool

    @property
    def linear(self) -> tuple[tuple[int, int], ...]:
        """(in, out) of each linear layer of a block."""
        attention = (self.hidden, self.queries), (self.hidden, self.keys), (self.hidden, self.keys)
        forward = (self.hidden, self.inner), (self.hidden, self.inner), (self.inner, self.hidden)
        return (*attention, (self.queries, self.hidden), *forward)

    @property
    def linear_parameters(self) -> int:
        """Weights of the linear layers of all blocks."""
        return self.layers * sum(rows * columns for rows, columns in self.linear)

    @property
    def parameters(self) -> int:
        """All weights, exactly."""
        biases = self.queries + 2 * self.keys if self.biased else 0
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.linear_parameters + self.layers * (2 * self.hidden + biases) + embeddings + self.hidden

    def adapters(self, rank: int) -> int:
        """Weights of LoRA adapters of a rank on all linear layers of the blocks."""
        return self.layers * rank * sum(rows + columns for rows, columns in self.linear)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them, in bytes."""
        return self.weights + self.gradients + self.optimizer + self.activations


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The sizes in a model's configuration, as in its config.json."""
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or hidden // heads)
    return Shape(
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        inner=int(config["intermediate_size"]),
        queries=heads * size,
        keys=int(config.get("num_key_value_heads") or heads) * size,
        vocabulary=int(config["vocab_size"]),
        tied=bool(config.get("tie_word_embeddings")),
        biased=config.get("model_type") == "qwen2",
    )


def estimate(
    shape: Shape,
    *,
    batch: int,
    length: int,
    processes: int = 1,
    sharding: Sharding = "none",
    lora_rank: int | None = None,
    four_bit: bool = False,
) -> Memory:
    """Memory on one GPU of a training with AdamW in mixed bf16 precision and gradient checkpointing.

    Args:
        shape: Of the model.
        batch: Rows at once on one GPU.
        length: Tokens of a row, at the most.
        processes: GPUs that share what is sharded.
        sharding: "none" (one GPU or DDP), "fsdp2", "zero2" or "zero3".
        lora_rank: Train adapters of this rank on a bf16 base; None trains all weights.
        four_bit: The base is held in 4 bits (QLoRA); only with `lora_rank`.
    """
    full = lora_rank is None
    plain = full and sharding in ("none", "fsdp2")  # float32 weights; DeepSpeed and LoRA hold bf16
    activations = _activations(shape, batch * length, stream=4 if plain else 2)
    if not full:
        count, each = shape.adapters(lora_rank or 0), 2 if four_bit else 4  # TRL holds adapters of 4-bit bases in bf16
        rest = shape.parameters - shape.linear_parameters
        base = NF4 * shape.linear_parameters + 2 * rest if four_bit else 2.0 * shape.parameters
        return Memory(base + each * count, each * count, 2 * each * count, activations)
    weights, gradients, optimizer = (4, 4, 8) if plain else (2, 2, 12)  # 12: a float32 copy and two moments
    whole = shape.parameters
    shared = whole / (1 if sharding == "none" else processes)
    held = whole if sharding == "zero2" else shared
    return Memory(weights * held, gradients * shared, optimizer * shared, activations)


def in_words(config: Mapping[str, Any], wanted: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The estimate for a training that is about to begin, as a line to print.

    Args:
        config: The model's, as plain values.
        wanted: TRL's arguments.
        environment: What accelerate tells its processes.
    """
    sharding: Sharding = "none"
    if environment.get("ACCELERATE_USE_DEEPSPEED") == "true":
        sharding = "zero3" if environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3" else "zero2"
    elif environment.get("ACCELERATE_USE_FSDP") == "true":
        sharding = "fsdp2"
    try:
        shape = shape_of(config)
    except KeyError as missing:
        return f"memory: not estimated (the model's configuration has no {missing})"
    found = estimate(
        shape,
        batch=int(wanted["per_device_train_batch_size"]),
        length=int(wanted["max_length"] or config.get("max_position_embeddings", 0)),
        processes=int(environment.get("WORLD_SIZE", "1")),
        sharding=sharding,
        lora_rank=int(wanted["lora_r"]) if wanted["use_peft"] else None,
        four_bit=bool(wanted["load_in_4bit"]),
    )
    parts = (found.weights, found.gradients, found.optimizer, found.activations)
    weights, gradients, optimizer, activations = (f"{part / GIB:.1f}" for part in parts)
    return (
        f"memory: about {found.total / GIB:.1f} GiB a GPU for {shape.parameters / 1e9:.2f} billion parameters (weights "
        f"{weights}, gradients {gradients}, optimizer {optimizer}, activations {activations}); an estimate"
    )


def _activations(shape: Shape, tokens: int, stream: int) -> float:
    """The input of each block, and all that one block keeps while it is computed again (no attention matrix)."""
    kept = shape.layers * shape.hidden * stream
    inside = 2 * (2 * shape.queries + 2 * shape.keys + 4 * shape.inner) + stream * 4 * shape.hidden
    return float(tokens * (kept + inside))
