"""The checkers of IFEval's instructions, as lm-evaluation-harness has them, and what stands in for missing data."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ..errors import MissingExtraError

PUNKT = "sentences are split by NLTK's punkt_tab"
SUBSTITUTE = (
    "NLTK's punkt_tab is not installed (python -m nltk.downloader punkt_tab), so sentences are split by an untrained "
    "Punkt, which knows no abbreviations"
)


@dataclass(frozen=True, slots=True)
class Followed:
    """Whether a response follows one instruction.

    Attributes:
        strict: The response as it is.
        loose: It, or it without its first line, its last line, both, or without asterisks.
        failed: What the checker raised; then both are False.
    """

    strict: bool
    loose: bool
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Checker:
    """The harness's checkers.

    Attributes:
        sentences: How sentences are split: `PUNKT` or `SUBSTITUTE`.
        known: Ids of the instructions that it can check.
    """

    sentences: str
    known: frozenset[str]
    _utils: Any

    def check(self, name: str, arguments: Mapping[str, Any], prompt: str, response: str) -> Followed:
        """Check one instruction; never raises."""
        given = {key: value for key, value in arguments.items() if value is not None}  # tables fill up with nulls
        example = self._utils.InputExample(key=0, instruction_id_list=[name], prompt=prompt, kwargs=[given])
        try:
            strict = self._utils.test_instruction_following_strict(example, response)
            loose = self._utils.test_instruction_following_loose(example, response)
        except Exception as fault:  # of a checker that cannot take this text or these arguments
            return Followed(False, False, " ".join(f"{type(fault).__name__}: {fault}".split())[:200])
        return Followed(bool(strict.follow_all_instructions), bool(loose.follow_all_instructions))


@functools.cache
def load_checker() -> Checker:
    """The checkers; loaded once, which takes seconds. Nothing is downloaded.

    Raises:
        MissingExtraError: If lm-evaluation-harness or a library that its checkers need is not installed.
    """
    try:
        import langdetect
        import nltk

        with _nothing_downloaded():
            from lm_eval.tasks.ifeval import instructions_registry, instructions_util, utils
    except ImportError as fault:
        raise MissingExtraError(fault.name or "lm_eval", "eval") from fault
    langdetect.DetectorFactory.seed = 0  # it draws otherwise
    known = frozenset(instructions_registry.INSTRUCTION_DICT)
    if _has(nltk, "tokenizers/punkt_tab"):
        return Checker(PUNKT, known, utils)
    splitter = nltk.tokenize.punkt.PunktSentenceTokenizer()
    words = functools.partial(nltk.word_tokenize, preserve_line=True)
    instructions_util.count_sentences = lambda text: len(splitter.tokenize(text))
    instructions_util.nltk = SimpleNamespace(tokenize=nltk.tokenize, word_tokenize=words, data=nltk.data)
    return Checker(SUBSTITUTE, known, utils)


@contextmanager
def _nothing_downloaded() -> Iterator[None]:
    """The harness downloads NLTK's data at its import, but for processes of a training that are not the first."""
    before = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = before


def _has(nltk: Any, name: str) -> bool:
    try:
        nltk.data.find(name)
    except LookupError:
        return False
    return True


def by_type(names: Sequence[str], followed: Sequence[bool]) -> dict[str, dict[str, float]]:
    """Share and number of followed instructions of each kind, the part of the id before the colon."""
    found: dict[str, list[bool]] = {}
    for name, one in zip(names, followed, strict=True):
        found.setdefault(name.partition(":")[0], []).append(one)
    return {kind: {"accuracy": sum(own) / len(own), "n": len(own)} for kind, own in sorted(found.items())}
