import json

import pytest
from datasets import Dataset, DatasetDict

from tagevol_hf.errors import DataError
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
    assert read_part(str(tmp_path / "rows"), "not_chosen").column_names == [*USED, "seed_id"]


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
    with pytest.raises(DataError, match="neither a run folder nor a saved data set"):
        load_curated(str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"status": "complete"}))
    with pytest.raises(DataError, match="the run has no selected/"):
        load_curated(str(tmp_path))
    Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "selected")
    with pytest.raises(DataError, match="needs the column 'instruction'; it has text"):
        load_curated(str(tmp_path))
