"""vLLM inside this process: requests are added while others run, so no batch ever has an end.

Versions 0.10.2 to 0.33 of vLLM are supported (before 0.11 with its V1 engine); a warning tells of another one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import EngineError
from .base import Reply, Request, one_by_one
from .identity import file_digest, model_identity
from .spec import positive, split_options
from .vllm_lora import lora_identity
from .vllm_model import LoadedModel

_CHANGES_ANSWERS = ("tokenizer", "tokenizer_revision", "hf_overrides")
_READ_AT_ONCE = 64  # requests


class VLLMEngine:
    """A model in this process, loaded at the first request and freed by `close`.

    One thread uses it at a time. vLLM's own environment variables hold; its log is quiet unless
    `VLLM_LOGGING_LEVEL` is set.

    Args:
        model: Hub id, or path of a model folder.
        revision: Branch, tag or commit on the Hub.
        quantization: vLLM's name of the method, where the model's own configuration does not say it.
        chat_template: Jinja file to use in place of the tokenizer's template.
        structured_backend: What keeps a reply to its schema: "guidance" (every reply is strict JSON), "xgrammar",
            "outlines" or "auto".
        lora: Folder or Hub id (`ORG/NAME`, `ORG/NAME@REVISION`) of a LoRA adapter, as peft saves it. The tokenizer and
            the chat template stay those of the model. A folder's content is part of the identity.
        max_in_flight: Most requests given to vLLM at once, >= 1; by default twice as many as it runs at once
            (`max_num_seqs`), so that its queue is never empty.
        engine_args: Any other field of vLLM's `EngineArgs`, such as `{"tensor_parallel_size": 2}`; strings are
            read as the field's type. Checked when the model is loaded.

    Raises:
        EngineError: If a local model, the template or a local adapter is not there.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        quantization: str | None = None,
        chat_template: str | Path | None = None,
        structured_backend: str = "guidance",
        lora: str | None = None,
        max_in_flight: int | None = None,
        engine_args: Mapping[str, object] | None = None,
    ) -> None:
        self._model = str(Path(model).expanduser()) if model.startswith("~") else model
        self._arguments: dict[str, Any] = {
            "revision": revision,
            "quantization": quantization,
            "chat_template": chat_template,
            "structured_backend": structured_backend,
            "lora": lora,
            "max_in_flight": max_in_flight,
            "engine_args": engine_args,
        }
        self._backend = structured_backend
        self._window = _window(model, max_in_flight)
        self._options: dict[str, object] = dict(engine_args or {})
        self._options |= {"revision": revision} if revision else {}
        self._options |= {"quantization": quantization} if quantization else {}
        self._template_file = Path(chat_template).expanduser() if chat_template else None
        self.identity = self._identify(revision, quantization, lora)
        self._running: LoadedModel | None = None
        self._streams = itertools.count()

    @classmethod
    def from_spec(cls, rest: str) -> VLLMEngine:
        """The engine of `vllm:MODEL?option=value&…`, from the part after `vllm:`.

        Raises:
            EngineError: If the spec cannot be read, or a local model is not there.
        """
        model, options = split_options(rest)
        if not model:
            raise EngineError("engine 'vllm:': no model is named; expected vllm:MODEL, a Hub id or a folder")
        return cls(
            model,
            revision=options.pop("revision", None),
            quantization=options.pop("quantization", None),
            chat_template=options.pop("chat_template", None),
            structured_backend=options.pop("structured_backend", "guidance"),
            lora=options.pop("lora", None),
            max_in_flight=_window(model, options.pop("max_in_flight", None)),
            engine_args=options,
        )

    def __reduce__(self) -> tuple[Callable[[], VLLMEngine], tuple[()]]:
        return partial(VLLMEngine, self._model, **self._arguments), ()

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`. Loads the model when the first request comes; closing the iterator aborts the rest.

        Raises:
            EngineError: If the model cannot be loaded, or vLLM fails.
            MissingExtraError: If vLLM is not installed.
        """
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Generator[list[tuple[int, Reply]], None, None]:
        """As `SteadyEngine.arrivals`: a group is what one step of the model finished. Otherwise as `stream`."""
        flow = _Flow(requests, next(self._streams))
        try:
            while flow.flying or not flow.ended:
                group = self._fed(flow)
                if flow.flying:
                    group += [(flow.flying.pop(name), reply) for name, reply in self._loaded().step(flow.flying)]
                if group or (flow.paused and not flow.flying):
                    flow.paused = False
                    yield group
        finally:
            if flow.flying and self._running is not None:
                self._running.abort(flow.flying)

    @property
    def compiled_grammars(self) -> int | None:
        """How many grammars were compiled since the model was loaded: one for each schema, not one a request.

        As many more as vLLM has threads that fill masks at once, which it has above 128 rows at once. None where vLLM
        does not say: its core is a process of its own (whose log tells at level INFO), the back end is not guidance,
        or this version compiles one for every request.
        """
        return None if self._running is None else self._running.compiled_grammars

    def close(self) -> None:
        """Free the model's memory. Safe to call twice; a later `stream` loads the model again."""
        running, self._running = self._running, None
        if running is not None:
            running.shut_down()

    def _fed(self, flow: _Flow) -> list[tuple[int, Reply]]:
        """Give the model the next requests; the replies of those that it cannot be asked."""
        refused: list[tuple[int, Reply]] = []
        before = flow.pulled
        while len(refused) < _READ_AT_ONCE and self._has_room(len(flow.flying), flow.pulled - before):
            request = flow.pull()
            if request is None:
                break
            position = flow.pulled - 1
            name = f"{flow.number}-{position}"
            model = self._loaded() if flow.flying else self._started()
            refusal = model.add(name, request)
            if refusal is None:
                flow.flying[name] = position
            else:
                refused.append((position, refusal))
        return refused

    def _has_room(self, flying: int, fed: int) -> bool:
        """Whether the model shall get another request before it works on.

        As many as it runs at once come first; the queue behind them is read a part between two steps, so that the
        running ones do not wait until all of it is tokens.
        """
        if self._running is None:
            return True  # the first request loads it
        rows = self._running.rows
        window = self._window or 2 * rows
        return flying < window and (flying < rows or fed < _READ_AT_ONCE)

    def _started(self) -> LoadedModel:
        if self._running is None:
            self._running = LoadedModel(
                self._model, self._options, self._backend, self._template_file, self._arguments["lora"]
            )
        return self._running

    def _loaded(self) -> LoadedModel:
        if self._running is None:
            raise EngineError(f"vllm:{self._model}: the engine was closed while it was answering")
        return self._running

    def _identify(self, revision: str | None, quantization: str | None, lora: str | None) -> str:
        name = model_identity(self._model, revision, quantization)
        extras = [f"{option}={self._options[option]}" for option in _CHANGES_ANSWERS if option in self._options]
        if self._template_file is not None:
            if not self._template_file.is_file():
                raise EngineError(
                    f"chat_template {str(self._template_file)!r}: no such file; expected a Jinja template"
                )
            extras.append(f"template={file_digest(self._template_file)}")
        extras += [f"lora={lora_identity(lora)}"] if lora else []
        return "+".join([name, *extras])


def _window(model: str, given: object) -> int | None:
    return None if given is None else int(positive(f"vllm:{model}", "max_in_flight", given, int))


class _Flow:
    """The requests of one stream.

    Attributes:
        number: Of the stream, among those of its engine.
        flying: By the name that vLLM knows a request by: its position.
        pulled: How many requests have come.
        paused: Whether there is none now, until the next group.
        ended: Whether there will be none.
    """

    def __init__(self, requests: Iterator[Request | None], number: int) -> None:
        self._requests = requests
        self.number = number
        self.flying: dict[str, int] = {}
        self.pulled = 0
        self.paused = self.ended = False

    def pull(self) -> Request | None:
        """The next request; None at a pause or the end."""
        if self.paused or self.ended:
            return None
        try:
            request = next(self._requests)
        except StopIteration:
            self.ended = True
            return None
        self.paused = request is None
        self.pulled += not self.paused
        return request
