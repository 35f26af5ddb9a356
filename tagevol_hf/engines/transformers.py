"""A model of transformers in this process: the engine for where there is no vLLM.

It has its own decoding loop over the model's forward call. The others were measured on a CPU (transformers 5.23, 64
requests of 100 tokens at once, a model of 0.26 M parameters): transformers' continuous batching has no seed a request
and no way to a grammar mask a request, and gave 280 tokens/s where `generate` gave 6,400; `generate` waits for the
longest reply of each batch, and draws all rows from one generator, so that a reply depends on its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError
from .base import Reply, Request, one_by_one
from .identity import file_digest, model_identity
from .spec import positive, split_options, unknown_option

if TYPE_CHECKING:
    from .transformers_batch import Batch
    from .transformers_rows import Intake

_OPTIONS = ("revision", "chat_template", "dtype", "device", "max_batch_size", "lora", "max_model_len")
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_ROWS_ON_CPU, _ROWS_ELSEWHERE = 16, 64
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_END = object()


class TransformersEngine:
    """A model in this process, loaded at the first request and freed by `close`.

    One thread uses it at a time. Requests join while others run, and the start that their prompts share is read once
    (`Reply.cached_tokens`). A reply depends on its own request alone and not on those beside it. That is exact but for
    rounding: in float32 it can only show where two tokens are equally likely to six digits, in bfloat16 or float16 to
    two or three, so that there a reply may differ from run to run. Only `Sampling` decides how a reply is drawn: top_k,
    penalties and the like in a model's generation_config.json are not used. Weights are read from safetensors only,
    and a model's own code is not run.

    The identity is that of `VLLMEngine` with `+transformers`. In float32 both give the same greedy replies; drawn ones
    differ, as each has random numbers of its own, and one store must not mix them under one seed.

    Args:
        model: Hub id, or path of a model folder.
        revision: Branch, tag or commit on the Hub.
        chat_template: Jinja file to use in place of the tokenizer's template.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on a CPU, else the model's own.
        device: As torch names it, such as "cuda:1"; "auto" for the first of cuda, mps and cpu that is there.
        max_batch_size: Most requests in flight, >= 1; None for 16 on a CPU, else 64. Halved, with a reading again of
            what was written, whenever the device's memory is full.
        lora: Folder of a PEFT adapter, which is merged into the weights.
        max_model_len: Most tokens of prompt and reply together; None for the model's context.

    Raises:
        EngineError: If a local model, the adapter or the template is not there, or a value is out of its range.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None = None,
        chat_template: str | Path | None = None,
        dtype: str = "auto",
        device: str = "auto",
        max_batch_size: int | None = None,
        lora: str | Path | None = None,
        max_model_len: int | None = None,
    ) -> None:
        self._model = str(Path(model).expanduser()) if model.startswith("~") else model
        self._name = f"transformers:{model}"
        if dtype not in _DTYPES:
            raise EngineError(f"engine {self._name!r}: dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}")
        self._arguments: dict[str, Any] = {
            "revision": revision,
            "chat_template": _path(chat_template),
            "dtype": dtype,
            "device": device,
            "max_batch_size": self._count("max_batch_size", max_batch_size),
            "lora": _path(lora),
            "max_model_len": self._count("max_model_len", max_model_len),
        }
        self.identity = self._identify()
        self._running: Intake | None = None

    @classmethod
    def from_spec(cls, rest: str) -> TransformersEngine:
        """The engine of `transformers:MODEL?option=value&…`, from the part after `transformers:`.

        Raises:
            EngineError: If the spec cannot be read, or what it names is not there.
        """
        model, options = split_options(rest)
        if not model:
            raise EngineError(
                "engine 'transformers:': no model is named; expected transformers:MODEL, a Hub id or a folder"
            )
        given: dict[str, Any] = dict(options)
        for name in given:
            if name not in _OPTIONS:
                raise unknown_option(f"transformers:{model}", name, _OPTIONS)
        return cls(model, **given)

    def __reduce__(self) -> tuple[Callable[[], TransformersEngine], tuple[()]]:
        return partial(TransformersEngine, self._model, **self._arguments), ()

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Reply]]:
        """As `Engine.stream`. Loads the model when the first request comes; closing the iterator drops the rest.

        Raises:
            EngineError: If the model cannot be loaded or fails, or the device's memory does not do for one request.
            MissingExtraError: If torch or transformers is not installed; llguidance, if a request has a schema.
        """
        return one_by_one(self.arrivals(iter(requests)))

    def arrivals(self, requests: Iterator[Request | None]) -> Iterator[list[tuple[int, Reply]]]:
        """As `SteadyEngine.arrivals`; errors as `stream`."""
        batch: Batch | None = None
        position, ended, paused = 0, False, False
        while True:
            group: list[tuple[int, Reply]] = []  # what is refused, else what a step gives
            while not (ended or paused) and (batch is None or len(batch) + len(group) < batch.size):
                request = next(requests, _END)
                if isinstance(request, Request):
                    batch = self._new_batch() if batch is None else batch
                    group += batch.add(position, request)
                    position += 1
                else:
                    ended, paused = request is _END, request is None
            if batch is not None and batch.intake is not self._running:
                raise EngineError(f"{self._name}: the engine was closed while it was answering")
            if batch and not group:
                group = batch.step()
            if group or not (batch or ended):
                yield group
                paused = False
            elif not batch:
                return

    def close(self) -> None:
        """Free the model's memory. Safe to call twice; a later `stream` loads the model again."""
        running, self._running = self._running, None
        if running is not None:
            running.model.free()

    def _new_batch(self) -> Batch:
        from .transformers_model import LoadedModel  # first: it says which library is missing

        given = self._arguments
        if self._running is None:
            from .transformers_rows import Intake

            loading = {name: given[name] for name in ("revision", "chat_template", "dtype", "device", "lora")}
            self._running = Intake(LoadedModel(self._model, **loading, max_model_len=given["max_model_len"]))
        from .transformers_batch import Batch

        on_cpu = self._running.model.device.type == "cpu"
        return Batch(self._running, given["max_batch_size"] or (_ROWS_ON_CPU if on_cpu else _ROWS_ELSEWHERE))

    def _count(self, name: str, value: object) -> int | None:
        return None if value is None else int(positive(self._name, name, value, int))

    def _identify(self) -> str:
        given, extras = self._arguments, ["transformers"]
        template, lora = given["chat_template"], given["lora"]
        if template is not None:
            if not template.is_file():
                raise EngineError(f"chat_template {str(template)!r}: no such file; expected a Jinja template")
            extras.append(f"template={file_digest(template)}")
        if lora is not None:
            extras.append(f"lora={_adapter_digest(lora)}")
        return "+".join([model_identity(self._model, given["revision"]), *extras])


def _path(given: str | Path | None) -> Path | None:
    return Path(given).expanduser() if given else None


def _adapter_digest(folder: Path) -> str:
    """12 hex digits of what a PEFT adapter is."""
    missing = [name for name in _ADAPTER if not (folder / name).is_file()]
    if missing:
        raise EngineError(f"lora {str(folder)!r}: no {missing[0]} in this folder; expected a PEFT adapter's folder")
    return hashlib.sha256("".join(file_digest(folder / name) for name in _ADAPTER).encode()).hexdigest()[:12]
