"""A run as Parquet files in a folder, without the Hub."""

import subprocess
import sys

import pytest
from datasets import load_dataset
from typer.testing import CliRunner

from tagevol_hf.cli import app
from tagevol_hf.errors import DataError
from tagevol_hf.hub import export_run, verify
from tagevol_hf.hub.configs import configs_of

pytestmark = pytest.mark.slow  # needs finished runs


def bytes_in(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_exported_is_what_is_pushed_and_loads(whole_run, published, tmp_path):
    said = []
    folder = export_run(whole_run, tmp_path / "whole", say=said.append, shard_bytes=8000)
    pushed = dict(published.files["me/whole"])
    written = bytes_in(folder)
    names = {"README.md", ".gitattributes"}  # the card's name of the data set; what the Hub adds
    assert {k: v for k, v in written.items() if k not in names} == {k: v for k, v in pushed.items() if k not in names}
    assert written["README.md"] == pushed["README.md"].replace(b"me/whole", b"whole")
    assert verify(folder) == []
    assert said[0].startswith("selected: 6 rows in ")
    for name, rows in configs_of(whole_run).items():
        there = load_dataset(str(folder), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert there.to_list() == rows.to_list()
        assert there.features == rows.features


def test_an_export_is_replaced_and_nothing_else(whole_run, evolved_run, tmp_path):
    export_run(evolved_run, tmp_path / "data")
    export_run(whole_run, tmp_path / "data", configs=["tags"])
    assert {path.name for path in (tmp_path / "data" / "data").iterdir()} == {"tags"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    for place in (tmp_path / "mine", tmp_path / "mine" / "note.txt"):
        with pytest.raises(DataError, match="holds something else than an export; name a new folder"):
            export_run(whole_run, place)
    assert (tmp_path / "mine" / "note.txt").read_text() == "mine"
    with pytest.raises(DataError, match=r"cannot be written \(Not a directory\)|cannot be written \(File exists\)"):
        export_run(whole_run, tmp_path / "mine" / "note.txt" / "x")
    assert not list(tmp_path.glob(".tagevol-export-*"))


def test_the_command(whole_run, tmp_path):
    done = CliRunner().invoke(app, ["export", str(whole_run), str(tmp_path / "d"), "--configs", "selected,tags"])
    assert done.exit_code == 0, done.exception
    assert f"check it:  tagevol verify {tmp_path / 'd'}" in done.stdout
    assert verify(tmp_path / "d") == []


def test_it_loads_no_more_than_it_needs(whole_run, tmp_path):
    code = (
        "import sys; from tagevol_hf.hub import export_run; export_run(sys.argv[1], sys.argv[2]); "
        "print(sorted({'torch', 'vllm', 'trl', 'transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(whole_run), str(tmp_path / "d")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stderr
