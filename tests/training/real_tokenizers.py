"""Fast tokenizers with the pieces of published models, built from their vocabulary files without a network.

`mistral` and `qwen2.5` have their own pieces; `llama3` has GPT-2's pieces behind Llama-3's way of splitting and
its special tokens; `llama2` has Mistral's pieces, with all that matters for labels: spaces before words, byte
tokens, `<s>`. SentencePiece's own first space is found in two forms: at the start of a text alone (Hugging Face's
`legacy: false`), or, in the names that end in `-legacy`, in front of every stretch between two special tokens.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

MODELS = Path(os.environ.get("TAGEVOL_TEST_MODELS", Path(__file__).parents[3] / "shared" / "models"))
SENTENCEPIECE_FILE = MODELS / "tokenizers" / "mistral7b_v0.1_tokenizer.model"
FILES = {
    "llama2": [SENTENCEPIECE_FILE],
    "llama2-legacy": [SENTENCEPIECE_FILE],
    "mistral": [SENTENCEPIECE_FILE],
    "mistral-legacy": [SENTENCEPIECE_FILE],
    "llama3": [MODELS / "tokenizers" / "gpt2_encoder.json", MODELS / "tokenizers" / "gpt2_vocab.bpe"],
    "qwen2.5": [MODELS / "tokenizers" / "qwen.tiktoken"],
}
NAMES = tuple(FILES)
SENTENCEPIECE_NAMES = NAMES[:4]
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")
SENTENCEPIECE_SPECIAL = ["<unk>", "<s>", "</s>"]
LLAMA3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def family_of(name: str) -> str:
    """The chat format of a tokenizer's name."""
    return name.removesuffix("-legacy")


def real_tokenizer(name: str) -> Any:
    """A fresh tokenizer without a chat template, as a base model's."""
    return _built(name, {})


def veiled_tokenizer(name: str) -> tuple[Any, dict[str, str]]:
    """The same with each special token under another name, one private character, and these names.

    A text in which the template's special tokens are written so, and the data's are not, can be tokenized as
    a whole: nothing in the data is taken for a special token.
    """
    special = real_tokenizer(name).get_added_vocab()
    veil = {token: chr(0x10FF00 + number) for number, token in enumerate(special)}
    return _built(name, veil), veil


def _built(name: str, veil: dict[str, str]) -> Any:
    for file in FILES[name]:
        if not file.is_file():
            pytest.skip(f"{file} is not there")
    if name in SENTENCEPIECE_NAMES:
        return _sentencepiece(veil, every_stretch=name.endswith("-legacy"))
    return _llama3(veil) if name == "llama3" else _qwen(veil)


def _llama3(veil: dict[str, str]) -> Any:
    from tokenizers.processors import TemplateProcessing

    encoder, merges = (file.read_text("utf-8") for file in FILES["llama3"])
    vocab = {piece: number for piece, number in json.loads(encoder).items() if piece != "<|endoftext|>"}
    pairs = [tuple(line.split(" ")) for line in merges.splitlines()[1:] if line]
    backend = _byte_level(vocab, pairs, LLAMA3_SPLIT, _names(LLAMA3_SPECIAL, veil))
    bos, eos, *_ = _names(LLAMA3_SPECIAL, veil)
    pair = [bos, "$A", bos, "$B"]
    backend.post_processor = TemplateProcessing(
        single=[bos, "$A"], pair=pair, special_tokens=[(bos, backend.token_to_id(bos))]
    )
    return _fast(backend, bos_token=bos, eos_token=eos)


def _qwen(veil: dict[str, str]) -> Any:
    from tokenizers.normalizers import NFC

    backend = _byte_level(*_tiktoken_pieces(), QWEN_SPLIT, _names(QWEN_SPECIAL, veil))
    [end, *_] = _names(QWEN_SPECIAL, veil)
    backend.normalizer = NFC()
    return _fast(backend, eos_token=end, pad_token=end)


def _sentencepiece(veil: dict[str, str], *, every_stretch: bool) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    pieces, merges = _sentencepiece_pieces()
    vocab = {veil.get(piece, piece): number for piece, number in pieces.items()}
    unk, bos, eos = _names(SENTENCEPIECE_SPECIAL, veil)
    backend = Tokenizer(models.BPE(vocab, merges, unk_token=unk, fuse_unk=True, byte_fallback=True))
    if every_stretch:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in (unk, bos, eos)])
    backend.post_processor = processors.TemplateProcessing(
        single=[bos, "$A"], pair=[bos, "$A", bos, "$B"], special_tokens=[(bos, vocab[bos])]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _fast(backend, bos_token=bos, eos_token=eos, unk_token=unk)


def _names(special: list[str], veil: dict[str, str]) -> list[str]:
    return [veil.get(token, token) for token in special]


def _byte_level(vocab: dict[str, int], merges: list[Any], split: str, special: list[str]) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    backend = Tokenizer(models.BPE(vocab, merges))
    words = pre_tokenizers.Split(Regex(split), behavior="isolated")
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, pieces])
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in special])
    return backend


def _fast(backend: Any, **names: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, padding_side="right", **names
    )


@cache
def _sentencepiece_pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Pieces, and every way to merge two pieces to a third in the order of that third's score."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_file=str(SENTENCEPIECE_FILE))
    vocab = {model.id_to_piece(number): number for number in range(model.get_piece_size())}
    normal = [piece for piece, number in vocab.items() if not (model.is_control(number) or model.is_byte(number))]
    normal.sort(key=lambda piece: -model.get_score(vocab[piece]))
    return vocab, [pair for piece in normal for pair in _halves(piece, vocab)]


@cache
def _tiktoken_pieces() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Qwen's pieces in GPT-2's spelling of bytes, and the merges behind them."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    vocab, merges = TikTokenConverter().extract_vocab_merges_from_model(str(FILES["qwen2.5"][0]))
    return vocab, merges


def _halves(piece: str, vocab: dict[str, int]) -> list[tuple[str, str]]:
    cuts = [(piece[:end], piece[end:]) for end in range(1, len(piece))]
    return sorted((cut for cut in cuts if cut[0] in vocab and cut[1] in vocab), key=lambda cut: [vocab[p] for p in cut])
