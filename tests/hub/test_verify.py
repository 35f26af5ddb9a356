import hashlib
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_from_disk
from typer.testing import CliRunner

from tagevol_hf.errors import DataError
from tagevol_hf.hub import verify

pytestmark = pytest.mark.slow  # needs finished runs and a push


def edit(path, change):
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def with_cell(table, column, place, value):
    values = table.column(column).to_pylist()
    values[place] = value
    number = table.column_names.index(column)
    return table.set_column(number, table.schema.field(column), pa.array(values, table.schema.field(column).type))


def named(clone, config):
    return sorted((clone / "data" / config).glob("*.parquet"))


def test_what_was_pushed_fits(pushed, clone):
    assert verify(clone) == []
    assert verify("me/whole") == []


def test_a_changed_cell(clone):
    path = named(clone, "evolved")[1]
    first = pq.read_table(named(clone, "evolved")[0]).num_rows
    row_id = pq.read_table(path).column("id")[1].as_py()
    edit(path, lambda table: with_cell(table, "response", 1, "changed"))
    place = path.relative_to(clone).as_posix()
    assert verify(clone) == [
        f"{place}: sha256 differs",
        f"evolved: row {first + 1} (id {row_id}): column response differs",
    ]


def test_a_changed_cell_in_the_repository(clone, pushed):
    path = named(clone, "selected")[0]
    edit(path, lambda table: with_cell(table, "labels", 0, ["other"]))
    pushed[path.relative_to(clone).as_posix()] = path.read_bytes()
    faults = verify("me/whole")
    assert len(faults) == 2
    assert faults[1].endswith("column labels differs")


def test_a_deleted_row(clone):
    path = named(clone, "evolved")[0]
    table = pq.read_table(path)
    row_id = table.column("id")[1].as_py()
    edit(path, lambda table: pa.concat_tables([table.slice(0, 1), table.slice(2)]))
    place = path.relative_to(clone).as_posix()
    assert verify(clone) == [
        f"{place}: {table.num_rows - 1} rows, provenance.json has {table.num_rows}",
        f"{place}: sha256 differs",
        f"evolved: row 1 (id {row_id}): is missing",
    ]


def test_an_added_row_and_another_order(clone):
    path = named(clone, "tags")[0]
    edit(path, lambda table: pa.concat_tables([table, with_cell(table.slice(0, 1), "tag", 0, "new")]))
    assert any(fault.endswith("(id new): was not there") for fault in verify(clone))
    edit(path, lambda table: table.slice(0, table.num_rows - 1).take(list(range(table.num_rows - 2, -1, -1))))
    assert "tags: rows stand in another order, or twice" in verify(clone)


def test_swapped_shards(clone):
    first, second = named(clone, "evolved")[:2]
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    told = verify(clone)
    names = [path.relative_to(clone).as_posix() for path in (first, second)]
    assert f"{names[0]}: sha256 differs; it is the file that belongs at {names[1]}" in told
    assert f"{names[1]}: sha256 differs; it is the file that belongs at {names[0]}" in told


def test_a_missing_and_a_foreign_shard(clone):
    path = named(clone, "evolved")[0]
    path.rename(path.with_name("train-00009-of-00009.parquet"))
    assert verify(clone) == [
        f"{path.relative_to(clone).as_posix()}: missing",
        "data/evolved/train-00009-of-00009.parquet: provenance.json does not know it",
    ]


def test_a_damaged_shard(clone):
    path = named(clone, "evolved")[0]
    path.write_bytes(path.read_bytes()[:-100])
    (fault,) = verify(clone)
    assert fault.startswith(f"{path.relative_to(clone).as_posix()}: cannot be read as Parquet")


def test_another_type(clone):
    path = named(clone, "selected")[0]

    def change(table):
        number = table.column_names.index("budget")
        meta = dict(table.schema.metadata)
        meta[b"huggingface"] = meta[b"huggingface"].replace(
            b'"budget": {"dtype": "int64"', b'"budget": {"dtype": "int32"'
        )
        return table.set_column(number, "budget", table.column("budget").cast("int32")).replace_schema_metadata(meta)

    edit(path, change)
    assert f"{path.relative_to(clone).as_posix()}: column budget has another type" in verify(clone)


def test_an_edited_recipe(clone):
    text = (clone / "recipe.yaml").read_text("utf-8")
    (clone / "recipe.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    (fault,) = verify(clone)
    assert fault.startswith("recipe.yaml: digest ")
    assert fault.endswith("it was edited")
    (clone / "recipe.yaml").write_text(text + "# a remark\n")
    assert verify(clone) == ["recipe.yaml: sha256 differs; it was edited"]
    (clone / "recipe.yaml").unlink()
    assert verify(clone)[0].startswith("recipe.yaml: cannot be read")


def test_a_card_that_says_something_else(clone):
    text = (clone / "README.md").read_text("utf-8")
    digest = json.loads((clone / "provenance.json").read_text("utf-8"))["recipe"]["digest"]
    (clone / "README.md").write_text(text.replace(digest, "0" * 12))
    assert f"README.md: the recipe's digest {digest} is not in it" in verify(clone)
    (clone / "README.md").write_text(text.replace("data/selected/", "data/chosen/"))
    assert any(fault.startswith("README.md: configs, selected: data_files does not name") for fault in verify(clone))
    (clone / "README.md").unlink()
    assert verify(clone) == ["README.md: missing"]


def test_a_count_in_the_card(clone):
    text = (clone / "README.md").read_text("utf-8")
    info = "dataset_info:\n- config_name: selected\n  splits:\n  - name: train\n    num_examples: 7\n"
    head, body = text.split("\n---", 1)
    plain = head.split("dataset_info:")[0] if "dataset_info:" in head else head + "\n"
    (clone / "README.md").write_text(plain + info + "\n---" + body)
    assert "README.md: dataset_info, selected: 7 rows, there are 6" in verify(clone)


def test_counts_and_digests_in_provenance(clone):
    path = clone / "provenance.json"
    body = json.loads(path.read_text("utf-8"))
    body["totals"]["read"] += 1
    body["configs"]["selected"]["rows"] += 1
    path.write_text(json.dumps(body))
    told = verify(clone)
    assert any("read + 10 added is not" in fault for fault in told)
    assert "provenance.json: selected: 7 rows are not the sum of its files' rows" in told
    body["configs"]["tags"]["shards"][0]["path"] = "data/../../x.parquet"
    path.write_text(json.dumps(body))
    assert verify(clone) == ["provenance.json: 'data/../../x.parquet' is no path in a repository"]
    path.write_text(json.dumps({**body, "configs": {"tags": {}}}))
    assert verify(clone) == ["provenance.json: is not complete (KeyError('shards'))"]
    path.write_text("{")
    assert verify(clone)[0].startswith("provenance.json: cannot be read")


def test_somebody_who_also_edits_the_digests_of_the_file(clone):
    path = named(clone, "selected")[0]
    edit(path, lambda table: with_cell(table, "response", 0, "changed"))
    body = json.loads((clone / "provenance.json").read_text("utf-8"))
    body["configs"]["selected"]["shards"][0]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (clone / "provenance.json").write_text(json.dumps(body))
    told = verify(clone)
    assert told[0] == "selected: the digest of its content differs from provenance.json"
    assert told[1].startswith("selected: row 0 (id ")


def test_a_run_folder_that_fits(whole_run, evolved_run):
    assert verify(whole_run) == []
    assert verify(str(evolved_run)) == []


def resave(folder, change):
    rows = change(load_from_disk(str(folder)))
    fresh = folder.with_name("fresh")
    rows.save_to_disk(fresh)
    shutil.rmtree(folder)
    fresh.rename(folder)


def test_faults_of_a_run_folder(run):
    row_id = load_from_disk(str(run / "selected"))["id"][2]
    resave(run / "selected", lambda rows: rows.map(lambda row: {"response": "x"} if row["id"] == row_id else row))
    (fault,) = verify(run)
    assert fault.startswith(f"selected: row 2 (id {row_id}): column response differs from steps/")
    resave(run / "selected", lambda rows: rows.select(range(5)))
    told = verify(run)
    assert told[0] == "selected: 5 rows, run.json has 6"
    assert told[1].startswith("rows: 11 read + 10 added, but ")
    text = (run / "recipe.yaml").read_text("utf-8")
    (run / "recipe.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    assert verify(run)[0].startswith("recipe.yaml: digest ")
    shutil.rmtree(run / "not_chosen")
    assert any("not_chosen" in fault for fault in verify(run))


def test_a_run_that_was_not_finished(run):
    record = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**record, "status": "stopped"}))
    assert verify(run) == ["run.json: the run is not finished (status 'stopped'); run the same recipe again"]


def test_nothing_to_verify(hub, tmp_path):
    for where in (tmp_path, tmp_path / "none", "./none/here", "none"):
        with pytest.raises(DataError, match="nothing to verify; expected a run folder"):
            verify(where)
    with pytest.raises(DataError, match="me/none: there is no such folder, and no such data set on the Hub"):
        verify("me/none")
    hub.files["me/plain"] = {"README.md": b"x"}
    assert verify("me/plain") == ["provenance.json: missing; was this data set pushed by tagevol push?"]


def test_the_command(clone):
    import typer

    from tagevol_hf import cli_hub

    app = typer.Typer()
    cli_hub.add_to(app)
    done = CliRunner().invoke(app, ["verify", str(clone)])
    assert done.exit_code == 0
    assert done.output == f"{clone}: everything fits\n"
    named(clone, "tags")[0].unlink()
    done = CliRunner().invoke(app, ["verify", str(clone)])
    assert done.exit_code == 2
    assert f"data/tags/{'train-00000-of-'}" in done.output
