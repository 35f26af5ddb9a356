"""A LoRA adapter merged: what the folder holds, what is refused, and what is on the Hub then."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from run_folders import RECIPE, ROOT, load_script
from stand_in_hub import stand_in_hub

from tagevol_hf.errors import DataError, RecipeError
from tagevol_hf.training import merge as merging
from tagevol_hf.training.merge import merge

SECRET = "hf_ThisIsNoRealToken"
PUSH = """
import sys
from pathlib import Path
from tagevol_hf.training.push import push

push(Path(sys.argv[1]), sys.argv[2])
"""


def test_what_is_no_adapter_is_refused_before_torch(tmp_path, capsys):
    script = load_script("merge")
    out = tmp_path / "out"

    def told(adapter, *options):
        assert script.main([str(adapter), str(out), *options]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    assert "none: no LoRA adapter; expected adapter_config.json and adapter_model" in told(tmp_path / "none")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    assert "model: a whole model, nothing to merge" in told(model)
    (model / "adapter_config.json").write_text('{"peft_type": "IA3", "base_model_name_or_path": "org/m"}')
    (model / "adapter_model.safetensors").write_bytes(b"")
    assert "expected peft_type LORA and base_model_name_or_path, got 'IA3' and 'org/m'" in told(model)
    (model / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "org/m"}')
    assert "--dtype: expected one of auto, float32" in told(model, "--dtype", "int8")
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    assert "out: is there and is no merge (merge.json is missing)" in told(model)
    assert [file.name for file in out.iterdir()] == ["thesis.tex"]


@pytest.fixture(scope="module")
def adapter(tiny_llama, tmp_path_factory):
    """An adapter that changes much, with a tokenizer and a record, beside the base that it names."""
    folder = tmp_path_factory.mktemp("alice_q")
    base = shutil.copytree(tiny_llama, folder / "base")
    generation = {"temperature": 0.9, "top_p": 0.6, "do_sample": False, "eos_token_id": 7}  # as LLaMA-2's
    (base / "generation_config.json").write_text(json.dumps(generation))
    poet = make_adapter(base, folder / "poet")
    measured = {"before": {"loss": 2.0, "perplexity": 7.4}, "n": 4, "n_tokens": 40, "data": "/home/alice_q/runs/poems"}
    (poet / "eval.json").write_text(json.dumps(measured))
    return poet


def make_adapter(base, folder, **changes):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM", **changes}
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**options))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    adapted.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    arguments = {"curated": "/home/alice_q/runs/poems", "use_peft": "True", "hub_token": SECRET}
    record = {"model": str(base), "end_token": "<|im_end|>", "rows": 1111, "arguments": arguments}
    (folder / "train.json").write_text(json.dumps(record))
    return folder


def logits(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits


@pytest.mark.slow
def test_the_merged_model_is_the_adapted_one(adapter, tmp_path):
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    out, ids = tmp_path / "merged", [1, 50, 60, 70, 80]
    done = merge(adapter, out)
    adapted = logits(AutoPeftModelForCausalLM.from_pretrained(adapter), ids)
    merged = logits(AutoModelForCausalLM.from_pretrained(out), ids)
    assert torch.allclose(adapted, merged, atol=1e-4)
    assert not torch.allclose(adapted, logits(AutoModelForCausalLM.from_pretrained(done["base"]), ids), atol=0.1)

    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.chat_template == "{{ messages[0].content }}"
    assert GenerationConfig.from_pretrained(out).eos_token_id == [tokenizer.convert_tokens_to_ids("<|im_end|>"), 7]
    assert (done["dtype"], done["end_token"], done["revision"]) == ("float32", "<|im_end|>", "main")
    card = (out / "README.md").read_text()
    assert "# merged\n" in card
    assert "A LoRA adapter was trained, and is merged into the weights here." in card
    assert done["adapter_digest"] in card
    assert "library_name: transformers" in card
    assert "| rows trained on | 1,111 |" in card
    assert "| before | 2.0000 | 7.40 |" in card
    assert os.listdir(tmp_path) == ["merged"]

    (out / "README.md").write_text(f"{card}\nMy words.\n")
    assert merge(adapter, out, dtype="bfloat16")["dtype"] == "bfloat16", "an earlier merge is replaced"
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert (out / "README.md").read_text().endswith("\nMy words.\n")
    assert os.listdir(tmp_path) == ["merged"]


@pytest.mark.slow
def test_bases_that_do_not_fit(adapter, tiny_llama, tmp_path, monkeypatch):
    from tagevol_hf.training.tiny import make_tiny_model

    base, out = adapter.parent / "base", tmp_path / "out"

    def refused(match, where=adapter, **options):
        with pytest.raises(DataError, match=match) as caught:
            merge(where, out, **options)
        assert "\n" not in str(caught.value)
        assert not [file for file in os.listdir(tmp_path) if "out" in file]

    wide = make_tiny_model(tmp_path / "wide", "llama", ["a"], vocab_size=400, hidden_size=128)
    deep = make_tiny_model(tmp_path / "deep", "llama", ["a"], vocab_size=400, layers=3)
    shallow = make_tiny_model(tmp_path / "shallow", "llama", ["a"], vocab_size=400, layers=1)
    refused(r"poet: the adapter does not fit .*wide \(.*size mismatch.*give the model .* with --base", base=str(wide))
    refused(r"does not fit .*deep \(the adapter lacks .*layers\.2\.", base=str(deep))
    refused(r"does not fit .*shallow \(the model lacks .*layers\.1\.", base=str(shallow))
    refused("none: the adapter's base model cannot be loaded at revision main", base=str(tmp_path / "none"))

    config = json.loads((base / "config.json").read_text())
    quantised = shutil.copytree(base, tmp_path / "quantised")
    (quantised / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "awq"}}))
    refused("quantised: the base is quantised itself; name the model it was made of", base=str(quantised))

    broken = shutil.copytree(adapter, tmp_path / "broken")
    spoil(broken / "adapter_model.safetensors")
    refused(r"broken: cannot be merged \(NaNs detected", where=broken)


def spoil(file):
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_what_was_there(adapter, tmp_path, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    out = tmp_path / "out"
    merge(adapter, out)
    (out / "mark").touch()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", full)
    with pytest.raises(DataError, match=r"out: cannot be written \(the disk is full\); nothing was left there"):
        merge(adapter, out)
    monkeypatch.setattr(merging.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 5))
    with pytest.raises(DataError, match=r"the merged model takes [\d,]+ bytes, the disk has 5 left"):
        merge(adapter, out)
    assert (os.listdir(tmp_path), (out / "mark").is_file()) == (["out"], True)
    with pytest.raises(RecipeError, match="--dtype"):
        merge(adapter, out, dtype="int4")


def run_with(hub, home, *command):
    """A process that knows this Hub only."""
    hub_settings = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": SECRET, "HF_HOME": str(home / "hf")}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", **hub_settings}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_merged_and_pushed_by_the_script(adapter, tmp_path):
    with stand_in_hub() as hub:
        hub.files["me/mine"] = {"README.md": b"---\nlicense: mit\n---\nMy words.\n"}
        done = run_with(hub, tmp_path, "scripts/merge.py", adapter, tmp_path / "out", "--push_to_hub", "me/poet")
        assert done.returncode == 0, done.stderr
        assert "merged into" in done.stdout
        assert f"pushed to {hub.url}/" in done.stdout
        pushed = hub.files["me/poet"]
        assert set(pushed) == {
            *("README.md", "config.json", "generation_config.json", "merge.json", "model.safetensors"),
            *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        }
        assert "me/poet" in hub.private
        assert b"A LoRA adapter was trained, and is merged" in pushed["README.md"]
        told = done.stdout + done.stderr
        for name, data in pushed.items():
            assert not [secret for secret in (b"alice_q", SECRET.encode()) if secret in data], name
        assert SECRET not in told

        for name in (
            "evals/store.sqlite",
            "earlier-torn/checkpoint-3/a.json",
            "best_checkpoint.json",
            ".training.lock",
        ):
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_text("of use on this machine only")
        again = run_with(hub, tmp_path, "-c", PUSH, tmp_path / "out", "me/mine")
        assert again.returncode == 0, again.stderr
        assert set(hub.files["me/mine"]) == set(pushed)
        readme = hub.files["me/mine"]["README.md"].decode()
        assert readme.startswith("---\nlicense: mit\n")
        assert "---\nMy words.\n\n<!-- tagevol card " in readme
    refused = run_with(hub, tmp_path, "-c", PUSH, tmp_path / "out", "me/poet")  # the Hub is gone
    assert "DataError: me/poet: cannot be pushed to http://127.0.0.1" in refused.stderr
    assert SECRET not in refused.stderr


@pytest.mark.slow
def test_a_training_pushes_once_and_privately(run_folder, tmp_path):
    with stand_in_hub() as hub:
        options = ["--curated", run_folder, "--output_dir", tmp_path / "out", "--max_steps", "2", "--save_steps", "1"]
        push = ["--push_to_hub", "true", "--hub_model_id", "me/tiny", "--hub_token", SECRET]
        done = run_with(hub, tmp_path, "scripts/sft.py", "--config", RECIPE, *options, *push)
        assert done.returncode == 0, done.stderr
        assert f"pushed to {hub.url}/" in done.stdout
        assert "me/tiny" in hub.private
        pushed = hub.files["me/tiny"]
        assert {"README.md", "config.json", "model.safetensors", "chat_template.jinja"} <= set(pushed)
        assert not {name for name in pushed if "train" in name or "checkpoint" in name or "tiny-model" in name}
        assert b"tagevol card" in pushed["README.md"]
        for name, data in pushed.items():
            assert SECRET.encode() not in data, name
            assert str(tmp_path).encode() not in data, name
    assert SECRET not in done.stdout + done.stderr + (tmp_path / "out" / "train.json").read_text()
