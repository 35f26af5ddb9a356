"""What ids and labels must be, from character offsets: texts joined by hand here, no templates and no code under test.

A text is a list of stretches, each marked as learned or not. It is tokenized as a whole, and a token is
learned where its characters overlap a learned stretch. This rule needs two remarks:

* Several tokens of one character (bytes of an emoji) have the same characters, so all of them are learned or none.
* A token can span the border between prompt and answer: the newline in front of a ChatML answer that begins
  with a newline, the colon of Alpaca in front of `)`. At inference the prompt is tokenized before there is an
  answer, so its tokens are those of the prompt alone, and the answer goes on from there with tokens that spell
  exactly the answer: prompt and answer are tokenized apart. The space in front of a LLaMA-2 or Mistral answer
  belongs to the answer's first token, as SentencePiece has it, so there no token ever spans the border.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from training.real_tokenizers import SENTENCEPIECE_NAMES, family_of, real_tokenizer, veiled_tokenizer

MASKED = -100
Turn = dict[str, str]
Stretches = list[tuple[str, bool]]
Expected = tuple[list[int], list[int]]

QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
ALPACA_START = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)
END_TOKENS = {"llama2": "</s>", "mistral": "</s>", "llama3": "<|eot_id|>", "qwen2.5": "<|im_end|>"}
veiled = cache(veiled_tokenizer)
plain = cache(real_tokenizer)  # never changed: tests that set a template take a fresh one


def turns(*texts: str, system: str | None = None) -> list[Turn]:
    """User and assistant in turn, behind a system turn where there is one."""
    first = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    return [*first, *({"role": roles[n % 2], "content": text} for n, text in enumerate(texts))]


def chat_stretches(family: str, conversation: list[Turn], veil: dict[str, str]) -> Stretches:
    """The conversation's text as the model family writes it; an answer's stretch holds its end token."""
    return {"llama2": _llama2, "mistral": _mistral, "llama3": _llama3, "qwen2.5": _qwen}[family](conversation, veil)


def alpaca_stretches(question: str, answer: str, end: str) -> Stretches:
    return [(f"{ALPACA_START}\n\n### Instruction:\n{question}\n\n### Response:", False), (answer + end, True)]


def expected_chat(name: str, conversation: list[Turn], *, only_last: bool = False) -> Expected:
    """Ids and labels of a conversation; `only_last`: earlier answers are part of the prompt."""
    tokenizer, veil = veiled(name)
    stretches = chat_stretches(family_of(name), conversation, veil)
    if only_last:
        last = max(n for n, (_, learned) in enumerate(stretches) if learned)
        stretches = [(text, learned and n == last) for n, (text, learned) in enumerate(stretches)]
    return _tokenized(name, stretches, tokenizer, starts_text=False)


def expected_alpaca(name: str, question: str, answer: str) -> Expected:
    """The tokenizer puts `<s>` in front by itself; the end token is the tokenizer's own."""
    tokenizer, _ = veiled(name)
    return _tokenized(name, alpaca_stretches(question, answer, tokenizer.eos_token), tokenizer, starts_text=True)


def spanning(name: str, stretches: Stretches, *, starts_text: bool = False) -> list[int]:
    """Where a learned stretch begins inside of a token, in characters from the start."""
    tokenizer, _ = veiled(name)
    offsets = _offsets("".join(text for text, _ in stretches), tokenizer, starts_text)[1]
    return [start for start, _ in _spans(stretches) if any(a < start < b for a, b in offsets)]


def _tokenized(name: str, stretches: Stretches, tokenizer: Any, *, starts_text: bool) -> Expected:
    text, spans = "".join(part for part, _ in stretches), _spans(stretches)
    cuts = [0, *spanning(name, stretches, starts_text=starts_text), len(text)]
    ids: list[int] = []
    labels: list[int] = []
    for begin, end in pairwise(cuts):
        part = text[begin:end]
        part_ids, offsets = _going_on(name, part) if begin else _offsets(part, tokenizer, starts_text)
        ids += part_ids
        labels += [
            token if any(begin + a < high and low < begin + b for low, high in spans) else MASKED
            for token, (a, b) in zip(part_ids, offsets, strict=True)
        ]
    return ids, labels


def _going_on(name: str, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens of a text that follows another: without the space that SentencePiece puts at a start."""
    if name not in SENTENCEPIECE_NAMES:
        return _offsets(text, veiled(name)[0], starts_text=False)
    tokenizer, veil = veiled(family_of(name))  # not legacy: behind a special token no space is put in
    ids, offsets = _offsets(veil["<s>"] + text, tokenizer, starts_text=False)
    return ids[1:], [(a - 1, b - 1) for a, b in offsets[1:]]


def _offsets(text: str, tokenizer: Any, starts_text: bool) -> tuple[list[int], list[tuple[int, int]]]:
    output = tokenizer(text, return_offsets_mapping=True, add_special_tokens=starts_text, truncation=False)
    return output["input_ids"], output["offset_mapping"]


def _spans(stretches: Stretches) -> list[tuple[int, int]]:
    ends = [sum(len(text) for text, _ in stretches[: n + 1]) for n in range(len(stretches))]
    return [(end - len(text), end) for end, (text, learned) in zip(ends, stretches, strict=True) if learned]


def _pairs(conversation: list[Turn]) -> list[tuple[str, str]]:
    texts = [turn["content"] for turn in conversation if turn["role"] != "system"]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _system(conversation: list[Turn]) -> str | None:
    return conversation[0]["content"] if conversation[0]["role"] == "system" else None


def _llama2(conversation: list[Turn], veil: dict[str, str]) -> Stretches:
    system = _system(conversation)
    before = "" if system is None else f"<<SYS>>\n{system.strip()}\n<</SYS>>\n\n"
    stretches: Stretches = []
    for number, (question, answer) in enumerate(_pairs(conversation)):
        asked = (before if number == 0 else "") + question.strip()
        stretches += [(f"{veil['<s>']}[INST] {asked} [/INST]", False), (f" {answer.strip()}{veil['</s>']}", True)]
    return stretches


def _mistral(conversation: list[Turn], veil: dict[str, str]) -> Stretches:
    system = _system(conversation)
    before = "" if system is None else f"{system}\n\n"
    stretches: Stretches = [(veil["<s>"], False)]
    for number, (question, answer) in enumerate(_pairs(conversation)):
        asked = (before if number == 0 else "") + question
        stretches += [(f"[INST] {asked} [/INST]", False), (f" {answer}{veil['</s>']}", True)]
    return stretches


def _llama3(conversation: list[Turn], veil: dict[str, str]) -> Stretches:
    stretches: Stretches = [(veil["<|begin_of_text|>"], False)]
    for turn in conversation:
        head = veil["<|start_header_id|>"] + turn["role"] + veil["<|end_header_id|>"] + "\n\n"
        text = turn["content"].strip() + veil["<|eot_id|>"]
        stretches += [(head, False), (text, turn["role"] == "assistant")]
    return stretches


def _qwen(conversation: list[Turn], veil: dict[str, str]) -> Stretches:
    system = [] if _system(conversation) is not None else [{"role": "system", "content": QWEN_SYSTEM}]
    stretches: Stretches = []
    for turn in [*system, *conversation]:
        head = f"{veil['<|im_start|>']}{turn['role']}\n"
        text = turn["content"] + veil["<|im_end|>"]
        stretches += [(head, False), (text, turn["role"] == "assistant"), ("\n", False)]
    return stretches
