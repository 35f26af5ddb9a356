"""A benchmark's records, and predictions that any program saved."""

import gzip
import json

import pytest
from datasets import Dataset
from toy_task import problems, records, toy, write

from tagevol_hf.errors import DataError
from tagevol_hf.evals.records import read_objects, read_predictions, read_records

ALL = problems(records())


def test_files_of_all_kinds_give_the_same_records(tmp_path):
    rows = records()
    lines = write(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.read_bytes()))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "lines.json").write_bytes(lines.read_bytes())
    Dataset.from_list(rows).to_parquet(tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.jsonl.gz", "a.json", "lines.json", "a.parquet"):
        assert [dict(row) for row in read_records(toy(), str(tmp_path / name))] == rows, name
    assert len(read_records(toy(), str(lines), limit=2)) == 2


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"output": "a\u2028b\u0085c"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_objects(path) == [{"output": "a\u2028b\u0085c"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\n{"a": ', r"line 2 is no JSON"),
        (b"[1, 2]", r"row 1: expected an object, got list"),
        (b"\xff\xfe", r"cannot be read"),
        (b"[" * 100_000, r"line 1 is no JSON"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_objects(tmp_path / "a.jsonl")


def test_what_is_missing_is_said(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(DataError, match=r"a\.jsonl holds no rows"):
        read_records(toy(), str(tmp_path / "a.jsonl"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"x" * 100)[:20])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: cannot be read"):
        read_objects(tmp_path / "a.jsonl.gz")
    with pytest.raises(DataError, match=r"toy: .*; or give a local file by --data toy=FILE"):
        read_records(toy())


def outputs(path, rows, **options):
    return read_predictions(write(path / "p.jsonl", rows), ALL, **options)


def test_in_the_tasks_order_or_by_id(tmp_path):
    texts = [{"output": str(n)} for n in range(4)]
    assert outputs(tmp_path, texts) == [("0",), ("1",), ("2",), ("3",)]
    by_id = [{"id": f"toy/{n}", "output": str(n)} for n in (3, 1, 0, 2)]
    assert outputs(tmp_path, by_id) == [("0",), ("1",), ("2",), ("3",)]
    own_id = [{"id": f"s{n}", "output": [str(n), "x"]} for n in (3, 1, 0, 2)]
    assert outputs(tmp_path, own_id)[3] == ("3", "x")
    assert outputs(tmp_path, [*texts[:3], {"output": None}])[3] is None
    assert outputs(tmp_path, by_id[:1], incomplete="allow") == [None, None, None, ("3",)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"output": "x"}] * 3,
            "3 predictions for 4 problems; complete it, or grade this part with --incomplete",
        ),
        ([{"output": "x"}] * 5, "5 predictions for 4 problems"),
        ([{"outputs": "x"}] * 4, 'row 1 has no field "output"; did you mean "outputs"?'),
        ([{"output": 5}] * 4, "row 1: output: expected a text, a list of texts or null, got 5"),
        ([{"output": []}] * 4, "row 1: output: expected a text"),
        ([{"id": "toy/9", "output": "x"}] * 4, "row 1: id 'toy/9' is no problem of this task"),
        ([{"id": "toy/1", "output": "x"}] * 4, "4 predictions have the id 'toy/1'"),
        ([{"id": "toy/1", "output": "x"}, {"output": "x"}], 'row 2 has no "id", and other rows have'),
    ],
)
def test_predictions_that_do_not_fit_are_refused(tmp_path, rows, message):
    with pytest.raises(DataError, match=r"p\.jsonl: ") as caught:
        outputs(tmp_path, rows)
    assert message in str(caught.value)
