"""What a user calls a model."""

import json

import pytest

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.evals.model import find_model


def trained(folder, adapter_of=None):
    folder.mkdir(parents=True)
    (folder / "train.json").write_text("{}")
    name = "adapter_config.json" if adapter_of else "config.json"
    (folder / name).write_text(json.dumps({"base_model_name_or_path": adapter_of} if adapter_of else {}))
    return folder


def test_folders_adapters_runs_hub_ids_and_endpoints(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    model = trained(tmp_path / "run" / "sft tiny")
    adapter = trained(tmp_path / "my adapter", "org/base")
    for what, spec, folder in (
        (model, f"vllm:{model}", model),
        (tmp_path / "run", f"vllm:{model}", model),
        (adapter, f"vllm:org/base?lora={str(adapter).replace(' ', '%20')}", adapter),
        ("org/name", "vllm:org/name", None),
        ("http://127.0.0.1:8000/v1#m", "http://127.0.0.1:8000/v1#m", None),
        ("transformers:org/name?dtype=float32", "transformers:org/name?dtype=float32", None),
        ("builtin", "builtin", None),
    ):
        found = find_model(str(what))
        assert (found.spec, found.folder) == (spec, folder)
    engine = "transformers?dtype=float32"
    assert find_model(str(adapter), engine).spec.startswith("transformers:org/base?dtype=float32&lora=")


def test_what_is_no_model_is_said(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(DataError, match=r"run: no model there \(no config.json, no adapter_config.json\)"):
        find_model(str(run))
    (run / "run.json").write_text("{}")
    with pytest.raises(DataError, match="no model was trained there; train one with: tagevol train"):
        find_model(str(run))
    trained(run / "a"), trained(run / "b")
    with pytest.raises(DataError, match=r"several models were trained there; name one: .*/a, .*/b"):
        find_model(str(run))
    with pytest.raises(DataError, match="no such folder"):
        find_model(str(tmp_path / "none"))
    with pytest.raises(RecipeError, match="--engine 'vlm': expected one of vllm, vllm-serve, transformers"):
        find_model("org/name", "vlm")
    (run / "c").mkdir()
    (run / "c" / "adapter_config.json").write_text("{")
    with pytest.raises(DataError, match=r"adapter_config\.json: cannot be read"):
        find_model(str(run / "c"))
