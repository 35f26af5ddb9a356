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

engine = VLLMEngine.from_spec(sys.argv[1])
requests = [Request((Message("user", f"question {n}"),), Sampling(max_tokens=40)) for n in range(12)]
texts = {position: reply.text for position, reply in engine.stream(requests)}
print(json.dumps([engine.identity, [texts[position] for position in sorted(texts)]]))
engine.close()
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


def in_this_process(spec):
    """Identity and texts of `vllm:`, in a process of its own, because a model in this one would stay."""
    done = subprocess.run([sys.executable, "-c", IN_THIS_PROCESS, spec], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def same_from(engine):
    replies = dict(engine.stream(questions(12, max_tokens=40)))
    return [engine.identity, [replies[position].text for position in range(12)]]


def test_real_replies_are_those_of_the_model_in_this_process(served, model):
    assert same_from(served) == in_this_process(f"{model}?{OPTIONS}")


def test_real_replies_of_an_adapter_are_those_of_the_adapter_in_this_process(tiny_llama, tmp_path):
    pytest.importorskip("peft")
    adapter = make_adapter(tiny_llama, tmp_path / "poet")
    engine = VLLMServeEngine.from_spec(f"{tiny_llama}?{OPTIONS}&lora={adapter}&startup_timeout=300")
    try:
        with_adapter = same_from(engine)
    finally:
        engine.close()
    assert with_adapter == in_this_process(f"{tiny_llama}?{OPTIONS}&lora={adapter}")
    assert with_adapter[1] != in_this_process(f"{tiny_llama}?{OPTIONS}")[1]


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


def test_real_server_killed_in_the_middle_loses_nothing_and_leaves_nothing(model):
    others = set(family(os.getpid()))  # such as the server of other tests
    served = VLLMServeEngine.from_spec(f"{model}?{OPTIONS}&startup_timeout=300&restarts=1")
    seen = []
    for position, reply in served.stream(questions(150, SCHEMA, temperature=1.0, max_tokens=200, seed=7)):
        seen.append((position, reply))
        if len(seen) == 20:
            ours = set(family(os.getpid())) - others
            engine_core = [process for process in ours if b"EngineCore" in command(process)]
            group = os.getpgid(engine_core[0])
            assert group not in (os.getpgrp(), 0)
            os.killpg(group, signal.SIGKILL)
    assert sorted(position for position, _ in seen) == list(range(150))
    for _, reply in seen:
        CHECK.validate(json.loads(reply.text))
    now = set(family(os.getpid())) - others
    assert sum(b"EngineCore" in command(process) for process in now) == 1
    began = time.monotonic()
    served.close()
    assert time.monotonic() - began < 25
    assert not [process for process in now if is_there(process) and b"vllm" in command(process).lower()]


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
