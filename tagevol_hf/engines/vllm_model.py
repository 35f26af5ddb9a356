"""One model loaded by vLLM: the only file that calls vLLM's engine."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import EngineError, one_line
from .base import Reply, Request, Schema, failed
from .hints import vllm_hint, with_way
from .vllm_api import compiled_grammars, for_throughput, import_vllm, kept_to_schema, refusals, tokenizer_of
from .vllm_lora import Adapter
from .vllm_options import engine_args

_SCHEMAS_KEPT = 64  # a stage has one or a few, each shared by its requests


class LoadedModel:
    """A model in memory that takes requests and gives replies as they are ready.

    Args:
        model: Hub id or path.
        options: Fields of vLLM's `EngineArgs`.
        structured_backend: What keeps a reply to its schema.
        template_file: Chat template in place of the tokenizer's, or None.
        lora: Folder or Hub id of a LoRA adapter, or None.

    Attributes:
        rows: How many requests it runs at once.

    Raises:
        EngineError: If the model or the adapter cannot be loaded, an option is wrong, or there is no chat template.
        MissingExtraError: If vLLM is not installed.
    """

    def __init__(
        self,
        model: str,
        options: Mapping[str, object],
        structured_backend: str,
        template_file: Path | None,
        lora: str | None,
    ) -> None:
        self._name = f"vllm:{model}"
        api = import_vllm()
        adapter = Adapter.find(lora) if lora else None
        room = adapter.options() if adapter else None
        try:
            args = engine_args(model, options, structured_backend, room)
            self._engine = api.LLMEngine.from_engine_args(args, usage_context=for_throughput())
        except EngineError:
            raise
        except Exception as fault:  # vLLM raises what its many parts raise
            told = with_way(one_line(fault), vllm_hint(str(fault)))
            raise EngineError(f"{self._name}: the model cannot be loaded: {told}") from fault
        self._template = template_file.read_text(encoding="utf-8") if template_file else None
        self._arrived: dict[str, Reply] = {}
        self._schemas: dict[int, tuple[Schema, dict[str, Any]]] = {}
        self._broken = False
        try:
            self._prepare(api, adapter)
        except Exception:
            self.shut_down()
            raise

    def _prepare(self, api: Any, adapter: Adapter | None) -> None:
        if not hasattr(self._engine, "engine_core"):
            raise EngineError(
                f"{self._name}: vLLM {api.__version__} took its old engine (V0) for this model or these options, which "
                "this package does not drive; unset VLLM_USE_V1, or update vllm"
            )
        self._tokenizer = tokenizer_of(self._engine)
        self._longest = int(self._engine.model_config.max_model_len)
        self.rows = int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        if self._template is None and getattr(self._tokenizer, "chat_template", "its own") is None:
            raise EngineError(
                f"{self._name}: the model's tokenizer has no chat template; give one as a Jinja file: "
                f"{self._name}?chat_template=FILE, or take the model's instruct variant"
            )
        self._lora = adapter.attach(self._engine) if adapter else None
        self._refusals = refusals()

    @property
    def compiled_grammars(self) -> int | None:
        """As `VLLMEngine.compiled_grammars`."""
        return compiled_grammars(self._engine)

    def add(self, name: str, request: Request) -> Reply | None:
        """Give a request to vLLM; a reply with an error if it cannot be asked."""
        try:
            tokens = self._tokens(request)
        except Exception as fault:  # templates raise errors of their own, such as "roles must alternate"
            return failed("refused_request", f"the chat template refused the messages: {one_line(fault)}")
        if len(tokens) >= self._longest:
            return failed(
                "prompt_too_long", f"the prompt has {len(tokens)} tokens; the model's context has {self._longest}"
            )
        try:
            prompt = {"type": "token", "prompt_token_ids": tokens}
            self._engine.add_request(name, prompt, self._params(request), lora_request=self._lora)
        except self._refusals as fault:
            return failed("refused_request", one_line(fault))
        except Exception as fault:
            raise self._end(fault) from fault
        return None

    def step(self, wanted: Mapping[str, int]) -> list[tuple[str, Reply]]:
        """Let vLLM work for one step; the replies of the wanted requests that are ready."""
        ready = wanted.keys() & self._arrived.keys()  # another stream's step may have brought them
        if not ready:
            try:
                outputs = self._engine.step()
            except Exception as fault:
                raise self._end(fault) from fault
            self._arrived.update((output.request_id, _reply(output)) for output in outputs if output.finished)
            ready = wanted.keys() & self._arrived.keys() if self._arrived else ready
        return [(name, self._arrived.pop(name)) for name in ready]

    def abort(self, names: Collection[str]) -> None:
        """Forget requests that nobody waits for."""
        for name in names:
            self._arrived.pop(name, None)
        if not self._broken:
            self._engine.abort_request(list(names))

    def shut_down(self) -> None:
        """End vLLM and give its memory back."""
        try:
            if hasattr(self._engine, "engine_core"):
                self._engine.engine_core.shutdown()
        except ValueError as fault:
            if "process group" not in str(fault):
                raise  # else: a trainer in this process has ended torch's process groups before
        del self._engine
        gc.collect()
        torch = sys.modules.get("torch")  # which vLLM has loaded
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _end(self, fault: Exception) -> EngineError:
        self._broken = True
        return EngineError(f"{self._name}: vLLM failed: {one_line(fault)}; run again, what was answered is kept")

    def _tokens(self, request: Request) -> list[int]:
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        own = {} if self._template is None else {"chat_template": self._template}
        tokens = self._tokenizer.apply_chat_template(
            turns, tokenize=True, add_generation_prompt=True, return_dict=False, **own
        )
        return list(tokens)

    def _params(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            output_kind=RequestOutputKind.FINAL_ONLY,
            **({} if request.schema is None else self._kept_to(request.schema)),
        )

    def _kept_to(self, schema: Schema) -> dict[str, Any]:
        """The argument that keeps a reply to a schema, made once for each schema object."""
        if id(schema) not in self._schemas:
            if len(self._schemas) >= _SCHEMAS_KEPT:
                self._schemas.clear()
            self._schemas[id(schema)] = schema, kept_to_schema(json.dumps(schema))  # held, so that its id stays its own
        return self._schemas[id(schema)][1]


def _reply(output: Any) -> Reply:
    completion = output.outputs[0]
    if completion.finish_reason not in ("stop", "length"):
        return failed("refused_request", f"vLLM ended the request: {completion.finish_reason}")
    return Reply(
        text=completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=len(output.prompt_token_ids or ()),
        completion_tokens=len(completion.token_ids),
        cached_tokens=output.num_cached_tokens or 0,
    )
