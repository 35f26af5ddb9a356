import json

import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, List, Value, concatenate_datasets, load_from_disk

from tagevol_hf.errors import DataError
from tagevol_hf.hub.cells import read_digests, write_digests
from tagevol_hf.hub.configs import COMPARISONS, TAGS, configs_of
from tagevol_hf.hub.shards import features_in, read_shard, write_shards
from tagevol_hf.rows import ROW_FEATURES, iterate

pytestmark = pytest.mark.slow  # needs finished runs

HARD = [
    {"id": 'a\t\n"1"', "instruction": "日本語 🦉 \u0000 \u2028", "response": "x" * 100_000, "none": None},
    *({"id": f"r/{n}", "instruction": "é" * n, "response": "", "none": None} for n in range(60)),
    {"id": "big", "instruction": "é" * 100_000, "response": "end", "none": None},
]
FEATURES = Features({name: Value("string") for name in ("id", "instruction", "response", "none")})


def hard_rows():
    return Dataset.from_dict({name: [row[name] for row in HARD] for name in FEATURES}, features=FEATURES)


def test_what_each_config_holds(whole_run, evolved_run):
    made = configs_of(whole_run)
    assert list(made) == ["selected", "evolved", "tags", "comparisons", "rejected"]
    later = {row["id"] for name in ("selected", "not_chosen") for row in iterate(load_from_disk(str(whole_run / name)))}
    assert set(made["evolved"]["id"]) == later
    assert all(made["evolved"]["response"])
    assert made["comparisons"].features == COMPARISONS
    assert made["tags"].features == TAGS
    assert {row["origin"] for row in iterate(made["tags"])} == {"pool", "rows"}
    (lost,) = iterate(made["rejected"])
    assert lost["rejection"]["reason"] == "empty_instruction"
    assert list(configs_of(evolved_run)) == ["selected", "evolved", "tags"]


def test_rejected_rows_have_all_columns_wherever_they_left(whole_run):
    made = configs_of(whole_run)
    for name, feature in made["selected"].features.items():
        assert made["rejected"].features[name] == feature
    assert made["rejected"].features["aspects"] == List({"aspect": Value("string"), "tags": List(Value("string"))})
    assert made["rejected"]["budget"][:] == [None]


def test_a_column_of_nothing_keeps_a_type(run):
    rows = load_from_disk(str(run / "selected"))
    extra = Dataset.from_dict({"note": [None] * 6, "list": [[None]] * 6})
    assert extra.features["note"].dtype == "null"
    concatenate_datasets([rows, extra], axis=1).save_to_disk(run / "fresh")
    (run / "selected").rename(run / "old")
    (run / "fresh").rename(run / "selected")
    made = configs_of(run)["selected"]
    assert made.features["note"] == Value("string")
    assert made.features["list"] == List(Value("string"))
    assert made.features["rejection"] == ROW_FEATURES["rejection"]
    assert made["note"][:] == [None] * 6


def test_only_a_finished_run(run, tmp_path):
    record = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**record, "status": "running"}))
    with pytest.raises(DataError, match=r"the run is not finished \(status 'running'\); run the same recipe again"):
        configs_of(run)
    with pytest.raises(DataError, match="not a run folder"):
        configs_of(tmp_path / "none")


@pytest.mark.parametrize("shard_bytes", [1000, 150_000, 2**28])
def test_long_and_odd_rows_in_shards(tmp_path, shard_bytes):
    written = write_shards(hard_rows(), "selected", tmp_path / "a", shard_bytes=shard_bytes)
    again = write_shards(hard_rows(), "selected", tmp_path / "b", shard_bytes=shard_bytes)
    assert written.shards == again.shards  # with their sha256
    tables = [pq.read_table(tmp_path / "a" / shard.path) for shard in written.shards]
    assert [row for table in tables for row in table.to_pylist()] == HARD
    assert [len(table) for table in tables] == [shard.rows for shard in written.shards]
    assert all(len(table) == 1 or table.nbytes <= shard_bytes for table in tables)
    assert [shard.path for shard in written.shards] == [
        f"data/selected/train-{n:05d}-of-{len(tables):05d}.parquet" for n in range(len(tables))
    ]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["data"]
    assert features_in(tmp_path / "a" / written.shards[0].path) == FEATURES.to_dict()


def test_the_content_digest_does_not_depend_on_the_files(tmp_path):
    many = write_shards(hard_rows(), "selected", tmp_path / "a", shard_bytes=5000)
    one = write_shards(hard_rows(), "selected", tmp_path / "b")
    assert len(many.shards) > len(one.shards) == 1
    assert many.digest == one.digest
    other = hard_rows().map(lambda row: {"none": "" if row["id"] == "big" else None}, features=FEATURES)
    assert write_shards(other, "selected", tmp_path / "c").digest != one.digest


def test_digests_keep_any_key(tmp_path):
    written = write_shards(hard_rows(), "selected", tmp_path)
    write_digests(tmp_path / "d.txt", list(FEATURES), written.rows)
    assert read_digests(tmp_path / "d.txt") == (list(FEATURES), written.rows)
    write_digests(tmp_path / "e.txt", list(FEATURES), written.rows[:1], before=tmp_path / "d.txt")
    assert read_digests(tmp_path / "e.txt")[1] == [*written.rows, written.rows[0]]
    (tmp_path / "d.txt").write_text("[]\nhalf\n")
    with pytest.raises(DataError, match=r"d\.txt: cannot be read"):
        read_digests(tmp_path / "d.txt")


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        list(read_shard(tmp_path / "x.parquet"))
    pq.write_table(hard_rows().data.table.replace_schema_metadata(None), tmp_path / "y.parquet")
    with pytest.raises(DataError, match="declares no Features"):
        features_in(tmp_path / "y.parquet")
