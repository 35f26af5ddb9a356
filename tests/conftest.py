"""What tests of several folders share: the environment, a tiny model, real vLLM, its server, a stand-in server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stand_in_server import StandInServer, free_port

if TYPE_CHECKING:
    from tagevol_hf.engines.vllm import VLLMEngine

# Before anything imports vLLM, transformers or torch.
for name, value in {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",  # two threads beside a busy neighbour are many times slower
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(name, value)
for name in ("TAGEVOL_API_KEY", "OPENAI_API_KEY"):
    os.environ.pop(name, None)

STRUCTURED = {"backend": "guidance", "disable_any_whitespace": True}  # as VLLMEngine has it
VLLM_OPTIONS = {"dtype": "float32", "enforce_eager": "true", "max_model_len": "4096", "max_num_seqs": "64"}
TEXTS = [
    'Name the tags of this instruction as JSON: {"tags": ["travel", "planning"], "score": 3}',
    "Explain why the tide follows the moon, then write a short plan with three steps and a list of numbers.",
    "Compare both instructions and give each a score from 1 to 10. The quick brown fox jumps over the lazy dog.",
]


def pytest_configure() -> None:
    """Let children be interrupted, even where the suite was started in the background of a shell, which ignores it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, with the reason."""
    if any(item.get_closest_marker("gpu") for item in items) and not _has_cuda():
        skip = pytest.mark.skip(reason="needs a CUDA device, and torch sees none")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)


def _has_cuda() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of some thousand parameters, with a byte-level tokenizer and a chat template."""
    from tagevol_hf.training.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama", "llama", TEXTS, vocab_size=512)


@pytest.fixture(scope="session")
def vllm_engine(tiny_llama: Path) -> Iterator[VLLMEngine]:
    """Real vLLM on CPU in this process."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from tagevol_hf.engines.vllm import VLLMEngine

    engine = VLLMEngine(str(tiny_llama), engine_args=VLLM_OPTIONS)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def vllm_server(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own OpenAI server on the loopback: `http://127.0.0.1:PORT/v1#tiny-llama`."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    log = tmp_path_factory.mktemp("vllm-server") / "log"
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(_server_command(tiny_llama, port), stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, log, seconds=240)
        yield f"http://127.0.0.1:{port}/v1#tiny-llama"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _server_command(model: Path, port: int) -> list[str]:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "tiny-llama", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "4096", "--max-num-seqs", "64"]
    command += ["--structured-outputs-config", json.dumps(STRUCTURED), "--enable-prompt-tokens-details"]
    # Without chunked prefill, as VLLMEngine has it on a CPU: there a seeded request in chunks ends vLLM 0.30.
    return [*command, "--no-enable-chunked-prefill"]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if _answers(url):
            return
        time.sleep(0.2)
    raise RuntimeError(f"vLLM's server did not start (exit status {process.poll()}):\n{log.read_text()[-3000:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def stand_in() -> Iterator[Callable[..., StandInServer]]:
    """Starts stand-in servers (arguments as `StandInServer`), and ends them after the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(StandInServer(*arguments, **options))
