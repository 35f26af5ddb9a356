"""A model and its tokenizer, loaded by transformers."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import EngineError, MissingExtraError, one_line
from .base import Request
from .hints import hub_hint, with_way

try:
    import torch
    import transformers
except ImportError as _fault:
    raise MissingExtraError(_fault.name or "transformers", "transformers") from _fault

_PLAIN_LAYERS = {"DynamicLayer", "DynamicSlidingWindowLayer"}
_CACHE_NAMES = ("cache", "past_key_values")  # of a model's argument: from transformers 5.24 on, and before
_NO_LIMIT = 1_000_000  # tokens; a tokenizer without a limit says 1e30


class LoadedModel:
    """A model in memory: text to tokens, tokens to logits, tokens to text.

    Args:
        model, revision, chat_template, dtype, device, lora, max_model_len: As `TransformersEngine` has them.

    Attributes:
        name: What to call it in errors.
        device: Where it is.
        end: The token that ends a reply, where there are several the tokenizer's own.
        ends: All of them.
        longest: Most tokens of prompt and reply together.
        vocabulary: Width of its logits.
        window: Tokens that some layer looks back at most; None where all see the whole text.

    Raises:
        EngineError: If it cannot be loaded or used, or there is no chat template.
        MissingExtraError: If a library is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        revision: str | None,
        chat_template: Path | None,
        dtype: str,
        device: str,
        lora: Path | None,
        max_model_len: int | None,
    ) -> None:
        self.name = f"transformers:{model}"
        self.device = _device(self.name, device)
        dtype = "float32" if dtype == "auto" and self.device.type == "cpu" else dtype
        try:
            with _no_progress_bars():
                self.tokenizer = transformers.AutoTokenizer.from_pretrained(model, revision=revision)
                self._model = self._load(model, revision, dtype, lora)
        except (EngineError, MissingExtraError):
            raise
        except Exception as fault:  # whatever a broken file makes the many parts raise
            told = with_way(one_line(fault), hub_hint(str(fault)))
            raise EngineError(f"{self.name}: the model cannot be loaded: {told}") from fault
        self._template = self._own_template(chat_template)
        config = self._model.config.get_text_config(decoder=True)
        self.vocabulary = int(config.vocab_size)
        self.longest = self._context(config, max_model_len)
        self.ends = self._end_tokens()
        self.end = self.tokenizer.eos_token_id if self.tokenizer.eos_token_id in self.ends else min(self.ends)
        takes = inspect.signature(self._model.forward).parameters
        self._only_last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._cache_name = next((name for name in _CACHE_NAMES if name in takes), "")
        self.window = self._rows_fit_together(config, takes)

    def tokens(self, request: Request) -> list[int]:
        """The prompt, as the chat template writes it; a template raises errors of its own."""
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        own = {} if self._template is None else {"chat_template": self._template}
        tokens = self.tokenizer.apply_chat_template(
            turns,
            tokenize=True,
            add_generation_prompt=True,
            return_dict=False,
            tokenizer_kwargs={"verbose": False},  # no warning about a long prompt, which is told in its reply
            **own,
        )
        return list(tokens)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens of a reply say, without special tokens."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def new_cache(self) -> Any:
        """An empty cache that keeps keys and values of every token, also where a layer looks back less far."""
        return transformers.DynamicCache()

    def logits(self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Float32 logits [rows, vocabulary] after the last of the given tokens, which are added to the cache."""
        output = self._model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self._cache_name: cache},
            **self._only_last,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def free(self) -> None:
        """Give the memory back."""
        del self._model
        empty_memory(self.device)

    def _load(self, model: str, revision: str | None, dtype: str, lora: Path | None) -> Any:
        loaded, told = transformers.AutoModelForCausalLM.from_pretrained(
            model, revision=revision, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
        if told["missing_keys"]:  # transformers would fill them with random numbers
            raise EngineError(
                f"{self.name}: {len(told['missing_keys'])} weights are not in the model's files, such as "
                f"{min(told['missing_keys'])}; get the files again, or name a model that writes text"
            )
        loaded = loaded if lora is None else _with_adapter(loaded, lora)
        return loaded.to(self.device).eval()

    def _own_template(self, file: Path | None) -> str | None:
        """The text of the user's chat template; None for the tokenizer's."""
        if file is not None:
            return file.read_text(encoding="utf-8")
        if getattr(self.tokenizer, "chat_template", None) is None:
            raise EngineError(
                f"{self.name}: the model's tokenizer has no chat template; give one as a Jinja file: "
                f"{self.name}?chat_template=FILE, or take the model's instruct variant"
            )
        return None

    def _context(self, config: Any, wanted: int | None) -> int:
        limits = (getattr(config, "max_position_embeddings", None), self.tokenizer.model_max_length)
        known = [int(limit) for limit in limits if limit and limit < _NO_LIMIT]
        if wanted is None:
            return known[0] if known else _NO_LIMIT
        if known and wanted > known[0]:
            raise EngineError(f"{self.name}: max_model_len is {wanted}; the model's context has {known[0]} tokens")
        return wanted

    def _end_tokens(self) -> frozenset[int]:
        given = self._model.generation_config.eos_token_id
        ends = set(given if isinstance(given, list) else [given])
        ends = (ends | {self.tokenizer.eos_token_id}) - {None}
        if not ends:
            raise EngineError(f"{self.name}: neither the model nor its tokenizer says which token ends a reply")
        return frozenset(int(end) for end in ends)

    def _rows_fit_together(self, config: Any, takes: Any) -> int | None:
        """The window; an error for a model whose rows cannot be padded and put together."""
        layers = transformers.DynamicCache(config=config).layers
        kinds = {type(layer).__name__ for layer in layers}
        if "position_ids" not in takes or not self._cache_name or kinds - _PLAIN_LAYERS:
            raise EngineError(
                f"{self.name}: this kind of model ({type(self._model).__name__}) does not keep keys and values for "
                "each token, which this engine needs to answer several requests at once; use vllm: or a server"
            )
        return min((int(layer.sliding_window) for layer in layers if layer.is_sliding), default=None)


def empty_memory(device: torch.device) -> None:
    """Hand memory that nothing uses back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def is_out_of_memory(fault: Exception) -> bool:
    """Whether a device had no memory left."""
    told = str(fault)
    return isinstance(fault, torch.OutOfMemoryError) or (
        isinstance(fault, RuntimeError) and ("out of memory" in told or "not enough memory" in told)
    )


def _device(name: str, wanted: str) -> torch.device:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as fault:
        raise EngineError(f"{name}: device={wanted!r} cannot be used: {one_line(fault)}") from fault
    return device


def _with_adapter(model: Any, folder: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError as fault:
        raise MissingExtraError("peft", "train") from fault
    try:
        return PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except Exception as fault:  # as for a model
        raise EngineError(f"lora {str(folder)!r}: the adapter cannot be used: {one_line(fault)}") from fault


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
