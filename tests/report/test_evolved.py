"""Evolution on the page: by budget or by round, with what a review found; and the measures."""

import json

import pytest
from datasets import Dataset
from demo_run import demo_record, write

from tagevol_hf.report import write_report
from tagevol_hf.report.evolved import read_evolved
from tagevol_hf.report.measured import read_measures


def rewritten(seed, number, **changes):
    row = {
        "id": f"{seed}/e{number}",
        "instruction": f"Sort the list and {'really ' * number}explain.",
        "seed_id": seed,
        "seed_instruction": "Sort the list.",
        "parent_instruction": "Sort the list."
        if number == 1
        else f"Sort the list and {'really ' * (number - 1)}explain.",
        "round": number,
        "operator": "complicate_input",
    }
    return {**row, **changes}


def test_rounds_stand_one_after_the_other_each_against_its_parent():
    rows = Dataset.from_list([rewritten(seed, number) for seed in ("a", "b") for number in (1, 2, 3)])
    found = read_evolved(rows, None)
    assert (found.kind, found.counts) == (
        "round",
        (("round 1", 2, 2, 6.0), ("round 2", 2, 2, 7.0), ("round 3", 2, 2, 8.0)),
    )
    assert [example.seed_id for example in found.examples] == ["a", "b"]
    second = found.examples[0].rewrites[1]
    assert (second.label, second.chips) == ("round 2", ("complicate input",))
    assert "".join(text for text, new in second.pieces if new).strip() == "really"


def test_rows_without_evolution():
    assert read_evolved(Dataset.from_dict({"id": ["a"], "instruction": ["x"]}), None).kind == ""
    assert read_evolved(None, None).examples == ()


def test_what_a_review_found_stands_beside_the_rewrite():
    row = {
        **{key: value for key, value in rewritten("a", 1).items() if key != "round"},
        "budget": 2,
        "chosen_tags": ["tides", "<b>moon</b>"],
        "integrated_tags": ["tides"],
        "core_kept": False,
        "hallucinated": ["use exactly 17 words"],
    }
    rewrite = read_evolved(Dataset.from_list([row]), None).examples[0].rewrites[0]
    assert rewrite.label == "2 tags"
    assert rewrite.faults == (
        "“<b>moon</b>” does not shape it",
        "its core task is another one",
        "out of nowhere: use exactly 17 words",
    )


def test_the_page_of_a_run_in_rounds(tmp_path):
    rows = Dataset.from_list([rewritten("a", number) for number in (1, 2)])
    rows.save_to_disk(tmp_path / "selected")
    write(tmp_path / "run.json", demo_record(2, 0, {}))
    measures = {
        "rows": 2,
        "groups": {"all": {"difficulty": 3.28, "contaminated_share": 0.25}, "round 1": {"difficulty": 2.0}},
        "definitions": {"difficulty": "Mean tags an instruction (Tag-Evol 5.5)."},
        "notes": ["1 of 50 could not be tagged: <i>not_json</i>"],
    }
    write(tmp_path / "measures.json", measures)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    for words in ("round 2", "each from the last good one", "complicate input", "Mean tags an instruction (",
                  "3.28", "25", "&lt;i&gt;not_json", "contaminated share"):  # fmt: skip
        assert words in page, words


@pytest.mark.parametrize("text", ["", "[]", '{"groups": 3}', '{"groups": {}}', '{"groups": {"all": {"x": 1}'])
def test_measures_that_cannot_be_read_are_not_there(tmp_path, text):
    (tmp_path / "measures.json").write_text(text)
    assert read_measures(tmp_path / "measures.json") is None


def test_values_that_are_no_numbers_show_as_missing(tmp_path):
    body = {"groups": {"all": {"a": None, "b": "x", "c": float("inf"), "d": 2}}, "rows": "many", "notes": 3}
    (tmp_path / "measures.json").write_text(json.dumps(body))
    found = read_measures(tmp_path / "measures.json")
    assert [figure.values for figure in found.figures] == [("–",), ("–",), ("–",), ("2",)]
    assert (found.rows, found.notes) == (0, ())
