"""vLLM's OpenAI server as a child process: all GPUs at once, ended with this process, started again when it dies."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .base import Reply, Request, arrivals, one_by_one
from .child_server import ChildServer, free_port, port_fault
from .server import ServerEngine
from .spec import positive, split_options
from .vllm import VLLMEngine
from .vllm_lora import Adapter
from .vllm_serve_command import arguments_of, checked_options, data_parallel, defaults, environment, vllm_server
from .vllm_serve_flow import Flow
from .vllm_serve_running import RunningServer, allow_connections, wait_until_healthy

_LOG = logging.getLogger("tagevol_hf")
_EACH = 256  # requests in flight for each copy of the model
_HUNG_SECONDS = 300.0
_NOTICED_SECONDS = 2.0  # in which the end of a server is known after its connections broke
_NUMBERS: dict[str, type[int] | type[float]] = {
    "port": int,
    "concurrency": int,
    "timeout": float,
    "retries": int,
    "startup_timeout": float,
    "restarts": int,
}
_TEXTS = ("structured_backend", "lora")
_FIRST_PORT, _LAST_PORT = 1024, 65535  # as vLLM has it
_LORA_NAME = "adapter"
_CHANGES_ANSWERS = ("override_generation_config", "default_chat_template_kwargs", "reasoning_parser")


class VLLMServeEngine:
    """A model behind vLLM's own server, which is started at the first request and ended by `close`.

    The server listens on 127.0.0.1 only. It is ended, with all its processes, also when the interpreter ends, however
    that happens; when it dies, it is started again and asked what was not answered. A process that gets this engine,
    by pickling or by a fork, starts a server of its own.

    Args:
        model: Hub id, or path of a model folder.
        port: Where it listens, 1024 to 65535; None for a free port.
        concurrency: Most requests in flight, >= 1; None for 256 for each copy of the model.
        timeout: Seconds that one attempt of a request may take.
        retries: How often a request is asked again after a fault, at the most.
        startup_timeout: Seconds that the server may take until it is ready.
        restarts: How often a server that died is started again, >= 0.
        structured_backend: What keeps a reply to its schema, as `VLLMEngine` has it.
        lora: Folder or Hub id of a LoRA adapter, as `VLLMEngine` has it.
        server_args: Any other option of `vllm serve` by its name, such as `{"tensor_parallel_size": 2}`. Without
            `data_parallel_size`, the model runs as often as it fits on the visible GPUs.
        program: Command to start in place of vLLM's server, with the same arguments.

    Raises:
        EngineError: If an option is not valid, or a local model or adapter is not there.
    """

    def __init__(
        self,
        model: str,
        *,
        port: int | None = None,
        concurrency: int | None = None,
        timeout: float = 600.0,
        retries: int = 6,
        startup_timeout: float = 1800.0,
        restarts: int = 3,
        structured_backend: str = "guidance",
        lora: str | None = None,
        server_args: Mapping[str, object] | None = None,
        program: Sequence[str] | None = None,
    ) -> None:
        self._name = f"vllm-serve:{model}"
        self._model = str(Path(model).expanduser()) if model.startswith("~") else model
        self._arguments: dict[str, Any] = {
            "port": port,
            "concurrency": concurrency,
            "timeout": timeout,
            "retries": retries,
            "startup_timeout": startup_timeout,
            "restarts": restarts,
            "structured_backend": structured_backend,
            "lora": lora,
            "server_args": server_args,
            "program": program,
        }
        _check_numbers(self._name, self._arguments)
        self._options = checked_options(self._name, server_args or {})
        self.identity = self._identify()
        self._running: RunningServer | None = None
        self._restarts_left = restarts
        self._served_before = 0

    @classmethod
    def from_spec(cls, rest: str) -> VLLMServeEngine:
        """The engine of `vllm-serve:MODEL?option=value&…`, from the part after `vllm-serve:`.

        Raises:
            EngineError: If the spec cannot be read, or a local model is not there.
        """
        model, options = split_options(rest)
        if not model:
            raise EngineError(
                "engine 'vllm-serve:': no model is named; expected vllm-serve:MODEL, a Hub id or a folder"
            )
        own: dict[str, Any] = {name: options.pop(name) for name in (*_NUMBERS, *_TEXTS) if name in options}
        _check_numbers(f"vllm-serve:{model}", own)
        own |= {name: kind(own[name]) for name, kind in _NUMBERS.items() if name in own}
        return cls(model, **own, server_args=options)

    def __reduce__(self) -> tuple[Callable[[], VLLMServeEngine], tuple[()]]:
        return partial(VLLMServeEngine, self._model, **self._arguments), ()

    @property
    def served(self) -> dict[str, int]:
        """Requests that the server answered, over all its starts."""
        return {self._name: self._served_before + (self._running.served if self._running else 0)}

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`. Starts the server when the first request comes.

        Raises:
            EngineError: If the server cannot be started, or died more often than it may be started again.
            MissingExtraError: If vLLM is not installed.
        """
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Generator[list[tuple[int, Reply]], None, None]:
        """As `SteadyEngine.arrivals`; errors as `stream`."""
        flow = Flow(requests)
        while flow.unanswered or not flow.ended:
            if not flow.unanswered and flow.pull() is None:
                if not flow.ended:
                    yield []
                continue
            server = self._serving()
            try:
                with closing(arrivals(server.asking, flow.feed())) as groups:
                    for group in groups:
                        yield flow.answered(group)
            except EngineError:
                if flow.broken or self._running is not server or not server.child.ended.wait(_NOTICED_SECONDS):
                    raise

    def close(self) -> None:
        """End the server and wait until its processes are gone. Safe to call twice; a later `stream` starts it again.

        It takes about 20 s at the most; SIGKILL follows SIGTERM after 10 s.
        """
        running, self._running = self._running, None
        if running is not None and running.child.of_this_process:
            self._forget(running)

    def _serving(self) -> RunningServer:
        """The server, started for the first time or again."""
        if self._running is not None and not self._running.child.of_this_process:
            self._running = None  # this process is a fork
        if self._running is None:
            self._restarts_left = self._arguments["restarts"]
            self._running = self._started()
        while self._running.child.ended.is_set():
            self._running = self._started_again(self._running)
        return self._running

    def _started_again(self, dead: RunningServer) -> RunningServer:
        told = dead.fault(self._name)
        self._forget(dead)
        most = self._arguments["restarts"]
        while self._restarts_left > 0:
            self._restarts_left -= 1
            said = str(told).partition("\n")[0].removesuffix(":")
            _LOG.warning("%s; starting it again, %d of %d", said, most - self._restarts_left, most)
            try:
                return self._started()
            except EngineError as fault:
                told = fault
        self._running = None
        raise EngineError(
            f"{self._name}: no restart is left of {most}; what was answered is kept, and the same command goes on; "
            f"the last end: {told}"
        )

    def _started(self) -> RunningServer:
        options = self._server_options()
        port = self._arguments["port"] or free_port()
        if fault := port_fault(port):
            raise EngineError(f"{self._name}: port {port}: {fault}; give another port, or none for a free one")
        program = self._arguments["program"]
        command = vllm_server(self._model) if program is None else [*program, f"--model={self._model}"]
        command += arguments_of({"host": "127.0.0.1", "port": port, **options})
        asking = self._client(port, options)
        child = ChildServer(command, environment())
        end = weakref.finalize(self, child.end)  # at the end of the interpreter, too
        try:
            wait_until_healthy(self._name, child, port, self._arguments["startup_timeout"])
        except BaseException:
            end()
            raise
        return RunningServer(child, port, asking, end, _HUNG_SECONDS)

    def _client(self, port: int, options: Mapping[str, object]) -> ServerEngine:
        given = self._arguments
        concurrency = given["concurrency"] or _EACH * data_parallel(self._name, options)
        allow_connections(concurrency)
        name = _LORA_NAME if given["lora"] else str(options.get("served_model_name", self._model))
        url = f"http://127.0.0.1:{port}/v1"
        return ServerEngine(url, name, concurrency=concurrency, timeout=given["timeout"], retries=given["retries"])

    def _server_options(self) -> dict[str, object]:
        options = {**defaults(self._name, self._options, self._arguments["structured_backend"]), **self._options}
        if self._arguments["lora"]:
            adapter = Adapter.find(self._arguments["lora"])
            modules = {"name": _LORA_NAME, "path": str(adapter.folder)}
            options = {**adapter.options(), "lora_modules": modules, **options}
        return options

    def _forget(self, server: RunningServer) -> None:
        self._served_before += server.served
        server.close()

    def _identify(self) -> str:
        """As `VLLMEngine` has it, and what only the server's options can change."""
        others = dict(self._options)
        own = [others.pop(name, None) for name in ("revision", "quantization", "chat_template")]
        revision, quantization, template = (None if value is None else str(value) for value in own)
        same = VLLMEngine(
            self._model,
            revision=revision,
            quantization=quantization,
            chat_template=template,
            lora=self._arguments["lora"],
            engine_args=others,
        ).identity
        extras = [f"{name}={others[name]}" for name in _CHANGES_ANSWERS if name in others]
        if str(others.get("generation_config", "vllm")) != "vllm":
            extras.append(f"generation_config={others['generation_config']}")
        return "+".join([same, *extras])


def _check_numbers(engine: str, given: Mapping[str, object]) -> None:
    for name, kind in _NUMBERS.items():
        value = given.get(name)
        if value is not None and not (name == "restarts" and str(value) == "0"):
            positive(engine, name, value, kind)
    port = given.get("port")
    if port is not None and not _FIRST_PORT <= int(str(port)) <= _LAST_PORT:
        raise EngineError(f"engine {engine!r}: port is {port}; expected {_FIRST_PORT} to {_LAST_PORT}")
