"""A small random causal model with its own tokenizer, made on the spot: for demos and tests, never for use.

`tiny:llama`, `tiny:mistral` and `tiny:qwen2` name such models in the training recipes. The same arguments
give the same files, byte for byte in the tokenizer and bit for bit in the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError, RecipeError

ARCHITECTURES = {"llama": "LlamaConfig", "mistral": "MistralConfig", "qwen2": "Qwen2Config"}
# The names are those of Qwen2, whose tokenizer class would otherwise add its own beyond the vocabulary.
BOS, EOS, PAD, TURN = "<|bos|>", "<|im_end|>", "<|endoftext|>", "<|im_start|>"
ADDS_BOS = ("llama", "mistral")  # Qwen2 tokenizers put nothing in front of a text
HEAD_SIZE = 32  # the smallest that vLLM can serve on a CPU
FEWEST_TOKENS = 256 + 4  # every byte, and the special tokens above


def make_tiny_model(
    folder: Path,
    architecture: str,
    texts: Iterable[str],
    *,
    vocab_size: int = 1024,
    hidden_size: int = 64,
    layers: int = 2,
    positions: int = 4096,
    seed: int = 0,
) -> Path:
    """Write a random model and a byte-level BPE tokenizer trained on `texts`, in Hugging Face format.

    Args:
        folder: Where to write; made when it is not there, files in it are overwritten.
        architecture: "llama", "mistral" or "qwen2".
        texts: What the tokenizer learns its merges from; few or none will do, as every byte has a token.
        vocab_size: Rows of the embedding, at least 260. The tokenizer may end with fewer tokens.
        hidden_size: Width of the model; a multiple of 32, the size of a head.
        layers: Number of transformer blocks.
        positions: Longest text in tokens.
        seed: Draws the weights; the global random state is left as it was.

    Returns:
        `folder`.

    Raises:
        RecipeError: If an argument is out of its range.
        MissingExtraError: If torch, tokenizers or transformers is not installed.
    """
    _check(architecture, vocab_size, hidden_size)
    tokenizer = _tokenizer(texts, vocab_size, positions, adds_bos=architecture in ADDS_BOS)
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden_size // HEAD_SIZE,
        "num_key_value_heads": 1,
        "max_position_embeddings": positions,
    }
    model = _model(architecture, sizes, tokenizer, seed)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _check(architecture: str, vocab_size: int, hidden_size: int) -> None:
    if architecture not in ARCHITECTURES:
        raise RecipeError(f"tiny model: architecture {architecture!r} is not known; one of {', '.join(ARCHITECTURES)}")
    if vocab_size < FEWEST_TOKENS:
        raise RecipeError(f"tiny model: vocab_size must be at least {FEWEST_TOKENS}, got {vocab_size}")
    if hidden_size <= 0 or hidden_size % HEAD_SIZE:
        raise RecipeError(f"tiny model: hidden_size must be a multiple of {HEAD_SIZE}, got {hidden_size}")


def _tokenizer(texts: Iterable[str], vocab_size: int, positions: int, *, adds_bos: bool) -> Any:
    """Byte-level BPE as in GPT-2 and Qwen2, with one end token for plain text and for chat turns."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
        from transformers import PreTrainedTokenizerFast
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers", "train") from error
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, TURN, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if adds_bos:
        backend.post_processor = processors.TemplateProcessing(
            single=[BOS, "$A"], pair=[BOS, "$A", BOS, "$B"], special_tokens=[(BOS, backend.token_to_id(BOS))]
        )
    template = resources.files(__package__).joinpath("templates", "tiny_chat.jinja").read_text("utf-8")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[TURN],
        chat_template=("{{- bos_token }}" if adds_bos else "") + template,
        model_max_length=positions,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def _model(architecture: str, sizes: dict[str, int], tokenizer: Any, seed: int) -> Any:
    """Random float32 weights drawn from `seed` alone."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    config = getattr(transformers, ARCHITECTURES[architecture])(
        **sizes,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.AutoModelForCausalLM.from_config(config).to(torch.float32)
