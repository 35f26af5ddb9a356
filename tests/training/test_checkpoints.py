"""Whole checkpoints, torn ones, and those of another training; no model is loaded."""

import json
import os
import struct
import subprocess
import sys
import zipfile

import pytest
from datasets import Dataset
from run_folders import ROOT

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.training import models, record
from tagevol_hf.training.checkpoints import (
    check_checkpoint,
    last_checkpoint,
    make_ready,
    set_torn_aside,
    what_is_missing,
)
from tagevol_hf.training.earlier import check_apart
from tagevol_hf.training.push import LEFT_OUT

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 400,
}


def checkpoint(folder, step=5, config=LLAMA, adapter=None):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    header = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(16)
    name = "model" if adapter is None else "adapter_model"
    (path / f"{name}.safetensors").write_bytes(weights)
    if adapter is None:
        (path / "config.json").write_text(json.dumps(config))
    else:
        (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": adapter}))
    with zipfile.ZipFile(path / "optimizer.pt", "w") as archive:
        archive.writestr("data.pkl", b"0" * 200)
    (path / "rng_state.pth").write_bytes((path / "optimizer.pt").read_bytes())
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def test_the_newest_whole_one_is_taken(tmp_path):
    assert last_checkpoint(tmp_path) is None
    whole = checkpoint(tmp_path, 5)
    for step, name, cut in (
        (10, "model.safetensors", 8),
        (12, "rng_state.pth", 30),
        (15, "optimizer.pt", 30),
        (20, "trainer_state.json", 1),
    ):
        torn = checkpoint(tmp_path, step) / name
        torn.write_bytes(torn.read_bytes()[:-cut])
        assert name in what_is_missing(torn.parent)
    (tmp_path / "checkpoint-25").mkdir()
    (tmp_path / "checkpoint-9-kept").mkdir()
    assert last_checkpoint(tmp_path) == whole
    for header in (b"\xff" * 20, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b'{"a": {}}', b""):
        (whole / "model.safetensors").write_bytes(header)
        assert what_is_missing(whole) == "model.safetensors was cut off"
    assert last_checkpoint(tmp_path) is None


def test_a_shard_or_the_random_state_of_a_process_is_missed(tmp_path):
    path = checkpoint(tmp_path)
    (path / "model.safetensors").rename(path / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert what_is_missing(path) == "model-00002-of-00002.safetensors is not there"
    (path / shards["b"]).write_bytes((path / shards["a"]).read_bytes())
    assert what_is_missing(path) == ""
    (path / "rng_state.pth").rename(path / "rng_state_0.pth")
    assert what_is_missing(path) == "rng_state_1.pth is not there", "rank 1 was killed before it wrote it"
    (path / "rng_state_1.pth").write_bytes((path / "rng_state_0.pth").read_bytes())
    assert what_is_missing(path) == ""


def test_torn_ones_are_set_aside_so_that_they_do_not_count_as_the_newest(tmp_path):
    whole, torn = checkpoint(tmp_path, 5), checkpoint(tmp_path, 20)
    for _ in range(2):
        (torn / "trainer_state.json").write_text("{")
        assert set_torn_aside(tmp_path) == [tmp_path / "earlier-torn" / "checkpoint-20"]
        assert [path.name for path in tmp_path.glob("checkpoint-*")] == [whole.name]
        torn.mkdir()
    torn.rmdir()
    assert set_torn_aside(tmp_path) == []


def test_a_second_training_in_the_same_folder_is_refused_until_the_first_is_killed(tmp_path):
    code = "import sys, time; from pathlib import Path; from tagevol_hf.training.record import hold\n"
    code += "lock = hold(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert first.stdout.readline() == "held\n"
    with pytest.raises(DataError, match="another process trains into this folder; wait for it, or end it"):
        record.hold(tmp_path, patience=0)
    first.kill()
    first.communicate()
    record.hold(tmp_path, patience=5).release()


def model(folder, digest, tiny=None):
    """What a finished training leaves behind, and what a person put beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    for name in (*names, "model.safetensors", "training_args.bin", "README.md", "eval.json", "notes.txt"):
        (folder / name).write_text(f"{name} of {digest}")
    for name, part in (("evals", "gsm8k.json"), ("runs", "events")):
        (folder / name).mkdir()
        (folder / name / part).write_text(digest)
    checkpoint(folder, 5)
    (folder / "started.json").write_text(json.dumps({"digest": digest}))
    (folder / "train.json").write_text(json.dumps({"digest": digest, "data_digest": "d"}))
    if tiny:
        (folder / "tiny-model").mkdir()
        (folder / "tiny-model" / "tiny.json").write_text(json.dumps({"data": tiny}))
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_earlier_model_is_set_aside_whole(tmp_path):
    folder = model(tmp_path / "out", "one")
    moved = record.begin(folder, "two", afresh=False)
    assert moved == str(folder / "earlier-one")
    assert names(folder) == ["README.md", "earlier-one", "notes.txt", "runs", "started.json"]
    assert record.is_done(folder / "earlier-one", "one"), "its record and its weights are together"
    assert (folder / "earlier-one" / "tokenizer.json").read_text() == "tokenizer.json of one"
    whole = set(names(folder / "earlier-one"))
    assert {"evals", "eval.json", "README.md", "checkpoint-5", "chat_template.jinja", "training_args.bin"} <= whole
    assert record.read_json(folder / "started.json") == {"digest": "two"}


def test_an_unfinished_training_that_goes_on_moves_nothing(tmp_path):
    folder = model(tmp_path / "out", "one")
    before = set(names(folder))
    assert record.begin(folder, "one", afresh=False) is None
    assert set(names(folder)) == before - {"train.json"}, "the record is written when the model is whole again"
    assert last_checkpoint(folder) == folder / "checkpoint-5"


def test_each_earlier_model_gets_a_folder_of_its_own(tmp_path):
    folder = model(tmp_path / "out", "one")
    assert record.begin(folder, "one", afresh=True) == str(folder / "earlier-one")
    assert record.begin(again(folder), "one", afresh=True) == str(folder / "earlier-one-2")
    assert record.is_done(folder / "earlier-one", "one")
    assert record.is_done(folder / "earlier-one-2", "one")


def again(folder):
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}")
    (folder / "train.json").write_text(json.dumps({"digest": "one"}))
    return folder


def test_a_folder_that_no_training_made_keeps_what_is_no_model(tmp_path):
    for name in ("README.md", "config.json", "tokenizer.py"):
        (tmp_path / name).write_text("mine")
    assert record.begin(tmp_path, "one", afresh=False) is None
    assert names(tmp_path) == ["README.md", "config.json", "started.json", "tokenizer.py"]


def test_the_checkpoint_to_go_on_from_stays(tmp_path):
    folder = model(tmp_path / "out", "one")
    checkpoint(folder, 10)
    record.begin(folder, "one", afresh=True, resume=str(folder / "checkpoint-5"))
    assert last_checkpoint(folder) == folder / "checkpoint-5"
    assert (folder / "earlier-one" / "checkpoint-10").is_dir()


@pytest.mark.parametrize(("data", "copied"), [("d", True), ("other", False)])
def test_the_tiny_model_that_it_began_from_is_copied(tmp_path, data, copied):
    folder = model(tmp_path / "out", "one", tiny=data)
    record.begin(folder, "two", afresh=False)
    assert (folder / "tiny-model" / "tiny.json").is_file(), "the next training may begin from it"
    assert (folder / "earlier-one" / "tiny-model").exists() == copied


def test_what_was_set_aside_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    folder = model(tmp_path / "out", "one")
    said = make_ready(folder, "two", afresh=False, resume=None)
    assert said == [f"an earlier training's model was moved to {folder / 'earlier-one'}"]
    checkpoint(folder, 5)
    said = make_ready(folder, "three", afresh=False, resume=None)
    assert said == [f"checkpoints of an earlier, different training were moved to {folder / 'earlier-two'}"]
    monkeypatch.setenv("RANK", "1")
    assert make_ready(folder, "four", afresh=False, resume=None) == []


def test_nothing_set_aside_is_pushed(tmp_path):
    from huggingface_hub.utils import filter_repo_objects

    folder = model(tmp_path / "out", "one", tiny="d")
    record.begin(folder, "two", afresh=False)
    (folder / "model.safetensors").write_text("new")
    files = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    pushed = set(filter_repo_objects(files, ignore_patterns=LEFT_OUT))
    assert "model.safetensors" in pushed
    assert not [name for name in pushed if name.startswith(("earlier-", "tiny-model"))]


def test_the_model_to_begin_from_is_not_trained_over(tmp_path, monkeypatch):
    folder = model(tmp_path / "out", "one")
    monkeypatch.chdir(tmp_path)
    for begins in (str(folder), "out", "out/../out", str(folder / "checkpoint-5")):
        with pytest.raises(RecipeError, match=r"out holds model_name_or_path, .* would be overwritten; give another"):
            check_apart(begins, folder)
    for begins in ("me/llama", "tiny:llama", str(folder / "earlier-one"), str(tmp_path)):
        check_apart(begins, folder)


def test_a_tiny_model_of_other_data_is_kept_for_the_model_that_began_from_it(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(models, "make_tiny_model", lambda folder, *_: folder.mkdir())  # torch makes the real one
    folder = model(tmp_path / "out", "one", tiny="old")
    rows = Dataset.from_dict({name: ["x"] for name in ("instruction", "input", "response")})
    models.resolve_model("tiny:llama", folder, rows, "new")
    assert record.read_json(folder / "earlier-tiny-model" / "tiny.json") == {"data": "old"}
    assert record.read_json(folder / "tiny-model" / "tiny.json")["data"] == "new"


@pytest.mark.parametrize(
    ("made", "asked", "message"),
    [
        ({"config": LLAMA | {"hidden_size": 128}}, {}, "is of another model than me/llama: hidden_size 128, not 64"),
        ({"config": LLAMA | {"num_key_value_heads": 1}}, {}, "num_key_value_heads 1, not 2"),
        ({"config": LLAMA | {"model_type": "qwen2"}}, {}, "another model than me/llama: model_type qwen2, not llama"),
        ({"adapter": "me/llama"}, {}, "holds a LoRA adapter, and this is a full training"),
        ({}, {"adapter": True}, "holds a full model, and this is a LoRA training"),
        ({"adapter": "me/mistral"}, {"adapter": True}, "is an adapter of me/mistral, not of me/llama"),
        ({}, {"digest": "other"}, "is of a training with other data or settings; to begin a new one from its weights"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, made, asked, message):
    (tmp_path / "started.json").write_text(json.dumps({"digest": "this"}))
    path = checkpoint(tmp_path, **made)
    with pytest.raises(RecipeError, match=message):
        check_checkpoint(str(path), "me/llama", LLAMA, **{"adapter": False, "digest": "this", **asked})


def test_what_is_not_there_is_refused_and_what_fits_is_not(tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match=r"resume_from_checkpoint: .*none: there is no such folder; leave it out"):
        check_checkpoint(str(tmp_path / "none"), "me/llama", LLAMA, adapter=False)
    check_checkpoint(str(checkpoint(tmp_path)), "me/llama", LLAMA, adapter=False, digest="x")
    check_checkpoint(str(checkpoint(tmp_path, 6, adapter="me/llama")), "me/llama", LLAMA, adapter=True)
    monkeypatch.chdir(tmp_path)  # the base is a folder, named in another way than before
    check_checkpoint(str(checkpoint(tmp_path, 7, adapter="me/llama")), str(tmp_path / "me/llama"), LLAMA, adapter=True)
    empty = checkpoint(tmp_path, 8)
    (empty / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match="checkpoint-8: holds no weights"):
        check_checkpoint(str(empty), "me/llama", LLAMA, adapter=False)
