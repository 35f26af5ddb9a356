"""A Deita score by a causal language model in this process: nothing is written, only the next token is looked at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from datasets import Dataset, Features, Value

from ...errors import DataError, EngineError
from ...progress import progress
from ...prompts import Prompt, load_prompt
from ...rows import Row, with_batches
from .deita_scores import instruction_alone, with_response

if TYPE_CHECKING:
    from .language_model import LanguageModel

DeitaScore = Literal["complexity", "quality"]
_VALUES: Mapping[DeitaScore, Callable[[Row], Mapping[str, str]]] = MappingProxyType(
    {"complexity": instruction_alone, "quality": with_response}
)
_DIGITS = "123456"


@dataclass(frozen=True)
class DeitaScorer:
    """Expected value of the ratings 1 to 6, over the softmaxed logits of these digits as the model's next token.

    Writes the column of its score, in 1..6, and a note (such as `complexity_note`) that is empty or says why the
    score is null. The prompt is read as plain text, without a chat template, as the published scorers read theirs;
    with one of these, give the prompt that it was trained on as a file, and `opening=""`.

    Attributes:
        model: Folder or Hub id, or a model that is loaded already.
        score: Which of the two scores it gives.
        prompt: Name of a prompt of this package, path of a text file, or a `Prompt`; by default that of the score.
        opening: How the reply begins, up to the digit; by default as the JSON object that the prompt asks for.
        max_length: Most tokens of a prompt, within the model's context; a longer one is not scored.
        batch_size: Most prompts read at once, where the model is to be loaded.
    """

    model: str | Path | LanguageModel
    score: DeitaScore
    prompt: str | Path | Prompt = ""
    opening: str | None = None
    max_length: int = 2048
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.score not in get_args(DeitaScore):
            raise DataError(f"deita.score: expected {' or '.join(get_args(DeitaScore))}, got {self.score!r}")

    def apply(self, dataset: Dataset) -> Dataset:
        """The data set with the score and its note.

        Raises:
            DataError: If a column is missing.
            EngineError: If the model cannot be loaded, or its tokenizer has no tokens of their own for the digits.
            MissingExtraError: If torch or transformers is not installed.
        """
        missing = [name for name in ("id", "instruction", "response") if name not in dataset.column_names]
        if missing:
            raise DataError(f"deita needs the column {missing[0]}; the data set has: {', '.join(dataset.column_names)}")
        from .language_model import LanguageModel

        given = self.model
        model = given if isinstance(given, LanguageModel) else LanguageModel(given, batch_size=self.batch_size)
        prompt = load_prompt(self.prompt or self.score)
        choices = self._choices(model)
        written = Features({self.score: Value("float64"), f"{self.score}_note": Value("string")})
        with progress(self.score, len(dataset)) as advance:

            def read(rows: Sequence[Row]) -> list[dict[str, Any]]:
                advance(len(rows))
                return self._read(rows, prompt, model, choices)

            return with_batches(dataset, read, written)

    @property
    def _opening(self) -> str:
        return f'{{"{self.score}": ' if self.opening is None else self.opening

    def _choices(self, model: LanguageModel) -> list[int]:
        """The tokens of the six digits behind the opening."""
        ends = [model.tokens_after(f"\n{self._opening}{digit}") for digit in _DIGITS]
        if len({tuple(end[:-1]) for end in ends}) > 1 or len({end[-1] for end in ends}) < len(ends):
            raise EngineError(
                f"language model {model.name!r}: its tokenizer has no token of its own for each digit from 1 to 6 "
                f"behind {self._opening!r}; give another opening, or rate by an engine"
            )
        return [end[-1] for end in ends]

    def _read(
        self, rows: Sequence[Row], prompt: Prompt, model: LanguageModel, choices: Sequence[int]
    ) -> list[dict[str, Any]]:
        found = [self._tokens(row, prompt, model, choices) for row in rows]
        scored = iter(model.next_logits([tokens for tokens, note in found if not note], choices))
        return [
            {self.score: None if note else expected_rating(next(scored)), f"{self.score}_note": note}
            for _, note in found
        ]

    def _tokens(self, row: Row, prompt: Prompt, model: LanguageModel, choices: Sequence[int]) -> tuple[list[int], str]:
        """The tokens before the digit, or a note why there is no score."""
        if row.get("rejection") is not None:
            return [], "the row is rejected"
        text = prompt.render({}, _VALUES[self.score](row)) + "\n" + self._opening
        *tokens, digit = model.tokens(text + _DIGITS[0])
        if digit != choices[0] or not tokens:
            return [], "the digit is not a token of its own behind this text"
        longest = min(self.max_length, model.context)
        return tokens, f"{len(tokens)} tokens, at most {longest} are read" if len(tokens) > longest else ""


def expected_rating(logits: Sequence[float]) -> float | None:
    """Mean of the ratings 1, 2, …, each weighted by the softmax of its logit; None if one is no number."""
    if not all(map(math.isfinite, logits)):
        return None
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    return sum(rating * weight for rating, weight in enumerate(weights, 1)) / sum(weights)
