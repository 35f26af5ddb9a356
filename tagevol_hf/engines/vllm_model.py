"""One model loaded by vLLM: the only file that calls vLLM's engine."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import EngineError, MissingExtraError
from .base import Reply, Request, failed
from .vllm_options import engine_args, structured_params


class LoadedModel:
    """A model in memory that takes requests and gives replies as they are ready.

    Args:
        model: Hub id or path.
        options: Fields of vLLM's `EngineArgs`.
        structured_backend: What keeps a reply to its schema.
        template_file: Chat template in place of the tokenizer's, or None.

    Raises:
        EngineError: If the model cannot be loaded, an option is wrong, or there is no chat template.
        MissingExtraError: If vLLM is not installed.
    """

    def __init__(
        self, model: str, options: Mapping[str, object], structured_backend: str, template_file: Path | None
    ) -> None:
        self._name = f"vllm:{model}"
        api = _import_vllm()
        try:
            self._engine = api.LLMEngine.from_engine_args(engine_args(model, options, structured_backend))
        except EngineError:
            raise
        except Exception as fault:  # vLLM raises what its many parts raise
            raise EngineError(f"{self._name}: the model cannot be loaded: {_one_line(fault)}") from fault
        self._tokenizer = self._engine.get_tokenizer()
        self._longest = int(self._engine.model_config.max_model_len)
        self._template = template_file.read_text(encoding="utf-8") if template_file else None
        if self._template is None and getattr(self._tokenizer, "chat_template", "its own") is None:
            self.shut_down()
            raise EngineError(
                f"{self._name}: the model's tokenizer has no chat template; give one as a Jinja file: "
                f"{self._name}?chat_template=FILE, or take the model's instruct variant"
            )
        self._arrived: dict[str, Reply] = {}

    def add(self, name: str, request: Request) -> Reply | None:
        """Give a request to vLLM; a reply with an error if it cannot be asked."""
        try:
            tokens = self._tokens(request)
        except Exception as fault:  # templates raise errors of their own, such as "roles must alternate"
            return failed("refused_request", f"the chat template refused the messages: {_one_line(fault)}")
        if len(tokens) >= self._longest:
            return failed(
                "prompt_too_long", f"the prompt has {len(tokens)} tokens; the model's context has {self._longest}"
            )
        try:
            prompt = {"type": "token", "prompt_token_ids": tokens}
            self._engine.add_request(name, prompt, self._params(request))
        except _refusals() as fault:
            return failed("refused_request", _one_line(fault))
        except Exception as fault:
            raise EngineError(f"{self._name}: vLLM failed: {_one_line(fault)}") from fault
        return None

    def step(self, wanted: Mapping[str, int]) -> list[tuple[str, Reply]]:
        """Let vLLM work until some of its requests are ready; the replies of those that are wanted."""
        if not wanted.keys() & self._arrived.keys():
            try:
                outputs = self._engine.step()
            except Exception as fault:
                raise EngineError(f"{self._name}: vLLM failed: {_one_line(fault)}") from fault
            self._arrived.update((output.request_id, _reply(output)) for output in outputs if output.finished)
        return [(name, self._arrived.pop(name)) for name in wanted.keys() & self._arrived.keys()]

    def abort(self, names: Iterable[str]) -> None:
        """Forget requests that nobody waits for."""
        names = list(names)
        for name in names:
            self._arrived.pop(name, None)
        self._engine.abort_request(names)

    def shut_down(self) -> None:
        """End vLLM and give its memory back."""
        try:
            self._engine.engine_core.shutdown()
        except ValueError as fault:
            if "process group" not in str(fault):
                raise  # else: a trainer in this process has ended torch's process groups before
        del self._engine
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

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
            **({} if request.schema is None else structured_params(json.dumps(request.schema))),
        )


def _import_vllm() -> Any:
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "vllm")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    try:
        import vllm
    except Exception as fault:  # a broken installation fails in many ways
        raise EngineError(f"vllm is installed but cannot be imported: {_one_line(fault)}") from fault
    return vllm


def _refusals() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that it does not take."""
    try:
        from vllm.exceptions import VLLMClientError
    except ImportError:  # before 0.2x, a ValueError
        return (ValueError,)
    return (ValueError, VLLMClientError)


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


def _one_line(fault: BaseException) -> str:
    """An exception's message without line breaks, at most 500 characters."""
    return (" ".join(str(fault).split()) or type(fault).__name__)[:500]
