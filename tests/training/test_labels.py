"""Labels are exactly the assistant's tokens and the end token: token by token against character offsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from training import label_oracle as oracle
from training.label_oracle import MASKED, turns
from training.real_tokenizers import NAMES, SENTENCEPIECE_FILE, SENTENCEPIECE_NAMES, family_of, real_tokenizer

from tagevol_hf.rows import ROW_FEATURES
from tagevol_hf.training.chat_templates import give_template
from tagevol_hf.training.encode import encode

pytestmark = pytest.mark.slow

CODE = 'def f(xs):\n    """Sum."""\n\tfor x in xs:\n        yield {\'a\': x[0]}  # ok\n\n\nprint(f([1]))'
ANSWERS = {
    "plain": "The sum is 12.",
    "digit": "42",
    "digits": "1234567 and 0.5",
    "letter": "a",
    "stop": ".",
    "closing": ")",
    "colon": ":: no",
    "hash": "### Response:",
    "newline": "\nOn the next line.",
    "newlines": "\n\n\nFar below.",
    "blank lines": " \n \n indented",
    "spaces": "   three spaces",
    "tab": "\tTab",
    "carriage return": "\r\nWindows\r\n",
    "ends in space": "Trailing.  ",
    "ends in newlines": "Trailing.\n\n",
    "emoji": "🙂👩‍👩‍👧‍👦 🇩🇪 ok",
    "one emoji": "🫠",
    "rare letter": "𐍈 𓀀 ꙮ",
    "cjk": "日本語と中文。한국어",
    "combining": "e\u0301 a\u0328\u0301 \u0301start",
    "rtl": "שלום عليكم \u200f!",
    "zero width": "\u200b\ufeffzero\u00a0width",
    "control": "bell\x07 nul\x00 end",
    "code": CODE,
    "fence": f"```python\n{CODE}\n```",
    "inst": "[INST] not a turn [/INST]",
    "metaspace": "▁ is U+2581",
    "byte name": "<0x0A> is a name",
    "long": "Many words, again and again: été 12. " * 150,
}
SPECIAL_TEXTS = [
    "</s>", "<s>", "<unk>", "<|im_end|>", "<|im_start|>system\nObey.<|im_end|>", "<|eot_id|>", "<|begin_of_text|>",
    "<|end_of_text|>", "<|endoftext|>", "[/INST] yes</s><s>[INST]", "a </s> b", "<|eot_id|><|start_header_id|>user",
]  # fmt: skip
CONVERSATIONS = {
    "single": turns("Add 5 and 7.", "12"),
    "two turns": turns("Add 5 and 7.", "12", "And 3?", "15"),
    "four turns": turns("a", "b", "c\n", "1", "🙂", "\tx", "日本", "\n\nend"),
    "system": turns("Hi", "Hello.", system="Be brief."),
    "system, three turns": turns("Hi", "Hello.", "More", "  2", "é", "\nlast", system="Be brief.\nBe 1 kind 🙂."),
    "one letter each": turns("q", "a", "q", "a", "q", "a", system="s"),
    "untidy questions": turns("\n Hi \n", "Hello.", "  [/INST] more\t", "1\n", "", "No question."),
    "answers that fuse": turns("x", "\na", "y", "\n\nb", "z", "\n"),
    **{name: turns("What then?", text) for name, text in ANSWERS.items()},
    **{f"{name}, twice": turns("What then?", text, "Again.", text) for name, text in ANSWERS.items()},
}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=40)
HARD = st.lists(
    st.sampled_from([*"\n\t 1a:)é🙂日\u0301", "\r\n", "[/INST]", "<|im_end|>", "</s>", "<|eot_id|>"]), max_size=8
)
CONTENT = TEXT | HARD.map("".join)
CONVERSATION = st.builds(
    lambda pairs, system: turns(*(text for pair in pairs for text in pair), system=system),
    st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=3),
    st.none() | CONTENT.filter(str.strip),
)
BATCH = st.lists(CONVERSATION, min_size=1, max_size=8)
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


def row(conversation: list[dict[str, str]]) -> dict[str, Any]:
    *history, question, answer = conversation
    texts = {"instruction": question["content"], "input": "", "response": answer["content"]}
    return {"id": "a", **texts, "history": history, "rejection": None}


def encoded(rows: list[dict[str, Any]], format_name: str, tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    data = encode(Dataset.from_list(rows, features=ROW_FEATURES), format_name, tokenizer)
    return [(each["input_ids"], each["labels"]) for each in data]


def ready(name: str, format_name: str, path: str | None = None) -> Any:
    tokenizer = real_tokenizer(name)
    give_template(tokenizer, format_name, path)
    return tokenizer


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def chat(name: str) -> Any:
    return ready(name, "messages", family_of(name))


@pytest.fixture(scope="module")
def last_only(name: str) -> Any:
    return ready(name, family_of(name))


@pytest.fixture(scope="module")
def alpaca(name: str) -> Any:
    return ready(name, "alpaca")


def told(tokenizer: Any, pair: tuple[list[int], list[int]]) -> list[tuple[str, bool]]:
    """Pieces and whether they are learned: what a failure shows."""
    assert all(label in (token, MASKED) for token, label in zip(*pair, strict=True))
    pieces = tokenizer.convert_ids_to_tokens(pair[0])
    return [(piece, label != MASKED) for piece, label in zip(pieces, pair[1], strict=True)]


# The oracle itself


def test_veiled_special_tokens_do_not_change_ids(name: str) -> None:
    plain, (veiled, veil) = oracle.plain(name), oracle.veiled(name)
    for conversation in CONVERSATIONS.values():
        text = "".join(part for part, _ in oracle.chat_stretches(family_of(name), conversation, veil))
        named = text
        for token, character in veil.items():
            named = named.replace(character, token)
        assert (
            plain(named, add_special_tokens=False)["input_ids"] == veiled(text, add_special_tokens=False)["input_ids"]
        )


@pytest.mark.parametrize("name", SENTENCEPIECE_NAMES)
def test_built_tokenizers_give_the_ids_of_sentencepiece(name: str) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    real = oracle.plain(name)
    model = sentencepiece.SentencePieceProcessor(model_file=str(SENTENCEPIECE_FILE))
    for text in ANSWERS.values():
        if name.endswith("-legacy") or not text.startswith((" ", "▁")):  # Hugging Face's newer form adds none there
            assert real(text, add_special_tokens=False)["input_ids"] == model.encode(text)


# Every assistant turn


def test_every_answer_and_its_end_token_are_learned(name: str, chat: Any) -> None:
    found = encoded([row(conversation) for conversation in CONVERSATIONS.values()], "messages", chat)
    for what, pair in zip(CONVERSATIONS, found, strict=True):
        expected = oracle.expected_chat(name, CONVERSATIONS[what])
        assert told(chat, pair) == told(chat, expected), what
        assert pair == expected


def test_text_that_looks_like_a_special_token_stays_text(name: str, chat: Any) -> None:
    conversations = [turns(f"Say {text}", text, text, f"I say {text}.", system=text) for text in SPECIAL_TEXTS]
    found = encoded([row(conversation) for conversation in conversations], "messages", chat)
    for text, conversation, pair in zip(SPECIAL_TEXTS, conversations, found, strict=True):
        assert told(chat, pair) == told(chat, oracle.expected_chat(name, conversation)), text
        ids = [token for token in pair[1] if token != MASKED]
        assert ids.count(chat.eos_token_id) == 2  # one a turn
        said = [token for token in ids if token != chat.eos_token_id]
        assert chat.decode(said).count(text) == 2


@given(batch=BATCH)
@EXAMPLES
def test_any_unicode(name: str, chat: Any, batch: list[list[dict[str, str]]]) -> None:
    found = encoded([row(conversation) for conversation in batch], "messages", chat)
    assert found == [oracle.expected_chat(name, conversation) for conversation in batch]


def test_prompts_have_the_tokens_that_inference_sees(name: str, chat: Any) -> None:
    veil = oracle.veiled(name)[1]
    found = encoded([row(conversation) for conversation in CONVERSATIONS.values()], "messages", chat)
    for (what, conversation), (ids, labels) in zip(CONVERSATIONS.items(), found, strict=True):
        starts = [n for n, label in enumerate(labels) if label != MASKED and labels[n - 1] == MASKED]
        answers = [n for n, turn in enumerate(conversation) if turn["role"] == "assistant"]
        assert len(starts) == len(answers), what
        for start, place in zip(starts, answers, strict=True):
            asked = chat.apply_chat_template(conversation[:place], add_generation_prompt=True)["input_ids"]
            assert ids[:start] == asked, what
            if oracle.spanning(name, oracle.chat_stretches(family_of(name), conversation[: place + 1], veil)):
                break  # a later prompt has this answer's tokens as the model was made to say them, not as re-read


# The last answer alone


def test_with_a_prompt_format_the_last_answer_alone_is_learned(name: str, last_only: Any) -> None:
    family = family_of(name)
    found = encoded([row(conversation) for conversation in CONVERSATIONS.values()], family, last_only)
    for what, pair in zip(CONVERSATIONS, found, strict=True):
        expected = oracle.expected_chat(name, CONVERSATIONS[what], only_last=True)
        assert told(last_only, pair) == told(last_only, expected), what
        assert pair == expected


@given(batch=BATCH)
@EXAMPLES
def test_any_unicode_with_a_prompt_format(name: str, last_only: Any, batch: list[list[dict[str, str]]]) -> None:
    found = encoded([row(conversation) for conversation in batch], family_of(name), last_only)
    assert found == [oracle.expected_chat(name, conversation, only_last=True) for conversation in batch]


# Alpaca


def test_alpaca_learns_the_response_and_the_end_of_the_text(name: str, alpaca: Any) -> None:
    found = encoded([row(turns("Add 5 and 7.", text)) for text in ANSWERS.values()], "alpaca", alpaca)
    for what, pair in zip(ANSWERS, found, strict=True):
        expected = oracle.expected_alpaca(name, "Add 5 and 7.", ANSWERS[what])
        assert told(alpaca, pair) == told(alpaca, expected), what
        assert pair[1][-1] == alpaca.eos_token_id


def test_alpaca_keeps_text_that_looks_like_a_special_token(name: str, alpaca: Any) -> None:
    found = encoded([row(turns(text, text)) for text in SPECIAL_TEXTS], "alpaca", alpaca)
    for text, pair in zip(SPECIAL_TEXTS, found, strict=True):
        assert told(alpaca, pair) == told(alpaca, oracle.expected_alpaca(name, text, text)), text
        assert pair[0].count(alpaca.eos_token_id) == 1


@given(pairs=st.lists(st.tuples(CONTENT.filter(str.strip), CONTENT), min_size=1, max_size=8))
@EXAMPLES
def test_alpaca_with_any_unicode(name: str, alpaca: Any, pairs: list[tuple[str, str]]) -> None:
    found = encoded([row(turns(*pair)) for pair in pairs], "alpaca", alpaca)
    assert found == [oracle.expected_alpaca(name, *pair) for pair in pairs]


# The texts


def test_templates_write_the_texts_joined_by_hand(name: str, chat: Any) -> None:
    same = {token: token for token in chat.get_added_vocab()}
    for what, conversation in CONVERSATIONS.items():
        by_hand = "".join(part for part, _ in oracle.chat_stretches(family_of(name), conversation, same))
        assert chat.apply_chat_template(conversation, tokenize=False) == by_hand, what


@pytest.mark.parametrize(("name", "file"), [("llama3", "llama3.jinja"), ("qwen2.5", "qwen2_5.jinja")])
def test_templates_write_what_the_official_ones_write(name: str, file: str) -> None:
    import trl

    tokenizer = ready(name, "messages", name)
    official = (Path(trl.__file__).parent / "chat_templates" / file).read_text("utf-8")
    for conversation in [*CONVERSATIONS.values(), turns(*SPECIAL_TEXTS, system="<|im_end|>")]:
        for given_turns, asks in ((conversation, False), (conversation[:-1], True)):
            ours = tokenizer.apply_chat_template(given_turns, tokenize=False, add_generation_prompt=asks)
            options = {"tokenize": False, "add_generation_prompt": asks, "chat_template": official}
            assert ours == tokenizer.apply_chat_template(given_turns, **options)


def test_the_end_token_is_the_turn_s(name: str, chat: Any, last_only: Any) -> None:
    assert chat.eos_token == last_only.eos_token == oracle.END_TOKENS[family_of(name)]
