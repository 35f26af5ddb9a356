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


def test_real_replies_are_those_of_the_model_in_this_process(served, model):
    done = subprocess.run(
        [sys.executable, "-c", IN_THIS_PROCESS, f"{model}?{OPTIONS}"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    identity, texts = json.loads(done.stdout.splitlines()[-1])
    assert identity == served.identity
    replies = dict(served.stream(questions(12, max_tokens=40)))
    assert [replies[position].text for position in range(12)] == texts


def test_real_server_killed_in_the_middle_loses_nothing_and_leaves_nothing(served):
    before = set(family(os.getpid()))
    seen = []
    for position, reply in served.stream(questions(150, SCHEMA, temperature=1.0, max_tokens=200, seed=7)):
        seen.append((position, reply))
        if len(seen) == 20:
            engine_core = [process for process in family(os.getpid()) if b"EngineCore" in command(process)]
            group = os.getpgid(engine_core[0])
            assert group not in (os.getpgrp(), 0)
            os.killpg(group, signal.SIGKILL)
    assert sorted(position for position, _ in seen) == list(range(150))
    for _, reply in seen:
        CHECK.validate(json.loads(reply.text))
    now = family(os.getpid()) | before
    assert sum(b"EngineCore" in command(process) for process in now) == 1
    began = time.monotonic()
    served.close()
    assert time.monotonic() - began < 25
    assert not [process for process in now if is_there(process) and b"vllm" in command(process).lower()]


def test_real_server_that_refuses_the_model_tells_why(model):
    engine = VLLMServeEngine.from_spec(f"{model}?max_model_len=99999999&startup_timeout=120")
    with pytest.raises(EngineError, match=r"ended while it was starting \(exit status 1\)") as caught:
        dict(engine.stream(questions(1)))
    assert "max_model_len (99999999) is greater than the derived max_model_len" in str(caught.value)
