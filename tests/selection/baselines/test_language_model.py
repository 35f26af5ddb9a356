"""IFD, perplexity and Deita's scorer by a small trained model, against direct unbatched computations."""

import json
import math
import os
from pathlib import Path

import pytest
from baseline_pools import build, shuffled

from tagevol_hf.errors import DataError, EngineError
from tagevol_hf.rows import rejection
from tagevol_hf.selection.baselines import IFD, DeitaScorer, add_perplexity, baseline
from tagevol_hf.selection.baselines.deita_scorer import expected_rating
from tagevol_hf.selection.baselines.perplexing import prompt_of

pytestmark = pytest.mark.slow  # loads torch and transformers

MODELS = Path(os.environ.get("TAGEVOL_TEST_MODELS", Path(__file__).parents[3].parent / "shared" / "models"))
STORIES = MODELS / "stories260K"
PAIRS = [
    ("Tell a story about a dog", "Once upon a time, there was a little dog named Tim. He liked to run in the park."),
    ("Tell a story about a cat", "One day, a cat saw a big ball."),
    ("Name a number", "42"),
    ("Write a lot", "Lily and Tom were friends. They liked to play with their toys. " * 20),
    ("Say hello", "Hello!"),
]


@pytest.fixture(scope="module", params=["no start token", "start token"])
def folder(request, tmp_path_factory):
    """The model's folder, or a copy whose tokenizer begins every text with <s>."""
    if not (STORIES / "config.json").exists():
        pytest.skip(f"needs the model stories260K; none in {MODELS} (set TAGEVOL_TEST_MODELS)")
    if request.param == "no start token":
        return STORIES
    copy = tmp_path_factory.mktemp("models") / "stories"
    copy.mkdir()
    for file in STORIES.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    body = json.loads((copy / "tokenizer.json").read_text())
    start, text = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    body["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [start, text],
        "pair": [start, text, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    (copy / "tokenizer.json").write_text(json.dumps(body))
    return copy


@pytest.fixture(scope="module")
def model(folder):
    from tagevol_hf.selection.baselines.language_model import LanguageModel

    return LanguageModel(folder)


@pytest.fixture(scope="module")
def raw(folder):
    """The model and its tokenizer as transformers gives them."""
    import torch
    import transformers

    loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return loaded, transformers.AutoTokenizer.from_pretrained(folder)


def rows(**columns):
    instructions, responses = zip(*PAIRS, strict=True)
    return build(len(PAIRS), **{"instruction": list(instructions), "response": list(responses), **columns})


def direct(raw, instruction, response, longest):
    """(perplexity given the instruction, perplexity alone), by transformers' own loss, one text at a time."""
    import torch

    loaded, tokenizer = raw
    prompt = tokenizer(instruction + "\n")["input_ids"]
    start = tokenizer("")["input_ids"]
    answer = tokenizer(response, add_special_tokens=False)["input_ids"][: longest - len(prompt)]
    found = []
    for before in (prompt, start):
        tokens = torch.tensor([before + answer])
        labels = tokens.clone()
        labels[0, : len(before)] = -100
        with torch.no_grad():
            found.append(math.exp(loaded(input_ids=tokens, labels=labels).loss))
    return found


@pytest.mark.parametrize("longest", [64, 1024])
def test_values_are_those_of_a_direct_computation(model, raw, longest):
    longest = min(longest, model.context)
    done = add_perplexity(rows(), model, max_length=longest)
    for row, (instruction, response) in zip(done, PAIRS, strict=True):
        given, alone = direct(raw, instruction, response, longest)
        assert row["perplexity"] == pytest.approx(given, rel=1e-4)
        assert row["answer_perplexity"] == pytest.approx(alone, rel=1e-4)
        assert row["ifd"] == pytest.approx(given / alone, rel=1e-4)
    notes = [bool(note) for note in done["ifd_note"]]
    assert notes == [False, False, False, longest == 64, False]
    assert done["ifd_note"][3].startswith("the response was cut from " if longest == 64 else "")


def test_neither_batch_size_nor_order_changes_a_value(model, folder):
    from tagevol_hf.selection.baselines.language_model import LanguageModel

    one = add_perplexity(rows(), LanguageModel(folder, batch_size=1))
    many = add_perplexity(shuffled(rows(), 5), model)
    by_id = {row["id"]: row for row in many}
    for row in one:
        for name in ("ifd", "perplexity", "answer_perplexity"):
            assert by_id[row["id"]][name] == pytest.approx(row[name], rel=1e-4)


def test_what_cannot_be_read_is_null_with_a_note(model):
    words = "and then they went to the park " * 200
    marks = [None, None, None, None, rejection("x", "no_tags")]
    done = add_perplexity(
        rows(
            response=["", None, "a", "A fine day.", "A fine day."],
            instruction=["x", "x", "x", words, "x"],
            rejection=marks,
        ),
        model,
        max_length=128,
    )
    for name in ("ifd", "perplexity", "answer_perplexity"):
        assert done[name][:] == [None] * 5
    assert done["ifd_note"][0] == "the response has 0 tokens; at least 2 are needed"
    assert done["ifd_note"][2] == "the response has 1 tokens; at least 2 are needed"
    assert done["ifd_note"][3].endswith("tokens and leaves no room of 128")
    assert done["ifd_note"][4] == "the row is rejected"
    assert IFD().select(done, 1).choices == ()


def test_one_call_reads_and_selects(model):
    done, found = baseline("ifd", rows(), 5, model=model)
    assert [choice.score < 1 for choice in found.choices] == [True] * len(found.choices)
    below = sorted((row["ifd"] for row in done if row["ifd"] < 1), reverse=True)
    assert [choice.score for choice in sorted(found.choices, key=lambda one: one.rank)] == below
    assert "rows taken whose response was read in part" not in found.warning
    again, middle = baseline("perplexity", done, 2)
    assert again.column_names == done.column_names
    assert {choice.score for choice in middle.choices} == set(sorted(done["perplexity"])[-2:])
    assert len(add_perplexity(rows().select([]), model)) == 0


def test_the_start_token_is_the_tokenizers_own(model, folder):
    assert model.start == ([] if folder == STORIES else [1])


def test_the_prompt_is_the_instruction_and_the_input():
    assert prompt_of({"instruction": "a", "input": "b"}) == "a\nb\n"
    assert prompt_of({"instruction": "a", "input": None}) == "a\n"


@pytest.mark.parametrize("score", ["complexity", "quality"])
def test_deita_scores_are_those_of_a_direct_computation(model, raw, score):
    import torch

    from tagevol_hf.prompts import Prompt

    loaded, tokenizer = raw
    prompt = Prompt("tiny", "Rate.\n", "<i>{{instruction}}</i>")
    scorer = DeitaScorer(model, score, prompt=prompt, opening="Score: ")
    done = scorer.apply(rows())
    for row in done:
        text = f"Rate.\n<i>{row['instruction']}</i>\nScore: "
        encoded = [tokenizer(text + digit)["input_ids"] for digit in "123456"]
        assert len({tuple(tokens[:-1]) for tokens in encoded}) == 1
        with torch.no_grad():
            logits = loaded(input_ids=torch.tensor([encoded[0][:-1]])).logits[0, -1]
        shares = logits[[tokens[-1] for tokens in encoded]].softmax(dim=-1)
        expected = float((shares * torch.arange(1, 7)).sum())
        assert row[score] == pytest.approx(expected, rel=1e-4)
        assert 1 <= row[score] <= 6
    assert done[f"{score}_note"][:] == [""] * len(PAIRS)


def test_a_prompt_that_is_too_long_has_no_score(model):
    marks = [None] * 4 + [rejection("x", "no_tags")]
    done = DeitaScorer(model, "quality", max_length=model.context).apply(rows(rejection=marks))
    assert done["quality"][:] == [None] * 5  # the model's context is shorter than the prompt
    assert done["quality_note"][0].endswith(f"tokens, at most {model.context} are read")
    assert done["quality_note"][4] == "the row is rejected"


def test_expected_ratings():
    assert expected_rating([0.0] * 6) == pytest.approx(3.5)
    assert expected_rating([-1e9, 0, -1e9, -1e9, -1e9, 0]) == pytest.approx(4.0)
    assert expected_rating([1e9, 0, 0, 0, 0, 0]) == pytest.approx(1.0)
    assert expected_rating([float("nan"), 0, 0, 0, 0, 0]) is None


def test_errors_say_what_to_do(tmp_path, model):
    with pytest.raises(EngineError, match=r"cannot be loaded: .*; name a folder or a Hub id$"):
        add_perplexity(rows(), tmp_path / "nothing")
    with pytest.raises(DataError, match=r"^ifd needs the column response; the data set has"):
        add_perplexity(rows().remove_columns(["response"]), model)
    with pytest.raises(DataError, match=r"^ifd.max_length: expected at least 2 tokens, got 1$"):
        add_perplexity(rows(), model, max_length=1)
    with pytest.raises(DataError, match=r"^deita.score: expected complexity or quality, got 'both'$"):
        DeitaScorer(model, "both")
