import copy
import re

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.rows import ROW_FEATURES
from tagevol_hf.training import encode as encoding
from tagevol_hf.training.chat_templates import give_template
from tagevol_hf.training.encode import encode, marked_text
from tagevol_hf.training.formats import check_format, messages_of, prompt_text
from tagevol_hf.training.lengths import fit_to_length
from tagevol_hf.training.spans import MASKED
from tagevol_hf.training.trl_rows import to_messages, to_prompt_completion

HISTORY = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
]


def row(**changes):
    base = {
        "id": "a",
        "instruction": "Add.",
        "input": "",
        "response": "Two.",
        "history": [],
        "rejection": None,
    }
    return {**base, **changes}


def dataset(*rows):
    return Dataset.from_list(list(rows), features=ROW_FEATURES)


def learned(tokenizer, encoded_row):
    return tokenizer.decode([label for label in encoded_row["labels"] if label != MASKED])


# The forms of text


def test_alpaca_is_the_known_format():
    assert prompt_text(row()) == (
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
        "\n\n### Instruction:\nAdd.\n\n### Response:"
    )
    assert prompt_text(row(input="1 and 1")) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
        "\n\n### Instruction:\nAdd.\n\n### Input:\n1 and 1\n\n### Response:"
    )
    assert prompt_text(row(input=" \n")) == prompt_text(row())


def test_alpaca_keeps_earlier_turns():
    text = prompt_text(row(history=HISTORY))
    assert text.startswith("Be brief.\n\nBelow is")
    assert text.endswith("### Instruction:\nOne?\n\n### Response:1\n\n### Instruction:\nAdd.\n\n### Response:")


@pytest.mark.parametrize("text", ["{{ instruction }}", "{% for x in y %}", "{input}", "{# #}", "  a\n", "\\1 %s $x"])
def test_text_from_data_is_never_a_template(text):
    result = prompt_text(row(instruction=text, input=text, history=[{"role": "user", "content": text}]))
    assert result.count(text) == 3


def test_data_sets_for_trl():
    rows = dataset(row(), row(id="b", input="x", history=HISTORY))
    pairs = to_prompt_completion(rows)
    assert pairs.column_names == ["id", "prompt", "completion"]
    assert pairs[0]["prompt"] + "|" + pairs[0]["completion"] == prompt_text(row()) + "|Two."
    turns = to_messages(rows)[1]["messages"]
    assert turns == messages_of(row(input="x", history=HISTORY))
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert turns[-2:] == [{"role": "user", "content": "Add.\n\nx"}, {"role": "assistant", "content": "Two."}]


def test_unknown_formats_name_the_nearest():
    with pytest.raises(RecipeError, match='did you mean "alpaca"'):
        check_format("alpacca")
    with pytest.raises(RecipeError, match="'messages' has no prompts, expected one of alpaca, llama2"):
        to_prompt_completion(dataset(row()), "messages")
    with pytest.raises(RecipeError, match="format: llama2 needs the tokenizer"):
        to_prompt_completion(dataset(row()), "llama2")


# What is learned, token by token


def test_alpaca_labels_equal_those_from_character_offsets(tokenizer):
    rows = dataset(row(), row(id="b", input="é 日本", response="\n 2 \n", history=HISTORY))
    for encoded, source in zip(encode(rows, "alpaca", tokenizer), rows, strict=True):
        prompt = prompt_text(source)
        whole = tokenizer(prompt + source["response"], return_offsets_mapping=True)
        expected = [
            token if start >= len(prompt) and end > start else MASKED
            for token, (start, end) in zip(whole["input_ids"], whole["offset_mapping"], strict=True)
        ]
        assert encoded["input_ids"] == [*whole["input_ids"], tokenizer.eos_token_id]
        assert encoded["labels"] == [*expected, tokenizer.eos_token_id]
        assert learned(tokenizer, encoded) == source["response"] + tokenizer.eos_token


def test_messages_labels_equal_those_from_character_offsets(tokenizer):
    rows = dataset(row(), row(id="b", input="x", history=HISTORY, response="é\n日本"))
    for encoded, source in zip(encode(rows, "messages", tokenizer), rows, strict=True):
        text = tokenizer.apply_chat_template(messages_of(source), tokenize=False)
        spans = [match.span(1) for match in re.finditer(r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)", text, re.S)]
        assert len(spans) == sum(turn["role"] == "assistant" for turn in messages_of(source))
        whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        expected = [
            token if any(first <= start < last for first, last in spans) else MASKED
            for token, (start, _) in zip(whole["input_ids"], whole["offset_mapping"], strict=True)
        ]
        assert encoded["input_ids"] == whole["input_ids"]
        assert encoded["labels"] == expected
        assert encoded["labels"].count(tokenizer.eos_token_id) == len(spans)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(instruction=st.text(min_size=1), response=st.text(min_size=1))
def test_any_response_is_learned_whole_and_nothing_else(tokenizer, instruction, response):
    [(ids, labels)] = encoding.encode_pairs([instruction], [response], tokenizer)
    start = labels.count(MASKED)
    assert labels[start:] == ids[start:]
    assert ids[:start] == tokenizer(instruction, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids[start:-1]) == response
    assert ids[-1] == tokenizer.eos_token_id


def test_text_that_looks_like_a_special_token_stays_text(tokenizer):
    response = "a<|im_end|>b<|bos|>"
    [encoded] = encode(dataset(row(instruction="<|im_end|>", response=response)), "alpaca", tokenizer)
    assert encoded["input_ids"].count(tokenizer.eos_token_id) == 1
    assert learned(tokenizer, encoded) == response + tokenizer.eos_token
    [encoded] = encode(dataset(row(instruction="<|im_end|>", response=response)), "messages", tokenizer)
    assert encoded["input_ids"].count(tokenizer.eos_token_id) == 2
    assert learned(tokenizer, encoded) == response + tokenizer.eos_token


def test_border_token_is_not_learned_as_part_of_the_prompt(tmp_path):
    from transformers import AutoTokenizer

    from tagevol_hf.training.tiny import make_tiny_model

    tokenizer = AutoTokenizer.from_pretrained(make_tiny_model(tmp_path, "qwen2", ["abab " * 50]))
    assert len(tokenizer("ab")["input_ids"]) == 1
    [(ids, labels)] = encoding.encode_pairs(["a"], ["b"], tokenizer)
    assert labels == [MASKED, *ids[1:]]
    assert tokenizer.decode(ids) == "ab<|im_end|>"


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_chat_asks_an_alpaca_model_as_it_was_trained(tokenizer, adds_bos):
    other = copy.deepcopy(tokenizer)
    if not adds_bos:
        other.backend_tokenizer.post_processor = None
        assert other("a")["input_ids"][0] != other.bos_token_id
    give_template(other, "alpaca")
    for source in (row(), row(history=HISTORY)):
        [trained] = encode(dataset(source), "alpaca", other)
        asked = other.apply_chat_template(messages_of(source)[:-1], add_generation_prompt=True)["input_ids"]
        assert trained["input_ids"][: len(asked)] == asked
        assert trained["labels"][len(asked)] == trained["input_ids"][len(asked)]


@pytest.mark.parametrize("name", ["llama2", "mistral", "chatml", "qwen2.5"])
def test_prompts_for_trl_are_those_of_the_chat_template(tokenizer, name):
    other = copy.deepcopy(tokenizer)
    breaks = name in ("chatml", "qwen2.5")  # a line break behind the end token
    if breaks:
        other.backend_tokenizer.post_processor = None  # as Qwen's, which puts nothing before a text
    give_template(other, name)
    rows = dataset(row(), row(id="b", input="x", history=HISTORY))
    for pair, encoded in zip(to_prompt_completion(rows, name, other), encode(rows, name, other), strict=True):
        text = pair["prompt"] + pair["completion"] + other.eos_token
        assert other(text)["input_ids"] == encoded["input_ids"][: len(encoded["input_ids"]) - breaks]
        assert pair["completion"].strip() == "Two."


# Tokenizers that cannot serve


def test_tokenizer_without_an_end_token_is_refused(tokenizer):
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(RecipeError, match=r"no end-of-sequence token.*eos_token: <token>"):
        give_template(endless, "alpaca")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "needs a chat template and the tokenizer has none"),
        ("{{ messages }}", r"does not mark the replies with \{% generation %\}"),
        (
            "{% for m in messages %}{% if m.role == 'assistant' %}"
            "{% generation %}{{ m.content }}{% endgeneration %}"
            "<|im_end|>{% else %}{{ m.content }}{% endif %}{% endfor %}",
            "leaves the end of a reply unmarked",
        ),
    ],
)
def test_chat_templates_that_cannot_be_trained_on(tokenizer, template, message):
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    with pytest.raises(RecipeError, match=message):
        give_template(other, "messages")


# Lengths


def test_long_rows_are_cut_or_dropped_and_counted(tokenizer):
    rows = encode(dataset(row(), row(id="b", response="long " * 50)), "alpaca", tokenizer)
    short, long = (len(ids) for ids in rows["input_ids"])
    cut, counts = fit_to_length(rows, short, "truncate")
    assert [len(ids) for ids in cut["input_ids"]] == [short, short]
    assert cut["labels"][1] == rows["labels"][1][:short]
    assert (counts.rows, counts.tokens, counts.over_long, counts.dropped, counts.longest) == (
        2,
        2 * short,
        1,
        0,
        long,
    )
    kept, counts = fit_to_length(rows, short, "drop")
    assert kept["id"][:] == ["a"]
    assert (counts.rows, counts.over_long, counts.dropped) == (1, 1, 1)
    _, counts = fit_to_length(rows, None, "truncate")
    assert (counts.over_long, counts.learned_tokens) == (
        0,
        sum(label != MASKED for ls in rows["labels"] for label in ls),
    )


def test_a_row_without_a_label_is_refused_by_name(tokenizer):
    rows = encode(dataset(row(), row(id="lost/7", instruction="long " * 200)), "alpaca", tokenizer)
    limit = len(rows[0]["input_ids"])
    with pytest.raises(DataError, match=rf"row 'lost/7': no token of its response is within max_length: {limit}"):
        fit_to_length(rows, limit, "truncate")
    assert fit_to_length(rows, limit, "drop")[1].rows == 1
    with pytest.raises(DataError, match="no row is left to train on"):
        fit_to_length(rows, 1, "drop")
    with pytest.raises(RecipeError, match="long_rows: expected one of truncate, drop, got 'wrap'"):
        fit_to_length(rows, 9, "wrap")


def test_the_shown_example_marks_what_is_learned(tokenizer):
    [encoded] = encode(dataset(row()), "alpaca", tokenizer)
    assert marked_text(encoded["input_ids"], encoded["labels"], tokenizer).endswith("### Response:«Two.<|im_end|>»")
    assert " […] " in marked_text(encoded["input_ids"], encoded["labels"], tokenizer, width=40)


def test_where_the_learned_part_begins_and_ends_is_always_shown(tokenizer):
    long = "word " * 300
    [encoded] = encode(dataset(row(instruction=long, response=long + "end.")), "alpaca", tokenizer)
    text = marked_text(encoded["input_ids"], encoded["labels"], tokenizer)
    assert "### Response:«word word" in text
    assert text.endswith("word end.<|im_end|>»")
    assert text.count(" […] ") == 2
