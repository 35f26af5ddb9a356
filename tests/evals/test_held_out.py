"""Loss on rows that were not trained on."""

import json
import math
import os

import pytest
from datasets import Dataset
from run_folders import load_script, row, save_run

from tagevol_hf.errors import DataError
from tagevol_hf.evals.held_out import held_out_rows, prompt_ids, response_loss
from tagevol_hf.training.tiny import make_tiny_model


def rows(*pairs):
    return Dataset.from_list([{"id": i, "seed_id": seed, "response": "x"} for i, seed in pairs])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    texts = [row(n)["instruction"] + row(n)["response"] for n in range(40)]
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", "llama", texts, vocab_size=400)


def test_rows_of_trained_seeds_are_not_held_out():
    selected = rows(("s1/b1", "s1"), ("plain", None))
    found = held_out_rows(selected, rows(("s1/b3", "s1"), ("s2/b1", "s2"), ("plain", None), ("new", None)), 9)
    assert (sorted(found.rows["id"]), found.kind, found.available) == (["new", "s2/b1"], "unseen_seeds", 2)


def test_rows_of_trained_seeds_serve_when_there_are_no_others_and_it_says_so():
    found = held_out_rows(rows(("s1/b1", "s1")), rows(("s1/b3", "s1")), 9)
    assert (found.rows["id"][:], found.kind) == (["s1/b3"], "seen_seeds")


def test_the_draw_does_not_depend_on_the_order_of_rows():
    others = [(f"r{n}", None) for n in range(50)]
    drawn = held_out_rows(rows(("t", None)), rows(*others), 7)
    assert len(drawn.rows) == 7
    assert drawn.available == 50
    assert drawn.rows["id"][:] == held_out_rows(rows(("t", None)), rows(*reversed(others)), 7).rows["id"][:]


def test_nothing_held_out_is_an_error():
    empty = Dataset.from_list([{"id": "a", "response": " "}])
    with pytest.raises(DataError, match="nothing is held out: none of 1 rows in not_chosen/ has a response"):
        held_out_rows(rows(("t", None)), empty, 5)


@pytest.mark.slow
def test_loss_is_that_of_the_model_and_the_same_for_any_batch_size(tiny):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    encoded = Dataset.from_list(
        [
            {"input_ids": list(range(10, 20 + n)), "labels": [-100] * (3 + n) + list(range(13 + n, 20 + n))}
            for n in range(9)
        ]
    )
    total = count = 0
    for example in encoded:
        tensors = {name: torch.tensor([values]) for name, values in example.items()}
        scored = sum(label != -100 for label in example["labels"])
        total, count = total + model(**tensors).loss.item() * scored, count + scored
    for size in (1, 4, 16):
        result = response_loss(model, encoded, pad_id=0, batch_size=size)
        assert result.loss == pytest.approx(total / count, abs=1e-5)
        assert (result.n, result.n_tokens, result.perplexity) == (9, count, math.exp(result.loss))


def test_nothing_to_score_is_an_error(tiny):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    with pytest.raises(DataError, match="none of 1 held-out rows has a token to score"):
        response_loss(model, Dataset.from_list([{"input_ids": [1, 2], "labels": [-100, -100]}]), pad_id=0)


def test_prompt_of_an_encoded_row_ends_before_its_last_response():
    assert prompt_ids({"input_ids": [1, 2, 3, 4, 5, 6], "labels": [-100, 2, -100, 4, 5, -100]}) == [1, 2, 3]
    assert prompt_ids({"input_ids": [1, 2], "labels": [-100, -100]}) == []


@pytest.mark.slow
def test_script_measures_before_and_after(tiny, tmp_path, capsys):
    run = save_run(tmp_path / "run", [row(n) for n in range(9)], [row(n) for n in range(9, 20)])
    other = make_tiny_model(tmp_path / "other", "llama", [], vocab_size=400, seed=3)
    out = tmp_path / "results" / "held_out.json"
    script = load_script("evaluate")
    options = ["--model", str(tiny), "--data", str(run), "--limit", "5", "--replies", "2"]
    assert script.main([*options, "--base", str(other), "--out", str(out)]) == 0
    shown, result = capsys.readouterr().out, json.loads(out.read_text())
    assert (result["task"], result["n"], result["available"], result["held_out"]) == (
        "held_out_loss",
        5,
        11,
        "unseen_seeds",
    )
    assert result["before"]["n_tokens"] == result["after"]["n_tokens"] == result["n_tokens"] > 0
    assert result["before"]["loss"] != result["after"]["loss"]
    assert result["after"]["perplexity"] == pytest.approx(math.exp(result["after"]["loss"]))
    assert len(result["samples"]) == 2
    assert all(len(sample[side]) <= 200 for sample in result["samples"] for side in ("before", "after"))
    assert "before" in shown

    weights = other / "model.safetensors"
    whole, times = weights.read_bytes(), weights.stat()
    weights.write_bytes(bytes(len(whole)))  # of the same size and time, so it would be noticed only by measuring again
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert script.main([*options, "--base", str(other), "--out", str(out)]) == 0
    again = capsys.readouterr().out
    assert again == f"{out}: already measured: nothing to do (same model, rows and options)\n{shown}"
    assert json.loads(out.read_text()) == result
    weights.write_bytes(whole)
    for changed in (["--replies", "1"], ["--limit", "4"]):
        assert script.main([*options, "--base", str(other), "--out", str(out), *changed]) == 0
        assert "already measured" not in capsys.readouterr().out
    os.utime(tiny / "model.safetensors", ns=(1, 1))  # as if it had been trained again
    assert script.main([*options, "--base", str(other), "--limit", "4", "--out", str(out)]) == 0
    assert "already measured" not in capsys.readouterr().out

    assert script.main([*options, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["before"] is None
    small = make_tiny_model(tmp_path / "small", "llama", [], vocab_size=260)
    assert script.main([*options, "--base", str(small)]) == 2
    assert "wrong --base?" in capsys.readouterr().err
    assert script.main(["--model", str(tiny), "--data", "runs/none"]) == 2
    assert "runs/none: no such run folder" in capsys.readouterr().err
    assert script.main([*options, "--max_length", "2"]) == 2
    assert "all 5 held-out rows exceed --max_length 2 tokens" in capsys.readouterr().err
