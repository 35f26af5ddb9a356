"""All measures of a data set at once."""

import json
import random

import pytest
from datasets import Dataset, Features, List, Value
from scripted import ScriptedEngine

from tagevol_hf.engines.open import open_engine
from tagevol_hf.errors import DataError
from tagevol_hf.measure import Measures, measure
from tagevol_hf.rows import ROW_FEATURES, rejection
from tagevol_hf.tags.taggers import OpenTagger

FEATURES = Features(
    {
        **ROW_FEATURES,
        "seed_instruction": Value("string"),
        "budget": Value("int64"),
        "candidates": List(Value("string")),
        "chosen_tags": List(Value("string")),
        "seed_tags": List(Value("string")),
    }
)


def evolved(place, budget, **changes):
    return {
        "id": f"s{place}/b{budget}",
        "instruction": f"Sort the list number {place}" + " and prove it" * budget,
        "input": "", "response": "", "history": [], "rejection": None,
        "seed_instruction": f"Sort the list number {place}",
        "budget": budget,
        "candidates": ["a", "b", "c", "d"],
        "chosen_tags": ["a", "b", "c", "d"][:budget],
        "seed_tags": ["z"],
        **changes,
    }  # fmt: skip


def dataset(rows):
    return Dataset.from_list(rows, features=FEATURES)


def rows(count=6, budgets=(1, 3)):
    return [evolved(place, budget) for place in range(count) for budget in budgets]


def tagger(answer, **options):
    return OpenTagger(ScriptedEngine(answer), attempts=1, **options)


def tags(*names):
    return json.dumps({"tags": [{"tag": name, "explanation": ""} for name in names]})


def number_of(request):
    return request.messages[-1].content.split("list number ")[-1].split()[0].split("<")[0]


def test_all_figures_with_their_definitions():
    found = measure(
        dataset(rows()),
        tagger(lambda request: tags("sorting", f"list {number_of(request)}")),
        by="budget",
        references={"test": ["Sort the list number 3 and prove it and prove it and prove it"]},
    )
    assert list(found.groups) == ["all", "budget 1", "budget 3"]
    everything, one, three = found.groups.values()
    assert found.rows == everything["instructions"] == 12
    assert (one["difficulty"], one["diversity"], one["tagged"]) == (2, 7, 6)
    assert (everything["difficulty"], everything["diversity"], everything["tagged"]) == (2, 7, 12)
    assert (one["auto_evol_complexity"], one["auto_evol_diversity"]) == (2, round(7 / 6, 6))
    assert everything["obedience"] == 1
    assert (one["growth_mean"], three["growth_mean"], one["words_mean"]) == (3, 9, 8)
    assert (one["contaminated_share"], three["contaminated_share"]) == (0, 1)  # digits do not count
    assert 0 < one["embedding_spread"] < 1
    assert 0 < one["repetition_4_grams"] < one["repetition_2_grams"] < 1
    for figures in found.groups.values():
        assert set(figures) <= set(found.definitions)
    assert "(Tag-Evol 5.5)" in found.definitions["difficulty"]
    assert "Auto Evol-Instruct 5.5" in found.definitions["auto_evol_diversity"]
    assert "builtin-ngrams" in found.definitions["embedding_spread"]
    assert "Test sets: test" in found.definitions["contaminated_share"]
    assert found.hits[0] == {
        "id": "s0/b3", "reference": "test", "number": 0, "words": "sort the list number and prove it and",
    }  # fmt: skip
    assert found.notes[1].startswith("Fewer instructions than the samples of 50 and 100 ask for: all (12)")


def test_the_order_of_the_rows_has_no_say():
    data = rows(20)
    mixed = random.Random(1).sample(data, len(data))

    def measured(given):
        engine = ScriptedEngine(lambda request: tags("a", number_of(request)))
        found = measure(
            dataset(given), OpenTagger(engine), sample=5, by="budget", references={"t": [data[3]["instruction"]]}
        )
        return found, {request.messages[-1].content for request in engine.requests}

    assert measured(data) == measured(mixed)


def test_each_group_has_its_sample_and_that_of_all_asks_no_more():
    engine = ScriptedEngine(lambda request: tags("a"))
    found = measure(dataset(rows(30)), OpenTagger(engine), sample=5, by="budget")
    assert engine.asked == 20
    assert {figures["tagged"] for figures in found.groups.values()} == {5}
    assert {figures["auto_evol_tagged"] for figures in found.groups.values()} == {10}


def test_without_a_tagger_its_figures_are_absent_and_a_note_says_so():
    engine = ScriptedEngine(lambda request: tags("a"))
    for found in (measure(dataset(rows())), measure(dataset(rows()), OpenTagger(engine), sample=0)):
        assert not {"difficulty", "diversity", "auto_evol_diversity"} & {*found.groups["all"], *found.definitions}
        assert found.notes == ("Diversity and difficulty were not measured: no tagger was asked.",)
    assert engine.asked == 0


def test_rows_that_cannot_be_tagged_are_counted_and_n_says_what_is_left():
    found = measure(dataset(rows()), tagger(lambda request: "no" if number_of(request) == "0" else tags("a", "b")))
    assert (found.groups["all"]["tagged"], found.groups["all"]["difficulty"]) == (10, 2)
    assert "2 of them could not be tagged and do not count (not_json 2)." in found.notes
    none = measure(dataset(rows()), tagger(lambda request: "no"))
    assert "difficulty" not in none.groups["all"]
    assert "12 of them could not be tagged and do not count (not_json 12)." in none.notes


def test_rejected_and_blank_rows_are_left_out():
    data = [*rows(2), evolved(7, 1, rejection=rejection("tag_evol", "unchanged")), evolved(8, 1, instruction=None)]
    found = measure(dataset(data))
    assert found.rows == 4
    assert found.notes[:2] == ("Rows rejected are left out: 1.", "Rows without an instruction are left out: 1.")


def test_seeds_without_columns_of_evolution():
    found = measure(Dataset.from_dict({"id": ["a"], "instruction": ["Sort it."]}), references={"t": ["sort it"]})
    assert found.groups == {
        "all": {
            "instructions": 1, "repetition_2_grams": 0, "words_mean": 2, "words_median": 2, "words_p5": 2,
            "words_p95": 2, "contaminated_share": 1,
        }
    }  # fmt: skip


def test_a_row_that_broke_its_budget_shows_and_null_columns_are_no_group_s_zero():
    data = [
        evolved(1, 1),
        evolved(2, 1, chosen_tags=["a", "b"]),
        {**evolved(3, 1), "budget": None, "chosen_tags": None, "seed_instruction": None},
    ]
    found = measure(dataset(data), by="budget")
    assert list(found.groups) == ["all", "budget 1", "no budget"]
    assert found.groups["all"]["obedience"] == found.groups["budget 1"]["obedience"] == 0.5
    assert not {"obedience", "growth_mean", "embedding_spread"} & set(found.groups["no budget"])


def test_several_test_sets_and_the_input_counts():
    long = "one two three four five six seven eight"
    data = dataset([evolved(1, 1, input=long), evolved(2, 1), evolved(3, 1), evolved(4, 1)])
    found = measure(data, references={"x": [long], "y": ["another"]}).groups["all"]
    assert {name: value for name, value in found.items() if "contam" in name} == {
        "contaminated_share": 0.25, "contaminated_share: x": 0.25, "contaminated_share: y": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (dataset(rows(1)), {"by": "round"}, "measure needs the column round; the data set has: id, instruction"),
        (dataset(rows(1)).remove_columns("id"), {}, "measure needs the column id"),
        (Dataset.from_dict({}), {}, "measure needs the column id; the data set has: none"),
        (dataset(rows(1)).select([]), {}, "at least one accepted instruction, got none in 0 rows"),
        (dataset(rows(1)), {"sample": -1}, "measure.sample: expected 0 or more instructions, got -1"),
    ],
)
def test_what_cannot_be_measured(given, options, message):
    with pytest.raises(DataError, match=message):
        measure(given, **options)


def test_measures_are_saved_and_loaded(tmp_path):
    found = measure(dataset(rows()), OpenTagger(open_engine("builtin")), by="budget", references={"t": ["x \ud800"]})
    found.save(tmp_path / "measures.json")
    assert Measures.load(tmp_path / "measures.json") == found
    plain = found.plain()
    assert json.loads((tmp_path / "measures.json").read_text()) == {"format": 1, **plain}
    assert set(plain) == {"groups", "rows", "definitions", "notes", "hits"}
    assert found.summary() == found.groups["all"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "groups": {}}'])
def test_a_file_that_holds_no_measures(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(DataError, match=r"m\.json: (not a file of measures|measures of format 2, expected 1)"):
        Measures.load(tmp_path / "m.json")
