"""LoRA adapters in the vLLM engine: real vLLM on CPU with a tiny random model, against transformers with peft."""

import json
import pickle
import shutil
import subprocess
import sys

import jsonschema_rs
import pytest
from conftest import TEXTS

from tagevol_hf.engines.base import Message, Request
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.errors import EngineError
from tagevol_hf.training.tiny import make_tiny_model

slow = pytest.mark.slow
HALF = "\ufffd"  # a character whose bytes are cut off at the end; vLLM leaves it out, transformers writes it

SCHEMA = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 1, "maxItems": 2},
        "chosen": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 21},
            "minItems": 3,
            "maxItems": 3,
        },
    },
    "required": ["tags", "chosen"],
    "additionalProperties": False,
}


def test_a_folder_without_an_adapter(tmp_path):
    with pytest.raises(EngineError, match=r"no adapter_config.json and no adapter_model.safetensors in .*expected the"):
        VLLMEngine("org/m", lora=str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(EngineError, match=r": no adapter_model.safetensors in "):
        VLLMEngine("org/m", lora=str(tmp_path))


def test_an_adapter_is_part_of_the_identity(tmp_path):
    folder = tmp_path / "poet"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(bytes(5_000_000))
    identity = VLLMEngine("org/m", lora=str(folder)).identity
    assert identity.startswith("org/m+lora=poet@")
    (folder / "README.md").write_text("of no matter")
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "poet")
    assert VLLMEngine.from_spec(f"org/m?lora={moved}").identity == identity
    weights = bytearray(5_000_000)
    weights[3_333_333] = 1  # any byte, not a sample
    (moved / "adapter_model.safetensors").write_bytes(weights)
    assert VLLMEngine("org/m", lora=str(moved)).identity != identity
    assert VLLMEngine("org/m", lora="me/poet@v2").identity == "org/m+lora=me/poet@v2"
    engine = pickle.loads(pickle.dumps(VLLMEngine("org/m", lora=str(folder))))
    assert engine.identity == identity


@slow
def test_an_adapter_that_is_not_on_the_hub():
    with pytest.raises(
        EngineError, match="lora 'nobody/no-such-adapter': it cannot be fetched from the Hub: "
    ) as caught:
        list(VLLMEngine("org/m", lora="nobody/no-such-adapter").stream([Request((Message("user", "hello"),))]))
    assert "\n" not in str(caught.value)


# With a model; in a process of its own, as an engine that closes ends vLLM for all others of a process


def make_adapter(model, folder):
    """An adapter with weights so large that it changes what the model says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    modules = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=modules, task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    adapted.save_pretrained(folder)
    return adapted


def greedy_texts(model, tokenizer, texts, max_tokens):
    """What transformers says to the same questions."""
    said = []
    for text in texts:
        turns = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt")
        tokens = model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False)
        said.append(tokenizer.decode(tokens[0][prompt["input_ids"].shape[1] :], skip_special_tokens=True))
    return said


ADAPTED = """
import json, sys
from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.vllm import VLLMEngine
from tagevol_hf.errors import EngineError

model, adapters, schema = sys.argv[1], sys.argv[2:-1], json.loads(sys.argv[-1])
options = "dtype=float32&enforce_eager=true&max_model_len=512"
found = {"schema": schema}
for adapter in adapters:
    name = adapter.rpartition("/")[2]
    try:
        engine = VLLMEngine.from_spec(f"{model}?{options}" + (f"&lora={adapter}" if adapter else ""))
        for kept in (None, schema):
            sampling = Sampling(max_tokens=200 if kept else 20)
            requests = [Request((Message("user", f"Tag number {n}."),), sampling, kept) for n in range(8)]
            replies = dict(engine.stream(requests))
            found[f"{name} kept" if kept else name] = [replies[n].text for n in range(8)]
        engine.close()
    except EngineError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def adapted_replies(tiny_llama, tmp_path_factory):
    """Texts by adapter ("" is none); "expected" is what transformers and peft say to those of "poet"."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("adapters")
    adapted = make_adapter(tiny_llama, folder / "poet")
    make_adapter(make_tiny_model(folder / "model-1", "llama", TEXTS, vocab_size=512, hidden_size=128), folder / "wide")
    make_adapter(make_tiny_model(folder / "model-2", "llama", TEXTS, vocab_size=512, layers=3), folder / "deep")
    paths = ["", *(str(folder / name) for name in ("poet", "wide", "deep"))]
    done = subprocess.run(
        [sys.executable, "-c", ADAPTED, str(tiny_llama), *paths, json.dumps(SCHEMA)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    texts = [f"Tag number {n}." for n in range(8)]
    found["expected"] = greedy_texts(adapted, AutoTokenizer.from_pretrained(tiny_llama), texts, 20)
    return found


@slow
def test_an_adapter_says_what_peft_says(adapted_replies):
    said, expected = ([text.rstrip(HALF) for text in adapted_replies[name]] for name in ("poet", "expected"))
    assert said == expected
    assert min(map(len, said)) > 3
    assert all(text != base for text, base in zip(adapted_replies["poet"], adapted_replies[""], strict=True))
    assert len(set(adapted_replies["poet"])) > 1


@slow
def test_an_adapter_keeps_to_the_schema(adapted_replies):
    assert len(adapted_replies["poet kept"]) == 8
    for text in adapted_replies["poet kept"]:
        jsonschema_rs.validate(SCHEMA, json.loads(text))
    assert adapted_replies["poet kept"] != adapted_replies[" kept"]


@slow
def test_an_adapter_of_another_model_is_refused(adapted_replies):
    for name, told in {"wide": "", "deep": "it changes layer 2, the model has 2 layers"}.items():
        error = adapted_replies[name]
        assert f"/{name}': the adapter does not fit the model: {told}" in error
        assert error.endswith("; give the model that it was trained on")
        assert "\n" not in error
