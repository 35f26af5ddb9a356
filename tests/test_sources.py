"""Rows of several sources in one data set."""

import pytest
from datasets import Dataset

from tagevol_hf.errors import DataError
from tagevol_hf.formats import prepare
from tagevol_hf.rows import ROW_FEATURES
from tagevol_hf.sources import load, together


def rows(*texts, **columns):
    return prepare(Dataset.from_dict({"instruction": list(texts), **columns}))


def test_rows_come_in_order_with_their_source_and_only_their_own_columns():
    both = together({"first": rows("a", "b", level=[1, 2]), "second": rows("c", subject=["x"])})
    assert both["instruction"][:] == ["a", "b", "c"]
    assert both["source"][:] == ["first", "first", "second"]
    assert set(both.column_names) == {*ROW_FEATURES, "source"}


def test_a_row_that_an_earlier_source_has_is_rejected_not_lost():
    both = together({"first": rows("a", "b"), "second": rows("b", "c")})
    assert [mark and mark["reason"] for mark in both["rejection"]] == [None, None, "duplicate_id", None]
    assert "is a row of first as well" in both[2]["rejection"]["detail"]
    assert len(set(both["id"])) == 4


def test_an_earlier_rejection_stays():
    both = together({"first": rows("", "b"), "second": rows("")})
    assert [mark and mark["reason"] for mark in both["rejection"]] == ["empty_instruction", None, "empty_instruction"]


def test_given_ids_of_two_sources_may_collide():
    both = together({"a": rows("x", id=["7"]), "b": rows("y", id=["7"])})
    assert both["id"][:] == ["7", "7@b"]
    assert both[1]["rejection"]["reason"] == "duplicate_id"


def test_a_source_may_be_a_path(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"instruction": "a"}\n')
    assert load(file)["instruction"][:] == ["a"]
    with pytest.raises(DataError, match=r"data\.source '.*none\.jsonl'"):
        load(tmp_path / "none.jsonl")
