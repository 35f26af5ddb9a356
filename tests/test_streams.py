"""Streams, kept on disk in shards."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import IterableDataset

from tagevol_hf import streams as spooling
from tagevol_hf.errors import DataError
from tagevol_hf.pipeline import curate
from tagevol_hf.recipe import recipe_from
from tagevol_hf.sources import load
from tagevol_hf.streams import spool

ROOT = Path(__file__).parents[1]


class Stream:
    """Parts of ten rows; notes which ones were begun, and can break off."""

    def __init__(self, parts, breaks_at=None):
        self.begun, self.breaks_at = [], breaks_at
        self.stream = IterableDataset.from_generator(self._rows, gen_kwargs={"part": list(range(parts))})

    def _rows(self, part):
        for number in part:
            self.begun.append(number)
            for row in range(10):
                if (number, row) == self.breaks_at:
                    raise ConnectionError("the line is gone")
                yield {"n": number * 10 + row, "text": f"row {row} of {number}"}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch, tmp_path):
    monkeypatch.setattr(spooling, "SHARD_ROWS", 25)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_all_rows_in_order_and_nothing_is_fetched_twice(tmp_path):
    first = Stream(9)
    assert spool(first.stream, tmp_path / "s")["n"] == list(range(90))
    assert first.begun == list(range(9))
    again = Stream(9)
    assert spool(again.stream, tmp_path / "s")["n"] == list(range(90))
    assert again.begun == []
    assert sorted(path.name for path in (tmp_path / "s").glob("0*")) == ["000000", "000001", "000002", "000003"]


def test_a_stream_that_broke_off_goes_on_at_the_shard(tmp_path):
    with pytest.raises(DataError, match=r"the stream broke off \(the line is gone\); 50 rows are kept: run the same"):
        spool(Stream(9, breaks_at=(6, 5)).stream, tmp_path / "s")
    (tmp_path / "s" / ".000002.77").mkdir()  # half of a shard, of a process that was killed
    rest = Stream(9)
    assert spool(rest.stream, tmp_path / "s")["n"] == list(range(90))
    assert min(rest.begun) == 4  # the part in which the second shard ends is read again; no earlier one is
    assert not list((tmp_path / "s").glob(".0*"))


def test_only_as_many_as_are_wanted_and_more_later(tmp_path):
    first = Stream(9)
    assert spool(first.stream, tmp_path / "s", limit=30)["n"] == list(range(30))
    assert max(first.begun) <= 3
    assert spool(Stream(9).stream, tmp_path / "s", limit=20)["n"] == list(range(20))
    assert spool(Stream(9).stream, tmp_path / "s", limit=70)["n"] == list(range(70))
    assert spool(Stream(9).stream, tmp_path / "s", limit=500)["n"] == list(range(90))


def test_another_source_begins_anew(tmp_path):
    spool(Stream(3).stream, tmp_path / "s", source="one")
    other = IterableDataset.from_generator(lambda: iter([{"n": 7}]))
    assert spool(other, tmp_path / "s", source="two")["n"] == [7]


def test_a_column_that_begins_with_nulls_keeps_its_type(tmp_path):
    rows = [{"n": n, "note": None if n < 40 else "seen"} for n in range(60)]
    found = spool(IterableDataset.from_generator(lambda: iter(rows)), tmp_path / "s")
    assert found.features["note"].dtype == "string"
    assert found.to_list() == rows


def test_an_empty_stream(tmp_path):
    assert len(spool(IterableDataset.from_generator(lambda: iter([])), tmp_path / "s")) == 0


def test_a_damaged_shard_is_named(tmp_path):
    spool(Stream(3).stream, tmp_path / "s")
    (tmp_path / "s" / "000000" / "stream.json").write_text('{"rows"')
    with pytest.raises(DataError, match=r"000000: a damaged shard of a stream; delete .*/s and run the same again"):
        spool(Stream(3).stream, tmp_path / "s", limit=99)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="what was fetched is kept, run the same again"):
        spool(Stream(1).stream, tmp_path / "file" / "s")


def test_a_streamed_source_gives_the_same_rows_and_is_read_again_when_it_changes(tmp_path):
    rows = [{"instruction": f"Explain tide {n}.", "output": "So."} for n in range(60)]
    source = write(tmp_path / "rows.jsonl", rows)
    assert load(source, streaming=True).to_list() == load(source).to_list() == rows
    assert load(source, streaming=True, limit=7).to_list() == rows[:7]
    write(tmp_path / "rows.jsonl", rows[::-1])
    assert load(source, streaming=True).to_list() == rows[::-1]
    with pytest.raises(DataError, match="no such file"):
        load(str(tmp_path / "none.jsonl"), streaming=True)


@pytest.mark.slow
def test_a_recipe_over_a_stream_gives_the_same_result(tmp_path):
    rows = [{"instruction": f"Explain the tide number {n} to pupils.", "output": "So."} for n in range(40)]
    source = write(tmp_path / "rows.jsonl", rows)
    own = {"embedder": "builtin"}
    steps = [
        {"open_tags": {}},
        {"normalize_tags": own},
        {"cluster": {"k": 3, **own}},
        {"compare": {}},
        {"select": {"n": 8}},
    ]
    results = []
    for streaming in (False, True):
        data = {"source": source, "streaming": streaming, "limit": 30}
        body = {"name": "t", "data": data, "engines": {"default": "builtin"}, "steps": steps}
        run = curate(recipe_from(body), tmp_path / f"run-{streaming}")
        results.append((run.selected.to_list(), run.not_chosen.to_list(), run.record["totals"]))
    assert results[0] == results[1]


SLOW_STREAM = """
import sys, time
from datasets import IterableDataset
from tagevol_hf import streams as spooling
spooling.SHARD_ROWS = 25
def rows():
    for n in range(400):
        time.sleep(0.01)
        yield {"n": n}
print(spooling.spool(IterableDataset.from_generator(rows), sys.argv[1])["n"] == list(range(400)))
"""


@pytest.mark.slow
def test_a_killed_process_loses_at_most_a_shard(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SLOW_STREAM, str(tmp_path / "s")]
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "s" / "000002").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("0*")}
    assert len(before) >= 3
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "True", done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
