import hashlib
from pathlib import Path

import pytest

from tagevol_hf.errors import RecipeError
from tagevol_hf.training.tiny import ARCHITECTURES, make_tiny_model

TEXTS = ["the cat sat on the mat", "one two three"]
CHAT = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": "no"},
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_same_arguments_give_the_same_files_and_auto_classes_load_them(tmp_path: Path, architecture: str):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    before = torch.random.get_rng_state()
    folders = [make_tiny_model(tmp_path / name, architecture, TEXTS) for name in ("a", "b")]
    assert torch.equal(torch.random.get_rng_state(), before)
    digests = [[hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(d.iterdir())] for d in folders]
    assert digests[0] == digests[1]
    other = make_tiny_model(tmp_path / "c", architecture, TEXTS, seed=1)
    assert (other / "model.safetensors").read_bytes() != (folders[0] / "model.safetensors").read_bytes()

    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    model = AutoModelForCausalLM.from_pretrained(folders[0])
    assert model.config.model_type == architecture
    assert model.dtype == torch.float32
    assert model.config.hidden_size // model.config.num_attention_heads == 32  # vLLM on a CPU serves no smaller heads
    assert len(tokenizer) <= model.config.vocab_size
    ids = tokenizer("the cat", return_tensors="pt")
    assert torch.isfinite(model(**ids).logits).all()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}.isdisjoint({None})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_byte_survives_and_a_full_vocabulary_stays_within_the_model(tmp_path: Path, architecture: str):
    from transformers import AutoTokenizer

    many = [f"word{n} and number {n * n}" for n in range(400)]
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path, architecture, many, vocab_size=500))
    assert len(tokenizer) == 500
    for text in ("".join(map(chr, range(256))), "日本語 🦊 \ud7ff", "  two  spaces\n\n\ttab "):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_no_texts_at_all_still_give_a_tokenizer(tmp_path: Path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path, "llama", []))
    assert tokenizer.decode(tokenizer("aé")["input_ids"], skip_special_tokens=True) == "aé"


def test_chat_template_marks_what_the_assistant_says_and_needs_no_system_turn(tokenizer):
    output = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    pairs = zip(output["input_ids"], output["assistant_masks"], strict=True)
    assert tokenizer.decode([token for token, mask in pairs if mask]) == "yes<|im_end|>no<|im_end|>"
    asked = tokenizer.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "<|bos|><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.apply_chat_template(CHAT, tokenize=False).startswith(asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "gpt5"}, "'gpt5' is not known; one of llama, mistral, qwen2"),
        ({"architecture": "llama", "vocab_size": 200}, "vocab_size must be at least 260, got 200"),
        ({"architecture": "llama", "hidden_size": 48}, "hidden_size must be a multiple of 32, got 48"),
    ],
)
def test_wrong_arguments(tmp_path: Path, arguments: dict, message: str):
    with pytest.raises(RecipeError, match=message):
        make_tiny_model(tmp_path, texts=[], **arguments)
