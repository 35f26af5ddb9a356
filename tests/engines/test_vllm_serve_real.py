"""The managed server with real vLLM on a CPU and a tiny model."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema_rs
import pytest

from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.vllm_serve import VLLMServeEngine
from tagevol_hf.errors import EngineError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]

OPTIONS = "dtype=float32&enforce_eager=true&max_model_len=4096&max_num_seqs=64&structured_backend=guidance"
SCHEMA = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 1, "maxItems": 2}
    },
    "required": ["tags"],
    "additionalProperties": False,
}
CHECK = jsonschema_rs.validator_for(SCHEMA)
IN_THIS_PROCESS = """
import json, sys
from tagevol_hf.engines.base import Message, Request, Sampling
from tagevol_hf.engines.vllm import VLLMEngine

requests = [Request((Message("user", f"question {n}"),), Sampling(max_tokens=40)) for n in range(12)]
found = []
for spec in sys.argv[1:]:
    engine = VLLMEngine.from_spec(spec)
    texts = {position: reply.text for position, reply in engine.stream(requests)}
    found.append([engine.identity, [texts[position] for position in sorted(texts)]])
    engine.close()
print(json.dumps(found))
"""


def questions(count, schema=None, **sampling):
    return [Request((Message("user", f"question {n}"),), Sampling(**sampling), schema) for n in range(count)]


@pytest.fixture(scope="module")
def model(tiny_llama, tmp_path_factory):
    """A model whose folder recommends a sampling that changes even a greedy reply."""
    folder = shutil.copytree(tiny_llama, tmp_path_factory.mktemp("sampling") / "tiny-llama")
    given = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**given, "repetition_penalty": 1.9, "top_k": 2}))
    return folder


@pytest.fixture(scope="module")
def served(model):
    engine = VLLMServeEngine.from_spec(f"{model}?{OPTIONS}&startup_timeout=300&restarts=1")
    yield engine
    engine.close()


def family(process):
    """A process's descendants."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def is_there(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def command(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_real_replies_fit_their_schema(served):
    seen = list(served.stream(questions(30, SCHEMA, temperature=1.0, max_tokens=200, seed=5)))
    assert sorted(position for position, _ in seen) == list(range(30))
    for _, reply in seen:
        assert reply.finish_reason == "stop"
        CHECK.validate(json.loads(reply.text))
        assert reply.completion_tokens > 0


@pytest.fixture(scope="module")
def adapter(model, tmp_path_factory):
    pytest.importorskip("peft")
    return make_adapter(model, tmp_path_factory.mktemp("lora") / "poet")


@pytest.fixture(scope="module")
def in_one_process(model, adapter):
    """Identity and texts of `vllm:`, without and with the adapter; apart, since a model here would stay."""
    specs = [f"{model}?{OPTIONS}", f"{model}?{OPTIONS}&lora={adapter}"]
    done = subprocess.run([sys.executable, "-c", IN_THIS_PROCESS, *specs], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def same_from(engine):
    replies = dict(engine.stream(questions(12, max_tokens=40)))
    return [engine.identity, [replies[position].text for position in range(12)]]


def test_real_replies_are_those_of_the_model_in_one_process(served, in_one_process):
    assert same_from(served) == in_one_process[0]


def test_real_replies_of_an_adapter_are_those_of_the_adapter_in_one_process(model, adapter, in_one_process):
    engine = VLLMServeEngine.from_spec(f"{model}?{OPTIONS}&lora={adapter}&startup_timeout=300")
    try:
        with_adapter = same_from(engine)
    finally:
        engine.close()
    assert with_adapter == in_one_process[1]
    assert with_adapter[1] != in_one_process[0][1]


def make_adapter(model, folder):
    """A random LoRA adapter that is large enough to change every reply."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), config)
    with torch.no_grad():
        for name, values in adapted.named_parameters():
            if "lora_" in name:
                values.normal_(std=0.5)
    adapted.save_pretrained(folder)
    return folder


def server_of(model):
    """The process group of the server that has this model, and the group's processes."""
    named = [each for each in family(os.getpid()) if os.fsencode(model) in command(each)]
    (group,) = {os.getpgid(each) for each in named if b"child_guard" not in command(each)}
    assert group not in (os.getpgrp(), 0)
    return group, {each for each in family(os.getpid()) if is_there(each) and os.getpgid(each) == group}


def test_real_server_killed_in_the_middle_loses_nothing_and_leaves_nothing(served, model):
    seen = []
    for position, reply in served.stream(questions(150, SCHEMA, temperature=1.0, max_tokens=200, seed=7)):
        seen.append((position, reply))
        if len(seen) == 20:
            group, killed = server_of(model)
            assert any(b"EngineCore" in command(process) for process in killed)
            os.killpg(group, signal.SIGKILL)
    assert sorted(position for position, _ in seen) == list(range(150))
    for _, reply in seen:
        CHECK.validate(json.loads(reply.text))
    again, now = server_of(model)
    assert again != group
    assert sum(b"EngineCore" in command(process) for process in now) == 1
    began = time.monotonic()
    served.close()
    assert time.monotonic() - began < 25
    assert not [process for process in killed | now if is_there(process) and b"vllm" in command(process).lower()]


PARENT = """
import sys
from tagevol_hf.engines.base import Message, Request
from tagevol_hf.engines.vllm_serve import VLLMServeEngine

requests = (Request((Message("user", f"question {n}"),)) for n in range(10**6))
for _ in VLLMServeEngine.from_spec(sys.argv[1]).stream(requests):
    print("ready", flush=True)
"""


def test_real_server_leaves_nothing_when_its_parent_is_killed(tiny_llama):
    spec = f"{tiny_llama}?{OPTIONS}&startup_timeout=300"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, spec], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert parent.stdout.readline() == "ready\n"
        processes = family(parent.pid)
        assert any(b"EngineCore" in command(process) for process in processes)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    end = time.monotonic() + 20
    while any(is_there(process) for process in processes) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [process for process in processes if is_there(process)]


def test_real_server_that_refuses_the_model_tells_why(model):
    engine = VLLMServeEngine.from_spec(f"{model}?max_model_len=99999999&startup_timeout=120")
    with pytest.raises(EngineError, match=r"ended while it was starting \(exit status 1\)") as caught:
        dict(engine.stream(questions(1)))
    assert "max_model_len (99999999) is greater than the derived max_model_len" in str(caught.value)
