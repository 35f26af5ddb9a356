import json

import pytest
from datasets import Dataset, DatasetDict

from tagevol_hf.curate_first import curated_place
from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.training.arguments import output_dir
from tagevol_hf.training.curated import USED, content_digest, load_curated, read_part


def test_run_folder_and_saved_data_sets_give_the_same_rows(run_folder, tmp_path):
    rows, left_out = load_curated(str(run_folder))
    assert (len(rows), left_out, rows.column_names) == (40, 0, list(USED))
    DatasetDict({"selected": rows}).save_to_disk(tmp_path / "several")
    for where in (run_folder / "selected", tmp_path / "several"):
        assert content_digest(load_curated(str(where))[0]) == content_digest(rows)
    assert content_digest(rows.select(range(39))) != content_digest(rows)
    assert not list(run_folder.rglob("cache-*")), "reading leaves no cache files in the run folder"


def test_plain_columns_are_enough_and_rows_without_a_response_are_counted(tmp_path):
    plain = [{"instruction": "a", "response": "b"}, {"instruction": "c", "response": " "}]
    Dataset.from_list(plain).save_to_disk(tmp_path / "plain")
    rows, left_out = load_curated(str(tmp_path / "plain"))
    assert rows[:] == {"id": ["0"], "instruction": ["a"], "input": [""], "response": ["b"], "history": [[]]}
    assert left_out == 1


def test_a_damaged_data_set_is_an_error(tmp_path):
    Dataset.from_list([{"instruction": "a", "response": "b"}]).save_to_disk(tmp_path / "rows")
    next((tmp_path / "rows").glob("*.arrow")).write_bytes(b"ARROW1")
    with pytest.raises(DataError, match="the saved data set cannot be read"):
        load_curated(str(tmp_path / "rows"))


def test_seed_column_is_kept(tmp_path):
    rows = [{"id": "s/b1", "seed_id": "s", "instruction": "a", "response": "b", "tags": ["x"]}]
    Dataset.from_list(rows).save_to_disk(tmp_path / "rows")
    assert read_part(str(tmp_path / "rows"), "selected").column_names == [*USED, "seed_id"]


@pytest.mark.parametrize("content", [None, "", '{"status": "running"}', "[1"])
def test_an_unfinished_run_says_how_to_go_on(tmp_path, content):
    (tmp_path / "recipe.yaml").write_text("name: x")
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"this run is not finished.*tagevol curate .*recipe\.yaml"):
        load_curated(str(tmp_path))


def test_wrong_places_are_named(tmp_path):
    with pytest.raises(DataError, match=r"runs/none: no such run folder; make it with: tagevol run"):
        load_curated("runs/none")
    with pytest.raises(DataError, match="neither a run folder nor a saved data set nor a recipe's"):
        load_curated(str(tmp_path))
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(DataError, match=r"rows\.jsonl: a file is no curated set; name it as data\.source"):
        load_curated(str(tmp_path / "rows.jsonl"))
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete"}))
    with pytest.raises(DataError, match="the run has no selected/"):
        load_curated(str(tmp_path))
    Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "selected")
    with pytest.raises(DataError, match="needs the column 'instruction'; it has text; rename_column"):
        load_curated(str(tmp_path))


def test_a_saved_set_holds_out_nothing_unless_it_has_such_a_split(tmp_path):
    rows, others = (Dataset.from_list([{"instruction": text, "response": "b"}]) for text in ("learned", "kept"))
    rows.save_to_disk(tmp_path / "rows")
    DatasetDict(train=rows, test=others).save_to_disk(tmp_path / "two")
    for place in ("rows", "two"):  # else the loss would be measured on what is trained on
        with pytest.raises(DataError, match="without a split 'not_chosen', so there is nothing to measure the loss on"):
            read_part(str(tmp_path / place), "not_chosen")
    DatasetDict(selected=rows, not_chosen=others).save_to_disk(tmp_path / "parts")
    assert read_part(str(tmp_path / "parts"), "not_chosen")["instruction"][:] == ["kept"]


@pytest.mark.parametrize("where", ["run/none", "recipe/quickstart", "recpies/quickstrat"])
def test_a_misspelt_recipes_or_runs_is_not_looked_for_on_the_hub(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "none").mkdir(parents=True)
    with pytest.raises(RecipeError, match=f"{where}: not found; did you mean (runs/none|recipes/quickstart)"):
        curated_place(where, "auto", print)
    assert curated_place("someone/quickstart", "auto", print) == "someone/quickstart"


def test_a_saved_set_gets_no_model_into_it(tmp_path):
    Dataset.from_list([{"instruction": "a", "response": "b"}]).save_to_disk(tmp_path / "rows")
    with pytest.raises(RecipeError, match="is no run folder to put the model into; add --output_dir"):
        output_dir({"config": "sft-tiny.yaml"}, str(tmp_path / "rows"))
