"""The engine behind the surfaces: it checks what it is given and writes it back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LAYERS = 2  # of the model
CONTEXT = 300  # tokens, unless max_model_len says otherwise
ROWS = 4  # requests that run at once, unless max_num_seqs says otherwise
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


@dataclasses.dataclass
class Seen:
    """What a stand-in was given: one entry a call."""

    version: str
    engine_args: list[Any] = dataclasses.field(default_factory=list)
    contexts: list[str] = dataclasses.field(default_factory=list)
    guides: list[str] = dataclasses.field(default_factory=list)
    requests: list[str] = dataclasses.field(default_factory=list)
    aborted: list[str] = dataclasses.field(default_factory=list)
    adapters: list[Any] = dataclasses.field(default_factory=list)
    most_at_once: int = 0
    steps: int = 0
    shut_down: int = 0
    fails_at: int | None = None  # step
    old_engine: bool = False  # whether the engine of before V1 is chosen


class _Tokenizer:
    chat_template = "the model's"

    def apply_chat_template(
        self,
        conversation: list[dict[str, str]],
        *,
        chat_template: str | None = None,
        tokenize: bool,
        add_generation_prompt: bool,
        return_dict: bool,
    ) -> list[int]:
        assert tokenize
        assert add_generation_prompt
        assert not return_dict
        return [ord(character) for turn in conversation for character in turn["content"]]


@dataclasses.dataclass
class _Row:
    name: str
    prompt: list[int]
    text: str
    finish_reason: str
    left: int  # steps


class StandInEngine:
    """What both engines do behind their surfaces."""

    def __init__(self, args: Any, seen: Seen, sampling: type, lora: type, refusal: type[Exception]) -> None:
        seen.engine_args.append(args)
        self._args, self._seen, self._sampling, self._lora, self._refusal = args, seen, sampling, lora, refusal
        if args.max_lora_rank is not None and args.max_lora_rank not in _RANKS:
            raise ValueError(f"max_lora_rank ({args.max_lora_rank}) must be one of {_RANKS}.")
        text_config = SimpleNamespace(num_hidden_layers=LAYERS)
        self.model_config = SimpleNamespace(max_model_len=args.max_model_len or CONTEXT, hf_text_config=text_config)
        scheduler_config = SimpleNamespace(max_num_seqs=args.max_num_seqs or ROWS)
        self.vllm_config = SimpleNamespace(scheduler_config=scheduler_config)
        self.engine_core = SimpleNamespace(shutdown=self._shut_down)
        self._tokenizer = _Tokenizer()
        self._rows: dict[str, _Row] = {}

    def add_lora(self, lora_request: Any) -> bool:
        assert type(lora_request) is self._lora
        assert self._args.enable_lora
        config = json.loads((Path(lora_request.lora_path) / "adapter_config.json").read_text())
        if config["r"] > self._args.max_lora_rank:
            raise ValueError(f"LoRA rank {config['r']} is greater than max_lora_rank {self._args.max_lora_rank}.")
        self._seen.adapters.append(lora_request)
        return True

    def get_num_unfinished_requests(self) -> int:
        return len(self._rows)

    def step(self) -> list[Any]:
        self._seen.steps += 1
        if self._seen.steps == self._seen.fails_at:
            raise RuntimeError("the engine core\ndied")
        running = list(self._rows.values())[: self._args.max_num_seqs or ROWS]
        for row in running:
            row.left -= 1
        done = [self._rows.pop(row.name) for row in running if row.left <= 0]
        return [_output(row) for row in done]

    def _add(self, name: str, tokens: list[int], params: Any, lora: Any, guide: Any) -> None:
        assert isinstance(name, str)
        assert type(params) is self._sampling
        assert params.output_kind.name == "FINAL_ONLY"
        assert name not in self._rows
        if lora is not None and not self._args.enable_lora:
            raise self._refusal(f"Got lora_request {lora} but LoRA is not enabled!")
        if guide is not None and json.loads(guide.json).get("type") == "nothing":
            raise self._refusal("Failed to convert the grammar: no such type")
        self._seen.requests.append(name)
        asked = "".join(map(chr, tokens))
        text = f"{'base' if lora is None else Path(lora.lora_path).name}: {asked}"
        if guide is not None:
            text = json.dumps({"reply": text, "schema": json.loads(guide.json)})
        cut = text[: params.max_tokens]
        self._rows[name] = _Row(name, tokens, cut, "length" if len(cut) < len(text) else "stop", 1 + len(asked) % 3)
        self._seen.most_at_once = max(self._seen.most_at_once, len(self._rows))

    def _abort(self, names: list[str]) -> None:
        assert isinstance(names, list)
        self._seen.aborted += [name for name in names if self._rows.pop(name, None)]

    def _shut_down(self) -> None:
        self._seen.shut_down += 1


def _output(row: _Row) -> Any:
    completion = SimpleNamespace(
        text=row.text, token_ids=[ord(character) for character in row.text], finish_reason=row.finish_reason
    )
    return SimpleNamespace(
        request_id=row.name, prompt_token_ids=row.prompt, outputs=[completion], finished=True, num_cached_tokens=None
    )
