"""Whole checkpoints, torn ones, and those of another training; no model is loaded."""

import json
import os
import struct
import subprocess
import sys
import zipfile

import pytest
from run_folders import ROOT

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.training import record
from tagevol_hf.training.checkpoints import check_checkpoint, last_checkpoint, set_torn_aside, what_is_missing

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
