"""Whole checkpoints, torn ones, and those of another training; no model is loaded."""

import json
import struct
import zipfile

import pytest

from tagevol_hf.errors import RecipeError
from tagevol_hf.training.checkpoints import check_checkpoint, last_checkpoint, what_is_missing

LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 400}


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
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def test_the_newest_whole_one_is_taken(tmp_path):
    assert last_checkpoint(tmp_path) is None
    whole = checkpoint(tmp_path, 5)
    for step, name, cut in ((10, "model.safetensors", 8), (15, "optimizer.pt", 30), (20, "trainer_state.json", 1)):
        torn = checkpoint(tmp_path, step) / name
        torn.write_bytes(torn.read_bytes()[:-cut])
        assert what_is_missing(torn.parent).startswith(("its " if "state" in name else "") + name)
    (tmp_path / "checkpoint-25").mkdir()
    (tmp_path / "checkpoint-9-kept").mkdir()
    assert last_checkpoint(tmp_path) == whole
    (whole / "model.safetensors").write_bytes(b"\xff" * 20)
    assert last_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    ("made", "asked", "message"),
    [
        ({"config": LLAMA | {"hidden_size": 128}}, {}, "is of another model than me/llama: hidden_size 128, not 64"),
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


def test_what_is_not_there_is_refused_and_what_fits_is_not(tmp_path):
    with pytest.raises(RecipeError, match=r"resume_from_checkpoint: .*none: there is no such folder; leave it out"):
        check_checkpoint(str(tmp_path / "none"), "me/llama", LLAMA, adapter=False)
    check_checkpoint(str(checkpoint(tmp_path)), "me/llama", LLAMA, adapter=False, digest="x")
    check_checkpoint(str(checkpoint(tmp_path, 6, adapter="me/llama")), "me/llama", LLAMA, adapter=True)
